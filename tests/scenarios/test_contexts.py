"""Contexts in the running daemon: hooks and tasks that wait, words that must not, and rules that hold the loop."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import gevent

from tests.support.control import ask, reachable
from tests.support.daemon import running_daemon
from tests.support.engine import MAIL
from tests.support.many import at_once
from tests.support.partners import free_port

RULES = """
from filterd import background, extractor, log, maps, on_finish, on_load, periodic, register_symbol, rule, sleep, spawn

SEEN = maps["seen"]
STARTS = []


@on_load
def begin(worker):
    sleep(0.01)
    SEEN["loaded"] = f"{worker.number} of {worker.count}"
    spawn(follow, "on_load")


def follow(who):
    sleep(0.01)
    SEEN[f"spawned by {who}"] = "ran"


@background(restart="on-error")
def breaks():
    STARTS.append(1)
    SEEN["starts"] = str(len(STARTS))
    if len(STARTS) < 2:
        raise KeyError("once")  # BREAKS
    spawn(follow, "background")


@extractor("slow", returns=str)
def slow(task):
    sleep(0.01)  # WAITS
    return "never"


@rule("SLOW_WORD")
def slow_word(task):
    return task.queue_id == "SLOW" and task.get("slow")


@rule("LATE")
def late(task):
    if task.queue_id == "LATE":
        register_symbol(name="LATER", callback=late)  # TOO LATE


@rule("SPAWNS")
def spawns(task):
    if task.queue_id == "SPAWNS":
        task.log_level = "silent"
        spawn(follow, "rule")


@rule("IN_C", burst_timeout=0.2)
def in_c(task):
    if task.queue_id == "IN_C":
        sleep(0.001)
        return sum(range(40_000_000)) > 0  # ADDS


@rule("LOOPS", burst_timeout=0.2)
def loops(task):
    while task.queue_id == "LOOPS":
        pass


@rule("SHOWS", score=1.0)
def shows(task):
    return True, *(f"{key}={value}" for key, value in sorted(SEEN.edits.items()))


@on_finish
def end():
    sleep(0.01)
    log.notice("the end, with %d keys", len(SEEN))
"""


def test_every_context_does_what_it_may_and_is_told_what_it_may_not(tmp_path: Path) -> None:
    port = free_port()
    toml = f"""
    [log]
    file = "{tmp_path}/log"
    [maps.seen]
    type = "map"
    [listen.control]
    protocol = "control"
    bind = "127.0.0.1:{port}"
    """
    with running_daemon(tmp_path, {"contexts": RULES}, toml) as daemon:

        def shown() -> set[str]:
            return set(daemon.scan(MAIL)["symbols"]["SHOWS"]["options"])

        daemon.scan(MAIL, Queue_Id="SPAWNS")
        ran = {f"spawned by {who}=ran" for who in ("on_load", "rule", "background")}
        while shown() != ran | {"loaded=0 of 1", "starts=2"}:
            gevent.sleep(0.05)
        names = ["SLOW", "LATE", "IN_C", "LOOPS", "OTHER", "ANOTHER"]
        replies = dict(zip(names, at_once([partial(daemon.scan, MAIL, Queue_Id=name) for name in names]), strict=True))
        reachable(port)
        metrics = ask(port, "/metrics").body.decode()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    file = tmp_path / "rules" / "contexts.py"

    def at(text: str) -> int:
        (line,) = [number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line]
        return line

    def logged(rule: str) -> dict[str, Any]:
        (line,) = [one for one in lines if one["logger"] == "filterd.rule" and one.get("rule") == rule]
        return dict(line)

    assert f"slow ({file}:{at('# WAITS')}) would wait in `sleep(0.01) # WAITS` (SLOW_WORD)" in logged("SLOW_WORD")["text"]
    assert f"rule 'LATER' is registered at {file}:{at('# TOO LATE')}, called while " in logged("LATE")["text"]
    for rule, mark in (("IN_C", "# ADDS"), ("LOOPS", "while task.queue_id")):
        line = logged(rule)
        assert "held the loop for" in line["text"]
        assert "(burst_timeout 0.2 s)" in line["text"]
        place = rf'File "{re.escape(str(file))}", line ({at(mark)}|{at(mark) + 1}), in {rule.lower()}'
        assert re.search(place, line["traceback"])
        assert f'filterd_rule_cpu_seconds_total{{rule="{rule}"}}' in metrics
    assert "IN_C" in replies["IN_C"]["symbols"]
    assert all("SHOWS" in reply["symbols"] for reply in replies.values())
    assert [one["text"] for one in lines if one["logger"] == "filterd.hooks" and "breaks" in one["text"]] == [
        f"background breaks: KeyError: 'once' ({file}:{at('# BREAKS')})",
        "background breaks: has ended and is started again in 1 s",
        "background breaks: has ended and is not started again (restart='on-error')",
    ]
    assert [one["level"] for one in lines if "the end, with 5 keys" in one.get("text", "")] == ["notice"]
    ids = [one["queue_id"] for one in lines if one["logger"] == "filterd.message"]
    assert "SPAWNS" not in ids
    assert set(names) <= set(ids)
