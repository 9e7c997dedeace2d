"""The supervisor with real workers: what happens when one ends, hangs, grows, and when all are told to."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import gevent
import psutil
import pytest

from filterd.daemon.console import default_places
from tests.support.client import Client
from tests.support.console import all_serving, log_lines, order, serving, status, until
from tests.support.daemon import ROOT, Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.load import RULE, loaded
from tests.support.load_doors import HttpDoor
from tests.support.many import Started

pytestmark = pytest.mark.timeout(90)

WHO = """
import ctypes
import os
from filterd import rule, sleep

@rule("WHO")
def who(task):
    if task.message.has_header("X-Slow"):
        sleep(1.5)
    if task.message.has_header("X-Die"):
        ctypes.string_at(0)
    if task.message.has_header("X-Stuck"):
        sum(range(10**11))
    return True, str(os.getpid())
"""

ONCE = """
import os
from filterd import background, rule, sleep

HERE = []

@background(scope="once")
def only_one():
    HERE.append(1)
    try:
        sleep(3600)
    finally:
        HERE.clear()

@rule("ONCE")
def once(task):
    return True, f"{os.getpid()} {len(HERE)}"
"""


def command(word: str, daemon: Daemon, *more: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "filterd", word, "-c", str(daemon.conf), *more]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_supervisor_loads_neither_the_loop_nor_the_configuration() -> None:
    heavy = "{'gevent', 'greenlet', 'pydantic', 'dns', 'filterd.engine', 'filterd.task', 'filterd.daemon.config'}"
    program = f"import sys, filterd.daemon.supervisor; print(sorted({heavy} & set(sys.modules)))"
    # Measuring coverage loads greenlet.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=unmeasured, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_worker_that_is_killed_is_replaced_and_the_others_serve_on(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": RULE}, workers=2) as daemon:
        before = all_serving(daemon, 2)
        with loaded({"http": lambda: HttpDoor(("127.0.0.1", daemon.port))}, clients=8) as tally:
            gevent.sleep(0.3)
            os.kill(before[0], signal.SIGKILL)
            after = all_serving(daemon, 2, without=before[:1])
            gevent.sleep(0.3)
        assert before[1] in after
        assert before[0] not in after
        assert tally.problems == []
        # What it had under way, of eight clients, and what it had just accepted; it may have had nothing.
        assert tally.count("lost") <= 16
        assert tally.count("answered") > 50
        assert status(daemon)["restarts"] == 1
        (told,) = [line for line in log_lines(daemon, "filterd.supervisor") if "has ended with" in line]
        assert told == f"worker 0 of generation 1 (pid {before[0]}) has ended with signal 9 (SIGKILL)"


def test_a_crash_in_c_code_tells_the_line_of_the_rule(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}) as daemon:
        with Client(("127.0.0.1", daemon.port)) as client:
            client.send(b"POST /checkv2 HTTP/1.1\r\nContent-Length: 14\r\n\r\nX-Die: yes\r\n\r\n")
            assert client.read_all() == b""
        assert set(daemon.scan(MAIL)["symbols"]) == {"WHO"}
        output = daemon.process.output()
    assert "has ended with signal 11 (SIGSEGV)" in output
    assert re.search(r'"traceback":"Fatal Python error: Segmentation fault.*who\.py\\", line 11 in who', output)


def test_a_worker_stuck_in_c_code_is_killed_and_named(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}, 'start_timeout = "40s"\nstuck_timeout = "5s"\n', workers=2) as daemon:
        before = all_serving(daemon, 2)
        with Client(("127.0.0.1", daemon.port)) as client:
            client.sock.settimeout(60)
            client.send(b"POST /checkv2 HTTP/1.1\r\nContent-Length: 16\r\n\r\nX-Stuck: yes\r\n\r\n")
            assert client.is_closed
        until(lambda: "stuck_timeout" in daemon.process.output())
        after = all_serving(daemon, 2)
        assert len(set(before) & set(after)) == 1
        output = daemon.process.output()
    assert "signal 9 (SIGKILL): no sign of life for 5 s (workers.stuck_timeout)" in output
    assert re.search(r'"traceback":".*who\.py\\", line 13 in who', output)


def test_pauses_between_restarts_double_and_the_first_is_none(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}) as daemon:
        killed: list[int] = []
        for _ in range(4):
            killed += all_serving(daemon, 1, without=killed)
            os.kill(killed[-1], signal.SIGKILL)
        all_serving(daemon, 1, without=killed)
        lines = log_lines(daemon, "filterd.supervisor")
    pauses = [line.partition(" is started again in ")[2] for line in lines if " is started again in " in line]
    assert pauses == ["0 s", "0.5 s", "1 s", "2 s"]


def test_a_worker_that_cannot_start_again_is_tried_again_and_again(tmp_path: Path) -> None:
    """The rules are those that were loaded, so what fails is what a rule finds when it is loaded."""
    needs = f"open({str(tmp_path / 'needed')!r}).close()\n" + WHO
    (tmp_path / "needed").write_text("")
    with running_daemon(tmp_path, {"who": needs}) as daemon:
        (tmp_path / "needed").unlink()
        os.kill(all_serving(daemon, 1)[0], signal.SIGKILL)
        until(lambda: daemon.process.output().count("No such file or directory") >= 2)
        (tmp_path / "needed").write_text("")
        all_serving(daemon, 1)
        assert set(daemon.scan(MAIL)["symbols"]) == {"WHO"}


def test_after_a_crash_the_rules_are_still_those_that_were_loaded(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}) as daemon:
        (tmp_path / "rules" / "who.py").write_text("half edited(\n")
        daemon.conf.write_text("half = ")
        before = all_serving(daemon, 1)
        os.kill(before[0], signal.SIGKILL)
        all_serving(daemon, 1, without=before)
        assert set(daemon.scan(MAIL)["symbols"]) == {"WHO"}


def test_a_worker_that_was_told_to_end_by_somebody_else_answers_and_is_replaced(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}) as daemon:
        (pid,) = all_serving(daemon, 1)
        started = Started([partial(daemon.scan, b"X-Slow: yes\r\n\r\n")])
        gevent.sleep(0.3)
        os.kill(pid, signal.SIGTERM)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
            os.kill(pid, number)
        (reply,) = started.values()
        assert reply["symbols"]["WHO"]["options"] == [str(pid)]
        (other,) = all_serving(daemon, 1, without=[pid])
        assert daemon.scan(MAIL)["symbols"]["WHO"]["options"] == [str(other)]


def test_a_worker_that_has_judged_enough_is_replaced_the_new_one_first(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": RULE}, "max_messages = 20\n", workers=2) as daemon:
        before = all_serving(daemon, 2)
        with loaded({"http": lambda: HttpDoor(("127.0.0.1", daemon.port))}, clients=4) as tally:
            all_serving(daemon, 2, without=before)
        assert tally.problems == []
        assert tally.count("lost") == 0
        lines = log_lines(daemon, "filterd.supervisor")
    assert sum("messages (workers.max_messages)" in line for line in lines) >= 2
    assert not any("has ended with" in line for line in lines)


def test_a_worker_that_grew_too_large_is_replaced(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}, 'max_rss = "1M"\n') as daemon:
        (first,) = all_serving(daemon, 1)
        all_serving(daemon, 1, without=[first])
        assert any(re.search(r"it holds \d+ MiB \(workers.max_rss\)", line) for line in log_lines(daemon, "filterd.supervisor"))


def test_hooks_that_run_once_run_in_one_worker_and_in_another_when_that_dies(tmp_path: Path) -> None:
    def running() -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(12):
            pid, here = daemon.scan(MAIL)["symbols"]["ONCE"]["options"][0].split()
            found[pid] = here
        return found

    with running_daemon(tmp_path, {"once": ONCE}, workers=2) as daemon:
        until(lambda: len(running()) == 2 and "1" in running().values())
        first = running()
        assert sorted(first.values()) == ["0", "1"]
        (chosen,) = [int(pid) for pid, here in first.items() if here == "1"]
        assert [worker["pid"] for worker in serving(daemon) if worker["runs_once"]] == [chosen]
        os.kill(chosen, signal.SIGKILL)
        until(lambda: running().get(next(pid for pid in first if int(pid) != chosen)) == "1")
        all_serving(daemon, 2)
        until(lambda: len(running()) == 2)
        assert sorted(running().values()) == ["0", "1"]


def test_status_shows_the_workers_and_stop_waits_for_the_end(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}, workers=2) as daemon:
        all_serving(daemon, 2)
        daemon.scan(MAIL)
        shown = command("status", daemon)
        assert (shown.returncode, shown.stderr) == (0, "")
        lines = shown.stdout.splitlines()
        assert re.fullmatch(rf"filterd 0\.1\.0, pid {daemon.process.pid}, serving for \d+ s", lines[0])
        assert lines[1:3] == [
            f"listen.scan: http on 127.0.0.1:{daemon.port}",
            "generation 1: 2 of 2 workers serve, 0 started again",
        ]
        assert [re.split(r" {2,}", line.strip())[0].split()[0] for line in lines[4:]] == ["0", "1"]
        assert sum("runs hooks of scope=once" in line for line in lines) == 1
        as_json = command("status", daemon, "--json")
        assert '"state":"serving"' in as_json.stdout
        started = Started([partial(daemon.scan, b"X-Slow: yes\r\n\r\n")] * 4)
        gevent.sleep(0.3)
        with subprocess.Popen(
            [sys.executable, "-m", "filterd", "stop", "-c", str(daemon.conf)], cwd=ROOT, stdout=subprocess.PIPE
        ) as stopping:
            assert len(started.values()) == 4
            assert stopping.wait(30) == 0
            assert daemon.process.process.wait(5) == 0
        again = command("status", daemon)
        assert again.returncode == 2
        assert f"no filterd runs with {daemon.conf}" in again.stderr


@contextmanager
def hanging(folder: Path) -> Iterator[tuple[Daemon, Client]]:
    """A daemon that is at a message which takes a minute."""
    source, toml = WHO.replace("1.5", "60"), '[limits]\ntask_timeout = "60s"\n'
    with running_daemon(folder, {"who": source}, toml) as daemon, Client(("127.0.0.1", daemon.port)) as client:
        client.sock.settimeout(60)
        client.send(b"POST /checkv2 HTTP/1.1\r\nContent-Length: 15\r\n\r\nX-Slow: yes\r\n\r\n")
        until(lambda: sum(one["under_way"] for one in serving(daemon)) == 1)
        yield daemon, client


def test_what_workers_have_counted_is_kept_beyond_their_end(tmp_path: Path) -> None:
    def counted() -> list[int]:
        return [one["messages"] for one in order(daemon, "statistics")["statistics"]]

    with running_daemon(tmp_path, {"who": WHO}, workers=2) as daemon:
        first, second = all_serving(daemon, 2)
        while len({daemon.scan(MAIL)["symbols"]["WHO"]["options"][0] for _ in range(5)}) < 2:
            pass
        before = counted()
        assert (len(before), min(before) > 0, sum(before) % 5) == (2, True, 0)
        os.kill(first, signal.SIGTERM)
        all_serving(daemon, 2, without=[first])
        until(lambda: len(counted()) == 3)
        assert sum(counted()) == sum(before)
        os.kill(second, signal.SIGTERM)
        all_serving(daemon, 2, without=[first, second])
        until(lambda: sorted(counted()) == [0, 0, sum(before)])


def test_the_second_signal_hurries(tmp_path: Path) -> None:
    with hanging(tmp_path) as (daemon, client):
        daemon.process.process.send_signal(signal.SIGTERM)
        gevent.sleep(0.5)
        assert daemon.process.process.poll() is None
        daemon.process.process.send_signal(signal.SIGINT)
        assert client.is_closed
        assert daemon.process.process.wait(15) == 0


def test_quit_does_not_wait_for_what_is_under_way(tmp_path: Path) -> None:
    with hanging(tmp_path) as (daemon, client):
        daemon.process.process.send_signal(signal.SIGQUIT)
        assert client.is_closed
        assert daemon.process.process.wait(15) == 0


def test_workers_end_when_the_supervisor_is_gone(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}, workers=2) as daemon:
        workers = all_serving(daemon, 2)
        started = Started([partial(daemon.scan, b"X-Slow: yes\r\n\r\n")] * 4)
        gevent.sleep(0.3)
        daemon.process.process.kill()
        assert len(started.values()) == 4
        until(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in workers))
        assert "the supervisor is gone" in daemon.process.output()
    # It could not do that itself.
    next(place for place in default_places(daemon.conf) if place.exists()).unlink()


def test_the_log_file_is_opened_again_after_it_was_moved(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_daemon(tmp_path, {"who": WHO}, f'[log]\nfile = "{log}"\n', workers=2) as daemon:
        daemon.scan(MAIL)
        log.rename(tmp_path / "log.1")
        daemon.process.process.send_signal(signal.SIGUSR1)
        until(log.exists)
        until(lambda: [daemon.scan(MAIL) for _ in range(8)] and log.read_text().count("filterd.message") >= 8)
        length = (tmp_path / "log.1").stat().st_size
        for _ in range(8):
            daemon.scan(MAIL)
        assert (tmp_path / "log.1").stat().st_size == length
        log.unlink()
        (tmp_path / "log").mkdir()
        daemon.process.process.send_signal(signal.SIGUSR1)
        gevent.sleep(0.2)
        assert set(daemon.scan(MAIL)["symbols"]) == {"WHO"}
        log.rmdir()


def test_an_order_nobody_knows_is_refused_and_nonsense_hung_up_on(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"who": WHO}) as daemon:
        assert order(daemon, "dance") == {"problems": ["there is no order 'dance'"]}
        place = next(str(place) for place in default_places(daemon.conf) if place.exists())
        assert Path(place).stat().st_mode & 0o777 == 0o600
        for nonsense in (b"\n\nnonsense\n", b"x" * 100_000):
            with Client(place) as client:
                client.send(nonsense)
                assert client.is_closed
        all_serving(daemon, 1)
    assert not Path(place).exists()
