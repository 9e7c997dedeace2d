"""The callback form that all calls share: how many arguments a callback gets, where it runs, whose failure it is."""

from collections.abc import Callable
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any

import pytest

from filterd.api._callback import later, offer, scope_of
from filterd.task import Deadline, Scope, Task, current, sleep
from tests.support.engine import rule_of, scan_with
from tests.support.scopes import FunctionScope, run_in_scope

OFFERED = ("error", "code", "body")


Got = Callable[..., None]


def passing_on(function: Got) -> Got:
    """A decorator as people write them: one code object for every function it was put on."""

    @wraps(function)
    def wrapper(*args: Any) -> None:
        function(*args)

    return wrapper


def methods_of(got: Got) -> Any:
    class Receiver:
        def one(self, error: Any) -> None:
            got(error)

        def two(self, error: Any, code: Any) -> None:
            got(error, code)

        def all(*args: Any) -> None:
            got(*args[1:])

        @classmethod
        def of_class(cls, error: Any) -> None:
            got(error)

        @staticmethod
        def static(error: Any, code: Any) -> None:
            got(error, code)

        def __call__(self, error: Any, /, code: Any) -> None:
            got(error, code)

    return Receiver()


@pytest.mark.parametrize(
    ("made", "taken"),
    [
        (lambda got: lambda: got(), 0),
        (lambda got: lambda error: got(error), 1),
        (lambda got: lambda error, code: got(error, code), 2),
        (lambda got: lambda error, code, body: got(error, code, body), 3),
        (lambda got: lambda *args: got(*args), 3),
        (lambda got: lambda error, *rest: got(error, *rest), 3),
        (lambda got: lambda error, code=None: got(error, code), 2),
        (lambda got: lambda error, /, code: got(error, code), 2),
        (lambda got: lambda error, *, key=1: got(error), 1),
        (lambda got: lambda error, **keywords: got(error, **keywords), 1),
        (lambda got: passing_on(lambda error: got(error)), 1),
        (lambda got: passing_on(lambda error, code: got(error, code)), 2),
        (lambda got: partial(lambda error, code: got(error, code)), 2),
        (lambda got: partial(lambda key, error: got(error), "key"), 1),
        (lambda got: partial(lambda error, key: got(error), key=1), 1),
        (lambda got: partial(lambda key, *args: got(*args), "key"), 3),
        (lambda got: methods_of(got).one, 1),
        (lambda got: methods_of(got).two, 2),
        (lambda got: methods_of(got).all, 3),
        (lambda got: methods_of(got).of_class, 1),
        (lambda got: methods_of(got).static, 2),
        (lambda got: methods_of(got), 2),
    ],
)
def test_a_callback_gets_as_many_arguments_as_it_takes(made: Callable[[Got], Got], taken: int) -> None:
    calls: list[tuple[Any, ...]] = []
    offer(made(lambda *args: calls.append(args)), *OFFERED)
    assert calls == [OFFERED[:taken]]


def test_a_builtin_may_be_a_callback() -> None:
    collected: list[Any] = []
    offer(collected.append, *OFFERED)
    assert collected == ["error"]
    # It does not tell what it takes, and is offered everything.
    with pytest.raises(TypeError, match="at most 2 arguments"):
        offer(int, *OFFERED)


def test_what_cannot_be_called_is_refused_where_it_was_given() -> None:
    with pytest.raises(TypeError, match="callback= is no function: 'done'"):
        later(FunctionScope(SimpleNamespace()), "done", tuple)  # type: ignore[arg-type]


# -- where it runs


def in_rule(function: Callable[[Scope], Any]) -> Any:
    def rule() -> Any:
        scope = current()
        assert scope is not None
        return function(scope)

    return run_in_scope(rule, network=SimpleNamespace())


def test_the_callback_form_is_the_blocking_form_in_a_child() -> None:
    order: list[Any] = []

    def work() -> tuple[Any, ...]:
        sleep(0.01)
        return None, "data"

    def rule(scope: Scope) -> bool:
        started = later(scope, lambda error, data: order.append((error, data, current() is scope)), work)
        order.append("the rule goes on")
        return started

    assert in_rule(rule) is True
    assert order == ["the rule goes on", (None, "data", True)]


def test_it_is_false_when_nothing_can_be_started_any_more() -> None:
    called: list[str] = []

    def rule(scope: Scope) -> bool:
        scope.deadline = Deadline(0.0)
        return later(scope, lambda: called.append("called"), tuple)

    assert in_rule(rule) is False
    assert called == []


def test_the_message_waits_for_callbacks_that_ask_again() -> None:
    def rule(task: Task) -> None:
        def ask(round_: int) -> None:
            def done(value: int) -> None:
                task.insert_result("ROUND", 1.0, value)
                if value < 3:
                    ask(value + 1)

            def work() -> tuple[int]:
                sleep(0.005)
                return (round_,)

            assert later(task, done, work)

        ask(1)

    assert scan_with(rule).symbols["ROUND"].options == ("1", "2", "3")


def test_an_exception_in_a_callback_is_its_rules_failure_and_nobody_elses() -> None:
    def asks(task: Task) -> bool:
        def done(value: str) -> None:
            raise ValueError(value)

        return later(task, done, lambda: ("broken callback",))

    def innocent(task: Task) -> bool:
        return True

    verdict = scan_with(asks, innocent)
    (failure,) = verdict.failures
    assert (failure.rule, failure.text) == ("ASKS", "ValueError: broken callback")
    frames = [line for line in failure.traceback.splitlines() if line.startswith("  File")]
    assert frames == [f'  File "{__file__}", line {failure.where.rpartition(":")[2]}, in done']
    assert set(verdict.symbols) == {"ASKS", "INNOCENT"}


def test_a_callback_that_takes_more_than_there_is_is_its_rules_failure() -> None:
    def asks(task: Task) -> None:
        def done(a: Any, b: Any, c: Any) -> None: ...

        later(task, done, lambda: (1, 2))

    (failure,) = scan_with(asks).failures
    assert "missing 1 required positional argument: 'c'" in failure.text


# -- whose call it is


def test_a_call_belongs_to_the_task_that_is_given_or_to_the_one_that_runs() -> None:
    other = FunctionScope(SimpleNamespace())

    def rule(scope: Scope) -> bool:
        return scope_of(None, "x") is scope and scope_of(other, "x") is other

    assert in_rule(rule)


def test_a_call_outside_of_everything_says_so_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"^http\.request was called outside of any rule: a rule file may only register"):
        scope_of(None, "http.request")


def test_a_child_and_a_callback_know_their_task_too() -> None:
    def rule(task: Task) -> tuple[Any, ...]:
        later(task, lambda: task.insert_result("CALLBACK", 1.0, scope_of(None, "x") is task), tuple)
        return True, task.spawn(scope_of, None, "x").get() is task

    verdict = scan_with(rule_of(rule, "RULE"))
    assert (verdict.symbols["RULE"].options, verdict.symbols["CALLBACK"].options) == (("True",), ("True",))
