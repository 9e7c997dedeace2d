"""Rules that misbehave in the running daemon: the message is answered, the failure named, the others are unharmed."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.many import at_once
from tests.support.partners import free_port

# Each rule acts on the message that names it in Queue-Id, and lets the others pass.
RULES = """\
import re
import time

from filterd import Task, http, rule, sleep, tcp_sync


@rule("RAISES", condition=lambda task: task.queue_id == "RAISES")
def raises(task: Task) -> None:
    return {}["missing"]


@rule("NEVER_RETURNS", condition=lambda task: task.queue_id == "NEVER_RETURNS")
def never_returns(task: Task) -> None:
    sleep(3600)


@rule("LOOPS", condition=lambda task: task.queue_id == "LOOPS")
def loops(task: Task) -> None:
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        pass


@rule("LOOPS_FOREVER", condition=lambda task: task.queue_id == "LOOPS_FOREVER")
def loops_forever(task: Task) -> None:
    while True:
        pass


@rule("CATASTROPHE", condition=lambda task: task.queue_id == "CATASTROPHE")
def catastrophe(task: Task) -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


@rule("DEAD_HOST", condition=lambda task: task.queue_id == "DEAD_HOST")
def dead_host(task: Task) -> None:
    http.request("http://127.0.0.1:DEAD_PORT/").unwrap()


@rule("SILENT_HOST", condition=lambda task: task.queue_id == "SILENT_HOST")
def silent_host(task: Task) -> None:
    connection = tcp_sync.connect("127.0.0.1", SILENT_PORT, timeout=60).unwrap()
    connection.read_once().unwrap()


@rule("FINE", score=1.0)
def fine(task: Task) -> tuple[bool, str]:
    sleep(0.2)
    return True, task.queue_id or ""
"""

CASES = {
    # queue id: (what the failure tells, the line in the rule file that it names)
    "RAISES": ("KeyError: 'missing'", "return {}"),
    "NEVER_RETURNS": ("timeout: the message's budget of 3 s is over", "sleep(3600)"),
    "LOOPS_FOREVER": ("held the loop for", "while True:|pass"),
    "CATASTROPHE": ("held the loop for", "re.match"),
    "DEAD_HOST": ("Connection refused", "http.request"),
    "SILENT_HOST": ("while reading from 127.0.0.1:SILENT_PORT", "connection.read_once"),
}


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    from gevent import socket

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(100)
    yield sock.getsockname()[1]
    sock.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, silent_port: int) -> Iterator[Daemon]:
    source = RULES.replace("DEAD_PORT", str(free_port())).replace("SILENT_PORT", str(silent_port))
    with running_daemon(
        tmp_path_factory.mktemp("bad_rules"), {"bad": source}, '[limits]\ntask_timeout = "3s"\nburst_timeout = "500ms"\n'
    ) as one:
        yield one


@pytest.mark.parametrize("case", CASES)
def test_the_failure_is_named_and_the_other_63_messages_are_unharmed(daemon: Daemon, silent_port: int, case: str) -> None:
    ids = [case if number == 17 else str(number) for number in range(64)]
    replies = at_once(partial(daemon.scan, MAIL, Queue_Id=one) for one in ids)
    bad = replies.pop(17)
    assert [reply["symbols"]["FINE"]["options"] for reply in replies] == [[str(number)] for number in range(64) if number != 17]
    assert all(reply["messages"] == {} for reply in replies)
    assert bad["symbols"]["FINE"]["options"] == [case]
    text, line = CASES[case]
    told = bad["messages"]["rule_failures"]
    assert told.startswith(f"{case}: ")
    assert text.replace("SILENT_PORT", str(silent_port)) in told
    lines = (daemon.conf.parent / "rules" / "bad.py").read_text().splitlines()
    named = told.rpartition("bad.py:")[2].split()[0].rstrip(",;")
    assert any(piece in lines[int(named) - 1] for piece in line.split("|"))


def test_a_rule_that_computes_for_a_second_is_cut_and_the_others_answered(daemon: Daemon) -> None:
    ids = ["LOOPS" if number == 3 else str(number) for number in range(64)]
    replies = at_once(partial(daemon.scan, MAIL, Queue_Id=one) for one in ids)
    assert "held the loop" in replies[3]["messages"].pop("rule_failures")
    assert [reply["messages"] for reply in replies] == [{}] * 64


def test_the_log_has_a_traceback_that_begins_in_the_rule_and_a_line_for_each_message(daemon: Daemon) -> None:
    daemon.scan(MAIL, Queue_Id="RAISES")
    daemon.scan(MAIL, Queue_Id="afterwards")
    lines = [json.loads(line) for line in daemon.process.output().splitlines() if line.startswith("{")]
    failed = next(line for line in lines if line["logger"] == "filterd.rule" and "traceback" in line)
    assert failed["rule"] == "RAISES"
    assert failed["queue_id"] == "RAISES"
    first_frame = failed["traceback"].splitlines()[1]
    assert "rules/bad.py" in first_frame
    story = next(line for line in reversed(lines) if line["logger"] == "filterd.message")
    assert (story["queue_id"], story["action"], story["symbols"], story["level"]) == (
        "afterwards",
        "no action",
        {"FINE": 1.0},
        "info",
    )
