"""Rules that wait for others: `after=` and `task.result`."""

from typing import Any

import pytest

from filterd.engine.order import WaitCycle
from filterd.mail.envelope import Envelope
from filterd.task import Task, sleep
from tests.support.engine import engine_of, rule_of, scan_with


def hit(task: Task) -> bool:
    return True


def test_a_chain_of_ten_runs_in_its_order() -> None:
    order: list[int] = []

    def link(number: int) -> Any:
        def run(task: Task) -> None:
            sleep(0.002)
            order.append(number)

        return rule_of(run, f"DEP{number}", after=f"DEP{number - 1}")

    scan_with(*(link(number) for number in range(10, 0, -1)))
    assert order == list(range(1, 11))


def test_after_waits_for_what_the_other_started_too() -> None:
    order: list[str] = []

    def first(task: Task) -> None:
        def child() -> None:
            sleep(0.01)
            order.append("child of first")
            task.spawn(lambda: order.append("grandchild of first"))

        task.spawn(child)

    def second(task: Task) -> None:
        order.append("second")

    scan_with(rule_of(second, after="FIRST"), first)
    assert order == ["child of first", "grandchild of first", "second"]


def test_a_rule_that_fails_or_is_skipped_lets_the_others_go_on() -> None:
    def fails(task: Task) -> None:
        raise ValueError

    verdict = scan_with(
        fails,
        rule_of(hit, "SKIPPED", condition=lambda task: False),
        rule_of(hit, "AFTER", after=("FAILS", "SKIPPED")),
    )
    assert set(verdict.symbols) == {"AFTER"}


def test_what_waited_for_a_stopped_rule_is_told_as_not_begun() -> None:
    def never(task: Task) -> None:
        sleep(60)

    verdict = scan_with(never, rule_of(hit, "AFTER", after="NEVER"), task_timeout=0.05)
    assert [(failure.rule, "not begun" in failure.text) for failure in verdict.failures] == [("AFTER", True), ("NEVER", False)]


def test_result_waits_and_gives_the_hit() -> None:
    def slow(task: Task) -> tuple[bool, str]:
        sleep(0.02)
        return True, "slow"

    def asks(task: Task) -> tuple[bool, str]:
        found = task.result("SLOW")
        assert found is not None
        return True, found.options[0]

    assert scan_with(asks, slow).symbols["ASKS"].options == ("slow",)


def test_result_is_none_where_the_rule_has_no_hit() -> None:
    def misses(task: Task) -> None:
        sleep(0.005)

    def asks(task: Task) -> bool:
        return task.result("MISSES") is None

    verdict = scan_with(asks, misses)
    assert set(verdict.symbols) == {"ASKS"}
    assert verdict.failures == ()


def test_several_rules_and_their_children_may_ask_for_one_result() -> None:
    def slow(task: Task) -> bool:
        sleep(0.01)
        return True

    def asks(task: Task) -> bool:
        return all(task.map(lambda _: task.has_symbol("SLOW") or task.result("SLOW") is not None, range(3)))

    verdict = scan_with(slow, *(rule_of(asks, f"A{number}") for number in range(5)))
    assert set(verdict.symbols) == {"SLOW", *(f"A{number}" for number in range(5))}


def test_result_of_a_virtual_symbol_waits_for_its_parent() -> None:
    def parent(task: Task) -> None:
        sleep(0.01)
        task.insert_result("VIRTUAL", 1.0, "found")

    def asks(task: Task) -> bool:
        return task.result("VIRTUAL") is not None

    verdict = scan_with(asks, parent, rule_of(None, "VIRTUAL", type="virtual", parent="PARENT"))
    assert set(verdict.symbols) == {"VIRTUAL", "ASKS"}


def test_result_of_an_earlier_stage_does_not_wait() -> None:
    def asks(task: Task) -> bool:
        return task.result("EARLY") is not None

    verdict = scan_with(rule_of(hit, "EARLY", type="prefilter"), rule_of(asks, type="postfilter"))
    assert set(verdict.symbols) == {"EARLY", "ASKS"}


def test_result_of_a_later_stage_and_of_nobody_is_refused() -> None:
    def asks(task: Task) -> None:
        task.result("LATER")

    def misspells(task: Task) -> None:
        task.result("LATRE")

    verdict = scan_with(asks, misspells, rule_of(hit, "LATER", type="postfilter"))
    assert [failure.text for failure in verdict.failures] == [
        "LookupError: ASKS asks for the result of LATER, which runs later: it is a postfilter rule",
        "LookupError: there is no rule or virtual symbol 'LATRE'",
    ]


def test_rules_that_ask_each_other_are_found_and_named_with_the_chain() -> None:
    def asks(other: str) -> Any:
        def rule(task: Task) -> bool:
            sleep(0.001)
            return task.result(other) is None

        return rule

    verdict = scan_with(rule_of(asks("B"), "A"), rule_of(asks("C"), "B"), rule_of(asks("A"), "C"), task_timeout=2.0)
    (failure,) = verdict.failures
    assert failure.text == f"{WaitCycle.__name__}: C asks for the result of A which waits for B which waits for C"
    assert set(verdict.symbols) == {"B"}


def test_asking_for_what_waits_for_oneself_is_a_cycle_too() -> None:
    def asks(task: Task) -> None:
        task.result("WAITS")

    verdict = scan_with(asks, rule_of(hit, "WAITS", after="ASKS"), task_timeout=2.0)
    assert [failure.text for failure in verdict.failures] == [
        "WaitCycle: ASKS asks for the result of WAITS which waits for ASKS"
    ]
    assert set(verdict.symbols) == {"WAITS"}


def test_result_of_a_disabled_rule_is_none_at_once() -> None:
    def asks(task: Task) -> bool:
        return task.result("HIT") is None

    engine = engine_of(asks, hit)
    assert engine.rule_of("HIT") is not None
    verdict = scan_with(asks, hit, envelope=Envelope({"settings": ['{"symbols_enabled": ["ASKS"]}']}))
    assert set(verdict.symbols) == {"ASKS"}


# -- the reject limit


@pytest.mark.parametrize(("flags", "ran"), [((), {"BAD", "NICE"}), (("pass_all",), {"BAD", "NICE", "OTHER"})])
def test_above_the_reject_limit_only_fine_rules_go_on(flags: tuple[str, ...], ran: set[str]) -> None:
    verdict = scan_with(
        rule_of(hit, "BAD", score=20.0),
        rule_of(hit, "OTHER"),
        rule_of(hit, "NICE", score=-1.0, flags="nice"),
        envelope=Envelope({"flags": list(flags)}),
    )
    assert set(verdict.symbols) == ran


def test_postfilters_run_above_the_limit_too() -> None:
    verdict = scan_with(rule_of(hit, "BAD", score=20.0), rule_of(hit, "POST", type="postfilter"))
    assert set(verdict.symbols) == {"BAD", "POST"}
