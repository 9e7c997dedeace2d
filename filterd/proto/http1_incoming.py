"""One HTTP/1 message on its way in, whichever the side: headers, body, limits and faults, as llhttp calls back.

Promises: no limit is passed by more than one read, a body in many pieces costs one copy more than a body in one, and a
parser that is dropped is freed at once (no reference cycles).
"""

from typing import Any, ClassVar

from httptools import HttpParserCallbackError, HttpParserError

from filterd.outcome import Kind

__all__ = ["Incoming", "ProtocolError"]

# llhttp's reasons that are about the version, the HTTP/2 preface among them.
_VERSION_REASONS = frozenset({"Invalid HTTP version", "Pause on PRI/Upgrade"})
_CHUNK_LINE = 24  # what the framing of one chunk may take before it counts as padding


class ProtocolError(Exception):
    """The peer broke the protocol or a limit: answer with `status` and close.

    `kind` is the class of `Failure` that a client reports: `protocol`, `limit`, or `closed` for an end in the middle; the
    status says nothing there.
    """

    def __init__(self, status: int, text: str, *, kind: Kind = "protocol") -> None:
        super().__init__(text)
        self.status = status
        self.kind: Kind = kind


class Incoming:
    """What llhttp calls back, whichever the side.

    It knows the C parser only while `run` runs. The C parser keeps bound methods of this object: a lasting link back would
    make every closed connection a reference cycle, and keep its body until a collection of cycles that may be far away.
    """

    side: ClassVar[str]

    # Defaults of the class, for the many connections that carry one message and need no `clear`.
    llhttp: Any = None
    fault: tuple[int, str, Kind] | None = None  # no exception object: a raised one would hold the frames that hold this one
    body: bytes | bytearray = b""
    has_head = False
    reading = 0  # size of the last read
    overhead = 0  # bytes read that were not body, or not yet seen to be
    uncounted = 0  # size of the read in which the message began: not in `overhead` when another one ended there

    def __init__(self, *, max_body: int, max_headers: int, max_header_bytes: int, max_start_line: int) -> None:
        self.max_body = max_body
        self.max_headers = max_headers
        self.max_header_bytes = max_header_bytes
        self.max_overhead = max_header_bytes + max_start_line
        self.headers: list[tuple[bytes, bytes]] = []

    def clear(self) -> None:
        """Make ready for the next message."""
        self.headers = []
        self.body = b""
        self.has_head = False
        self.overhead = self.uncounted = 0

    def refuse(self, status: int, text: str, kind: Kind = "protocol") -> ProtocolError:
        self.fault = status, text, kind
        return ProtocolError(status, text, kind=kind)

    def error(self) -> ProtocolError:
        assert self.fault is not None
        status, text, kind = self.fault
        return ProtocolError(status, text, kind=kind)

    def run(self, llhttp: Any, data: bytes) -> None:
        """Feed `data`; a fault is kept in `fault`, not raised, so that what came before it can still be delivered."""
        self.llhttp = llhttp
        self.reading = len(data)
        self.overhead += self.reading
        try:
            llhttp.feed_data(data)
            if self.overhead > self.max_overhead:
                self.refuse(431, f"{self.side} head or chunk framing too large", "limit")
        except HttpParserCallbackError as error:
            if self.fault is None:  # not ours: what a signal, say, raised inside a callback, and llhttp has wrapped
                raise (error.__context__ or error) from None
        except HttpParserError as error:
            status = 505 if str(error) in _VERSION_REASONS else 400
            self.refuse(status, f"Bad {self.side.lower()}: {error}")
        finally:
            self.llhttp = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # else a trailer
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_chunk_header(self) -> None:
        self.overhead = max(0, self.overhead - _CHUNK_LINE)

    def on_body(self, piece: bytes) -> None:
        body = self.body
        size = len(body) + len(piece)
        self.overhead -= len(piece)
        if size > self.max_body:
            raise self.too_large(size)
        if not body:
            self.body = piece  # the usual message is one piece: no copy
        elif isinstance(body, bytearray):
            body += piece
        else:
            self.body = bytearray(body)
            self.body += piece

    def framing(self) -> dict[bytes, bytes]:
        """The fields by name, after a look at limits and at what frames the body (a number, and never both: llhttp)."""
        headers = self.headers
        if len(headers) > self.max_headers:
            raise self.refuse(431, f"{self.side} has too many headers", "limit")
        # Only a head that came in more than the limit needs to be counted: 1 µs spared for all others.
        if self.uncounted + self.overhead > self.max_header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in headers)  # ": " and CRLF
            if size > self.max_header_bytes:
                raise self.refuse(431, f"{self.side} headers too large", "limit")
        fields = dict(headers)
        length = int(fields.get(b"content-length", b"0"))
        if length > self.max_body:
            raise self.too_large(length)
        if fields.get(b"transfer-encoding", b"chunked").lower() != b"chunked":  # RFC 9112 6.1
            raise self.refuse(501, "Transfer-Encoding other than chunked is not implemented")
        return fields

    def too_large(self, size: int) -> ProtocolError:
        return self.refuse(413, f"{self.side} entity too large: {size}", "limit")
