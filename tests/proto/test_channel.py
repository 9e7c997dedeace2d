"""The buffer of a channel: what each verb takes, leaves and refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.channel import LIMIT, ChannelBuffer, Overflow, as_bytes


def buffer(data: bytes = b"", *, limit: int = 16, eof: bool = False) -> ChannelBuffer:
    made = ChannelBuffer(limit)
    made.receive(data)
    if eof:
        made.end()
    return made


def test_a_buffer_holds_64_kib_by_default() -> None:
    assert ChannelBuffer().room == LIMIT == 65536


def test_dup_copies_and_get_takes() -> None:
    one = buffer(b"abc")
    assert (one.dup(), one.dup(2), one.in_len) == (b"abc", b"ab", 3)
    assert (one.get(2), one.get(), one.get()) == (b"ab", b"c", b"")


@pytest.mark.parametrize("read", [ChannelBuffer.dup, ChannelBuffer.get])
def test_nothing_yet_is_empty_and_nothing_any_more_is_none(read: Callable[[ChannelBuffer], bytes | None]) -> None:
    assert read(buffer()) == b""
    assert read(buffer(b"x", eof=True)) == b"x"
    assert read(buffer(eof=True)) is None


def test_a_line_comes_with_its_line_end() -> None:
    one = buffer(b"one\r\ntwo\nth")
    assert [one.get_line() for _ in range(3)] == [b"one\r\n", b"two\n", None]
    assert one.dup() == b"th"
    one.receive(b"ree\n")
    assert one.get_line() == b"three\n"


def test_what_is_left_at_the_end_is_the_last_line() -> None:
    one = buffer(b"one\ntwo", eof=True)
    assert [one.get_line() for _ in range(3)] == [b"one\n", b"two", None]
    assert one.at_end


@pytest.mark.parametrize(("limit", "told"), [(None, 16), (4, 4), (100, 16)])
def test_a_line_that_does_not_end_is_refused_and_stays(limit: int | None, told: int) -> None:
    one = buffer(b"0123456789abcdef")
    with pytest.raises(Overflow, match=f"no line end within {told} bytes"):
        one.get_line(limit)
    assert one.in_len == 16


def test_a_line_of_exactly_the_limit_is_one() -> None:
    assert buffer(b"abc\ndef").get_line(4) == b"abc\n"
    with pytest.raises(Overflow):
        buffer(b"abcd\n").get_line(4)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda one: one.set("x\n"), b"x\n"),
        (lambda one: one.prepend("x\n"), b"x\n"),
        (lambda one: one.insert(1, "\n"), b"a\n"),
        (lambda one: one.append("\n"), b"abc\n"),
    ],
)
def test_a_line_is_found_in_what_was_changed_after_it_was_looked_for(
    change: Callable[[ChannelBuffer], int], line: bytes
) -> None:
    one = buffer(b"abc")
    assert one.get_line() is None
    change(one)
    assert one.get_line() == line


def test_set_replaces_the_input() -> None:
    one = buffer(b"before")
    assert one.set("né") == 3
    assert one.dup() == b"n\xc3\xa9"


def test_append_goes_behind_and_prepend_before() -> None:
    one = buffer(b"bb")
    assert (one.append(bytearray(b"c")), one.prepend(memoryview(b"aaa"))) == (1, 3)
    assert one.dup() == b"aaabbc"


def test_insert_and_remove_work_in_the_middle() -> None:
    one = buffer(b"abef")
    assert one.insert(2, b"cd") == 2
    assert one.dup() == b"abcdef"
    assert (one.remove(1, 2), one.dup()) == (2, b"adef")
    assert (one.remove(3, 99), one.remove(1, -1), one.remove(2), one.dup()) == (1, 0, 1, b"ad")
    assert (one.remove(), one.in_len) == (2, 0)


@pytest.mark.parametrize("offset", [-1, 4])
def test_an_offset_outside_of_the_input_is_refused(offset: int) -> None:
    one = buffer(b"abc")
    with pytest.raises(IndexError, match=f"offset {offset} is not within the 3 bytes of input"):
        one.insert(offset, b"x")
    with pytest.raises(IndexError):
        one.remove(offset)
    assert one.dup() == b"abc"


def test_forward_moves_input_to_the_output() -> None:
    one = buffer(b"abcdef")
    assert (one.forward(2), one.in_len, one.out_len) == (2, 4, 2)
    assert (one.forward(99), one.forward(-1), one.forward()) == (4, 0, 0)
    assert one.take_output() == b"abcdef"
    assert (one.take_output(), one.out_len) == (b"", 0)


def test_forward_moves_no_more_than_fits() -> None:
    one = buffer(b"0123456789")
    one.send(b"x" * 12)
    assert (one.forward(), one.in_len, one.out_len) == (4, 6, 16)


def test_what_is_sent_goes_before_the_input_and_behind_what_was_decided() -> None:
    one = buffer(b"onetwo")
    one.forward(3)
    assert one.send("-") == 1
    one.forward()
    assert one.take_output() == b"one-two"


def test_full_is_told() -> None:
    one = buffer(b"x" * 15)
    assert (one.room, one.full) == (1, False)
    one.receive(b"x")
    assert (one.room, one.full) == (0, True)


@pytest.mark.parametrize(
    ("put", "part"),
    [
        (lambda one: one.receive(b"x" * 14), "input"),
        (lambda one: one.append(b"x" * 14), "input"),
        (lambda one: one.prepend(b"x" * 14), "input"),
        (lambda one: one.set(b"x" * 17), "input"),
        (lambda one: one.send(b"x" * 17), "output"),
    ],
)
def test_what_does_not_fit_is_refused_whole(put: Callable[[ChannelBuffer], object], part: str) -> None:
    one = buffer(b"abc")
    with pytest.raises(Overflow, match=f"17 bytes of {part}, and a channel holds 16"):
        put(one)
    assert (one.dup(), one.out_len) == (b"abc", 0)


@pytest.mark.parametrize("wrong", [4, None, ["x"]])
def test_what_is_no_text_and_no_bytes_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"a channel takes bytes or str, not (int|NoneType|list)"):
        as_bytes(wrong)


@given(st.lists(st.one_of(st.binary(max_size=12), st.integers(0, 3)), max_size=40))
def test_no_byte_is_lost_or_doubled_whatever_is_done(steps: list[bytes | int]) -> None:
    one = ChannelBuffer(64)
    came = went = b""
    for step in steps:
        if isinstance(step, bytes):
            step = step[: one.room]
            one.receive(step)
            came += step
        elif step == 0:
            one.forward(3)
        elif step == 1:
            one.forward()
        else:
            went += one.take_output()
        assert one.in_len + one.out_len + len(went) == len(came)
    while one.in_len or one.out_len:
        one.forward()
        went += one.take_output()
    assert went == came
