"""What a rule's exception becomes: whose, of which kind, where, after how long."""

from typing import Any

import pytest

from filterd.engine.failures import describe, held_the_loop
from filterd.engine.scheduler import Engine
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.net.greenlets import Stop
from filterd.net.guard import Held
from filterd.outcome import Failure, RequestFailed
from filterd.task import Task
from tests.support.engine import MAIL, engine_of, rule_of, scan_with

RULE = rule_of(lambda task: None, "RULE")
PLACE = RULE.place


@pytest.fixture
def task() -> Task:
    """A message on which RULE has taken a quarter of a second."""
    engine: Engine = engine_of(RULE)
    one = Task(ScanRequest(Message(MAIL), Envelope({})), engine.environment)
    one.timings["RULE"] = 0.25
    return one


def stop(kind: str, phase: str, peer: str) -> Stop:
    one = Stop("the message's budget of 8 s is over", kind)
    one.phase, one.peer = phase, peer
    return one


@pytest.mark.parametrize(
    ("phase", "peer", "doing"),
    [
        ("", "", ""),
        ("sleep", "", " while sleep"),
        ("connect", "127.0.0.1:3310", " while connecting to 127.0.0.1:3310"),
        ("tls", "127.0.0.1:443", " while in the TLS handshake with 127.0.0.1:443"),
        ("read", "127.0.0.1:3310", " while reading from 127.0.0.1:3310"),
        ("write", "unix:/run/x", " while writing to unix:/run/x"),
        ("dns", "example.org", " while asking DNS for example.org"),
    ],
)
def test_a_stop_tells_what_the_rule_was_waiting_for(task: Task, phase: str, peer: str, doing: str) -> None:
    failure = describe(stop("timeout", phase, peer), rule=RULE, scan=task, files=[__file__])
    assert failure.text == f"timeout: the message's budget of 8 s is over{doing}"
    assert (failure.rule, failure.kind, failure.phase, failure.peer) == ("RULE", "timeout", phase, peer)
    assert (failure.elapsed, failure.where, failure.traceback) == (0.25, PLACE, "")


def test_a_failed_request_tells_whom_it_asked_and_is_no_bug(task: Task) -> None:
    refused = Failure("Connection refused", kind="connect", peer="127.0.0.1:1", phase="connect", elapsed=0.1)
    failure = describe(RequestFailed(refused), rule=RULE, scan=task, files=[__file__])
    assert failure.text == "connect: Connection refused with 127.0.0.1:1 after 0.10 s"
    assert (failure.kind, failure.phase, failure.peer, failure.elapsed) == ("connect", "connect", "127.0.0.1:1", 0.25)
    assert failure.traceback == ""


def test_anything_else_is_a_bug_with_a_traceback(task: Task) -> None:
    failure = describe(ValueError("two\nlines"), rule=RULE, scan=task, files=[__file__])
    assert (failure.kind, failure.text, failure.where) == ("exception", "ValueError: two lines", PLACE)
    assert failure.traceback == "ValueError: two\nlines"
    assert str(failure) == f"RULE: ValueError: two lines at {PLACE} after 0.25 s"


def test_the_place_is_the_rules_own_line_however_deep_it_failed() -> None:
    def parses(task: Task) -> None:
        int("twelve")
        raise AssertionError

    (failure,) = scan_with(parses).failures
    assert failure.where == f"{__file__}:{parses.__code__.co_firstlineno + 1}"


def test_a_rule_that_cannot_be_called_is_named_with_the_line_that_registered_it() -> None:
    def forgets_its_argument(task: Task) -> None: ...

    rule = rule_of(forgets_its_argument, "RULE")
    rule.function = lambda: None  # type: ignore[assignment]
    (failure,) = scan_with(rule, files=[__file__]).failures
    assert failure.where == rule.place
    assert "takes 0 positional arguments but 1 was given" in failure.text
    assert "filterd/engine" not in failure.traceback
    assert failure.traceback != ""


def test_a_child_that_fails_while_its_rule_goes_on_tells_a_time_too() -> None:
    def parent(task: Task) -> None:
        def child() -> None:
            task.sleep(0.03)
            raise ValueError

        task.spawn(child)
        task.sleep(0.1)

    (failure,) = scan_with(parent).failures
    assert failure.elapsed >= 0.03


def test_a_rule_that_held_the_loop_is_told_with_its_seconds() -> None:
    failure = held_the_loop(RULE, 1.234, 0.5)
    assert failure.text == (
        "limit: held the loop for 1.23 s (burst_timeout 0.5 s) in code that could not be interrupted; its result counts"
    )
    assert (failure.rule, failure.kind, failure.where, failure.elapsed) == ("RULE", "limit", PLACE, 1.234)
    assert failure.traceback == ""


def test_where_it_was_seen_to_hold_the_loop_is_told_with_the_stack() -> None:
    failure = held_the_loop(RULE, 5.0, 0.5, Held(1.234, "/r/a.py:7", '  File "/r/a.py", line 7, in look'))
    assert failure.text.startswith("limit: held the loop for 1.23 s (burst_timeout 0.5 s)")
    assert (failure.where, failure.elapsed) == ("/r/a.py:7", 1.234)
    assert failure.traceback == 'Called by:\n  File "/r/a.py", line 7, in look'


@pytest.mark.parametrize("value", ["text\x00with\x1bcontrols", "x" * 100_000])
def test_a_failure_is_as_short_as_a_line_whatever_was_raised(value: Any) -> None:
    def raises(task: Task) -> None:
        raise ValueError(value)

    (failure,) = scan_with(raises).failures
    assert len(str(failure)) < 1000
    assert len(failure.traceback) < 20_000
