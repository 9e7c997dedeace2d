"""Messages on a stream arrive whole, however the stream was cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.dns_frames import frame, split


def test_the_length_comes_first() -> None:
    assert frame(b"abc") == b"\0\3abc"
    assert frame(b"x" * 65535)[:2] == b"\xff\xff"
    with pytest.raises(OverflowError):
        frame(b"x" * 65536)


@pytest.mark.parametrize(
    ("data", "messages", "rest"),
    [
        (b"", [], b""),
        (b"\0", [], b"\0"),
        (b"\0\3ab", [], b"\0\3ab"),
        (b"\0\3abc", [b"abc"], b""),
        (b"\0\3abc\0\0\0\1", [b"abc", b""], b"\0\1"),
    ],
)
def test_what_has_not_ended_is_given_back(data: bytes, messages: list[bytes], rest: bytes) -> None:
    assert split(data) == (messages, rest)


@given(st.lists(st.binary(max_size=300), max_size=5), st.data())
def test_messages_survive_every_way_to_cut_the_stream(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, messages))
    found, rest = [], b""
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        more, rest = split(rest + stream[:cut])
        found += more
        stream = stream[cut:]
    assert (found, rest) == (messages, b"")


@given(st.binary(max_size=600))
def test_nothing_is_lost_of_any_stream(stream: bytes) -> None:
    messages, rest = split(stream)
    assert b"".join(map(frame, messages)) + rest == stream
