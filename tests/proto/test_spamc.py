"""Requests of SPAMC and RSPAMC: what real clients send, cut at every place, and what nobody should send."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.spamc import ProtocolError, Request, RequestParser

LIMIT = 1000

# Whole requests; the second value says that the client keeps its side open.
CLIENTS: dict[str, tuple[bytes, bool, Request]] = {
    "Exim, variant=rspamd": (
        b"CHECK RSPAMC/1.3\r\nContent-length: 13\r\nQueue-Id: 1abcde-000001-AB\r\nFrom: <a@example.org>\r\n"
        b"Recipient-Number: 2\r\nRcpt: <b@example.net>\r\nRcpt: <c@example.net>\r\n"
        b"Helo: mx.example.org\r\nHostname: mx.example.org\r\nIP: 192.0.2.1\r\n"
        b"\r\nFrom a\nA: b\n\n",
        True,
        Request(
            "CHECK",
            "rspamc",
            (1, 3),
            {
                "content-length": ["13"],
                "queue-id": ["1abcde-000001-AB"],
                "from": ["<a@example.org>"],
                "recipient-number": ["2"],
                "rcpt": ["<b@example.net>", "<c@example.net>"],
                "helo": ["mx.example.org"],
                "hostname": ["mx.example.org"],
                "ip": ["192.0.2.1"],
            },
            b"From a\nA: b\n\n",
        ),
    ),
    "Exim, SpamAssassin": (
        b"REPORT SPAMC/1.2\r\nUser: nobody\r\nContent-length: 5\r\n\r\nA: b\n",
        True,
        Request("REPORT", "spamc", (1, 2), {"user": ["nobody"], "content-length": ["5"]}, b"A: b\n"),
    ),
    "spamc 4.0.1, compressed": (
        b"PROCESS SPAMC/1.5\r\nUser: root\r\nCompress: zlib\r\nContent-length: 4\r\n\r\n\x00\r\n\n",
        True,
        Request("PROCESS", "spamc", (1, 5), {"user": ["root"], "compress": ["zlib"], "content-length": ["4"]}, b"\x00\r\n\n"),
    ),
    "spamc 4.0.1, TELL": (
        b"TELL SPAMC/1.5\r\nMessage-class: spam\r\nSet: local\r\nUser: root\r\nContent-length: 0\r\n\r\n",
        True,
        Request(
            "TELL",
            "spamc",
            (1, 5),
            {"message-class": ["spam"], "set": ["local"], "user": ["root"], "content-length": ["0"]},
            b"",
        ),
    ),
    "spamc 4.0.1, PING": (b"PING SPAMC/1.5\r\n\r\n", True, Request("PING", "spamc", (1, 5), {}, b"")),
    "PING of old": (b"PING SPAMC/1.2\r\n", True, Request("PING", "spamc", (1, 2), {}, b"")),
    "PING without its empty line": (b"PING SPAMC/1.5\r\n", False, Request("PING", "spamc", (1, 5), {}, b"")),
    "SKIP": (b"SKIP SPAMC/1.5\r\n", True, Request("SKIP", "spamc", (1, 5), {}, b"")),
    "python-slimta": (
        b"SYMBOLS SPAMC/1.1\r\nContent-Length: 23\r\nUser: slimta\r\n\r\ntestheaders\r\ntestbody\r\n",
        True,
        Request("SYMBOLS", "spamc", (1, 1), {"content-length": ["23"], "user": ["slimta"]}, b"testheaders\r\ntestbody\r\n"),
    ),
    "by hand, LF, no length": (
        b"check  spamc/1.2 \nX:\n\nA: b\n\nc",
        False,
        Request("CHECK", "spamc", (1, 2), {"x": [""]}, b"A: b\n\nc"),
    ),
    "without headers": (b"CHECK SPAMC/1.2\r\n\r\nx", False, Request("CHECK", "spamc", (1, 2), {}, b"x")),
    "line ends behind the message": (
        b"CHECK SPAMC/1.5\r\nContent-length: 1\r\n\r\nx\r\n",
        True,
        Request("CHECK", "spamc", (1, 5), {"content-length": ["1"]}, b"x"),
    ),
    "odd values": (
        b"CHECK RSPAMC/1.3\r\nHelo: \x01\r \xe4: \r\nSPF : [object Object]\r\nX: \xc3\xa4\r\nContent-length: 1\r\n\r\nx",
        True,
        Request(
            "CHECK",
            "rspamc",
            (1, 3),
            {"helo": ["\x01\r ä:"], "spf": ["[object Object]"], "x": ["ä"], "content-length": ["1"]},
            b"x",
        ),
    ),
}


def parse(*pieces: bytes) -> Request | None:
    parser = RequestParser(max_body=LIMIT)
    for piece in pieces:
        request = parser.feed(piece)
        if request is not None:
            assert parser.closed
            assert parser.dialect == request.dialect
            return request
    return None


def whole(name: str) -> tuple[list[bytes], Request]:
    data, is_open, expected = CLIENTS[name]
    return ([data] if is_open else [data, b""]), expected


@pytest.mark.parametrize("name", CLIENTS)
def test_clients_are_understood(name: str) -> None:
    pieces, expected = whole(name)
    assert parse(*pieces) == expected


@pytest.mark.parametrize("name", CLIENTS)
def test_it_does_not_matter_where_the_bytes_are_cut(name: str) -> None:
    (data, *end), expected = whole(name)
    for at in range(1, len(data)):
        assert parse(data[:at], data[at:], *end) == expected
    assert parse(*(bytes([octet]) for octet in data), *end) == expected


@pytest.mark.parametrize("name", [name for name, (_, is_open, _) in CLIENTS.items() if is_open])
def test_no_request_is_seen_before_it_is_complete(name: str) -> None:
    data, _, expected = CLIENTS[name]
    end = len(data) - 2 if name.startswith("line ends") else len(data)
    parser = RequestParser(max_body=LIMIT)
    assert [parser.feed(bytes([octet])) for octet in data[: end - 1]] == [None] * (end - 1)
    assert parser.feed(data[end - 1 : end]) == expected
    assert parser.feed(b"more") is None


def test_a_header_is_found_by_name() -> None:
    request = Request("CHECK", "spamc", (1, 2), {"rcpt": ["a", "b"]}, b"")
    assert (request.header("rcpt"), request.header("compress")) == ("a", "")


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"CHECK SPAMC/1.5", *lines, b"", b""))


FAULTS: dict[str, tuple[list[bytes], str, int, str]] = {
    "nonsense": ([b"EHLO mx.example.org\r\n"], "not VERB SPAMC/VERSION", 76, "protocol"),
    "no version": ([b"CHECK SPAMC\r\n"], "not VERB", 76, "protocol"),
    "a version of three": ([b"CHECK SPAMC/1.2.3\r\n"], "not VERB", 76, "protocol"),
    "an unknown verb": ([b"EXPLAIN SPAMC/1.5\r\n"], "EXPLAIN is not known", 76, "protocol"),
    "a verb of the other protocol": ([b"PROCESS RSPAMC/1.3\r\n"], "PROCESS is not known", 76, "protocol"),
    "an endless line": ([b"CHECK SPAMC/1.5" + b" " * 300], "longer than 256", 76, "limit"),
    "an endless line in pieces": ([b"CHECK SPAMC/1.5"] + [b" "] * 300, "longer than 256", 76, "limit"),
    "a header without a colon": ([head(b"User: a", b"hello there")], "header 2 is not NAME: VALUE", 76, "protocol"),
    "a folded header": ([head(b"User: a", b" b")], "header 2", 76, "protocol"),
    "a length that is none": ([head(b"Content-length: 1x")], "not one number", 76, "protocol"),
    "a negative length": ([head(b"Content-length: -1")], "not one number", 76, "protocol"),
    "a length of many digits": ([head(b"Content-length: " + b"0" * 30)], "not one number", 76, "protocol"),
    "a length in other digits": ([head("Content-length: ١".encode())], "not one number", 76, "protocol"),
    "two lengths": ([head(b"Content-length: 1", b"Content-length: 2")], "not one number", 76, "protocol"),
    "too large a message, announced": ([head(b"Content-length: 1001")], "too large: 1001", 65, "limit"),
    "too large a message": ([head(), b"x" * 600, b"x" * 600], "too large: 1200", 65, "limit"),
    "less than was announced": ([head(b"Content-length: 2"), b"a", b""], "is 2, and 1 bytes came", 76, "protocol"),
    "too many headers": ([head(*[b"A: b"] * 5000)], "more than 4096 headers", 76, "limit"),
    "too large headers": ([head(b"A: " + b"b" * 300_000)], "larger than 262144 bytes", 76, "limit"),
    "endless headers": ([b"CHECK SPAMC/1.5\r\n"] + [b"A: " + b"b" * 10_000] * 30, "larger than 262144 bytes", 76, "limit"),
    "an end in the first line": ([b"CHECK SPA", b""], "closed in the middle", 76, "closed"),
    "an end in the headers": ([b"CHECK SPAMC/1.5\r\nUser: a\r\n", b""], "closed in the middle", 76, "closed"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told(name: str) -> None:
    pieces, text, code, kind = FAULTS[name]
    parser = RequestParser(max_body=LIMIT)

    def feed() -> Iterator[Request | None]:
        for piece in pieces:
            yield parser.feed(piece)

    with pytest.raises(ProtocolError, match=text) as told:
        assert not any(feed())
    assert (told.value.code, told.value.kind, parser.closed) == (code, kind, True)
    assert parser.feed(b"more") is None


@pytest.mark.parametrize("more", [b"c", b"\r\nc", b"\n\r\n"])
def test_more_than_was_announced_is_told_however_it_was_cut(more: bytes) -> None:
    whole = head(b"Content-length: 2") + b"ab" + more
    for size in (1, 7, len(whole)):
        parser = RequestParser(max_body=LIMIT)
        found = [parser.feed(whole[at : at + size]) for at in range(0, len(whole), size)]
        (request,) = [one for one in found if one is not None]
        assert (request.body, parser.has_excess) == (b"ab", b"c" in more)


def test_what_follows_a_ping_is_not_looked_at() -> None:
    parser = RequestParser(max_body=LIMIT)
    request = parser.feed(b"PING SPAMC/1.5\r\n\r\n" + b"x" * (LIMIT + 1))
    assert request is not None
    assert (request.body, parser.feed(b"x"), parser.has_excess) == (b"", None, False)


def test_the_dialect_of_an_error_is_known_from_the_first_line_on() -> None:
    parser = RequestParser(max_body=LIMIT)
    assert parser.dialect is None
    parser.feed(b"CHECK RSPAMC/1.3\r\n")
    assert parser.dialect == "rspamc"


def test_a_connection_without_a_byte_is_no_fault() -> None:
    parser = RequestParser(max_body=LIMIT)
    assert (parser.feed(b""), parser.closed) == (None, True)


def test_the_same_length_twice_is_one_length() -> None:
    assert parse(head(b"Content-length: 1", b"Content-length: 1") + b"x") is not None


PARTS = [b"CHECK", b" ", b"SPAMC/1.5", b"RSPAMC/1.3", b"\r\n", b"\n", b"PING", b"Content-length: 3", b"abc", b":", b"\x00"]


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=5), max_size=20))
def test_garbage_raises_nothing_but_protocol_errors(pieces: list[bytes]) -> None:
    for cut in ([b"".join(pieces)], pieces):
        parser = RequestParser(max_body=LIMIT)
        with suppress(ProtocolError):
            for piece in [*filter(None, cut), b""]:
                parser.feed(piece)
        assert parser.closed


@pytest.mark.parametrize("line", [b"X:" + b" " * 250_000 + b"y", b"X" + b" " * 250_000, b"X" * 250_000])
def test_a_long_header_is_read_in_one_pass(line: bytes) -> None:
    """In more it would take minutes, and the time limit of a test is seconds."""
    with suppress(ProtocolError):
        request = parse(head(line, b"Content-length: 0"))
        assert request is not None
        assert request.header("x") == "y"
