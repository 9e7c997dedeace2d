"""Hooks in the real daemon, and in `filterd scan`: before the first message, beside the messages, after the last."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import gevent

from tests.support.daemon import ROOT, running_daemon, written
from tests.support.engine import MAIL
from tests.support.pages import serving_paths

ALL = """
from filterd import Task, background, http, log, on_finish, on_load, periodic, rule, sleep

SEEN = []


@on_load
def load(worker) -> None:
    SEEN.append(f"load {worker.number}/{worker.count} " + http.request("@SERVER@/list").unwrap().text)


@periodic(0.02)
def tick() -> None:
    if "tick" not in SEEN:
        SEEN.append("tick")
        raise ValueError("first tick")


@background
def beside() -> None:
    try:
        sleep(3600)
    finally:
        log.info("beside ends")


@on_finish
def finish() -> None:
    log.info("told %s", http.request("@SERVER@/bye").unwrap().text)


@rule("SEEN")
def seen(task: Task) -> object:
    return (True, *SEEN)
"""


def test_hooks_run_before_beside_and_after_the_messages(tmp_path: Path) -> None:
    with serving_paths() as address:
        source = ALL.replace("@SERVER@", address)
        with running_daemon(tmp_path, {"hooks": source}) as daemon:
            assert daemon.scan(MAIL)["symbols"]["SEEN"]["options"][0] == "load 0/1 list"
            while "tick" not in daemon.scan(MAIL)["symbols"]["SEEN"]["options"]:
                gevent.sleep(0.02)
            os.kill(daemon.process.pid, signal.SIGTERM)
            assert daemon.process.process.wait(10) == 0
            lines = [json.loads(line) for line in daemon.process.output().splitlines()]
    (failure,) = [line for line in lines if line["logger"] == "filterd.hooks"]
    place = tmp_path / "rules" / "hooks.py"
    assert failure["text"] == f"periodic tick: ValueError: first tick ({place}:16)"
    assert failure["traceback"].splitlines()[1] == f'  File "{place}", line 16, in tick'
    assert [(line["text"], line["rule"]) for line in lines if line["logger"] == "filterd.rule"] == [
        ("beside ends", "background beside"),
        ("told bye", "on_finish finish"),
    ]
    assert lines[-1]["text"] == "ended"


def test_a_hook_that_fails_at_the_start_stops_it_with_the_users_line(tmp_path: Path) -> None:
    source = "from filterd import on_load\n\n@on_load\ndef load():\n    raise ValueError('no list')\n"
    conf = written(tmp_path, {"hooks": source}, "", 0)
    command = [sys.executable, "-m", "filterd", "run", "-c", str(conf)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/rules/hooks.py:5: on_load load: ValueError: no list" in done.stderr
    assert str(ROOT / "filterd") not in done.stderr


def test_a_hook_that_will_not_end_is_cut_by_the_cpu_guard(tmp_path: Path) -> None:
    source = "from filterd import on_load\n\n@on_load\ndef load():\n    while True:\n        pass\n"
    conf = written(tmp_path, {"hooks": source}, '[limits]\nburst_timeout = "100ms"\n', 0)
    (tmp_path / "mail.eml").write_bytes(MAIL)
    for command in (["run"], ["scan", str(tmp_path / "mail.eml")]):
        words = [sys.executable, "-m", "filterd", command[0], "-c", str(conf), *command[1:]]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)
        assert done.returncode == 2
        assert "on_load load: limit: held the loop for " in done.stderr


def test_filterd_scan_loads_and_finishes_too(tmp_path: Path) -> None:
    source = """
        from filterd import on_finish, on_load, periodic, rule
        SEEN = []
        @on_load
        def load(): SEEN.append("loaded")
        @periodic(0.001)
        def never(): raise ValueError
        @on_finish
        def finish(): open(__file__ + ".finished", "w").close()
        @rule("SEEN")
        def seen(task): return (True, *SEEN)
        """
    conf = written(tmp_path, {"hooks": source}, "", 0)
    (tmp_path / "mail.eml").write_bytes(MAIL)
    command = [sys.executable, "-m", "filterd", "scan", "-c", str(conf), "--json", str(tmp_path / "mail.eml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["symbols"]["SEEN"]["options"] == ["loaded"]
    assert (tmp_path / "rules" / "hooks.py.finished").exists()
