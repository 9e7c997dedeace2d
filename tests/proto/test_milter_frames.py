"""Frames: cut anywhere, bounded, and whoever speaks something else is recognised."""

import pytest

from filterd.proto.milter_frames import Frames, ProtocolError, frame, strings

DATA = frame(b"H", b"mx.example.org\0") + frame(b"A") + frame(b"B", bytes(range(256)))
FRAMES = [(b"H", b"mx.example.org\0"), (b"A", b""), (b"B", bytes(range(256)))]


def test_a_frame_is_its_length_its_code_and_its_payload() -> None:
    assert frame(b"H", b"a\0") == b"\0\0\0\x03Ha\0"
    assert Frames().feed(DATA) == FRAMES


@pytest.mark.parametrize("cut", range(1, len(DATA)))
def test_it_does_not_matter_where_the_bytes_are_cut(cut: int) -> None:
    frames = Frames()
    assert frames.feed(DATA[:cut]) + frames.feed(DATA[cut:]) == FRAMES
    assert not frames.is_partial


def test_byte_by_byte_gives_the_same() -> None:
    frames = Frames()
    assert [one for byte in DATA for one in frames.feed(bytes([byte]))] == FRAMES


def test_a_frame_that_has_begun_is_told() -> None:
    frames = Frames()
    frames.feed(DATA[:-1])
    assert frames.is_partial


def test_a_frame_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    frames = Frames(max_frame=100)
    assert frames.feed(frame(b"B", b"x" * 99)) == [(b"B", b"x" * 99)]
    assert frames.feed(frame(b"A") + frame(b"B", b"x" * 100)) == [(b"A", b"")]
    assert (str(frames.fault), frames.fault and frames.fault.kind) == ("a frame of 101 bytes, 100 are allowed", "limit")
    assert frames.feed(frame(b"A")) == []


def test_nothing_is_held_of_what_is_refused_by_its_length() -> None:
    frames = Frames()
    frames.feed(b"\xff\xff\xff\xff" + b"x" * 100_000)
    assert frames.fault is not None
    assert not frames.is_partial


def test_a_frame_without_a_command_is_a_fault() -> None:
    frames = Frames()
    assert frames.feed(b"\0\0\0\0") == []
    assert (str(frames.fault), frames.fault and frames.fault.kind) == ("a frame without a command", "protocol")


@pytest.mark.parametrize(
    ("data", "spoken"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (b"POST /checkv2 HTTP/1.0\r\n", "HTTP"),
        (b"EHLO mx.example.org\r\n", "SMTP"),
        (b"CHECK SPAMC/1.5\r\n", "SPAMC"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY"),
        (b"\r\n\r\n\0\r\nQUIT\n", "PROXY"),
        (b"\x16\x03\x01\x02\0\x01", "TLS"),
    ],
)
def test_another_protocol_is_recognised_and_named(data: bytes, spoken: str) -> None:
    frames = Frames()
    assert frames.feed(data) == []
    assert frames.fault is not None
    assert frames.fault.spoken == spoken
    assert str(frames.fault) == f"that is {spoken}, and this port speaks the milter protocol"


def test_later_on_the_same_bytes_are_only_a_length() -> None:
    frames = Frames()
    frames.feed(frame(b"A") + b"GET / HTTP/1.1\r\n\r\n")
    assert frames.fault is not None
    assert (frames.fault.spoken, frames.fault.kind) == ("", "limit")


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (b"a\0", [b"a"]),
        (b"a", [b"a"]),
        (b"a\0b\0", [b"a", b"b"]),
        (b"a\0b", [b"a", b"b"]),
        (b"\0", [b""]),
        (b"a\0\0", [b"a", b""]),
    ],
)
def test_strings_end_in_nul_which_the_last_may_lack(payload: bytes, found: list[bytes]) -> None:
    assert strings(payload, "it", least=1) == found


@pytest.mark.parametrize("payload", [b"", b"a\0b\0c\0"])
def test_another_number_of_strings_is_a_fault(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^it with [03] strings$"):
        strings(payload, "it", least=1, most=2)
