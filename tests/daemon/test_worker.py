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
from tests.support.console import until
from tests.support.daemon import ROOT, Daemon, running_daemon, written
from tests.support.engine import MAIL
from tests.support.many import Started, at_once
from tests.support.partners import free_port

PLAIN = """\
from filterd import Task, rule


@rule("PLAIN", score=1.0)
def plain(task: Task) -> bool:
    return True
"""

GATED = """\
from pathlib import Path

from filterd import Task, rule, sleep

GATE = Path("@GATE@")


@rule("GATED", score=1.0)
def gated(task: Task) -> bool:
    task.log.info("waiting")
    while not GATE.exists():
        sleep(0.02)
    return True
"""


def run(
    folder: Path, rules: dict[str, str], toml: str = "", port: int = 0, *options: str
) -> "subprocess.CompletedProcess[str]":
    conf = written(folder, rules, toml, port)
    command = [sys.executable, "-m", "filterd", "run", "-c", str(conf), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)


def until_waiting(daemon: Daemon, count: int) -> None:
    """Until so many messages wait in the rule GATED."""
    until(lambda: daemon.process.output().count('"text":"waiting"') >= count)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file for which the rule GATED waits: nothing in these tests depends on how fast the machine is."""
    return tmp_path / "gate"


@pytest.fixture
def gated(gate: Path) -> dict[str, str]:
    return {"gated": GATED.replace("@GATE@", str(gate))}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_answered_before_it_ends(tmp_path: Path, gate: Path, gated: dict[str, str], number: int) -> None:
    with running_daemon(tmp_path, gated) as daemon:
        started = Started([partial(daemon.scan, MAIL)] * 10)
        until_waiting(daemon, 10)
        os.kill(daemon.process.pid, number)
        until(lambda: "messages under way" in daemon.process.output())
        gate.touch()
        assert [set(reply["symbols"]) for reply in started.values()] == [{"GATED"}] * 10
        assert daemon.process.process.wait(10) == 0
        lines = [json.loads(line)["text"] for line in daemon.process.output().splitlines() if '"filterd.worker"' in line]
    assert lines[-2:] == ["ending: 10 messages under way, at most 16 s", "ended"]


def test_the_collector_is_at_work_when_rules_are(tmp_path: Path) -> None:
    """While a worker imports its own code it is not."""
    source = """\
        import gc
        from filterd import Task, rule

        LOADED = gc.isenabled()

        @rule("COLLECTED")
        def collected(task: Task) -> bool:
            return LOADED and gc.isenabled()
        """
    with running_daemon(tmp_path, {"collected": source}) as daemon:
        assert "COLLECTED" in daemon.scan(MAIL)["symbols"]


def test_nobody_new_is_accepted_while_it_ends(tmp_path: Path, gate: Path, gated: dict[str, str]) -> None:
    def is_refused() -> bool:
        try:
            Client(("127.0.0.1", daemon.port)).sock.close()
        except ConnectionRefusedError:
            return True
        return False

    with running_daemon(tmp_path, gated) as daemon:
        started = Started([partial(daemon.scan, MAIL)])
        until_waiting(daemon, 1)
        assert not is_refused()
        daemon.process.process.terminate()
        until(is_refused)
        assert daemon.process.process.poll() is None
        gate.touch()
        assert [set(reply["symbols"]) for reply in started.values()] == [{"GATED"}]


def test_above_the_limit_of_tasks_a_message_is_refused_clearly(tmp_path: Path, gate: Path, gated: dict[str, str]) -> None:
    with running_daemon(tmp_path, gated, "[limits]\ntasks = 2\n") as daemon:
        started = Started([partial(daemon.ask, MAIL)] * 2)
        until_waiting(daemon, 2)
        for status, body in at_once([partial(daemon.ask, MAIL)] * 3):
            assert status == 503
            assert json.loads(body)["error"] == "2 messages are being scanned (limits.tasks), try again later"
        gate.touch()
        assert [status for status, _ in started.values()] == [200, 200]


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
    with running_daemon(tmp_path / "first", {"plain": PLAIN}) as daemon:
        done = run(tmp_path / "second", {"plain": PLAIN}, port=daemon.port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{daemon.port}: Address already in use" in done.stderr


def test_every_address_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "first", {"plain": PLAIN}) as daemon:
        toml = f'[listen.more]\nprotocol = "http"\nbind = ["127.0.0.2:{daemon.port}", "unix:/nowhere/there.sock"]\n'
        done = run(tmp_path / "second", {"plain": PLAIN}, toml, port=daemon.port)
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
    done = run(tmp_path, {"plain": PLAIN}, '[limits]\ntask_timeout = "soon"\n[actions]\nrejct = 3\n[nonsense]\nx = 1\n')
    assert done.returncode == 2
    for told in ("limits.task_timeout", "actions.rejct", "nonsense"):
        assert told in done.stderr
    assert str(tmp_path / "filterd.toml") in done.stderr


def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    toml = f'[listen.local]\nprotocol = "http"\nbind = "unix:{path} mode=0660"\n'
    with running_daemon(tmp_path, {"plain": PLAIN}, toml):
        assert path.stat().st_mode & 0o777 == 0o660
        with Client(str(path)) as client:
            assert client.send(b"GET /ping HTTP/1.1\r\n\r\n").read_reply()[2] == b"pong\r\n"
    assert not path.exists()


def test_a_rule_file_dropped_in_is_there_after_a_restart(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"plain": PLAIN}) as daemon:
        assert set(daemon.scan(MAIL)["symbols"]) == {"PLAIN"}
    with running_daemon(tmp_path, {"dropped": PLAIN.replace("PLAIN", "DROPPED")}) as daemon:
        assert set(daemon.scan(MAIL)["symbols"]) == {"PLAIN", "DROPPED"}
