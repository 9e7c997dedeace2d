"""Counts of one worker, and of several as one."""

import json
from typing import Any

import pytest

from filterd.daemon.statistics import LATE_BUCKETS, SCAN_BUCKETS, Statistics, merged, rebased, remains
from filterd.engine.registry import Rule
from filterd.mail.verdict import Hit, RuleFailure, Verdict
from filterd.net.counters import Counters

FAILURE = RuleFailure("A", "exception", "KeyError")


def verdict(action: str = "no action", seconds: float = 0.02, **changes: Any) -> Verdict:
    symbols = {name: Hit(name, 1.0) for name in changes.pop("symbols", ())}
    return Verdict(action, 1.0, 15.0, seconds=seconds, symbols=symbols, **changes)


def filled() -> Statistics:
    one = Statistics([Rule("A", None), Rule("V", None, type="virtual")])
    one.count(verdict(symbols=("A", "X")))
    one.count(verdict("reject", 3.0, symbols=("A", "V"), failures=(FAILURE,) * 2, timed_out=True))
    return one


def test_a_message_is_counted() -> None:
    told = filled().snapshot()
    assert (told["messages"], told["seconds"], told["timed_out"], told["failures"]) == (2, 3.02, 1, 2)
    assert told["actions"] == {"no action": 1, "reject": 1}
    assert told["symbols"] == {"A": 2, "V": 1, "X": 1}
    assert told["recent"] == [0.02, 3.0]


def test_each_message_is_in_one_bucket() -> None:
    one = Statistics()
    for seconds in (0.0, 0.001, 0.0011, 9.9, 10.0, 10.1):
        one.count(verdict(seconds=seconds))
    counts = dict(zip([*SCAN_BUCKETS, "more"], one.snapshot()["scan_buckets"], strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.001: 2, 0.0025: 1, 10.0: 2, "more": 1}


def test_a_snapshot_is_json() -> None:
    told = filled().snapshot()
    assert json.loads(json.dumps(told)) == told


def test_a_snapshot_does_not_change_when_more_is_counted() -> None:
    one = filled()
    told = one.snapshot()
    before = json.dumps(told)
    one.count(verdict("reject", symbols=("A",)))
    one.was_late(1.0)
    one.reset()
    assert json.dumps(told) == before


def test_rules_and_clients_are_read_where_they_are_counted() -> None:
    rule, counters = Rule("A", None), Counters()
    one = Statistics(
        [rule], lambda: {"http": counters}, cuts=lambda: 7, errors=lambda: [{"ts": 1}], worker=lambda: {"ready": True}
    )
    rule.runs, rule.seconds, rule.hits, rule.errors = 3, 1.5, 2, 1
    counters.requests, counters.replies = 5, 4
    told = one.snapshot()
    assert told["rules"] == {"A": [3, 1.5, 2, 1]}
    assert told["clients"]["http"] == {"requests": 5, "replies": 4, "errors": 0, "timeouts": 0, "in_flight": 1}
    assert (told["hub"]["cuts"], told["errors"], told["workers"][0]["ready"]) == (7, [{"ts": 1}], True)
    assert told["workers"][0]["rss"] > 1_000_000


def test_virtual_symbols_are_no_rules() -> None:
    assert set(filled().snapshot()["rules"]) == {"A"}


def test_names_that_rules_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.daemon.statistics.SYMBOLS", 10)
    one = Statistics([Rule("A", None)])
    for number in range(100):
        one.count(verdict(symbols=(f"S{number}", "A")))
    assert len(one.symbols) == 10
    assert one.symbols["A"] == 100


def test_a_late_loop_is_counted_and_a_held_one_too() -> None:
    one = Statistics()
    for seconds in (0.0, 0.02, 0.05, 2.0, 9.0):
        one.was_late(seconds)
    hub = one.snapshot()["hub"]
    assert (hub["late"], hub["blocked"]) == (pytest.approx(11.07), pytest.approx(11.05))
    counts = dict(zip([*LATE_BUCKETS, "more"], hub["late_buckets"], strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.001: 1, 0.025: 1, 0.05: 1, 5.0: 1, "more": 1}


def test_a_reset_is_a_new_beginning_for_stat_only() -> None:
    one = filled()
    one.reset()
    told = one.snapshot()
    assert told["reset"] == {"messages": 2, "actions": {"no action": 1, "reject": 1}}
    assert (told["messages"], told["recent"]) == (2, [])


def test_several_snapshots_are_added_up() -> None:
    first, second = filled(), filled()
    second.count(verdict("hold", 0.1, symbols=("Y",)))
    second.reset()
    first.was_late(0.3)
    snapshots = [json.loads(json.dumps(one.snapshot())) for one in (first, second)]
    snapshots[0]["started"] = 5.0
    snapshots[0]["rules"]["A"], snapshots[1]["rules"]["A"] = [1, 0.5, 1, 0], [2, 1.0, 1, 1]
    snapshots[1]["rules"]["B"] = [4, 4.0, 4, 4]
    snapshots[0]["errors"], snapshots[1]["errors"] = [{"ts": 1}], [{"ts": 2}]
    snapshots[0]["clients"] = {"dns": {"requests": 1, "in_flight": 1}}
    snapshots[1]["clients"] = {"dns": {"requests": 2, "in_flight": 0}, "http": {"requests": 3, "in_flight": 0}}
    total = merged(snapshots)
    assert (total["started"], total["messages"]) == (5.0, 5)
    assert total["actions"] == {"no action": 2, "reject": 2, "hold": 1}
    assert total["reset"] == {"messages": 3, "actions": {"no action": 1, "reject": 1, "hold": 1}}
    assert total["symbols"] == {"A": 4, "V": 2, "X": 2, "Y": 1}
    assert total["rules"] == {"A": [3, 1.5, 2, 1], "B": [4, 4.0, 4, 4]}
    assert total["clients"] == {"dns": {"requests": 3, "in_flight": 1}, "http": {"requests": 3, "in_flight": 0}}
    assert total["errors"] == [{"ts": 1}, {"ts": 2}]
    assert len(total["workers"]) == 2
    assert sum(total["scan_buckets"]) == 5
    assert total["hub"]["late"] == 0.3


def test_adding_up_does_not_change_what_is_added() -> None:
    snapshots = [filled().snapshot(), filled().snapshot()]
    before = json.dumps(snapshots)
    merged(snapshots)
    merged(snapshots)
    assert json.dumps(snapshots) == before


def test_no_snapshot_is_a_snapshot_of_nothing() -> None:
    total = merged([])
    assert (total["messages"], total["workers"], total["recent"]) == (0, [], [])
    assert set(total) == set(filled().snapshot())


def test_scan_times_of_all_are_the_last_31() -> None:
    one = filled().snapshot() | {"recent": [float(n) for n in range(31)]}
    assert merged([one, one])["recent"] == one["recent"]


def test_of_a_worker_that_ended_its_counts_remain_and_nothing_else() -> None:
    told = filled().snapshot()
    told["clients"] = {"http": {"requests": 5, "replies": 3, "errors": 0, "timeouts": 1, "in_flight": 1}}
    told["listeners"] = {"scan": {"accepted": 9, "open": 2}}
    left = remains(told)
    assert left["workers"] == []
    assert left["clients"]["http"] == {"requests": 5, "replies": 3, "errors": 1, "timeouts": 1, "in_flight": 0}
    assert left["listeners"]["scan"] == {"accepted": 9, "open": 0}
    assert merged([left, filled().snapshot()])["messages"] == 4
    assert len(merged([left, filled().snapshot()])["workers"]) == 1


def test_what_is_left_of_ended_workers_can_be_reset_too() -> None:
    left = rebased(remains(filled().snapshot()))
    assert left["reset"] == {"messages": 2, "actions": {"no action": 1, "reject": 1}}
    assert (left["messages"], left["recent"]) == (2, [])
