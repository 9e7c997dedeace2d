"""Reloading a real daemon: what is new comes into service without anybody noticing, what is broken does not."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import gevent
import pytest

from tests.support.client import Client
from tests.support.console import all_serving, log_lines, order, pids, serving, status, until
from tests.support.daemon import ROOT, Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.load import RULE, loaded
from tests.support.load_doors import HttpDoor, KeptHttpDoor
from tests.support.many import Started
from tests.support.partners import free_port

pytestmark = pytest.mark.timeout(90)

QUICK = 'trial_time = "300ms"\n'


def version(number: int) -> str:
    return RULE.replace("@VERSION@", str(number))


def rule_file(daemon: Daemon) -> Path:
    return daemon.conf.parent / "rules" / "load.py"


def told(daemon: Daemon) -> str:
    """The version of the rules that judge now."""
    options: list[str] = daemon.scan(MAIL)["symbols"]["WHOSE"]["options"]
    return options[1]


def reload(daemon: Daemon) -> list[str]:
    problems: list[str] = order(daemon, "reload")["problems"]
    return problems


def test_reloads_under_load_lose_nothing_and_bring_the_new_rules(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": version(0)}, QUICK, workers=2) as daemon:
        first = all_serving(daemon, 2)
        address = ("127.0.0.1", daemon.port)
        doors = {"http": lambda: HttpDoor(address), "kept": lambda: KeptHttpDoor(address)}
        with loaded(doors, clients=4) as tally:
            for number in (1, 2):
                rule_file(daemon).write_text(version(number))
                assert reload(daemon) == []
                gevent.sleep(0.2)
        assert told(daemon) == "2"
        assert tally.problems == []
        assert (tally.count("lost"), tally.count("tempfail")) == (0, 0)
        assert set(tally.versions) == {"0", "1", "2"}
        until(lambda: not set(first) & {worker["pid"] for worker in status(daemon)["workers"]})
        assert [(worker["generation"], worker["number"]) for worker in serving(daemon)] == [(3, 0), (3, 1)]


def test_what_is_under_way_is_answered_by_the_rules_it_began_with(tmp_path: Path) -> None:
    slow = version(0).replace("0.01", "3")
    with running_daemon(tmp_path, {"load": slow}, QUICK) as daemon:
        started = Started([partial(told, daemon)] * 3)
        until(lambda: sum(one["under_way"] for one in serving(daemon)) == 3)
        rule_file(daemon).write_text(version(1))
        answer = Started([partial(reload, daemon)])
        assert set(started.values()) == {"0"}
        assert answer.values() == [[]]
        assert told(daemon) == "1"


BROKEN = {
    "a syntax error": ("rule(\n", "load.py:1: SyntaxError"),
    "an exception at load": ("1 / 0\n", "load.py:1: ZeroDivisionError"),
    "a hook that fails": (
        "from filterd import on_load\n@on_load\ndef load():\n    raise ValueError('no list')\n",
        "load.py:4: on_load load: ValueError: no list",
    ),
    "the end of the process": ("import os\nos._exit(7)\n", "has ended with exit code 7"),
    "a crash": ("import os\nos.kill(os.getpid(), 11)\n", 'load.py", line 2 in <module>'),
    "a loop at load": ("while True:\n    pass\n", "it was not ready after 4 s (workers.start_timeout)"),
    "waiting at load": ("import time\ntime.sleep(3600)\n", "would wait in `time.sleep(3600)`: do it in an @on_load function"),
    "a hook that waits": (
        "from filterd import on_load, sleep\n\n\n@on_load\ndef wait():\n    sleep(3600)\n",
        "it was not ready after 4 s (workers.start_timeout)",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_rules_are_told_and_change_nothing(tmp_path: Path, what: str) -> None:
    source, expected = BROKEN[what]
    toml = QUICK + 'start_timeout = "20s"\n'
    with running_daemon(tmp_path, {"load": version(0)}, toml, workers=2) as daemon:
        before = all_serving(daemon, 2)
        if "start_timeout" in expected:
            # The next generation's own limit counts.
            daemon.conf.write_text(daemon.conf.read_text().replace('start_timeout = "20s"', 'start_timeout = "4s"'))
        rule_file(daemon).write_text(source)
        problems = reload(daemon)
        assert expected in "\n".join(problems)
        assert all_serving(daemon, 2) == before
        assert told(daemon) == "0"
        assert status(daemon)["last_reload"]["problems"] == problems
        assert any(f"not reloaded: {problems[0]}" == line for line in log_lines(daemon, "filterd.supervisor"))


def test_where_a_rule_hangs_at_load_is_told(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": version(0)}, QUICK + 'start_timeout = "6s"\n') as daemon:
        rule_file(daemon).write_text("import time\n\n\ntime.sleep(3600)\n")
        (problem,) = reload(daemon)
    assert re.search(r'rules/load\.py", line 4, in <module>', problem)


def test_a_crash_in_the_first_seconds_brings_the_old_workers_back(tmp_path: Path) -> None:
    dying = version(1) + "import os\nfrom filterd import background\n@background\ndef end():\n    sleep(0.5)\n    os._exit(9)\n"
    with running_daemon(tmp_path, {"load": version(0)}, 'trial_time = "20s"\n', workers=2) as daemon:
        before = all_serving(daemon, 2)
        rule_file(daemon).write_text(dying)
        with loaded({"http": lambda: HttpDoor(("127.0.0.1", daemon.port))}, clients=2) as tally:
            (problem,) = reload(daemon)
            gevent.sleep(0.3)
        assert "has ended with exit code 9" in problem
        until(lambda: [worker["pid"] for worker in status(daemon)["workers"]] == before)
        assert told(daemon) == "0"
        assert tally.problems == []
        # What the dying ones had just accepted; what the other new one had is answered.
        assert tally.count("lost") <= 4
        assert tally.count("answered") > 20


def test_a_broken_configuration_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": version(0)}) as daemon:
        before = all_serving(daemon, 1)
        good = daemon.conf.read_text()
        daemon.conf.write_text(good + "[limits]\ntask_timeout = 'soon'\n[nonsense]\n")
        words = [sys.executable, "-m", "filterd", "reload", "-c", str(daemon.conf)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert f'{daemon.conf}: limits.task_timeout: "soon" is not a duration' in done.stderr
        assert "nonsense: unknown key" in done.stderr
        daemon.conf.unlink()
        os.mkfifo(daemon.conf)  # reading it never ends
        assert pids(daemon) == before
        daemon.conf.unlink()
        daemon.conf.write_text(good)
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, "reloaded: generation 3, 1 of 1 workers serve\n")


def test_a_configuration_that_cannot_be_read_to_its_end_takes_nobody_down(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": version(0)}, 'start_timeout = "5s"\n') as daemon:
        before = all_serving(daemon, 1)
        daemon.conf.unlink()
        os.mkfifo(daemon.conf)
        (problem,) = reload(daemon)
        assert "the configuration was not read after 5 s" in problem
        assert pids(daemon) == before
        assert told(daemon) == "0"


def test_hup_reloads_and_a_second_one_meanwhile_is_not_forgotten(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": version(0)}, QUICK) as daemon:
        rule_file(daemon).write_text(version(1))
        daemon.process.process.send_signal(signal.SIGHUP)
        until(lambda: status(daemon)["reloading"])
        rule_file(daemon).write_text(version(2))
        daemon.process.process.send_signal(signal.SIGHUP)
        until(lambda: status(daemon)["generation"] == 3)
        assert told(daemon) == "2"


def test_hooks_that_run_once_move_to_the_new_workers(tmp_path: Path) -> None:
    source = version(0) + (
        "from filterd import background\nimport os, pathlib\n"
        "@background(scope='once')\ndef one():\n"
        f"    mine = pathlib.Path({str(tmp_path)!r}, 'running', str(os.getpid()))\n"
        "    mine.touch()\n    try:\n        sleep(3600)\n    finally:\n        mine.unlink()\n"
    )
    running = tmp_path / "running"
    running.mkdir()
    with running_daemon(tmp_path, {"load": source}, QUICK, workers=2) as daemon:
        for _ in range(2):
            before = all_serving(daemon, 2)
            (first,) = until(lambda: list(running.iterdir()))
            assert int(first.name) in before
            assert reload(daemon) == []
            until(lambda: list(running.iterdir()) not in ([], [first]))  # noqa: B023 - it is called in this turn
            # Never both: the old one has ended its hooks before the new one is elected.
            assert len(list(running.iterdir())) == 1
    assert list(running.iterdir()) == []


def test_listeners_come_and_go(tmp_path: Path) -> None:
    second, third = free_port(), free_port()
    path = tmp_path / "s.sock"
    more = '[listen.{name}]\nprotocol = "http"\nbind = "{where}"\n'
    toml = QUICK + more.format(name="going", where=f"127.0.0.1:{second}")
    toml += more.format(name="local", where=f"unix:{path} mode=0660")
    with running_daemon(tmp_path, {"load": version(0)}, toml) as daemon:
        inode = path.stat().st_ino
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        written = daemon.conf.read_text()
        changed = written.replace(f"127.0.0.1:{second}", f"127.0.0.1:{third}").replace("mode=0660", "mode=0600")
        with socket.create_server(("127.0.0.1", 0)) as busy:
            taken = more.format(name="taken", where=f"127.0.0.1:{busy.getsockname()[1]}")
            daemon.conf.write_text(changed + taken)
            assert reload(daemon) == [f"cannot listen on 127.0.0.1:{busy.getsockname()[1]}: Address already in use"]
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", third))
        Client(("127.0.0.1", second)).sock.close()
        daemon.conf.write_text(changed)
        kept = {"tcp": lambda: HttpDoor(("127.0.0.1", daemon.port)), "unix": lambda: HttpDoor(str(path))}
        with loaded(kept, clients=2) as tally:
            assert reload(daemon) == []
        assert tally.problems == []
        assert tally.count("lost") == 0
        Client(("127.0.0.1", third)).sock.close()
        with pytest.raises(ConnectionRefusedError):
            Client(("127.0.0.1", second))
        # The same socket, its permissions as they are now wanted.
        assert (path.stat().st_ino, stat.S_IMODE(path.stat().st_mode)) == (inode, 0o600)
        daemon.conf.write_text("".join(changed.partition("[listen.local]")[:1]))
        assert reload(daemon) == []
        until(lambda: not path.exists())
        assert [listener["name"] for listener in status(daemon)["listeners"]] == ["scan", "going"]


def test_the_number_of_workers_changes_with_a_reload(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"load": version(0)}, QUICK, workers=1) as daemon:
        daemon.conf.write_text(daemon.conf.read_text().replace("count = 1", "count = 3"))
        assert reload(daemon) == []
        all_serving(daemon, 3)


def test_idle_connections_are_closed_gently_and_new_ones_get_their_answer(tmp_path: Path) -> None:
    request = b"GET /ping HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"
    with running_daemon(tmp_path, {"load": version(0)}, QUICK) as daemon:
        address = ("127.0.0.1", daemon.port)
        with Client(address) as idle, Client(address) as fresh:
            assert idle.send(request).read_reply()[0] == 200
            until(lambda: status(daemon)["workers"])
            gevent.sleep(0.2)
            assert reload(daemon) == []
            assert idle.is_closed
            # Accepted by an old worker, which still waits for the first request of it.
            assert fresh.send(request).read_reply()[0] == 200


def test_a_trial_mail_on_which_a_rule_fails_stops_the_reload(tmp_path: Path) -> None:
    (tmp_path / "trial.eml").write_bytes(MAIL)
    with running_daemon(tmp_path, {"load": version(0)}, QUICK + 'trial_mail = "trial.eml"\n') as daemon:
        rule_file(daemon).write_text(version(1) + "\n@rule('BAD')\ndef bad(task):\n    return task.nothing_like_it\n")
        (problem,) = reload(daemon)
        assert problem.startswith("on the trial message BAD: AttributeError")
        assert "load.py:17" in problem
        assert told(daemon) == "0"
        (tmp_path / "trial.eml").unlink()
        rule_file(daemon).write_text(version(1))
        (problem,) = reload(daemon)
        assert problem == f"workers.trial_mail: {tmp_path}/trial.eml cannot be read: No such file or directory"


def test_no_rule_is_run_before_the_first_message_without_a_trial_mail(tmp_path: Path) -> None:
    counting = version(0) + "\nSEEN = []\n@rule('SEEN')\ndef seen(task):\n    SEEN.append(1)\n    return True, str(len(SEEN))\n"
    with running_daemon(tmp_path, {"load": counting}) as daemon:
        assert daemon.scan(MAIL)["symbols"]["SEEN"]["options"] == ["1"]
