"""`filterd run`: it serves until told to end, and does not begin with anything broken."""

import http.client
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.support.partners import free_port, running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_ends_in_good_order(
    config: Callable[..., str], argv: Callable[..., list[str]], real: object, folder: Path, number: signal.Signals
) -> None:
    port = free_port()
    with running(argv("run", "-c", config(port)), ready=port, cwd=folder) as daemon:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        client.request("GET", "/ping")
        assert client.getresponse().read() == b"pong\r\n"
        client.close()
        daemon.process.send_signal(number)
        assert daemon.process.wait(10) == 0
        assert "ready: 9 rules" in daemon.output()
        assert "Traceback" not in daemon.output()
    assert not (folder / "scan.sock").exists()


def test_check_only_ends_at_once(config: Callable[..., str], run: Callable[..., Result]) -> None:
    result = run("run", "--check-only", "-c", config(free_port()))
    assert (result.exit_code, result.stdout) == (0, "9 rules from 1 file, 1 listener\n")


def test_check_only_tells_what_is_broken(config: Callable[..., str], folder: Path, run: Callable[..., Result]) -> None:
    (folder / "rules" / "bad.py").write_text("1 / 0\n")
    result = run("run", "--check-only", "-c", config())
    assert result.exit_code == 2
    assert "bad.py:1: ZeroDivisionError" in result.stderr


def test_every_mistake_in_the_configuration_is_told(config: Callable[..., str], real: Callable[..., Any]) -> None:
    result = real("run", "-c", config(more='[limits]\nmessage = "big"\n[nonsense]\n'))
    assert result.returncode == 2
    assert "f.toml: limits.message: " in result.stderr
    assert "f.toml: nonsense: " in result.stderr


def test_every_broken_rule_file_is_told(config: Callable[..., str], folder: Path, real: Callable[..., Any]) -> None:
    (folder / "rules" / "bad.py").write_text("1 / 0\n")
    (folder / "rules" / "worse.py").write_text("\nimport nowhere\n")
    result = real("run", "-c", config())
    assert result.returncode == 2
    assert f"{folder}/rules/bad.py:1: ZeroDivisionError" in result.stderr
    assert f"{folder}/rules/worse.py:2: ModuleNotFoundError" in result.stderr


def test_an_address_in_use_is_told(config: Callable[..., str], real: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        result = real("run", "-c", config(port))
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_log_file_that_cannot_be_written_is_told(config: Callable[..., str], real: Callable[..., Any]) -> None:
    result = real("run", "-c", config(), "--set", "log.file=no/such/folder.log")
    assert result.returncode == 2
    assert "no/such/folder.log" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_daemon_without_a_door_is_refused(folder: Path, run: Callable[..., Result]) -> None:
    (folder / "f.toml").write_text('[rules]\npaths = ["rules"]\n')
    result = run("run", "-c", "f.toml")
    assert result.exit_code == 2
    assert "there is no listener" in result.stderr


def test_workers_is_a_setting(config: Callable[..., str], run: Callable[..., Result]) -> None:
    assert run("run", "--check-only", "--workers", "1", "-c", config()).exit_code == 0
    assert run("run", "--check-only", "--workers", "3", "-c", config()).exit_code == 0
    result = run("run", "--check-only", "--workers", "3000", "-c", config())
    assert result.exit_code == 2
    assert "workers.count" in result.stderr
