"""The request side of the two protocols older than HTTP: SpamAssassin's SPAMC and Rspamd's RSPAMC, which Exim speaks.

The documents are SpamAssassin's spamd/PROTOCOL (version 1.5) and what spamd, spamc, Rspamd and Exim do. A request is a line
`VERB SPAMC/1.5`, headers, an empty line and the message, which is as long as `Content-length` says, or else ends where the
client stops sending. A connection carries one request; the answer ends with the connection.

Promises:

* How the bytes were cut never matters. The peer's faults raise `ProtocolError` and nothing else.
* Lines end in CRLF or LF. Header names are case-insensitive, values may be any text.
* A message is what was announced: one that ends early is refused. Whether it goes on depends on when one looks: `has_excess`
  tells it of what has come by then.
* Everything has a limit: request line, number and size of headers, body (by its Content-length before it is sent).
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from filterd.outcome import Kind
from filterd.proto.rspamd import header_text

__all__ = ["VERBS", "Dialect", "ProtocolError", "Request", "RequestParser", "Version"]

Dialect: TypeAlias = Literal["spamc", "rspamc"]
Version: TypeAlias = tuple[int, int]

VERBS: dict[Dialect, frozenset[str]] = {
    "spamc": frozenset(
        {"CHECK", "SYMBOLS", "REPORT", "REPORT_IFSPAM", "PROCESS", "HEADERS", "TELL", "PING", "SKIP"},
    ),
    "rspamc": frozenset({"CHECK", "SYMBOLS", "PING"}),
}
"""What can be asked; Rspamd, too, knows only these of its own protocol."""

# sysexits.h, as spamd uses it: what is wrong with the message, with the protocol.
DATA_ERROR, PROTOCOL_ERROR = 65, 76

_REQUEST_LINE = re.compile(rb"([A-Z_]{1,32}) +(R?SPAMC)/([0-9]{1,3})\.([0-9]{1,3})[ \t]*", re.IGNORECASE)
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_END = re.compile(rb"\n\r?\n")
_LONGEST_LINE = 256  # bytes of the request line
_PATIENT = (1, 5)
"""From this version on an empty line follows PING; before, its line is all there is, and the client may wait for the answer."""


class ProtocolError(Exception):
    """The peer broke the protocol or a limit: answer with `code`, one of sysexits.h, and close.

    `kind` is `closed` where nobody is there any more to be answered, else `protocol` or `limit`.
    """

    def __init__(self, text: str, *, code: int = PROTOCOL_ERROR, kind: Kind = "protocol") -> None:
        super().__init__(text)
        self.code = code
        self.kind: Kind = kind


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request: `verb` in upper case, headers by lower-case name with their values in order, the body as sent."""

    verb: str
    dialect: Dialect
    version: Version
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header; "" where there is none."""
        return self.headers.get(name, [""])[0]


class RequestParser:
    """The server's side of one connection. Sizes are bytes, `max_headers` a count."""

    def __init__(self, *, max_body: int, max_headers: int = 4096, max_header_bytes: int = 256 * 1024) -> None:
        self.max_body = max_body
        self.max_headers = max_headers
        self.max_head = _LONGEST_LINE + max_header_bytes
        self.dialect: Dialect | None = None
        """Known from the request line on: in what an error is told."""
        self.closed = False
        self.has_excess = False
        """More than the announced message came, not counting line ends: it is no message to be judged by its beginning."""
        self._head = bytearray()
        self._body = bytearray()
        self._is_line_read = self._is_head_read = False
        self._verb = ""
        self._version: Version = (0, 0)
        self._headers: dict[str, list[str]] = {}
        self._length: int | None = None

    def feed(self, data: bytes) -> Request | None:
        """The request, once it is complete; b"" is the end of the stream. Raises ProtocolError.

        After either the parser is closed, and what comes then is only looked at for `has_excess`.
        """
        if self.closed:
            self.has_excess = self.has_excess or (self._length is not None and _is_excess(data))
            return None
        try:
            request = self._feed(data) if data else self._end()
        except ProtocolError:
            self.closed = True
            raise
        if request is not None or not data:
            self.closed = True
        return request

    def _feed(self, data: bytes) -> Request | None:
        if self._is_head_read:
            return self._take_body(data)
        seen = len(self._head)
        self._head += data
        if not self._is_line_read:
            end = self._head.find(b"\n", seen, _LONGEST_LINE)
            if end < 0:
                if len(self._head) >= _LONGEST_LINE:
                    raise ProtocolError(f"the request line is longer than {_LONGEST_LINE} bytes", kind="limit")
                return None
            self._read_line(bytes(self._head[:end]).removesuffix(b"\r"))
            if self._verb == "SKIP" or (self._verb == "PING" and self._version < _PATIENT):
                return self._request()
            seen = max(end - 1, 0)
        # The line end before the empty line may have come earlier than that.
        match = _END.search(self._head, max(seen - 2, 0))
        if (len(self._head) if match is None else match.end()) > self.max_head:
            raise ProtocolError(f"the headers are larger than {self.max_head - _LONGEST_LINE} bytes", kind="limit")
        if match is None:
            return None
        body = bytes(self._head[match.end() :])
        self._read_headers(bytes(self._head[: match.start()]))
        self._head.clear()
        return self._take_body(body)

    def _read_line(self, line: bytes) -> None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError("the request is not VERB SPAMC/VERSION")
        self._is_line_read = True
        self.dialect = "spamc" if match[2].upper() == b"SPAMC" else "rspamc"
        self._verb = match[1].decode().upper()
        self._version = int(match[3]), int(match[4])
        if self._verb not in VERBS[self.dialect]:
            raise ProtocolError(f"{self._verb} is not known")

    def _read_headers(self, head: bytes) -> None:
        _, *lines = head.split(b"\n")
        if len(lines) > self.max_headers:
            raise ProtocolError(f"there are more than {self.max_headers} headers", kind="limit")
        for number, line in enumerate(lines, 1):
            match = _HEADER.fullmatch(line.removesuffix(b"\r"))
            if match is None:
                # The message itself, mostly, whose sender forgot the empty line before it.
                raise ProtocolError(f"header {number} is not NAME: VALUE")
            self._headers.setdefault(match[1].decode().lower(), []).append(header_text(match[2].strip(b" \t")))
        self._is_head_read = True
        lengths = set(self._headers.get("content-length", ()))
        if lengths:
            length = lengths.pop()
            if lengths or not (length.isascii() and length.isdigit() and len(length) < 20):
                raise ProtocolError("Content-length is not one number")
            self._length = int(length)
            if self._length > self.max_body:
                raise self._too_large(self._length)

    def _take_body(self, data: bytes) -> Request | None:
        self._body += data
        size = len(self._body)
        if self._length is None and self._verb == "PING":
            self._body.clear()
            return self._request()
        if self._length is None:
            if size > self.max_body:
                raise self._too_large(size)
            return None
        if size < self._length:
            return None
        self.has_excess = _is_excess(self._body[self._length :])
        del self._body[self._length :]
        return self._request()

    def _end(self) -> Request | None:
        if not self._head and not self._is_head_read:
            return None
        if self._is_line_read and self._verb == "PING":
            return self._request()
        if not self._is_head_read:
            raise ProtocolError("the connection was closed in the middle of a request", kind="closed")
        if self._length is not None:
            raise ProtocolError(f"Content-length is {self._length}, and {len(self._body)} bytes came")
        return self._request()

    def _request(self) -> Request:
        assert self.dialect is not None
        return Request(self._verb, self.dialect, self._version, self._headers, bytes(self._body))

    def _too_large(self, size: int) -> ProtocolError:
        return ProtocolError(f"the message is too large: {size} bytes", code=DATA_ERROR, kind="limit")


def _is_excess(data: bytes | bytearray) -> bool:
    """Is it more than line ends that nobody counted?"""
    return bool(data.strip(b"\r\n"))
