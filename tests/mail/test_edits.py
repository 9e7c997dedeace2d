"""Changes to a message's bytes."""

from email.header import decode_header, make_header
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.edits import delivered, edited, encode_words, rewritten_subject, with_body
from filterd.mail.verdict import Verdict

RAW = b"A: 1\r\nB: x\r\n folded\r\na: 2\r\nSubject: old\r\nA : 3\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("places", "left"),
    [
        (0, []),
        (1, [b"a: 2", b"A : 3"]),
        (2, [b"A: 1", b"A : 3"]),
        (-1, [b"A: 1", b"a: 2"]),
        (-3, [b"a: 2", b"A : 3"]),
        (4, [b"A: 1", b"a: 2", b"A : 3"]),
        (-4, [b"A: 1", b"a: 2", b"A : 3"]),
        ([1, 3], [b"a: 2"]),
        ([1, 1, 9], [b"a: 2", b"A : 3"]),
    ],
)
def test_headers_are_removed_by_occurrence(places: Any, left: list[bytes]) -> None:
    lines = edited(RAW, {"remove_headers": {"a": places}}).split(b"\r\n")
    assert [line for line in lines if line.lower().startswith(b"a")] == left
    assert b"B: x\r\n folded\r\n" in edited(RAW, {"remove_headers": {"a": places}})


def test_a_folded_header_goes_with_all_its_lines() -> None:
    assert b"folded" not in edited(RAW, {"remove_headers": {"B": 0}})


def test_what_is_not_there_is_not_removed() -> None:
    assert edited(RAW, {"remove_headers": {"C": 0}}) == RAW


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("v", 5),
        ({"value": "v"}, 5),
        ({"value": "v", "order": -1}, 5),
        ({"value": "v", "order": 0}, 0),
        ({"value": "v", "order": 1}, 1),
        ({"value": "v", "order": 99}, 5),
        ({"value": "v", "order": -2}, 4),
        ({"value": "v", "order": -99}, 0),
    ],
)
def test_headers_are_added_in_their_place(value: Any, place: int) -> None:
    head = edited(RAW, {"add_headers": {"X": value}}).partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").split(b"\r\n")
    assert head.index(b"X: v") == place


def test_a_name_may_be_added_several_times() -> None:
    head = edited(RAW, {"add_headers": {"X": ["one", {"value": "two", "order": 0}]}})
    assert head.startswith(b"X: two\r\n")
    assert b"X: one\r\n\r\nbody" in head


def test_removals_come_before_additions() -> None:
    changed = edited(RAW, {"add_headers": {"A": "new"}, "remove_headers": {"A": 0}})
    assert [line for line in changed.split(b"\r\n") if line.startswith(b"A")] == [b"A: new"]


@pytest.mark.parametrize("value", ["v\r\nEvil: 1", "v\nEvil: 1", "v\r\n\r\nbody", "\r\nv"])
def test_a_value_cannot_break_out_of_its_header(value: str) -> None:
    changed = edited(RAW, {"add_headers": {"X": value, "Y\r\nEvil": "2"}})
    lines = changed.partition(b"\r\n\r\nbody\r\n")[0].split(b"\r\n")
    assert not [line for line in lines if line.startswith((b"Evil", b"body")) or line == b""]
    assert b"YEvil: 2" in lines


def test_a_subject_is_replaced_or_added() -> None:
    assert b"\r\nSubject: new\r\n" in edited(RAW, {}, subject="new")
    assert b": old" not in edited(RAW, {}, subject="new")
    assert edited(b"A: 1\r\n\r\n", {}, subject="new") == b"A: 1\r\nSubject: new\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"A: 1\n\nbody\n", b"A: 1\nX: v\n\nbody\n"),
        (b"A: 1\n", b"A: 1\nX: v\n\n"),
        (b"A: 1", b"A: 1\r\nX: v\r\n\r\n"),
        (b"", b"X: v\r\n\r\n"),
        (b"\r\nbody", b"X: v\r\n\r\nbody"),
        (b" odd\r\nA: 1\r\n\r\n", b" odd\r\nA: 1\r\nX: v\r\n\r\n"),
    ],
)
def test_new_lines_end_as_the_messages_own(raw: bytes, expected: bytes) -> None:
    if raw in (b"", b"\r\nbody"):
        assert edited(raw, {"add_headers": {"X": "v"}}).startswith(b"X: v\r\n")
    else:
        assert edited(raw, {"add_headers": {"X": "v"}}) == expected


def test_a_carriage_return_alone_ends_no_field() -> None:
    raw = b"A: 1\rB: 2\nSubject: x\n\n"
    assert edited(raw, {"add_headers": {"X": {"value": "v", "order": 1}}}) == b"A: 1\rB: 2\nX: v\nSubject: x\n\n"
    assert edited(raw, {"remove_headers": {"B": 0}}) == raw


def test_an_mbox_line_stays_the_first() -> None:
    raw = b"From a@b Tue Oct  1 10:00:00 2024\nA: 1\n\nx"
    assert edited(raw, {"add_headers": {"X": {"value": "v", "order": 0}}}) == raw.replace(b"A: 1", b"X: v\nA: 1")
    assert edited(b"From : a@b\n\n", {"add_headers": {"X": {"value": "v", "order": 0}}}) == b"X: v\nFrom : a@b\n\n"
    assert edited(b"From : a@b\nA: 1\n\n", {"remove_headers": {"From": 0}}) == b"A: 1\n\n"


def test_no_change_changes_nothing() -> None:
    assert edited(RAW, {}) == RAW


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"A: 1\r\n\r\nold", b"A: 1\r\n\r\nnew\r\nbody\r\n"),
        (b"A: 1\n\nold", b"A: 1\n\nnew\nbody\n"),
        (b"A: 1\r\n", b"A: 1\r\n\r\nnew\r\nbody\r\n"),
        (b"A: 1", b"A: 1\r\n\r\nnew\r\nbody\r\n"),
        (b"", b"\r\nnew\r\nbody\r\n"),
    ],
)
def test_a_new_body_follows_the_old_header(raw: bytes, expected: bytes) -> None:
    assert with_body(raw, b"new\nbody\r\n") == expected


# -- after a verdict


@pytest.mark.parametrize(
    ("verdict", "changed"),
    [
        (Verdict("no action", 0.0, None), RAW),
        (Verdict("reject", 20.0, 15.0), RAW),
        (Verdict("add header", 7.0, 15.0), RAW.replace(b"A : 3\r\n", b"A : 3\r\nX-Spam: Yes\r\n")),
        (
            Verdict("add header", 7.0, 15.0, milter={"spam_header": {"X-Junk": "1"}}),
            RAW.replace(b"A : 3\r\n", b"A : 3\r\nX-Junk: 1\r\n"),
        ),
        (Verdict("rewrite subject", 7.0, 15.0, subject="SPAM old"), RAW.replace(b": old", b": SPAM old")),
        (Verdict("no action", 0.0, None, body=b"new"), RAW.replace(b"body\r\n", b"new")),
        (Verdict("no action", 0.0, None, milter={"remove_headers": {"B": 0}}), RAW.replace(b"B: x\r\n folded\r\n", b"")),
    ],
)
def test_a_message_is_delivered_as_its_verdict_says(verdict: Verdict, changed: bytes) -> None:
    assert delivered(RAW, verdict) == changed


def test_a_mark_that_came_with_the_message_is_replaced() -> None:
    raw = b"X-Spam: No\r\nx-spam: Maybe\r\n\r\n"
    assert delivered(raw, Verdict("add header", 7.0, 15.0)) == b"X-Spam: Yes\r\n\r\n"


# -- subjects


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("*** SPAM *** %s", "*** SPAM *** hello"),
        ("[%d] %s", "[7.50] hello"),
        ("100%% %s%%", "100% hello%"),
        ("%s %s", "hello hello"),
        ("%x %", "%x %"),
        ("%%s", "%s"),
        ("plain", "plain"),
    ],
)
def test_the_template_is_filled(template: str, made: str) -> None:
    assert rewritten_subject(template, "hello", 7.5) == made


def test_a_message_without_a_subject_gets_one() -> None:
    assert rewritten_subject("SPAM %s", None, 1.0) == "SPAM "


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_its_encoded_words(text: str) -> None:
    encoded = encode_words(text)
    assert encoded.isascii()
    assert all(len(word) <= 75 for word in encoded.split(" ") if word.startswith("=?") and not text.isascii())
    assert str(make_header(decode_header(encoded))) == text or (text.isascii() and text.isprintable() and encoded == text)


def test_lone_surrogates_do_not_raise() -> None:
    assert encode_words("a\ud800") == "=?UTF-8?B?YT8=?="
    assert encode_words("ü" * 30).count("=?UTF-8?B?") == 2


def test_the_line_of_an_mbox_stays_above_what_is_added() -> None:
    raw = b"From a@example.org Sun Nov 29 00:00:00 2026\nSubject: x\n\nbody\n"
    changed = edited(raw, {"add_headers": {"X-A": {"value": "1", "order": 0}}})
    assert changed == raw.replace(b"Subject", b"X-A: 1\nSubject")
    assert edited(b"From here on", {"add_headers": {"X-A": "1"}}) == b"From here on\r\nX-A: 1\r\n\r\n"


def test_nothing_is_lost_of_a_header_that_does_not_end() -> None:
    raw = b"Subject: x\r\n" + b"X: y\r\n" * 1_000_000
    changed = edited(raw, {"add_headers": {"X-A": {"value": "1", "order": 0}}})
    assert changed.startswith(b"X-A: 1\r\nSubject: x\r\nX: y\r\n")
    assert changed.replace(b"\r\n", b"").endswith(raw.replace(b"\r\n", b""))
