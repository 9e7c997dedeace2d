"""The journal that puts edits of all workers into one order, and brings new workers up to date."""

from typing import Any

import pytest

from filterd.daemon import map_journal
from filterd.daemon.map_journal import MapJournal, next_place


def edit(name: str, *changes: tuple[str, Any]) -> dict[str, Any]:
    return {"map": name, "origin": "one", "number": 1, "changes": list(changes)}


def pictured(journal: MapJournal) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for piece in journal.picture():
        assert piece["origin"] is None
        found.setdefault(piece["map"], {}).update(piece["changes"])
    return found


def test_each_edit_has_its_place_and_the_rest_is_as_it_came() -> None:
    journal = MapJournal()
    first, second = journal.take(edit("a", ("k", "1"))), journal.take(edit("a", ("k", "2")))
    assert first["seq"] < second["seq"]
    assert {**second, "seq": 0} == {**edit("a", ("k", "2")), "seq": 0}


def test_places_grow_over_a_restart_and_when_the_clock_does_not() -> None:
    last = MapJournal().take(edit("a"))["seq"]
    assert MapJournal().take(edit("a"))["seq"] > last
    ahead = last + 10**15
    assert next_place(ahead) == ahead + 1


def test_a_picture_has_the_last_of_every_key_also_that_it_was_undone() -> None:
    journal = MapJournal()
    assert journal.picture() == []
    journal.take(edit("a", ("k", "1"), ("gone", "1"), ("hidden", False)))
    journal.take(edit("b", ("k", True)))
    last = journal.take(edit("a", ("k", "2"), ("gone", None)))
    assert pictured(journal) == {"a": {"k": "2", "gone": None, "hidden": False}, "b": {"k": True}}
    assert {piece["seq"] for piece in journal.picture()} == {last["seq"]}


def test_what_was_undone_is_remembered_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_journal, "MAX_UNDONE", 2)
    journal = MapJournal()
    for key in "abcd":
        journal.take(edit("m", (key, True)))
        journal.take(edit("m", (key, None)))
    journal.take(edit("m", ("c", "back")))
    journal.take(edit("m", ("e", None)))
    assert pictured(journal) == {"m": {"d": None, "c": "back", "e": None}}


def test_a_picture_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_journal, "MAX_TEXT", 10)
    journal = MapJournal()
    journal.take(edit("m", *((f"key{number}", "12") for number in range(5))))
    assert [len(piece["changes"]) for piece in journal.picture()] == [1] * 5
    assert pictured(journal) == {"m": {f"key{number}": "12" for number in range(5)}}
