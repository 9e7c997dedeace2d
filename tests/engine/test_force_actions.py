"""Forced actions: when they decide, what they say, and when they run."""

from typing import Any

import pytest

from filterd.engine.composites import Composite, Composites
from filterd.engine.expressions import Compiler
from filterd.engine.force_actions import ForcedAction, is_late, rule_of_force
from filterd.engine.registry import Registry, Rule
from filterd.mail.verdict import Verdict
from filterd.task import Task
from tests.support.engine import rule_of, scan_with


def forced(name: str, expression: str, action: str = "reject", **keywords: Any) -> ForcedAction:
    if "message" in keywords:
        keywords["message"] = Compiler().compile(keywords["message"], "template")
    return ForcedAction(name, action, Compiler().compile(expression, "condition"), **keywords)


def verdict_with(*forces: ForcedAction, score: float = 0.0, rules: tuple[Rule, ...] = (), **keywords: Any) -> Verdict:
    """The verdict over a message of this score, with the forced actions where the configuration would put them."""
    registry = Registry()
    for rule in (rule_of(lambda task: True, "POINTS", score=score), *rules):
        registry.add(rule)
    for force in forces:
        registry.add(rule_of_force(force, late=is_late(force, registry, keywords.get("late", ()))))
    keywords.pop("late", None)
    return scan_with(*registry.rules.values(), **keywords)


@pytest.mark.parametrize(
    ("score", "action", "keywords", "expected"),
    [
        (20.0, "add header", {}, "add header"),
        (20.0, "no action", {}, "no action"),
        (0.0, "reject", {}, "reject"),
        (8.0, "no action", {"required": frozenset({"add header"})}, "no action"),
        (8.0, "reject", {"required": frozenset({"reject"})}, "add header"),
        (8.0, "reject", {"honoured": frozenset({"add header", "greylist"})}, "add header"),
        (20.0, "add header", {"least": True}, "reject"),
        (0.0, "add header", {"least": True}, "add header"),
    ],
)
def test_the_action_is_forced_whatever_the_score_says(
    score: float, action: str, keywords: dict[str, Any], expected: str
) -> None:
    verdict = verdict_with(forced("IT", "POINTS", action, **keywords), score=score)
    assert verdict.action == expected
    if not keywords:
        assert verdict.symbols["FORCE_ACTION_IT"].options == (action,)
        assert verdict.passthrough_module == "force_actions"


def test_the_symbol_is_not_there_where_the_condition_does_not_hold() -> None:
    verdict = verdict_with(forced("IT", "POINTS and NOTHING"), score=1.0)
    assert (verdict.action, set(verdict.symbols)) == ("no action", {"POINTS"})


def test_an_action_that_is_earned_anyhow_is_left_alone_unless_there_is_something_to_say() -> None:
    silent = verdict_with(forced("IT", "POINTS", "reject", required=frozenset({"reject"})), score=20.0)
    assert "FORCE_ACTION_IT" not in silent.symbols
    told = verdict_with(forced("IT", "POINTS", "reject", message="no {subject}"), score=20.0)
    assert "FORCE_ACTION_IT" in told.symbols
    assert told.messages == {"smtp_message": "no hello"}


def test_the_subject_is_rewritten_as_the_force_says() -> None:
    verdict = verdict_with(forced("IT", "POINTS", "rewrite subject", subject="[%d] %s"), score=2.5)
    assert (verdict.action, verdict.subject) == ("rewrite subject", "[2.50] hello")


@pytest.mark.parametrize(("first", "second", "expected"), [(2, 1, "reject"), (1, 2, "add header"), (1, 1, "reject")])
def test_among_several_the_highest_priority_decides(first: int, second: int, expected: str) -> None:
    one, two = forced("ONE", "POINTS", "reject", priority=first), forced("TWO", "POINTS", "add header", priority=second)
    verdict = verdict_with(one, two, score=1.0)
    assert verdict.action == expected
    assert {"FORCE_ACTION_ONE", "FORCE_ACTION_TWO"} <= verdict.symbols.keys()


def test_one_that_needs_filters_only_runs_when_they_have_ended_and_spares_the_rest() -> None:
    ran: list[str] = []

    def slow(task: Task) -> bool:
        task.sleep(0.01)
        return True

    rest = rule_of(lambda task: ran.append("LATER"), "LATER", after=("FORCE_ACTION_IT",))
    verdict = verdict_with(forced("IT", "SLOW"), rules=(rule_of(slow, "SLOW"), rest))
    assert (verdict.action, ran) == ("reject", [])


LATE = (
    (forced("IT", "SLOW and not VIRTUAL"), False),
    (forced("IT", "from('smtp') == ''"), False),
    (forced("IT", "NOBODYS"), True),
    (forced("IT", "AFTERWARDS"), True),
    (forced("IT", "AFTER_VIRTUAL"), True),
    (forced("IT", "COMPOSITE"), True),
    (forced("IT", "g:any"), True),
    (forced("IT", "score > 3"), True),
    (forced("IT", "SLOW", required=frozenset({"reject"})), True),
    (forced("IT", "SLOW", honoured=frozenset({"reject"})), True),
)


@pytest.mark.parametrize(("force", "late"), LATE, ids=lambda one: getattr(getattr(one, "expression", None), "text", None))
def test_one_that_needs_more_is_a_postfilter(force: ForcedAction, late: bool) -> None:
    registry = Registry()
    for rule in (
        rule_of(lambda task: True, "SLOW"),
        rule_of(lambda task: True, "AFTERWARDS", type="postfilter"),
        rule_of(None, "VIRTUAL", type="virtual", parent="SLOW"),
        rule_of(None, "AFTER_VIRTUAL", type="virtual", parent="AFTERWARDS"),
    ):
        registry.add(rule)
    assert is_late(force, registry, {"COMPOSITE"}) is late
    assert rule_of_force(force, late=late).type == ("postfilter" if late else "normal")


def test_a_composite_can_decide() -> None:
    every = Composites([Composite("BOTH", Compiler().compile("POINTS & MORE", "composite"))])
    more = rule_of(lambda task: True, "MORE")
    verdict = verdict_with(forced("IT", "BOTH"), rules=(more,), composites=every, late={"BOTH"})
    assert (verdict.action, set(verdict.symbols)) == ("reject", {"BOTH", "FORCE_ACTION_IT"})


def test_an_empty_message_is_decided_too() -> None:
    assert verdict_with(forced("IT", "size == 0"), raw=b"").action == "reject"
