"""What all workers have counted: the living, those that do not answer, and those that have ended."""

from typing import Any

import pytest

from filterd.daemon import ledger as ledger_module
from filterd.daemon.ledger import Ledger, added
from filterd.daemon.loop import Loop


class Counting:
    """A worker as the ledger sees it: it gets questions, and has a last snapshot."""

    def __init__(self, state: str = "serving") -> None:
        self.name, self.pid, self.state = "worker", 1, state
        self.statistics: dict[str, Any] | None = None
        self.asked: list[Any] = []
        self.resets = 0

    def send(self, message: dict[str, Any]) -> None:
        if message["do"] == "reset":
            self.resets += 1
        else:
            self.asked.append(message["id"])


def test_numbers_are_added_and_the_rest_is_the_last() -> None:
    one = {"scanned": 3, "rules": {"A": {"hits": 1, "seconds": 0.5}}, "version": "1", "on": True, "new": None}
    two = {"scanned": 4, "rules": {"A": {"hits": 2, "seconds": 0.25}, "B": {"hits": 1}}, "version": "2", "on": True}
    assert added([one, two]) == {
        "scanned": 7,
        "rules": {"A": {"hits": 3, "seconds": 0.75}, "B": {"hits": 1}},
        "version": "2",
        "on": True,
        "new": None,
    }
    assert added([]) == {}
    assert added([{"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}]) == {"a": {"b": 2}}


def test_all_that_serve_are_asked_and_the_answer_waits_for_them() -> None:
    one, two, three = Counting(), Counting("draining"), Counting("starting")
    ledger = Ledger(Loop(), lambda: [one, two, three])  # type: ignore[list-item]
    found: list[Any] = []
    ledger.collect(found.append)
    assert (one.asked, two.asked, three.asked) == ([1], [1], [])
    ledger.heard(one, {"id": 1, "statistics": {"n": 1}})  # type: ignore[arg-type]
    assert found == []
    ledger.heard(two, {"id": None, "statistics": {"n": 1}})  # type: ignore[arg-type]
    assert found == []
    ledger.heard(two, {"id": 1, "statistics": {"n": 2}})  # type: ignore[arg-type]
    assert found == [[{"n": 1}, {"n": 2}]]
    ledger.heard(two, {"id": 1, "statistics": {"n": 3}})  # type: ignore[arg-type]
    assert len(found) == 1


def test_nobody_to_ask_is_an_answer_too() -> None:
    found: list[Any] = []
    Ledger(Loop(), list).collect(found.append)
    assert found == [[]]


def test_who_does_not_answer_is_there_with_what_it_said_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "PATIENCE", 0.01)
    loop = Loop()
    one, two = Counting(), Counting()
    ledger = Ledger(loop, lambda: [one, two])  # type: ignore[list-item]
    one.statistics = {"n": 5}
    found: list[Any] = []
    ledger.collect(found.append)
    while not found:
        loop.turn()
    assert found == [[{"n": 5}]]
    loop.close()


def test_what_an_ended_worker_has_counted_is_kept() -> None:
    living: list[Any] = [Counting(), Counting(), Counting()]
    ledger = Ledger(Loop(), lambda: living)
    found: list[Any] = []
    ledger.collect(found.append)
    for number in (0, 1):
        living[number].statistics = {"n": number + 1, "who": f"{number}"}
    for worker in living[:2]:
        living.remove(worker)
        ledger.gone(worker)
    assert found == []
    gone = living.pop()
    ledger.gone(gone)
    assert found == [[{"n": 3, "who": "1"}]]


def test_what_remains_of_an_ended_worker_and_of_a_reset_is_told_to_the_ledger() -> None:
    living: list[Any] = [Counting(), Counting()]
    ledger = Ledger(
        Loop(),
        lambda: living,
        remains=lambda snapshot: {**snapshot, "open": 0},
        rebased=lambda snapshot: {**snapshot, "since": snapshot["n"]},
    )
    ended: Any = Counting()
    ended.statistics = {"n": 3, "open": 5}
    ledger.gone(ended)
    assert ledger.ended == {"n": 3, "open": 0}
    ledger.reset()
    assert ledger.ended == {"n": 3, "open": 0, "since": 3}
    assert [worker.resets for worker in living] == [1, 1]
    plain = Ledger(Loop(), list)
    plain.gone(ended)
    plain.reset()
    plain.reset()
    assert plain.ended is None


def test_a_sum_that_cannot_be_made_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def merge(snapshots: Any) -> dict[str, Any]:
        raise KeyError("n")

    ledger = Ledger(Loop(), list, merge)
    for number in (1, 2):
        worker: Any = Counting()
        worker.statistics = {"n": number}
        ledger.gone(worker)
    assert ledger.ended == {"n": 1}
    assert "cannot be added to the rest, and is lost" in caplog.text
