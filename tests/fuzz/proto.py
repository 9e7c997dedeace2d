"""Targets: the wire protocols, and the addresses of web services."""

import random
from urllib.parse import quote

from filterd.mail.envelope import Envelope
from filterd.net.http_url import BadUrl
from filterd.net.http_url import parse_url as parse_http_url
from filterd.net.redis_commands import Command, packed
from filterd.net.redis_wire import Wire
from filterd.net.stream import Stream
from filterd.outcome import RequestFailed
from filterd.proto import dns, dns_frames, dns_names, http1, proxy, rspamd, ucl
from filterd.proto.dns_files import parse_hosts, parse_resolv_conf
from tests.fuzz.target import Target, pieces

__all__ = ["TARGETS"]

# ------------------------------------------------------------------------------------------------------------------- HTTP

_REQUESTS = (
    b"GET /ping HTTP/1.0\r\n\r\n",
    b"POST /checkv2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nFrom: a@b\r\nRcpt: c@d\r\nrcpt: e@f,g@h\r\n\r\nhello",
    b"POST /checkv2?ip=192.0.2.1&from=%3Ca@b%3E HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
    b"5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\nGET /ping HTTP/1.1\r\n\r\n",
    b"POST /checkv2 HTTP/1.1\r\nExpect: 100-continue\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 3\r\n\r\nabc",
    b'POST /symbols HTTP/1.1\r\nSettings: {"actions": {"reject": 5}}\r\nFlags: pass_all,milter\r\nContent-Length: 0\r\n\r\n',
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\nOPTIONS * HTTP/1.1\r\nHost: y\r\n\r\n",
)
_RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 10\r\n\r\n',
)
_HTTP_WORDS: tuple[bytes, ...] = (
    b"\r\n",
    b"\n",
    b" ",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
)
_HTTP_WORDS += (
    b"0\r\n\r\n",
    b"ffffffff\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: x\r\n",
    b"\r\n\r\n",
)


def _fed_requests(parts: list[bytes]) -> tuple[list[http1.Request], object]:
    parser = http1.RequestParser(max_body=20_000)
    requests: list[http1.Request] = []
    fault = None
    for part in [*parts, b""]:
        try:
            requests += parser.feed(part)
        except http1.ProtocolError as error:
            fault = (error.status, error.kind, str(error))
            break
    return requests, fault


def _http_request(data: bytes) -> object:
    requests, fault = _fed_requests([data] if data else [])
    again = _fed_requests(list(pieces(data)))
    assert again[0] == requests
    # Which of two limits is passed first may depend on how the bytes came, that one is passed may not.
    assert (again[1] is None) == (fault is None), (again[1], fault)
    for request in requests:
        headers = rspamd.scan_headers(request)
        assert all(name == name.lower() for name in headers)
        _envelope(headers)
        rspamd.command(request.target)
    return len(requests), fault


def _envelope(headers: dict[str, list[str]]) -> object:
    envelope = Envelope(headers)
    addresses = [*envelope.rcpts, *([envelope.mail_from] if envelope.mail_from is not None else [])]
    assert not any("broken" in address.flags for address in addresses)
    flags = envelope.flags, envelope.broken, envelope.raw_mode, envelope.tls
    texts = [envelope.ip, envelope.helo, envelope.user, envelope.deliver_to, envelope.settings, envelope.get("Settings-ID")]
    for text in [*texts, *addresses]:
        (text or "").encode()
    return flags


def _headers_of(data: bytes) -> object:
    """Lines of `name: value` as the headers of a scan request."""
    headers: dict[str, list[str]] = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    return _envelope(headers)


def _http_response(data: bytes) -> object:
    outcomes = []
    for parts in ([data] if data else [], list(pieces(data))):
        parser = http1.ResponseParser(max_body=20_000, head=data[-1:] == b"h")
        fault: object = None
        try:
            for part in [*parts, b""]:
                if parser.feed(part):
                    break
        except http1.ProtocolError as error:
            fault = error.kind
        seen = (parser.status, parser.reason, parser.headers, parser.body) if fault is None else None
        outcomes.append((seen, parser.complete, fault is None))
    assert outcomes[0] == outcomes[1]
    return outcomes[0][1:], parser.status


def _http_render(data: bytes) -> object:
    """What is written is read back as it was, or refused."""
    first, _, body = data.partition(b"\0")
    lines = first.decode("utf-8", "surrogateescape").split("\n")
    method, target, host, *fields = [*lines, "", "", ""][: max(3, len(lines))]
    headers = dict(field.partition(":")[::2] for field in fields)
    rendered = http1.render_request(method, target, host, headers=headers, body=body, keep_alive=False)
    parser = http1.RequestParser(max_body=len(body))
    try:
        requests = parser.feed(rendered)
    except http1.ProtocolError as error:
        # Methods llhttp does not know, hosts that hold control characters: the peer refuses, and nothing is smuggled.
        return error.status
    assert len(requests) == 1
    assert not parser.has_excess
    assert requests[0].body == body
    return len(requests[0].headers)


# -------------------------------------------------------------------------------------------------------------------- UCL

_UCL_WORDS: tuple[bytes, ...] = (
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"=",
    b",",
    b";",
    b'"',
    b"'",
    b"\\u0041",
    b"/*",
    b"*/",
    b"#",
    b"\n",
    b"10k",
    b"5min",
    b"true",
)
_UCL_WORDS += (b"null", b"0x1f", b"1e308", b"-", b"<<EOD\n", b"EOD\n", b"${A}", b".include", b'a "b" {')


def _ucl(data: bytes) -> object:
    found = ucl.parse(data.decode("utf-8", "replace"))
    _check_values(found, 0)
    return sorted(type(value).__name__ for value in found.values())


def _check_values(value: object, depth: int) -> None:
    assert depth <= ucl.MAX_DEPTH + 1
    if isinstance(value, dict):
        for name, inner in value.items():
            assert isinstance(name, str)
            _check_values(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_values(inner, depth + 1)
    else:
        assert value is None or isinstance(value, str | int | float)
        str(value).encode("utf-8", "surrogatepass")


def _make_ucl(dice: random.Random) -> bytes:
    def value(depth: int) -> str:
        kind = dice.randrange(7 if depth < 6 else 5)
        if kind == 5:
            return "[" + ", ".join(value(depth + 1) for _ in range(dice.randrange(4))) + "]"
        if kind == 6:
            return "{" + dice.choice(" \n").join(f"{name()} {dice.choice('=:')} {value(depth + 1)};" for _ in range(3)) + "}"
        return dice.choice(["1", "2.5", "10k", "5min", "yes", "null", '"a\\"b"', "'c'", "bare", "1.2.3.4", "-0x10", "1e5"])

    def name() -> str:
        return dice.choice(["a", "b-c", '"q"', "rules", "n0", "/x/"])

    return "\n".join(
        f"{name()} {dice.choice(['=', ':', ''])} {value(0)}{dice.choice([';', ',', ''])}" for _ in range(4)
    ).encode()


# -------------------------------------------------------------------------------------------------------------------- DNS

_QUESTIONS = {kind: dns.encode_question("mail.example.org", kind) for kind in dns.TYPES}
_NAME = b"\x04mail\x07example\x03org\0"


def _answer(kind: str, *records: bytes, flags: bytes = b"\x81\x80") -> bytes:
    head = b"\x12\x34" + flags + b"\0\1" + len(records).to_bytes(2, "big") + b"\0\0\0\0"
    return head + _QUESTIONS[kind] + b"".join(records)


def _record(kind: str, data: bytes) -> bytes:
    return b"\xc0\x0c" + _QUESTIONS[kind][-4:] + b"\0\0\1\0" + len(data).to_bytes(2, "big") + data


_REPLIES = (
    _answer("a", _record("a", bytes([192, 0, 2, 1])), _record("a", bytes([127, 0, 0, 2]))),
    _answer("aaaa", _record("aaaa", bytes(15) + b"\1")),
    _answer("mx", _record("mx", b"\0\x0a\xc0\x0c")),
    _answer("txt", _record("txt", b"\x05hello\x02\xff\0")),
    _answer("ptr", _record("ptr", _NAME)),
    _answer("soa", _record("soa", _NAME + b"\xc0\x0c" + bytes(20))),
    _answer("srv", _record("srv", b"\0\1\0\2\0\x19" + _NAME)),
    _answer("tlsa", _record("tlsa", b"\3\1\1" + bytes(32))),
    _answer("caa", _record("caa", b"\0\x05issueca.example")),
    _answer("any", _record("a", bytes(4)), _record("mx", b"\0\x0a\xc0\x0c"), _record("txt", b"\0")),
    _answer("a", flags=b"\x81\x83"),
    _answer("a", flags=b"\x83\x80"),
)


def _dns_reply(data: bytes) -> object:
    seen: set[str] = set()
    faults = 0
    for question in _QUESTIONS.values():
        # Whatever was asked, the same octets come back behind the header.
        answer = data[:12] + question + data[12 + len(question) :]
        try:
            reply = dns.parse_reply(answer, 0x1234, question)
        except dns_names.ProtocolError:
            faults += 1
            continue
        if reply is not None:
            assert reply.ttl >= 0
            assert len(reply.answers) <= dns.MAX_RECORDS
            seen.add(str(reply.error))
            records = reply.records(age=1.5)
            repr(records).encode()
    return sorted(seen), faults > 0


def _dns_name(data: bytes) -> object:
    at = data[0] if data else 0
    outcomes: list[int | type] = []
    for read in (dns_names.read_name, dns_names.skip_name):
        try:
            found = read(data, at)
            outcomes.append(found if isinstance(found, int) else found[1])
        except (dns_names.ProtocolError, IndexError) as error:
            outcomes.append(type(error))
    if isinstance(outcomes[0], int):
        assert outcomes[1] == outcomes[0]
    text = data.decode("utf-8", "replace")
    for encode in (dns_names.encode_name, dns_names.reverse_name, lambda ip: dns_names.list_name(ip, "bl.example")):
        try:
            encode(text)
        except ValueError as error:
            assert len(str(error)) < 1000
    return [type(outcome).__name__ for outcome in outcomes]


def _dns_frames(data: bytes) -> object:
    whole, rest = dns_frames.split(data)
    messages, kept = [], b""
    for piece in pieces(data):
        found, kept = dns_frames.split(kept + piece)
        messages += found
    assert (messages, kept) == (whole, rest)
    assert b"".join(map(dns_frames.frame, whole)) + rest == data
    return len(whole)


def _dns_files(data: bytes) -> object:
    text = data.decode("utf-8", "replace")
    servers, _ = parse_resolv_conf(text)
    assert 1 <= len(servers) <= 3
    return len(parse_hosts(text)), len(servers)


# ------------------------------------------------------------------------------------------------------------------ Redis


class _Piped(Stream):
    """A stream whose bytes are there already."""

    def __init__(self, parts: list[bytes]) -> None:
        super().__init__(None, "redis.test:6379")  # type: ignore[arg-type]
        self.parts = parts

    def read(self, size: int = 0, *, until: float | None = None, expect_wait: bool = False) -> bytes:
        return self.parts.pop(0) if self.parts else b""


def _redis(data: bytes) -> object:
    outcomes = []
    for parts in ([data] if data else [], list(pieces(data))):
        wire = Wire(_Piped(parts))
        replies: list[str] = []
        try:
            while True:
                replies += map(repr, wire.receive(until=None))
        except RequestFailed as error:
            outcomes.append((replies, error.failure.kind))
    # What came before a fault is lost with it when both came in one read: then the line is given up anyway.
    if outcomes[0][1] == "closed":
        assert outcomes[0] == outcomes[1]
    return len(outcomes[0][0]), outcomes[0][1]


def _redis_command(data: bytes) -> object:
    words = [word.decode("utf-8", "surrogateescape") if len(word) % 2 else word for word in data.split(b" ")]
    command = Command(words)
    assert packed([command]) == command.packed
    assert command.packed.startswith(b"*%d\r\n" % len(words))
    return command.place, command.reads, command.seconds is None


# ------------------------------------------------------------------------------------------------------------------ PROXY

_TLVS = ((0x02, b"mx.example.org"), (0x04, b"pad"), (proxy.CRC32C, bytes(4)), (0x20, b"\1\0\0\0\0"))
_PROXIES = (
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\nEHLO x",
    b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\n",
    b"PROXY UNKNOWN a b c\r\n",
    *(
        proxy.render(header)
        for header in (
            proxy.Header(family="inet", transport="stream", source=("192.0.2.1", 1), destination=("192.0.2.2", 2), tlvs=_TLVS),
            proxy.Header(family="inet6", transport="dgram", source=("::1", 1), destination=("::2", 2), tlvs=_TLVS[:2]),
            proxy.Header(family="unix", transport="stream", source="/a", destination="\0b"),
            proxy.Header(is_local=True),
            proxy.Header(),
        )
    ),
)


def _proxy(data: bytes) -> object:
    outcomes = []
    for parts in ([data] if data else [], list(pieces(data))):
        parser = proxy.HeaderParser()
        found, rest, fault = None, b"", ""
        try:
            for number, part in enumerate([*parts, b""]):
                found = parser.feed(part)
                if found is not None:
                    rest = parser.rest + b"".join(parts[number + 1 :])
                    break
        except proxy.ProtocolError as error:
            fault = str(error).partition(",")[0]
        outcomes.append((found, rest, bool(fault)))
    assert outcomes[0] == outcomes[1]
    if found is None:
        return fault[:30]
    assert data.endswith(rest)
    again = proxy.HeaderParser().feed(proxy.render(found))
    assert again is not None
    assert (again.source, again.destination, again.is_local) == (found.source, found.destination, found.is_local)
    assert [one for one in again.tlvs if one[0] != proxy.CRC32C] == [one for one in found.tlvs if one[0] != proxy.CRC32C]
    return found.version, found.family, found.transport, len(found.tlvs)


def _http_url(data: bytes) -> object:
    url = parse_http_url(data.decode("utf-8", "replace"))
    assert url.target.isascii()
    assert url.target.isprintable()
    assert 0 < url.port < 65536
    http1.render_request("GET", url.target, url.authority)
    joined = url.joined(quote(data[:50]))
    return url.scheme, joined.scheme


TARGETS = (
    Target(
        "proxy",
        _proxy,
        _PROXIES,
        (
            *(b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"\r\n", b" ", b"\r\n\r\n\0\r\nQUIT\n", b"\x21\x11\0\x0c", b"\x20\0"),
            *(b"\3\0\4", b"\4\0\0"),
        ),
        largest=8 * 1024,
    ),
    Target("http-request", _http_request, _REQUESTS, _HTTP_WORDS),
    Target("http-response", _http_response, _RESPONSES, (*_HTTP_WORDS, b"HTTP/1.1 200 OK\r\n")),
    Target("http-render", _http_render, (b"POST\n/x\nhost\nName:value\0body", b"GET\n/\nh\0"), _HTTP_WORDS, (ValueError,)),
    Target(
        "http-url", _http_url, (b"http://u:p@h.example:8080/a?b#c", b"https://[::1]/"), (b"://", b"@", b"[", b"]"), (BadUrl,)
    ),
    Target(
        "envelope",
        _headers_of,
        (
            b"from: <a@b>\nrcpt: c@d, <e@f>\nip: [IPv6:::1]\nhelo: x\nflags: a,b\npass: all\nraw: yes",
            b'ip: 192.0.2.1\nrcpt: "a,b"@c',
        ),
        (b"<", b">", b"@", b",", b'"', b"\\", b"from:", b"rcpt:", b"ip:", b"IPv6:", b"%eth0"),
    ),
    Target(
        "ucl",
        _ucl,
        (
            b'actions { reject = 5; greylist = 1k }\nrules [ "A", B, 10min ]',
            b'{"a": {"b": [1, 2.5, null, true]}, "c": "\\u00e9"}',
            b"a \"b\" { c: yes } # remark\n/* more */ d = 'x'",
        ),
        _UCL_WORDS,
        (ucl.UclError,),
        _make_ucl,
    ),
    Target("dns-reply", _dns_reply, _REPLIES, (b"\xc0\x0c", b"\0\1\0\1", b"\x3f", b"\xff\xff", _NAME)),
    Target(
        "dns-name",
        _dns_name,
        (b"\0" + _NAME + b"\xc0\0", b"b\xc3\xbccher.example", b"192.0.2.1", b"2001:db8::1"),
        (b"\xc0\0", b".", b"xn--"),
    ),
    Target("dns-frames", _dns_frames, (b"\0\5hello\0\0\0\1x\xff",), (b"\0\0", b"\xff\xff")),
    Target(
        "dns-files",
        _dns_files,
        (b"127.0.0.1 localhost a.b # x\n::1 ip6", b"nameserver ::1\noptions rotate"),
        (b"nameserver ", b"options "),
    ),
    Target(
        "redis",
        _redis,
        (
            b"+OK\r\n-ERR x\r\n:12\r\n$3\r\nabc\r\n$-1\r\n*2\r\n+a\r\n*-1\r\n",
            b"%1\r\n+a\r\n:1\r\n~1\r\n_\r\n,1.5\r\n#t\r\n(123\r\n=5\r\ntxt:a\r\n",
        ),
        (b"\r\n", b"*", b"$", b"+", b"-", b":", b"%", b"*1\r\n", b"$0\r\n\r\n", b">1\r\n", b"|1\r\n"),
    ),
    Target(
        "redis-command",
        _redis_command,
        (b"SET key value", b"EVAL script 1 k", b"BLPOP a 0"),
        (b" ", b"XREAD BLOCK 0 STREAMS"),
        (UnicodeEncodeError,),
    ),
)
