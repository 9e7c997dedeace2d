"""The order of rules: found once, and what cannot be ordered is named."""

from typing import Any

import pytest

from filterd.engine.plan import OrderError, Plan, Plans
from filterd.engine.registry import Rule
from tests.support.engine import rule_of


def nothing(task: Any) -> None:
    return None


def named(name: str, **keywords: Any) -> Rule:
    return rule_of(nothing, name, **keywords)


def names(rules: Any) -> list[str]:
    return [rule.name for rule in rules]


def test_rules_begin_in_the_order_they_were_registered() -> None:
    (level,) = Plan([named("B"), named("A"), named("C", type="callback")]).stages["normal"]
    assert names(level.first) == ["B", "A", "C"]
    assert not level.blocked


def test_a_rule_that_runs_after_others_is_held_back_by_each() -> None:
    plan = Plan([named("LAST", after=("A", "B")), named("A"), named("B", after="A")])
    (level,) = plan.stages["normal"]
    assert names(level.first) == ["A"]
    assert {rule.name: count for rule, count in level.blocked.items()} == {"LAST": 2, "B": 1}
    assert {need.name: names(waiting) for need, waiting in level.dependents.items()} == {"A": ["LAST", "B"], "B": ["LAST"]}


def test_a_virtual_symbol_stands_for_its_parent() -> None:
    plan = Plan([named("LATER", after="VIRTUAL"), named("PARENT")], {"VIRTUAL": "PARENT"})
    assert {rule.name for rule in plan.stages["normal"][0].blocked} == {"LATER"}


def test_a_name_that_is_not_there_is_no_hindrance() -> None:
    assert names(Plan([named("A", after=("NOBODY",))]).stages["normal"][0].first) == ["A"]


def test_what_runs_in_an_earlier_stage_is_over_anyway() -> None:
    plan = Plan(
        [named("A", after=("EARLY", "HIGH"), type="postfilter", priority=5), named("EARLY"), named("HIGH", type="prefilter")]
    )
    assert not plan.stages["postfilter"][0].blocked


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"type": "postfilter"}),
        ({"type": "prefilter"}, {}),
        ({"type": "prefilter", "priority": 5}, {"type": "prefilter", "priority": 1}),
        ({"type": "postfilter", "priority": 1}, {"type": "postfilter", "priority": 5}),
    ],
)
def test_waiting_for_what_runs_later_is_refused(first: dict[str, Any], second: dict[str, Any]) -> None:
    with pytest.raises(OrderError, match="rule 'A' is to run after 'B', which runs later") as caught:
        Plan([named("A", after="B", **first), named("B", **second)])
    assert caught.value.rule.name == "A"


@pytest.mark.parametrize(
    ("after", "chain"),
    [
        ({"A": "A"}, "A after A"),
        ({"A": "B", "B": "A"}, "A after B after A"),
        ({"X": "A", "A": "B", "B": "C", "C": "A"}, "A after B after C after A"),
    ],
)
def test_rules_that_wait_for_each_other_are_named_with_the_chain(after: dict[str, str], chain: str) -> None:
    with pytest.raises(OrderError, match=f"rules wait for each other: {chain}"):
        Plan([named(name, after=need) for name, need in after.items()])


def test_a_long_chain_and_a_wide_one_are_no_cycle() -> None:
    chain = [named(f"R{number}", after=(f"R{number + 1}", f"R{number + 2}")) for number in range(3000)]
    (level,) = Plan(chain).stages["normal"]
    assert names(level.first) == ["R2999"]


def test_only_rules_that_ask_for_it_run_on_an_empty_message() -> None:
    plans = Plans([named("A"), named("E", flags="empty")])
    assert names(plans.full.stages["normal"][0].first) == ["A", "E"]
    assert names(plans.empty.stages["normal"][0].first) == ["E"]
