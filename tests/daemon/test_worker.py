"""The daemon as a process: how it starts, refuses, and ends."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import gevent
import pytest

from filterd.daemon.assembly import Assembly
from filterd.daemon.books import Books
from filterd.daemon.config import Config
from filterd.daemon.link import Link
from filterd.daemon.logs import MessageLog
from filterd.daemon.statistics import Statistics
from filterd.daemon.worker import Worker
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from tests.support.client import Client
from tests.support.daemon import ROOT, running_daemon, written
from tests.support.engine import MAIL
from tests.support.many import Started, at_once
from tests.support.partners import free_port

SLOW = """\
from filterd import Task, rule, sleep


@rule("SLOW", score=1.0)
def slow(task: Task) -> bool:
    sleep(0.5)
    return True
"""


def run(
    folder: Path, rules: dict[str, str], toml: str = "", port: int = 0, *options: str
) -> "subprocess.CompletedProcess[str]":
    conf = written(folder, rules, toml, port)
    command = [sys.executable, "-m", "filterd", "run", "-c", str(conf), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_answered_before_it_ends(tmp_path: Path, number: int) -> None:
    with running_daemon(tmp_path, {"slow": SLOW}) as daemon:
        started = Started([partial(daemon.scan, MAIL)] * 10)
        gevent.sleep(0.2)
        os.kill(daemon.process.pid, number)
        assert [set(reply["symbols"]) for reply in started.values()] == [{"SLOW"}] * 10
        assert daemon.process.process.wait(10) == 0
        lines = [json.loads(line)["text"] for line in daemon.process.output().splitlines() if '"filterd.worker"' in line]
    assert lines[-2:] == ["ending: 10 messages under way, at most 16 s", "ended"]


def test_nobody_new_is_accepted_while_it_ends(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"slow": SLOW}) as daemon:
        started = Started([partial(daemon.scan, MAIL)])
        gevent.sleep(0.2)
        daemon.process.process.terminate()
        gevent.sleep(0.1)
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", daemon.port))
        assert [set(reply["symbols"]) for reply in started.values()] == [{"SLOW"}]


def test_above_the_limit_of_tasks_a_message_is_refused_clearly(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"slow": SLOW}, "[limits]\ntasks = 2\n") as daemon:
        replies = at_once([partial(daemon.ask, MAIL)] * 5)
        assert sorted(status for status, _ in replies) == [200, 200, 503, 503, 503]
        refused = json.loads(next(body for status, body in replies if status == 503))
        assert refused["error"] == "2 messages are being scanned (limits.tasks), try again later"


def test_a_message_that_filterd_itself_fails_on_is_counted_and_has_its_line() -> None:
    def broken(request: ScanRequest) -> Verdict:
        raise LookupError("a fault of ours")

    lines: list[str] = []
    worker = Worker(Config(), cast("Link", None), {})
    worker._assembly = cast("Assembly", SimpleNamespace(engine=SimpleNamespace(scan=broken)))
    worker.books = cast("Books", SimpleNamespace(statistics=Statistics()))
    worker._tell = MessageLog(lines.append)
    with pytest.raises(LookupError):
        worker.scan(ScanRequest(Message(MAIL), Envelope.of(queue_id="4F1"), "http"))
    told = json.loads("".join(lines))
    assert (told["queue_id"], told["unscanned"]) == ("4F1", "internal error: LookupError")
    assert worker.books.statistics.snapshot()["failed"] == 1
    assert worker.under_way == 0


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "first", {"slow": SLOW}) as daemon:
        done = run(tmp_path / "second", {"slow": SLOW}, port=daemon.port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{daemon.port}: Address already in use" in done.stderr


def test_every_address_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "first", {"slow": SLOW}) as daemon:
        toml = f'[listen.more]\nprotocol = "http"\nbind = ["127.0.0.2:{daemon.port}", "unix:/nowhere/there.sock"]\n'
        done = run(tmp_path / "second", {"slow": SLOW}, toml, port=daemon.port)
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines() if line.startswith("cannot listen")] == [
        f"cannot listen on 127.0.0.1:{daemon.port}",
        "cannot listen on unix:/nowhere/there.sock",
    ]


def test_every_broken_rule_file_is_told_at_once_and_nothing_is_opened(tmp_path: Path) -> None:
    port = free_port()
    broken = {"a": "from filterd import rule\nrule(\n", "b": "import nothing_like_it\n", "c": "raise ValueError('in c')\n"}
    done = run(tmp_path, broken, port=port)
    assert done.returncode == 2
    for told in ("a.py:2: SyntaxError", "b.py:1: ModuleNotFoundError", "c.py:1: ValueError: in c"):
        assert told in done.stderr
    assert str(ROOT / "filterd") not in done.stderr


def test_every_error_of_the_configuration_is_told_at_once(tmp_path: Path) -> None:
    done = run(tmp_path, {"slow": SLOW}, '[limits]\ntask_timeout = "soon"\n[actions]\nrejct = 3\n[nonsense]\nx = 1\n')
    assert done.returncode == 2
    for told in ("limits.task_timeout", "actions.rejct", "nonsense"):
        assert told in done.stderr
    assert str(tmp_path / "filterd.toml") in done.stderr


def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    toml = f'[listen.local]\nprotocol = "http"\nbind = "unix:{path} mode=0660"\n'
    with running_daemon(tmp_path, {"slow": SLOW}, toml):
        assert path.stat().st_mode & 0o777 == 0o660
        with Client(str(path)) as client:
            assert client.send(b"GET /ping HTTP/1.1\r\n\r\n").read_reply()[2] == b"pong\r\n"
    assert not path.exists()


def test_a_rule_file_dropped_in_is_there_after_a_restart(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"slow": SLOW}) as daemon:
        assert set(daemon.scan(MAIL)["symbols"]) == {"SLOW"}
    with running_daemon(tmp_path, {"dropped": SLOW.replace("SLOW", "DROPPED")}) as daemon:
        assert set(daemon.scan(MAIL)["symbols"]) == {"SLOW", "DROPPED"}
