"""What belongs to one message: its children, its connections, its budget, and what a call finds out about it."""

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.socket
import pytest

from filterd.net.greenlets import Stop
from filterd.outcome import Failure
from filterd.task import Deadline, Scope, current, sleep, with_budget
from tests.support.scopes import FunctionScope, run_in_scope

NO_NETWORK = SimpleNamespace()


def within(function: Callable[[Scope], Any], budget: float = 8.0) -> Any:
    """Call it with its scope, as a rule of that scope."""
    scope = FunctionScope(NO_NETWORK, budget)
    return scope.run(lambda: function(scope))


# -- the deadline


def test_a_deadline_counts_down_and_stops_at_nothing() -> None:
    deadline = Deadline(8.0)
    assert 7.0 < deadline.left <= 8.0
    assert str(deadline) == "8.0 s of 8.0 s left"
    over = Deadline(-1.0)
    assert over.left == 0.0
    assert str(over) == "0.0 s of -1.0 s left"


# -- children


def test_a_child_runs_beside_and_the_scope_waits_for_it() -> None:
    order: list[str] = []

    def rule(scope: Scope) -> None:
        scope.start(order.append, "child")
        order.append("rule")

    within(rule)
    assert order == ["rule", "child"]


def test_a_child_has_the_context_its_parent_had_and_the_parents_name() -> None:
    def rule(scope: Scope) -> Any:
        child = scope.start(lambda: scope.start(current).get())
        assert child.name == "TEST"
        return child.get() is scope

    assert within(rule)


def test_a_childs_failure_is_the_rules_unless_somebody_asks_for_it() -> None:
    def asks_at_once(scope: Scope) -> str:
        child = scope.start(lambda: 1 // 0)
        try:
            child.get()
        except ZeroDivisionError as error:
            return str(error)
        raise AssertionError

    def asks_when_it_has_failed(scope: Scope) -> str:
        child = scope.start(lambda: 1 // 0)
        sleep(0.01)
        with pytest.raises(ZeroDivisionError) as raised:
            child.get()
        return str(raised.value)

    def never_asks(scope: Scope) -> None:
        scope.start(lambda: 1 // 0)

    assert within(asks_at_once).endswith("by zero")
    assert within(asks_when_it_has_failed).endswith("by zero")
    with pytest.raises(ZeroDivisionError):
        within(never_asks)


def test_a_child_that_is_asked_twice_answers_twice() -> None:
    def rule(scope: Scope) -> tuple[int, int]:
        child = scope.start(lambda: 42)
        return child.get(), child.get()

    assert within(rule) == (42, 42)


def test_a_child_needs_a_rule_that_asked_for_it() -> None:
    scope = FunctionScope(NO_NETWORK)
    with pytest.raises(RuntimeError, match="test: a child can only be started from inside a rule"):
        scope.start(lambda: None)
    assert scope.start_later(lambda: None) is False


def test_a_callback_cannot_be_started_once_the_budget_is_over() -> None:
    def rule(scope: Scope) -> tuple[bool, bool]:
        before = scope.start_later(lambda: None)
        scope.deadline = Deadline(0.0)
        return before, scope.start_later(lambda: None)

    assert within(rule) == (True, False)


def test_children_are_stopped_with_the_budget() -> None:
    ended: list[str] = []

    def child() -> None:
        try:
            sleep(60)
        finally:
            ended.append("child")

    def rule(scope: Scope) -> None:
        scope.start(child).get()

    with pytest.raises(Stop, match=r"the message's budget of 0\.05 s is over"):
        within(rule, budget=0.05)
    assert ended == ["child"]


# -- map


@pytest.mark.parametrize("limit", [None, 1, 3, 100])
def test_map_keeps_the_order(limit: int | None) -> None:
    def backwards(number: int) -> str:
        sleep(0.005 * (5 - number))
        return str(number)

    assert within(lambda scope: scope.map(backwards, iter(range(5)), limit)) == list("01234")


def test_map_of_nothing_is_nothing() -> None:
    assert within(lambda scope: scope.map(str, [])) == []


def test_map_raises_when_all_have_ended() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        sleep(0.01 * number)
        if number == 0:
            raise ValueError("the first")
        done.append(number)

    def rule(scope: Scope) -> list[int]:
        with pytest.raises(ValueError, match="the first"):
            scope.map(work, range(3))
        return list(done)

    assert within(rule) == [1, 2]


@pytest.mark.parametrize("limit", [0, -1])
def test_map_with_room_for_nobody_is_a_mistake(limit: int) -> None:
    with pytest.raises(ValueError, match="would let nothing run"):
        within(lambda scope: scope.map(str, [1], limit))


# -- connections


class Connection:
    def __init__(self, closed: list[str], name: str, error: Exception | None = None) -> None:
        self.closed = closed
        self.name = name
        self.error = error

    def close(self) -> None:
        self.closed.append(self.name)
        if self.error is not None:
            raise self.error


def test_what_was_opened_is_closed_and_what_was_given_away_is_not() -> None:
    closed: list[str] = []

    def rule(scope: Scope) -> None:
        scope.release(Connection(closed, "never adopted"))
        kept = Connection(closed, "given away")
        for connection in (Connection(closed, "mine"), kept):
            scope.adopt(connection)
        scope.release(kept)
        assert closed == []

    within(rule)
    assert closed == ["mine"]


def test_one_that_cannot_be_closed_keeps_the_others_from_nothing(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    def rule(scope: Scope) -> str:
        scope.adopt(Connection(closed, "broken", OSError("it is stuck")))
        scope.adopt(Connection(closed, "other"))
        return "answered"

    with caplog.at_level(logging.ERROR, "filterd.task"):
        assert within(rule) == "answered"
    assert closed == ["broken", "other"]
    assert "test: a connection could not be closed" in caplog.text


def test_what_is_opened_after_the_end_is_closed_at_once() -> None:
    """A rule that could not be stopped may still run when its message is long answered."""
    closed: list[str] = []
    scope = FunctionScope(NO_NETWORK)
    scope.run(lambda: None)
    scope.adopt(Connection(closed, "late"))
    assert closed == ["late"]
    scope.release(Connection(closed, "unknown"))


# -- whose call it is


def test_outside_of_everything_there_is_no_scope() -> None:
    assert current() is None
    greenlet = gevent.spawn(current)
    greenlet.join()
    assert greenlet.value is None


TIMEOUT = Failure("connect to ::1 after 1.00 s", kind="timeout", peer="::1", phase="connect", elapsed=1.0, partial=b"x")


def test_a_timeout_tells_whose_it_was_and_what_is_left() -> None:
    told = within(lambda scope: with_budget(TIMEOUT, scope))
    assert str(told) == "connect to ::1 after 1.00 s (rule TEST, 8.0 s of 8.0 s left)"
    assert (told.kind, told.peer, told.phase, told.elapsed, told.partial) == ("timeout", "::1", "connect", 1.0, b"x")


def test_a_timeout_outside_of_a_rule_tells_the_budget_alone() -> None:
    assert str(with_budget(TIMEOUT, FunctionScope(NO_NETWORK))).endswith("1.00 s (8.0 s of 8.0 s left)")


def test_another_failure_stays_as_it_is() -> None:
    refused = Failure("Connection refused", kind="connect")
    assert within(lambda scope: with_budget(refused, scope)) is refused
    assert with_budget(TIMEOUT, None) is TIMEOUT


# -- sleep


@pytest.mark.parametrize("seconds", [0, 0.0, -1])
def test_sleeping_for_no_time_lets_io_be_served(seconds: float) -> None:
    """Which gevent.sleep(0) does not: it only gives the turn to the next callback, and that may be one's own again."""

    def rule() -> list[str]:
        served: list[str] = []
        one, other = gevent.socket.socketpair()
        watcher = gevent.get_hub().loop.io(other.fileno(), 1)
        try:
            watcher.start(served.append, "readable")
            one.send(b"x")
            # What becomes ready in the same turn may be served after this one.
            sleep(seconds)
            sleep(seconds)
        finally:
            watcher.close()
            one.close()
            other.close()
        return served

    assert "readable" in run_in_scope(rule, network=NO_NETWORK)


def test_sleep_waits_as_long_as_it_says() -> None:
    order: list[int] = []

    def rule(scope: Scope) -> None:
        def sleeper(number: int) -> None:
            sleep(number / 50)
            order.append(number)

        scope.map(sleeper, [3, 1, 2])

    within(rule)
    assert order == [1, 2, 3]
