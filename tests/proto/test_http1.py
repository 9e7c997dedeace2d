"""HTTP/1 on its way in: what real clients and servers send, in any pieces, against tables and against h11."""

from collections.abc import Iterable, Iterator

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.http1 import CONTINUE, ProtocolError, Request, RequestParser, ResponseParser, render_request, render_response

MESSAGE = b"From: a@example.org\r\nSubject: hi\r\n\r\nhello!\r\n"  # 44 octets
LIMIT = 1000


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cuttings(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and in two at every position."""
    yield [data]
    yield bytewise(data)
    yield from ([data[:at], data[at:]] for at in range(1, len(data)))


def requests_in(pieces: Iterable[bytes]) -> tuple[list[Request], int | None]:
    """The requests, and the status of the fault after them."""
    parser = RequestParser(max_body=LIMIT)
    requests: list[Request] = []
    for piece in pieces:
        try:
            requests += parser.feed(piece)
        except ProtocolError as error:
            return requests, error.status
    return requests, parser.fault.status if parser.fault else None


Reply = tuple[int, str, list[tuple[bytes, bytes]], bytes, bool, bool]


def reply_in(pieces: Iterable[bytes], *, head: bool = False) -> Reply | str:
    """Status, reason, headers, body, complete, keep_alive; or the kind of the fault."""
    parser = ResponseParser(max_body=LIMIT, head=head)
    try:
        for piece in pieces:
            parser.feed(piece)
    except ProtocolError as error:
        return error.kind
    return parser.status, parser.reason, parser.headers, parser.body, parser.complete, parser.keep_alive


def scan(
    headers: str, *, method: str = "POST", version: str = "1.1", body: bytes = MESSAGE, keep_alive: bool = False
) -> Request:
    """A scan request, its headers written as `name: value | name: value`."""
    pairs = [tuple(line.encode().split(b": ")) for line in headers.split(" | ")]
    return Request(method, "/checkv2", version, [(name, value) for name, value in pairs], body, keep_alive)


# What real clients send. rspamc 3.4, curl 7.88 and Node's client under Haraka's plugin were recorded; maddy's headers are told
# from its source, in the order and framing of Go's client.
CLIENTS = {
    "rspamc": (
        b"POST /checkv2 HTTP/1.0\r\nContent-Length: 44\r\nConnection: close\r\nContent-Type: text/plain\r\nUser: joe\r\n"
        b"Filename: m.eml\r\nIp: 192.0.2.1\r\nUser-Agent: rspamc\r\nFlags: pass_all,body_block\r\nFrom: a@example.org\r\n"
        b"Rcpt: b@example.org\r\nRcpt: c@example.org\r\n\r\n" + MESSAGE,
        [
            scan(
                "content-length: 44 | connection: close | content-type: text/plain | user: joe | filename: m.eml | "
                "ip: 192.0.2.1 | user-agent: rspamc | flags: pass_all,body_block | from: a@example.org | "
                "rcpt: b@example.org | rcpt: c@example.org",
                version="1.0",
            )
        ],
    ),
    "rspamc without input": (
        b"GET /checkv2 HTTP/1.0\r\nContent-Length: 0\r\nConnection: close\r\nUser-Agent: rspamc\r\nFilename: empty\r\n"
        b"Flags: body_block\r\n\r\n",
        [
            scan(
                "content-length: 0 | connection: close | user-agent: rspamc | filename: empty | flags: body_block",
                method="GET",
                version="1.0",
                body=b"",
            )
        ],
    ),
    "curl --data-binary": (
        b"POST /checkv2 HTTP/1.1\r\nHost: 127.0.0.1:11333\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Length: 44\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + MESSAGE,
        [
            scan(
                "host: 127.0.0.1:11333 | user-agent: curl/7.88.1 | accept: */* | content-length: 44 | "
                "content-type: application/x-www-form-urlencoded",
                keep_alive=True,
            )
        ],
    ),
    "curl --http2, which asks for an upgrade and sends the body all the same": (
        b"POST /checkv2 HTTP/1.1\r\nHost: 127.0.0.1:11333\r\nAccept: */*\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Length: 44\r\n\r\n" + MESSAGE,
        [
            scan(
                "host: 127.0.0.1:11333 | accept: */* | connection: Upgrade, HTTP2-Settings | "
                "http2-settings: AAMAAABkAAQCAAAAAAIAAAAA | content-length: 44",
                keep_alive=True,
            )
        ],
    ),
    "curl, chunked": (
        b"POST /checkv2 HTTP/1.1\r\nHost: 127.0.0.1:11333\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n"
        b"From: a@example.org\r\n\r\n2c\r\n" + MESSAGE + b"\r\n0\r\n\r\n",
        [
            scan(
                "host: 127.0.0.1:11333 | expect: 100-continue | transfer-encoding: chunked | from: a@example.org",
                keep_alive=True,
            )
        ],
    ),
    "Haraka": (
        b"POST /checkv2 HTTP/1.1\r\nIP: 192.0.2.1\r\nHelo: mx.example.org\r\nFrom: a@example.org\r\nRcpt: b@example.org\r\n"
        b"Queue-Id: ABC.1\r\nSPF: [object Object]\r\nHost: 127.0.0.1:11333\r\nConnection: keep-alive\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n15\r\nFrom: a@example.org\r\n\r\nf\r\nSubject: hi\r\n\r\n\r\n8\r\nhello!\r\n"
        b"\r\n0\r\n\r\n",
        [
            scan(
                "ip: 192.0.2.1 | helo: mx.example.org | from: a@example.org | rcpt: b@example.org | queue-id: ABC.1 | "
                "spf: [object Object] | host: 127.0.0.1:11333 | connection: keep-alive | transfer-encoding: chunked",
                keep_alive=True,
            )
        ],
    ),
    "maddy": (
        b"POST /checkv2 HTTP/1.1\r\nHost: 127.0.0.1:11333\r\nUser-Agent: maddy\r\nTransfer-Encoding: chunked\r\n"
        b"From: a@example.org\r\nMta-Name: mx.example.org\r\nMta-Tag: maddy\r\nPass: all\r\nQueue-Id: 1\r\n"
        b"Rcpt: b@example.org\r\nTls-Version: 1.3\r\nAccept-Encoding: gzip\r\n\r\n2c\r\n" + MESSAGE + b"\r\n0\r\n\r\n",
        [
            scan(
                "host: 127.0.0.1:11333 | user-agent: maddy | transfer-encoding: chunked | from: a@example.org | "
                "mta-name: mx.example.org | mta-tag: maddy | pass: all | queue-id: 1 | rcpt: b@example.org | "
                "tls-version: 1.3 | accept-encoding: gzip",
                keep_alive=True,
            )
        ],
    ),
    "KumoMTA's GET with a body, then a second request on the same line": (
        b"GET /checkv2 HTTP/1.1\r\nContent-Length: 44\r\n\r\n"
        + MESSAGE
        + b"GET /checkv2 HTTP/1.1\r\nConnection: close\r\n\r\n",
        [
            scan("content-length: 44", method="GET", keep_alive=True),
            scan("connection: close", method="GET", body=b""),
        ],
    ),
    "an upgrade without a body, and with a chunked one": (
        b"\r\nGET /checkv2 HTTP/1.1\r\nA: 1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        b"POST /checkv2 HTTP/1.1\r\nupgrade: h2c, x\r\nconnection: upgrade\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"3;a=b\r\nabc\r\n0\r\nTrailer: dropped\r\n\r\n",
        [
            scan("a: 1 | connection: upgrade", method="GET", body=b"", keep_alive=True),
            scan("connection: upgrade | transfer-encoding: Chunked", body=b"abc", keep_alive=True),
        ],
    ),
    "a client of HTTP/1.0 that asks to be kept": (
        b"POST /checkv2 HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length:  3 \t\r\n\r\nabc",
        [scan("connection: keep-alive | content-length: 3", version="1.0", body=b"abc", keep_alive=True)],
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_real_clients_send_is_understood_however_it_is_cut(client: str) -> None:
    data, expected = CLIENTS[client]
    for pieces in cuttings(data):
        assert requests_in(pieces) == (expected, None)


def post(framing: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST /checkv2 HTTP/" + version + b"\r\n" + framing


CHUNKED = b"Transfer-Encoding: chunked\r\n"
REFUSED = {
    "length beside chunked": (post(b"Content-Length: 3\r\n" + CHUNKED + b"\r\n0\r\n\r\n"), 400),
    "chunked beside length": (post(CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n"), 400),
    "two lengths": (post(b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400),
    "two equal lengths": (post(b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), 400),
    "a list of lengths": (post(b"Content-Length: 3, 3\r\n\r\nabc"), 400),
    "a signed length": (post(b"Content-Length: +3\r\n\r\nabc"), 400),
    "an empty length": (post(b"Content-Length:\r\n\r\nabc"), 400),
    "a length beyond 64 bits": (post(b"Content-Length: 99999999999999999999\r\n\r\nabc"), 400),
    "a length beyond the limit": (post(b"Content-Length: 1001\r\n\r\n"), 413),
    "a length far beyond the limit": (post(b"Content-Length: 18446744073709551615\r\n\r\n"), 413),
    "no length at all": (post(b"\r\nFrom: a@example.org\r\n\r\nhello"), 411),
    "chunked in HTTP/1.0": (post(CHUNKED + b"\r\n0\r\n\r\n", b"1.0"), 400),
    "chunked twice": (post(CHUNKED + CHUNKED + b"\r\n0\r\n\r\n"), 400),
    "chunked, but not last": (post(b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"), 400),
    "a coding before chunked": (post(b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
    "another coding": (post(b"Transfer-Encoding: identity\r\n\r\nabc"), 501),
    "a chunk size with a sign": (post(CHUNKED + b"\r\n-1\r\n"), 400),
    "a chunk size with a prefix": (post(CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n"), 400),
    "a chunk size beyond 64 bits": (post(CHUNKED + b"\r\nfffffffffffffffff\r\n"), 400),
    "a chunk longer than its size": (post(CHUNKED + b"\r\n3\r\nabcd\r\n0\r\n\r\n"), 400),
    "a chunk line ended by bare LF": (post(CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n"), 400),
    "chunks beyond the limit": (post(CHUNKED + b"\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"), 413),
    "a length among the trailers": (post(CHUNKED + b"\r\n0\r\nContent-Length: 3\r\n\r\n"), 400),
    "bare LF after the request line": (b"GET / HTTP/1.1\nA: b\n\n", 400),
    "bare LF after a header": (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400),
    "bare CR in a header": (b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", 400),
    "a blank before the colon": (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\n: b\r\n\r\n", 400),
    "a header without a colon": (b"GET / HTTP/1.1\r\nA\r\n\r\n", 400),
    "a control character in a header's name": (b"GET / HTTP/1.1\r\nA\x01: b\r\n\r\n", 400),
    "a control character in a length": (post(b"Content-Length: \x0b3\r\n\r\nabc"), 400),
    "a fold in a length": (post(b"Content-Length: 1\r\n 3\r\n\r\nabc"), 400),
    "a control character in a coding": (post(b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"), 501),
    "a fold in a coding": (post(b"Transfer-Encoding: gzip\r\n , chunked\r\n\r\n0\r\n\r\n"), 501),
    "a blank in the target": (b"GET /a b HTTP/1.1\r\n\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\n\r\n", 400),
    "an unknown method": (b"FETCH / HTTP/1.1\r\n\r\n", 400),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "a milter's option negotiation": (b"\0\0\0\rO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff", 400),
    "CONNECT": (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", 501),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "HTTP/2.0 as a version": (b"GET / HTTP/2.0\r\n\r\n", 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/3.1": (b"GET / HTTP/3.1\r\n\r\n", 505),
}


@pytest.mark.parametrize("shape", REFUSED)
def test_faulty_framing_and_syntax_are_refused_however_they_are_cut(shape: str) -> None:
    data, status = REFUSED[shape]
    for pieces in cuttings(data):
        assert requests_in(pieces) == ([], status)


def test_the_value_of_a_header_may_be_anything() -> None:
    octets = bytes(octet for octet in range(256) if octet not in b"\r\n")
    data = (
        b"GET / HTTP/1.1\r\nHelo: a"
        + octets
        + b"z\r\nX: b\r\n c\r\n\td\r\nConnection: close, upgrade\r\nUpgrade: x\r\nY: \x01\r\n\r\n"
    )
    for pieces in cuttings(data):
        (request,), fault = requests_in(pieces)
        assert fault is None
        assert dict(request.headers)[b"helo"] == b"a" + octets + b"z"
        assert dict(request.headers)[b"y"] == b"\x01"
        assert dict(request.headers)[b"x"].split() == [b"b", b"c", b"d"]


def test_a_target_is_printable_ascii() -> None:
    for octet in range(256):
        for target in (b"/a%bb", b"/a?b%bc", b"/a#b%bc", b"http://h%bh/", b"http://u%bu@h/"):
            requests, _ = requests_in([b"GET " + target.replace(b"%b", bytes([octet])) + b" HTTP/1.1\r\n\r\n"])
            assert all(request.target.isascii() and request.target.isprintable() for request in requests)


def test_a_target_longer_than_its_limit_is_refused_before_it_ends() -> None:
    for target, expected in ((b"/" + b"x" * 9, 10), (b"/" + b"x" * 10, None)):
        for pieces in cuttings(b"GET " + target):
            parser = RequestParser(max_body=LIMIT, max_target=10)
            if expected:
                assert not any(parser.feed(piece) for piece in [*pieces, b" HTTP/1.1\r\n\r"])
                assert len(parser.feed(b"\n")[0].target) == expected
            else:
                with pytest.raises(ProtocolError, match="longer than 10") as told:
                    parser.feed(b"".join(pieces))
                assert (told.value.status, told.value.kind) == (414, "limit")


def test_what_came_before_a_fault_is_delivered_and_the_fault_waits() -> None:
    parser = RequestParser(max_body=LIMIT)
    assert [request.target for request in parser.feed(b"GET /1 HTTP/1.1\r\n\r\nnonsense")] == ["/1"]
    assert parser.fault is not None
    assert parser.closed
    for data in (b"GET /2 HTTP/1.1\r\n\r\n", b""):
        with pytest.raises(ProtocolError, match="Bad request: Invalid method encountered") as told:
            parser.feed(data)
        assert told.value.status == parser.fault.status == 400


def test_after_a_closing_request_data_is_ignored_and_reported() -> None:
    data = b"GET /1 HTTP/1.0\r\n\r\n"
    for excess in (b"", b"\r\n", b"GET /2 HTTP/1.1\r\n\r\n", b"nonsense"):
        for pieces in cuttings(data + excess):
            parser = RequestParser(max_body=LIMIT)
            assert [request.target for piece in pieces for request in parser.feed(piece)] == ["/1"]
            assert (parser.closed, parser.fault, parser.has_excess) == (True, None, bool(excess.strip()))


def test_the_end_of_the_stream_between_requests_is_no_fault() -> None:
    parser = RequestParser(max_body=LIMIT)
    assert not parser.closed
    parser.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert (parser.closed, parser.feed(b""), parser.closed) == (False, [], True)
    assert (parser.feed(b""), parser.has_excess) == ([], False)


def test_a_request_is_begun_from_its_first_octet_to_its_last() -> None:
    parser = RequestParser(max_body=LIMIT)
    data = post(b"Content-Length: 1\r\n\r\nx")
    seen = [parser.is_begun]
    for octet in bytewise(data * 2):
        parser.feed(octet)
        seen.append(parser.is_begun)
    once = [False] + [True] * (len(data) - 1)
    assert seen == [*once, *once, False]
    parser.feed(data + data[:1])
    assert parser.is_begun


def test_the_end_of_the_stream_inside_a_request_is_a_fault_of_kind_closed() -> None:
    data, _ = CLIENTS["curl, chunked"]
    for at in range(1, len(data)):
        parser = RequestParser(max_body=LIMIT)
        assert parser.feed(data[:at]) == []
        with pytest.raises(ProtocolError, match="closed in the middle") as told:
            parser.feed(b"")
        assert (told.value.status, told.value.kind) == (400, "closed")


@pytest.mark.parametrize(
    ("version", "expectation", "expected"),
    [("1.1", "100-continue", True), ("1.1", "100-Continue", True), ("1.1", "more", False), ("1.0", "100-continue", False)],
)
def test_a_client_that_waits_for_100_is_told_once(version: str, expectation: str, expected: bool) -> None:
    head = f"POST / HTTP/{version}\r\nContent-Length: 2\r\nExpect: {expectation}\r\n\r\n".encode()
    parser = RequestParser(max_body=LIMIT)
    assert (parser.feed(head[:-1]), parser.expects_continue) == ([], False)
    assert (parser.feed(head[-1:]), parser.expects_continue) == ([], expected)
    parser.expects_continue = False
    assert (parser.feed(b"a"), parser.expects_continue) == ([], False)
    assert (parser.feed(b"b")[0].body, parser.expects_continue) == (b"ab", False)


def test_a_client_that_did_not_wait_is_not_told_to_go_on() -> None:
    parser = RequestParser(max_body=LIMIT)
    head = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert (parser.feed(head + b"a"), parser.expects_continue) == ([], False)
    assert (len(parser.feed(b"b" + head.replace(b"2", b"0"))), parser.expects_continue) == (2, False)


def reply(start: str, headers: str = "", body: bytes = b"") -> bytes:
    lines = [start, *(headers.split(" | ") if headers else []), "", ""]
    return "\r\n".join(lines).encode() + body


LENGTH = [(b"content-length", b"2")]
REPLIES: dict[str, tuple[bytes, Reply]] = {
    "nginx": (
        reply("HTTP/1.1 200 OK", "Server: nginx/1.22.1 | Content-Length: 11 | ETag: \t \"6\"  ", b"hello world"),
        (200, "OK", [(b"server", b"nginx/1.22.1"), (b"content-length", b"11"), (b"etag", b'"6"')], b"hello world", True, True),
    ),
    "no reason": (reply("HTTP/1.1 200", "Content-Length: 2", b"ab"), (200, "", LENGTH, b"ab", True, True)),
    "a reason in Latin-1": (
        "HTTP/1.1 404 Où\r\nContent-Length: 2\r\n\r\nab".encode("latin-1"),
        (404, "Où", LENGTH, b"ab", True, True),
    ),
    "a code nobody registered": (reply("HTTP/1.1 799 X", "Content-Length: 2", b"ab"), (799, "X", LENGTH, b"ab", True, True)),
    "HTTP/1.0": (reply("HTTP/1.0 200 OK", "Content-Length: 2", b"ab"), (200, "OK", LENGTH, b"ab", True, False)),
    "chunks": (
        reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", b"1\r\na\r\n1;x\r\nb\r\n0\r\nTrailer: x\r\n\r\n"),
        (200, "OK", [(b"transfer-encoding", b"chunked")], b"ab", True, True),
    ),
    "a close announced": (
        reply("HTTP/1.1 200 OK", "Connection: close | Content-Length: 2", b"ab"),
        (200, "OK", [(b"connection", b"close"), *LENGTH], b"ab", True, False),
    ),
    "204 with a length": (reply("HTTP/1.1 204 No Content", "Content-Length: 2"), (204, "No Content", LENGTH, b"", True, True)),
    "304 with a length beyond the limit": (
        reply("HTTP/1.1 304 Not Modified", "Content-Length: 1001"),
        (304, "Not Modified", [(b"content-length", b"1001")], b"", True, True),
    ),
    "interim responses": (
        reply("HTTP/1.1 100 Continue") + reply("HTTP/1.1 103 Early Hints", "Link: x") + reply("HTTP/1.1 199 ?")
        + reply("HTTP/1.1 200 OK", "Content-Length: 2", b"ab"),
        (200, "OK", LENGTH, b"ab", True, True),
    ),
}  # fmt: skip
UNTIL_CLOSE = {
    "HTTP/1.0": reply("HTTP/1.0 200 OK", "A: b", b"ab"),
    "a close announced": reply("HTTP/1.1 200 OK", "Connection: close", b"ab"),
    "neither length nor close": reply("HTTP/1.1 200 OK", "", b"ab"),
}
BAD_REPLIES = {
    "another protocol": (b"* OK IMAP4rev1\r\n", "protocol"),
    "SMTP": (b"220 mx.example.org ESMTP\r\n", "protocol"),
    "a switch nobody asked for": (reply("HTTP/1.1 101 Switching Protocols", "Connection: upgrade | Upgrade: x"), "protocol"),
    "a status below 100": (reply("HTTP/1.1 099 X", "Content-Length: 0"), "protocol"),
    "length beside chunked": (reply("HTTP/1.1 200 OK", "Content-Length: 2 | Transfer-Encoding: chunked"), "protocol"),
    "two lengths": (reply("HTTP/1.1 200 OK", "Content-Length: 2 | Content-Length: 3"), "protocol"),
    "a coding nobody asked for": (reply("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"), "protocol"),
    "a bad chunk": (reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", b"x\r\n"), "protocol"),
    "a length beyond the limit": (reply("HTTP/1.1 200 OK", "Content-Length: 1001"), "limit"),
    "a body beyond the limit": (reply("HTTP/1.1 200 OK", "", b"x" * 1001), "limit"),
}


@pytest.mark.parametrize("case", REPLIES)
def test_replies_are_understood_however_they_are_cut(case: str) -> None:
    data, expected = REPLIES[case]
    for pieces in cuttings(data):
        assert reply_in(pieces) == expected


@pytest.mark.parametrize("case", UNTIL_CLOSE)
def test_a_body_without_a_length_ends_with_the_connection(case: str) -> None:
    for pieces in cuttings(UNTIL_CLOSE[case]):
        parser = ResponseParser(max_body=LIMIT)
        assert not any(parser.feed(piece) for piece in pieces)
        assert parser.feed(b"")
        assert (parser.body, parser.complete, parser.keep_alive) == (b"ab", True, False)


@pytest.mark.parametrize("case", BAD_REPLIES)
def test_bad_replies_are_refused_however_they_are_cut(case: str) -> None:
    data, kind = BAD_REPLIES[case]
    for pieces in cuttings(data):
        assert reply_in(pieces) == kind


def test_a_reply_cut_short_is_closed_and_keeps_what_came() -> None:
    data, _ = REPLIES["nginx"]
    begin = data.index(b"hello")
    for at in range(len(data)):
        parser = ResponseParser(max_body=LIMIT)
        if at:
            assert not parser.feed(data[:at])
        where = "before" if not at else "the response's head" if at < begin else f"body, after {at - begin} bytes"
        with pytest.raises(ProtocolError, match=where) as told:
            parser.feed(b"")
        assert told.value.kind == "closed"
        assert parser.body == data[begin:at]
    assert reply_in([reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", b"1\r\na\r\n"), b""]) == "closed"


def test_a_reply_to_head_has_no_body_and_ends_the_connection() -> None:
    for headers in ("Content-Length: 5000", "Transfer-Encoding: chunked", ""):
        got = reply_in([CONTINUE + reply("HTTP/1.1 200 OK", headers)], head=True)
        assert isinstance(got, tuple)
        assert (got[0], got[3:]) == (200, (b"", True, False))


def test_one_parser_reads_all_replies_of_a_connection() -> None:
    parser = ResponseParser(max_body=LIMIT)
    for case in ("nginx", "chunks", "204 with a length", "interim responses"):
        data, expected = REPLIES[case]
        assert (parser.status, parser.complete, parser.body) == (0, False, b"")
        assert parser.feed(data)
        assert (parser.status, parser.reason, parser.headers, parser.body, parser.complete, parser.keep_alive) == expected
        parser.reset()
    with pytest.raises(ProtocolError, match="Bad response"):
        parser.feed(b"nonsense")
    for data, head in (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", True),
        (REPLIES["HTTP/1.0"][0], False),
        (REPLIES["nginx"][0], True),
    ):
        parser.reset(head=head)  # a new connection: no trace of the one before
        parser.feed(data)
    assert (parser.status, parser.complete, parser.body, parser.keep_alive) == (200, True, b"", False)


def test_data_after_a_reply_ends_the_connection_and_spoils_nothing() -> None:
    data, expected = REPLIES["nginx"]
    for excess in (b"HTTP/1.1 200 OK\r\n\r\n", b"x"):
        for pieces in cuttings(data + excess):
            assert reply_in(pieces) == (*expected[:-1], False)
    assert reply_in([data, b""]) == (*expected[:-1], False)


methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT", "HEAD"])
targets = st.text(st.characters(min_codepoint=0x24, max_codepoint=0x7E, exclude_characters="?#"), max_size=20).map("/".__add__)
names = st.from_regex(r"X-[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
values = st.binary(max_size=20).map(lambda raw: bytes(octet for octet in raw if octet >= 0x20 and octet != 0x7F).strip())
cuts = st.lists(st.integers(min_value=1, max_value=60), max_size=30)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


@given(methods, targets, st.dictionaries(names.map(str.lower), values), st.binary(max_size=200), st.booleans(), cuts)
def test_a_rendered_request_is_read_back(
    method: str, target: str, headers: dict[str, bytes], body: bytes, keep_alive: bool, sizes: list[int]
) -> None:
    data = render_request(method, target, "h", headers=headers, body=body, keep_alive=keep_alive)
    (request,), fault = requests_in(cut(data, sizes))
    assert (request.method, request.target, request.body, request.keep_alive) == (method, target, body, keep_alive)
    assert {name.decode(): value for name, value in request.headers if name.startswith(b"x-")} == headers
    assert fault is None


@given(st.integers(200, 599).filter(lambda status: status not in (204, 304)), st.binary(max_size=200), st.booleans(), cuts)
def test_a_rendered_response_is_read_back(status: int, body: bytes, keep_alive: bool, sizes: list[int]) -> None:
    data = render_response(status, body=body, keep_alive=keep_alive, reason="because", headers=[("X-A", "b")])
    got = reply_in(cut(data, sizes))
    assert isinstance(got, tuple)
    assert (*got[:2], got[2][-1], *got[3:]) == (status, "because", (b"x-a", b"b"), body, True, keep_alive)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), cuts)
def test_chunks_are_joined(chunks: list[bytes], sizes: list[int]) -> None:
    framed = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nT: x\r\n\r\n"
    (request,), fault = requests_in(cut(post(CHUNKED + b"\r\n") + framed, sizes))
    assert (request.body, request.headers, fault) == (b"".join(chunks), [(b"transfer-encoding", b"chunked")], None)
    got = reply_in(cut(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n" + framed, sizes))
    assert got == (200, "OK", [(b"transfer-encoding", b"chunked")], b"".join(chunks), True, True)


def spoilt(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Random bytes, and real traffic with a few bytes replaced, removed or inserted."""
    edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.binary(max_size=3)), max_size=4)

    def spoil(sample: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for at, length, new in changes:
            sample = sample[:at] + new + sample[at + length :]
        return sample

    return st.binary(max_size=100) | st.builds(spoil, st.sampled_from(samples), edits)


@given(spoilt([data for data, _ in CLIENTS.values()] + [data for data, _ in REFUSED.values()]))
def test_whatever_a_client_sends_gives_requests_or_a_protocol_error_and_cuts_change_nothing(data: bytes) -> None:
    assert requests_in([data, b""]) == requests_in([*bytewise(data), b""])


@given(spoilt([data for data, _ in REPLIES.values()] + [data for data, _ in BAD_REPLIES.values()]))
def test_whatever_a_server_sends_gives_a_reply_or_a_protocol_error_and_cuts_change_nothing(data: bytes) -> None:
    assert reply_in([data, b""]) == reply_in([*bytewise(data), b""])


def h11_events(connection: h11.Connection, data: bytes) -> tuple[h11.Request | h11.Response, bytes]:
    """The head and the body that h11 reads in `data`."""
    connection.receive_data(data)
    head: h11.Request | h11.Response | None = None
    body = b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Request | h11.Response):
            head = event
        else:
            assert isinstance(event, h11.Data)
            body += event.data
    assert head is not None
    return head, body


def h11_bytes(connection: h11.Connection, head: h11.Request | h11.Response, body: bytes) -> bytes:
    parts = [connection.send(head), connection.send(h11.Data(data=body)), connection.send(h11.EndOfMessage())]
    return b"".join(part or b"" for part in parts)


@given(
    methods.filter(lambda method: method != "HEAD"),
    targets,
    st.lists(st.tuples(names, values)),
    st.binary(max_size=200),
    st.booleans(),
)
def test_h11_writes_what_we_read_and_reads_what_we_write(
    method: str, target: str, headers: list[tuple[str, bytes]], body: bytes, chunked: bool
) -> None:
    lower = [(name.lower().encode(), value) for name, value in headers]
    framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % len(body))
    client, server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    asked = h11.Request(method=method, target=target, headers=[(b"Host", b"h"), framing, *lower])
    (request,), _ = requests_in([h11_bytes(client, asked, body)])
    assert (request.method, request.target, request.body, request.keep_alive) == (method, target, body, True)
    assert request.headers[2:] == lower

    head, got = h11_events(server, render_request(method, target, "h", headers=dict(headers), body=body))
    assert isinstance(head, h11.Request)
    assert (head.method.decode(), head.target.decode(), got) == (method, target, body)
    assert {pair for pair in head.headers if pair[0].startswith(b"x-")} >= {
        (name.lower().encode(), value) for name, value in dict(headers).items()
    }

    answer = h11.Response(status_code=200, reason="OK", headers=[framing, *lower])
    read = reply_in([h11_bytes(server, answer, body)])
    assert isinstance(read, tuple)
    assert (*read[:2], *read[3:]) == (200, "OK", body, True, True)
    assert [pair for pair in read[2] if pair[0].startswith(b"x-")] == lower

    response, content = h11_events(client, render_response(200, body=body, keep_alive=True, content_type="text/plain"))
    assert isinstance(response, h11.Response)
    assert (response.status_code, bytes(response.reason), content) == (200, b"OK", body)
