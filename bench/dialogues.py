"""What a client says to have a message judged, over HTTP, as spamc or by SMTP, and when a reply to it is complete."""

from bench.load import Dialogue, Reader, Wrong

__all__ = ["over_http", "over_smtp", "over_spamc"]


def over_http(raw: bytes, *, keepalive: bool = False) -> Dialogue:
    """What is looked at is the reply's body."""
    connection = "keep-alive" if keepalive else "close"
    head = f"POST /checkv2 HTTP/1.1\r\nHost: bench\r\nConnection: {connection}\r\nContent-Length: {len(raw)}\r\n\r\n"
    return Dialogue(((head.encode() + raw, _body(b" 200 ")),), keepalive)


def over_spamc(raw: bytes) -> Dialogue:
    """What is looked at are the symbols, with commas between."""
    head = f"SYMBOLS SPAMC/1.5\r\nContent-length: {len(raw)}\r\n\r\n"
    return Dialogue(((head.encode() + raw, _body(b" 0 EX_OK\r\n")),))


def over_smtp(raw: bytes) -> Dialogue:
    """What is looked at are all replies. Commands go one by one: who answers several that came together in several small pieces
    waits for the client's kernel in between, and the latency would tell of that.
    """
    lines = raw.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    text = b"".join(b"%b%b\r\n" % (b"." * line.startswith(b"."), line) for line in lines)
    return Dialogue(
        (
            (b"", _reply(b"220")),
            (b"EHLO bench.example.org\r\n", _reply(b"250")),
            (b"MAIL FROM:<ann@example.org>\r\n", _reply(b"250")),
            (b"RCPT TO:<bob@example.net>\r\n", _reply(b"250")),
            (b"DATA\r\n", _reply(b"354")),
            (text + b".\r\n", _reply(b"250")),
            (b"QUIT\r\n", _reply(b"221")),
        )
    )


def _body(good: bytes) -> Reader:
    """Of a reply whose first line has `good` in it and whose head says how long the body is."""

    def read(data: bytes) -> bytes | None:
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            return None
        _, found, rest = head.lower().partition(b"\r\ncontent-length:")
        if not found or good not in head[:20]:
            raise Wrong(f"not a verdict: {data[:300]!r}")
        return body if len(body) >= int(rest.split(b"\r\n", 1)[0]) else None

    return read


def _reply(code: bytes) -> Reader:
    """A reply with this code; of one with several lines the last has no hyphen."""

    def read(data: bytes) -> bytes | None:
        if not data.endswith(b"\r\n"):
            return None
        if not data.startswith(code):
            raise Wrong(f"a reply {code.decode()} was due: {data[:300]!r}")
        return data if data.split(b"\r\n")[-2].startswith(code + b" ") else None

    return read
