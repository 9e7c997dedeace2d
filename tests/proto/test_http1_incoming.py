"""What requests and responses share: limits, bodies in pieces, trailers, faults, and no garbage left behind."""

import gc
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from filterd.proto.http1 import ProtocolError, RequestParser, ResponseParser

Parser = RequestParser | ResponseParser
START: dict[type[Parser], bytes] = {RequestParser: b"POST / HTTP/1.1\r\n", ResponseParser: b"HTTP/1.1 200 OK\r\n"}
both_sides = pytest.mark.parametrize("side", list(START))
cut_or_not = pytest.mark.parametrize("size", [1, 7, 10_000_000])

LENGTH_0 = b"Content-Length: 0\r\n"  # 19 octets as headers are counted: name, value, and four
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(parser: Parser, data: bytes, size: int = 10_000_000) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Body and headers of the one message in `data`, fed in pieces of `size`."""
    for piece in pieces(data, size):
        done = parser.feed(piece)
    if isinstance(parser, ResponseParser):
        assert done is True
        return parser.body, parser.headers
    assert isinstance(done, list)
    return done[0].body, done[0].headers


def refusal(parser: Parser, data: bytes, size: int = 10_000_000) -> ProtocolError:
    with pytest.raises(ProtocolError) as told:
        for piece in pieces(data, size):
            parser.feed(piece)
    return told.value


@both_sides
@cut_or_not
def test_a_body_may_be_as_long_as_its_limit_and_no_octet_longer(side: type[Parser], size: int) -> None:
    for framed in (b"Content-Length: %d\r\n\r\n%b", CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n"):
        body, _ = read(side(max_body=100), START[side] + framed % (100, b"x" * 100), size)
        assert body == b"x" * 100
        error = refusal(side(max_body=100), START[side] + framed % (101, b"x" * 101), size)
        assert (error.status, error.kind) == (413, "limit")
        assert "entity too large: 101" in str(error)


@both_sides
def test_an_announced_length_beyond_the_limit_is_refused_before_the_body(side: type[Parser]) -> None:
    error = refusal(side(max_body=100), START[side] + b"Content-Length: 52428801\r\n\r\n")
    assert (error.status, error.kind) == (413, "limit")
    assert str(error).endswith("entity too large: 52428801")


@both_sides
def test_a_large_body_in_many_reads_is_put_together(side: type[Parser]) -> None:
    body = bytes(range(256)) * 4 * 8192
    framed = START[side] + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for size in (65536, 1_000_000, 10_000_000):
        assert read(side(max_body=len(body)), framed, size)[0] == body


@both_sides
@cut_or_not
def test_headers_may_be_as_many_as_their_limit(side: type[Parser], size: int) -> None:
    def head(count: int) -> bytes:
        return START[side] + b"A: b\r\n" * (count - 1) + LENGTH_0 + b"\r\n"

    assert len(read(side(max_body=1, max_headers=20), head(20), size)[1]) == 20
    error = refusal(side(max_body=1, max_headers=20), head(21), size)
    assert (error.status, error.kind) == (431, "limit")
    assert "too many headers" in str(error)


@both_sides
@cut_or_not
def test_headers_may_be_as_long_as_their_limit(side: type[Parser], size: int) -> None:
    def head(length: int) -> bytes:
        return START[side] + LENGTH_0 + b"A: %b\r\n\r\n" % (b"x" * (length - 19 - 5))

    assert len(read(side(max_body=1, max_header_bytes=200), head(200), size)[1]) == 2
    error = refusal(side(max_body=1, max_header_bytes=200), head(201), size)
    assert (error.status, error.kind) == (431, "limit")
    assert "headers too large" in str(error)


PADDING = {
    "a header that never ends": b"A: " + b"x" * 50_000,
    "blanks before a value": b"A:" + b" " * 50_000,
    "headers that never end": b"A: b\r\n" * 10_000,
    "a chunk extension": CHUNKED + b"1;a=" + b"x" * 50_000,
    "trailers": CHUNKED + b"0\r\n" + b"A: b\r\n" * 10_000,
    "one long trailer after many small chunks": CHUNKED + b"1\r\nx\r\n" * 5000 + b"0\r\nA: " + b"x" * 50_000,
}


@both_sides
@pytest.mark.parametrize("shape", PADDING)
def test_what_is_no_body_is_limited_wherever_it_stands(side: type[Parser], shape: str) -> None:
    parser = side(max_body=100_000, max_header_bytes=1000, max_headers=100_000)
    error = refusal(parser, START[side] + PADDING[shape], 500)
    assert (error.status, error.kind) == (431, "limit")


def test_blank_lines_before_requests_are_limited() -> None:
    parser = RequestParser(max_body=1, max_header_bytes=1000, max_target=10)
    assert refusal(parser, b"\r\n" * 5000, 500).status == 431


def test_interim_responses_are_limited() -> None:
    parser = ResponseParser(max_body=1, max_header_bytes=1000)
    assert refusal(parser, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 100, 500).kind == "limit"


@both_sides
@cut_or_not
def test_small_chunks_are_no_padding(side: type[Parser], size: int) -> None:
    parser = side(max_body=100_000, max_header_bytes=1000)
    assert read(parser, START[side] + CHUNKED + b"1;a=b\r\nx\r\n" * 5000 + b"0\r\n\r\n", size)[0] == b"x" * 5000


def test_requests_on_one_line_do_not_add_up_to_a_limit() -> None:
    parser = RequestParser(max_body=5000, max_header_bytes=1000, max_target=100)
    request = START[RequestParser] + b"Content-Length: 3000\r\n\r\n" + b"x" * 3000
    got = [each for piece in pieces(request * 50, 700) for each in parser.feed(piece)]
    assert [len(each.body) for each in got] == [3000] * 50


@both_sides
def test_names_are_lower_case_values_stripped_and_trailers_dropped(side: type[Parser]) -> None:
    data = START[side] + b"X-One:\t 1 \t\r\nx-one:\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-One: 3\r\n\r\n"
    headers = [(b"x-one", b"1"), (b"x-one", b""), (b"transfer-encoding", b"chunked")]
    assert read(side(max_body=1), data) == (b"a", headers)


def test_a_fault_tells_its_side_and_reason() -> None:
    for side, text in ((RequestParser, "Bad request: Invalid"), (ResponseParser, "Bad response: Invalid")):
        error = refusal(side(max_body=1), START[side] + b"A B: c\r\n\r\n")
        assert (error.status, error.kind) == (400, "protocol")
        assert str(error).startswith(text)
    assert refusal(RequestParser(max_body=1), b"GET / HTTP/1.9\r\n\r\n").status == 505


@both_sides
def test_a_transfer_coding_other_than_chunked_is_refused(side: type[Parser]) -> None:
    for coding in (b"gzip", b"gzip, chunked"):
        error = refusal(side(max_body=1), START[side] + b"Transfer-Encoding: " + coding + b"\r\n\r\n")
        assert (error.status, error.kind) == (501, "protocol")
    assert read(side(max_body=1), START[side] + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n")[0] == b""


@both_sides
def test_what_a_signal_raises_inside_a_callback_comes_out_as_it_is(side: type[Parser]) -> None:
    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "on_body":
            raise KeyboardInterrupt

    parser = side(max_body=1)
    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            parser.feed(START[side] + b"Content-Length: 1\r\n\r\nx")
    finally:
        sys.setprofile(None)


@both_sides
@pytest.mark.parametrize(
    "rest", [b"Content-Length: 1\r\n\r\nx", b"Content-Length: 9\r\n\r\nx", b"A B: c\r\n\r\n", b"Content-Length: 10\r\n\r\n"]
)
def test_a_parser_leaves_no_cycle_behind_after_a_message_a_part_or_a_fault(side: type[Parser], rest: bytes) -> None:
    def once() -> None:
        parser = side(max_body=9)
        try:
            parser.feed(START[side] + rest)
        except ProtocolError:
            pass

    once()
    gc.collect()
    gc.disable()
    try:
        once()
        assert gc.collect() == 0
    finally:
        gc.enable()
