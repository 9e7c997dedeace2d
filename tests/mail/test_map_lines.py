"""Reading the text of a map: lines, remarks, quotes, and everything that is wrong with them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail import map_lines
from filterd.mail.map_lines import MAX_LINE, MAX_PROBLEMS, MapBroken, MapReader, new_map
from filterd.mail.maps import Map, MapType


def read(type: MapType, text: str | bytes, **options: Any) -> Map:
    reader = MapReader(type, **options)
    reader.feed(text.encode() if isinstance(text, str) else text)
    return reader.close()


def faults(type: MapType, text: str | bytes, **options: Any) -> list[tuple[int, str]]:
    with pytest.raises(MapBroken) as raised:
        read(type, text, **options)
    return [(one.line, one.text) for one in raised.value.problems]


TEXT = """\ufeff# friends
ann@example.org
  bob@example.org\tfriend of ann  # since long\r
"carl the great"   "king" #\tof all
dora@example.org # no value

eve#1@example.org value#1
frank@example.org #
last@example.org end"""

FOUND = {
    "ann@example.org": True,
    "bob@example.org": "friend of ann",
    "carl the great": '"king"',
    "dora@example.org": True,
    "eve#1@example.org": "value#1",
    "frank@example.org": True,
    "last@example.org": "end",
}


def test_a_line_is_a_key_and_what_follows_is_its_value() -> None:
    table = read("map", TEXT)
    assert {key: table.get(key) for key in FOUND} == FOUND
    assert len(table) == len(FOUND)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_it_does_not_matter_where_the_text_is_cut(size: int) -> None:
    data = TEXT.encode()
    reader = MapReader("map")
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
    table = reader.close()
    assert {key: table.get(key) for key in FOUND} == FOUND


@pytest.mark.parametrize(
    ("type", "line", "key", "value"),
    [
        ("set", '"two words"', "two words", True),
        ("glob", "*@example.org spam", "a@example.org", "spam"),
        ("regexp", "/buy now/i  2.5", "BUY NOW", "2.5"),
        ("regexp", r"/a\/b c/ x # y", "a/b c", "x"),
        ("regexp", "^abc$ x", "abc", "x"),
        ("regexp", '"^a b$" x', "a b", "x"),
        ("regexp", "/a #b/", "a #b", True),
        ("ip", "192.0.2.0/24 net", "192.0.2.9", "net"),
        ("domain", "example.org", "www.example.org", True),
    ],
)
def test_each_kind_has_its_lines(type: MapType, line: str, key: str, value: object) -> None:
    assert read(type, line).get(key) == value


@pytest.mark.parametrize(
    ("type", "line", "told"),
    [
        ("set", "a b", "a set has one key a line"),
        ("map", '"a', "a quote is opened and not closed"),
        ("map", '"a"b', "'b' right behind the key, without a blank"),
        ("regexp", "/a/i,2", "',2' right behind the key, without a blank"),
        ("ip", "192.0.2", "neither an IP address nor a network"),
        ("domain", "a@b", "is no domain name"),
        ("regexp", "(a", "RE2 does not take it"),
        ("map", "x" * (MAX_LINE + 1), "more than 8192 bytes"),
        ("map", "x" * (3 * MAX_LINE), "more than 8192 bytes"),
        ("map", b"\xff", "is not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(type: MapType, line: str | bytes, told: str) -> None:
    before = b"" if type == "set" else b"\n\n"
    data = before + (line.encode() if isinstance(line, str) else line) + b"\n# end\n"
    ((number, text),) = faults(type, data)
    assert number == len(before) + 1
    assert told in text


def test_a_line_as_long_as_it_may_be_is_read_also_with_its_carriage_return() -> None:
    assert "x" * MAX_LINE in read("map", "x" * MAX_LINE + "\r\n")


def test_all_broken_lines_are_told_up_to_a_number() -> None:
    assert [line for line, _ in faults("ip", "a\n192.0.2.1\nb\n")] == [1, 3]
    assert len(faults("ip", "a\n" * 1000)) == MAX_PROBLEMS
    reader = MapReader("ip")
    for _ in range(100):
        reader.feed(b"a\n")
    with pytest.raises(MapBroken, match=r"line 1: 'a' is neither .*; line 2: "):
        reader.close()


def test_values_can_be_checked() -> None:
    def check(value: str) -> str | None:
        return None if value.isdigit() else f"{value!r} is no number"

    assert read("map", "a 1\nb\n", check=check)["a"] == "1"
    assert faults("map", "a 1\nb two\n", check=check) == [(2, "'two' is no number")]


@pytest.mark.parametrize(("type", "limit"), [("set", "MAX_ENTRIES"), ("glob", "MAX_PATTERNS"), ("regexp", "MAX_PATTERNS")])
def test_a_map_has_a_largest_size(monkeypatch: pytest.MonkeyPatch, type: MapType, limit: str) -> None:
    monkeypatch.setattr(map_lines, limit, 3)
    assert len(read(type, "a\nb\nc\n")) == 3
    assert faults(type, "a\nb\nc\nd\n") == [(4, "more than 3 keys")]


@given(st.sampled_from(["set", "map", "glob", "regexp", "ip", "domain"]), st.binary(max_size=200), st.text(max_size=20))
def test_whatever_the_bytes_there_is_a_map_or_it_is_broken(type: MapType, data: bytes, key: str) -> None:
    try:
        table = read(type, data)
    except MapBroken:
        return
    table.get(key)


def test_a_new_map_is_empty() -> None:
    assert [repr(new_map("set")), repr(new_map("ip"))] == ["<set map of 0 keys>", "<ip map of 0 keys>"]
