"""A live map: the version there is, and the changes over it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail import live_map
from filterd.mail.live_map import Change, LiveMap
from filterd.mail.map_lines import new_map
from filterd.mail.maps import MAX_KEY, BadKey, Map, MapType


def version(type: MapType, *keys: str | tuple[str, Any]) -> Map:
    made = new_map(type)
    for key in keys:
        made.add(*(key if isinstance(key, tuple) else (key, True)))
    made.finish()
    return made


def live(type: MapType = "map", *keys: str | tuple[str, Any], has_source: bool = True) -> tuple[LiveMap, list[list[Change]]]:
    """A map that was loaded, and what it tells."""
    one = LiveMap("friends", new_map(type), has_source=has_source)
    told: list[list[Change]] = []
    one.tell = told.append
    if has_source:
        one.replace(version(type, *keys))
    return one, told


def test_it_is_what_version_there_is() -> None:
    one = LiveMap("friends", new_map("map"))
    assert (one.version, len(one), "a" in one) == (0, 0, False)
    one.replace(version("map", ("a", "1"), "b"))
    assert (one.version, len(one), one["a"], one.get("b"), one.get("c"), one.get("c", "x")) == (1, 2, "1", True, None, "x")
    assert repr(one) == "<LiveMap 'friends', map, 2 keys, version 1>"
    assert repr(one.value) == "<map map of 2 keys>"


def test_it_cannot_be_listed() -> None:
    """`for key in maps["x"]` would otherwise ask for the keys 0, 1, 2, …"""
    with pytest.raises(TypeError, match="map 'friends' cannot be listed"):
        list(LiveMap("friends", new_map("map")))


def test_a_change_is_there_for_the_next_look_up_and_is_told() -> None:
    one, told = live("map", ("a", "1"))
    one.add("Ann")
    one["bob"] = "2"
    one["A"] = "3"
    assert (one["ann"], one["BOB"], one["a"], len(one)) == (True, "2", "3", 3)
    assert one.discard("bob") is True
    assert one.discard("bob") is False
    del one["a"]
    assert ("bob" in one, "a" in one, len(one)) == (False, False, 1)
    with pytest.raises(KeyError, match="'a'"):
        del one["a"]
    assert told == [[("ann", True)], [("bob", "2")], [("a", "3")], [("bob", None)], [("a", False)]]
    assert dict(one.edits) == {"ann": True, "a": False}


def test_what_changes_nothing_is_not_told() -> None:
    one, told = live("map", ("a", "1"))
    for _ in range(3):
        one["b"] = "1"
        one.discard("c")
    assert told == [[("b", "1")]]


def test_what_comes_and_goes_leaves_nothing_behind() -> None:
    one, _ = live("ip", "192.0.2.0/24")
    for number in range(1, 5):
        one.add(f"10.0.0.{number}")
        one.discard(f"10.0.0.{number}")
    assert dict(one.edits) == {}
    assert len(one) == 1


@pytest.mark.parametrize(
    ("type", "source", "key", "other", "fits"),
    [
        ("set", "a", "B", "b", "b"),
        ("map", "a", "B", "b", "b"),
        ("domain", "example.org", ".example.net", "*.Example.NET.", "www.example.net"),
        ("domain", "example.org", "xn--bcher-kva.example", "bücher.example", "www.bücher.example"),
        ("ip", "192.0.2.0/24", "198.51.100.7/24", "198.51.100.0/24", "198.51.100.9"),
        ("ip", "192.0.2.0/24", "2001:DB8::/32", "2001:db8::/32", "2001:db8::5"),
        ("ip", "192.0.2.0/24", "::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1"),
    ],
)
def test_every_type_with_keys_of_its_own_can_be_changed(type: MapType, source: str, key: str, other: str, fits: str) -> None:
    one, _ = live(type, source)
    one.add(key)
    assert (fits in one, len(one), one.has_line(other)) == (True, 2, True)
    assert one.discard(other) is True
    assert (fits in one, len(one)) == (False, 1)
    assert one.discard(source) is True
    assert len(one) == 0
    one.add(source)
    assert len(one) == 1


def test_the_longest_network_counts_whatever_was_put_first() -> None:
    one, _ = live("ip", ("10.0.0.0/8", "wide"))
    one["10.1.0.0/16"] = "narrow"
    one["10.1.2.3"] = "one"
    assert (one["10.2.2.2"], one["10.1.9.9"], one["10.1.2.3"]) == ("wide", "narrow", "one")
    one.discard("10.1.0.0/16")
    assert one["10.1.9.9"] == "wide"


def test_removing_takes_the_line_and_not_what_else_fits() -> None:
    one, told = live("domain", "example.org")
    assert one.discard("www.example.org") is False
    with pytest.raises(KeyError):
        del one["www.example.org"]
    assert "www.example.org" in one
    assert told == []


@pytest.mark.parametrize("type", ["glob", "regexp"])
def test_patterns_are_not_changed_one_by_one(type: MapType) -> None:
    one, _ = live(type, "a")
    for change in (lambda: one.add("b"), lambda: one.discard("a")):
        with pytest.raises(BadKey, match=f"map 'friends': keys of a {type} map cannot be changed one by one"):
            change()


@pytest.mark.parametrize(
    ("type", "change", "problem"),
    [
        ("ip", lambda one: one.add("ann"), "'ann' is neither an IP address nor a network"),
        ("ip", lambda one: one.discard("ann"), "neither an IP address"),
        ("domain", lambda one: one.add("a b@c"), "is no domain name"),
        ("set", lambda one: one.add("a", "value"), "a set has no values"),
        ("map", lambda one: one.add(None), "None is no key"),
        ("map", lambda one: one.add("a" * (MAX_KEY + 1)), "a key has at most 8192 characters"),
        ("map", lambda one: one.add("\udcff"), "is not text that UTF-8 can hold"),
        ("map", lambda one: one.add("a", "two\nlines"), "a value is one line"),
        ("map", lambda one: one.add("a", "v" * (MAX_KEY + 1)), "a value is one line of at most 8192"),
        ("map", lambda one: one.add("a", "unchecked"), "no weight"),
    ],
)
def test_what_cannot_stand_in_it_is_refused(type: MapType, change: Callable[[LiveMap], object], problem: str) -> None:
    one, told = live(type)
    one.check = lambda value: "no weight" if value == "unchecked" else None
    with pytest.raises(BadKey, match=f"map 'friends': .*{problem}"):
        change(one)
    assert told == []


@pytest.mark.parametrize("value", [1, 2.5, False, b"x"])
def test_a_value_is_text(value: Any) -> None:
    one, _ = live()
    with pytest.raises(TypeError, match=r"a value is text, and .* is not; write str\(…\)"):
        one["a"] = value


def test_an_empty_value_is_a_key_alone() -> None:
    one, _ = live()
    one["a"] = ""
    assert one["a"] is True


def test_changes_lie_over_the_next_versions_too() -> None:
    one, _ = live("map", ("a", "1"), ("b", "1"))
    one["a"] = "mine"
    one["c"] = "mine"
    one.discard("b")
    one.replace(version("map", ("a", "2"), ("b", "2"), ("c", "2"), ("d", "2")))
    assert {key: one.get(key) for key in "abcd"} == {"a": "mine", "b": None, "c": "mine", "d": "2"}
    assert [one.undo(key) for key in "ABCD"] == [True, True, True, False]
    assert {key: one.get(key) for key in "abcd"} == {"a": "2", "b": "2", "c": "2", "d": "2"}
    assert dict(one.edits) == {}


def test_what_was_hidden_and_is_gone_from_the_source_is_forgotten_when_it_is_removed_again() -> None:
    one, _ = live("set", "a")
    one.discard("a")
    one.replace(version("set"))
    assert dict(one.edits) == {"a": False}
    with one.edit() as edit:
        edit.discard("a")
    assert dict(one.edits) == {}


def test_several_changes_are_made_at_once_or_not_at_all() -> None:
    one, told = live("map", ("a", "1"))
    with one.edit() as edit:
        edit["b"] = "2"
        edit.add("c")
        edit.discard("a")
        edit.discard("nobody")
        assert "b" not in one
    assert {key: one.get(key) for key in "abc"} == {"a": None, "b": "2", "c": True}
    assert told == [[("b", "2"), ("c", True), ("a", False)]]
    with pytest.raises(ZeroDivisionError), one.edit() as edit:
        edit.add("d")
        1 / 0  # noqa: B018
    assert "d" not in one
    with pytest.raises(RuntimeError, match="this edit of map 'friends' has ended"):
        edit.add("e")


def test_a_map_without_a_source_can_be_filled_anew() -> None:
    one, told = live("set", has_source=False)
    one.add("a")
    one.add("b")
    with one.edit() as edit:
        edit.add("lost")
        edit.clear()
        edit.add("b")
        edit.add("c")
    assert [key for key in "abc" if key in one] == ["b", "c"]
    assert "lost" not in one
    assert told[-1] == [("a", None), ("c", True)]
    sourced, _ = live("set", "a")
    with pytest.raises(TypeError, match="has a source, which says what is in it"), sourced.edit() as edit:
        edit.clear()


def test_while_rule_files_are_loaded_nothing_can_be_changed() -> None:
    one = LiveMap("friends", new_map("map"))
    for change in (lambda: one.add("a"), one.edit):
        with pytest.raises(RuntimeError, match="not while rule files are loaded: do it in @on_load"):
            change()
    with pytest.raises(RuntimeError, match="cannot be changed now"):
        one.change({"a": True})


def test_what_was_changed_elsewhere_is_taken_and_not_told() -> None:
    one, told = live("map", ("a", "1"), ("b", "1"))
    one.apply([("a", "2"), ("b", False), ("c", True)])
    assert {key: one.get(key) for key in "abc"} == {"a": "2", "b": None, "c": True}
    one.apply([("a", None), ("never", None)])
    assert one["a"] == "1"
    assert told == []


@pytest.mark.parametrize("changes", [[("a", True), ("b c@", True)], [("a", True), ("b", 7)], [("a", True), ("b", "v")]])
def test_of_changes_that_do_not_fit_none_is_taken(changes: Any) -> None:
    one, _ = live("domain")
    one.check = lambda value: "no"
    with pytest.raises((BadKey, TypeError)):
        one.apply(changes)
    assert "a" not in one


def test_there_is_a_limit_to_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_map, "MAX_EDITS", 2)
    one, _ = live("map", "x")
    one.add("a")
    one.add("b")
    with pytest.raises(BadKey, match="more than 2 keys would differ from its source"):
        one.discard("x")
    one["a"] = "still"
    one.discard("b")
    one.discard("x")
    assert (one["a"], len(one)) == ("still", 1)


def test_there_is_a_limit_to_one_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_map, "MAX_TEXT", 10)
    one, told = live()
    with pytest.raises(BadKey, match="one edit has at most 10 characters; make several"), one.edit() as edit:
        edit["abc"] = "123"
        edit["def"] = "12"
    assert (len(one), told) == (0, [])


KEYS = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32", "2001:db8::1"])
OVER = st.sampled_from(["x", "y", True, False, None])


@given(st.lists(st.tuples(KEYS, OVER)), st.lists(KEYS, unique=True), st.lists(KEYS, unique=True))
def test_whatever_is_changed_it_is_the_source_with_the_changes_over_it(
    changes: list[tuple[str, Any]], before: list[str], after: list[str]
) -> None:
    one, _ = live("ip", *((key, "source") for key in before))
    wanted: dict[str, Any] = {}
    for key, over in changes:
        one.apply([(key, over)])
        wanted[key] = over
    for source in (before, after):
        if source is after:
            one.replace(version("ip", *((key, "source") for key in after)))
        expected: dict[str, Any] = dict.fromkeys(source, "source")
        for key, over in wanted.items():
            if over is False:
                expected.pop(key, None)
            elif over is not None:
                expected[key] = over
        fresh = version("ip", *expected.items())
        for asked in ("10.1.2.3", "10.1.9.9", "10.9.9.9", "2001:db8::1", "2001:db8::2", "192.0.2.1"):
            assert one.get(asked) == fresh.get(asked)
        assert len(one) == len(expected)
