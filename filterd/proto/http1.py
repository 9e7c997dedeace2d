"""HTTP/1.0 and HTTP/1.1, both sides, as bytes in and values out (RFC 9110, RFC 9112), over llhttp (httptools).

Promises:

* Server side: `RequestParser.feed(bytes) -> [Request, ...]`, pipelined requests in order; `render_response`. Client side:
  `render_request`; `ResponseParser.feed(bytes) -> complete?`, one parser for all exchanges of a kept-alive connection.
* How the bytes were cut never matters. The peer's faults raise `ProtocolError` and nothing else; after one, close.
* Framing is strict on both sides: Content-Length beside Transfer-Encoding, two lengths, a transfer coding other than
  `chunked`, bare LF or CR, blanks before the colon and broken chunks are refused, never guessed at.
* The value of a request's header may be any text, control characters and folds (as blanks) included: it was told by whoever
  sent the mail, and no message is to be refused for it. A response's may not.
* Everything has a limit: target, number and size of headers, body (by its Content-Length before it is sent, else as it
  comes), and whatever is neither: chunk extensions, trailers, padding, interim responses.
* Header names come in lower case, values without surrounding blanks. Trailers are dropped (RFC 9110 6.5.1).

`Host` is not looked at (there is one site, and HTTP/1.0 clients send none); `Upgrade` is ignored (RFC 9110 7.8).
"""

from dataclasses import dataclass

from httptools import HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from filterd.proto.http1_incoming import Incoming, ProtocolError
from filterd.proto.http1_render import CONTINUE, SAYS_LENGTH, HeaderValue, render_request, render_response

__all__ = [
    "CONTINUE",
    "HeaderValue",
    "ProtocolError",
    "Request",
    "RequestParser",
    "ResponseParser",
    "render_request",
    "render_response",
]


@dataclass(frozen=True, slots=True)
class Request:
    """One whole request. `target` is as sent, ASCII; `version` is "1.0" or "1.1"; header names are in lower case, in order."""

    method: str
    target: str
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    keep_alive: bool


class _Requests(Incoming):
    side = "Request"

    method: str
    version: str
    keep_alive: bool
    target = b""
    is_begun = False
    is_upgrade = False
    expects_continue = False
    closed = False

    def __init__(self, *, max_target: int, **limits: int) -> None:
        super().__init__(max_start_line=max_target + 64, **limits)
        self.max_target = max_target
        self.requests: list[Request] = []

    def clear(self) -> None:
        super().clear()
        self.target = b""
        self.is_begun = self.is_upgrade = self.expects_continue = False

    def on_message_begin(self) -> None:
        self.is_begun = True
        self.uncounted = self.reading

    def on_url(self, piece: bytes) -> None:
        self.target += piece
        if len(self.target) > self.max_target:
            raise self.refuse(414, f"Request target longer than {self.max_target} bytes", "limit")

    def on_headers_complete(self) -> None:
        llhttp = self.llhttp
        self.method = llhttp.get_method().decode()
        self.version = llhttp.get_http_version()
        self.keep_alive = llhttp.should_keep_alive()  # false once feed_data has returned
        if self.version not in ("1.1", "1.0"):
            raise self.refuse(505, f"HTTP/{self.version} is not spoken here")
        if llhttp.should_upgrade():
            if self.method == "CONNECT":
                raise self.refuse(501, "CONNECT is not implemented")
            self.is_upgrade = True
            return
        self.has_head = True
        fields = self.framing()
        if b"transfer-encoding" in fields:
            if self.version == "1.0":
                raise self.refuse(400, "Transfer-Encoding in HTTP/1.0")  # RFC 9112 6.1: the framing is faulty
        elif b"content-length" not in fields and self.method in SAYS_LENGTH:
            # RFC 9112 6.3 makes this an empty body, or a 411: a message whose length was forgotten must not be judged as an
            # empty one.
            raise self.refuse(411, f"{self.method} without Content-Length")
        # RFC 9110 10.1.1: an HTTP/1.0 client's expectation is ignored
        if b"expect" in fields:
            self.expects_continue = fields[b"expect"].lower() == b"100-continue" and self.version == "1.1"

    def on_message_complete(self) -> None:
        if self.is_upgrade:
            return
        target, body = self.target.decode("ascii"), bytes(self.body)
        self.requests.append(Request(self.method, target, self.version, self.headers, body, self.keep_alive))
        self.clear()
        self.closed = not self.keep_alive

    def take_head_without_upgrade(self) -> bytes:
        lines = [f"{self.method} {self.target.decode()} HTTP/{self.version}\r\n".encode()]
        lines += [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.clear()
        return b"".join(lines) + b"\r\n"


def _llhttp_for(incoming: _Requests) -> HttpRequestParser:
    llhttp = HttpRequestParser(incoming)
    # For values only: names, lengths and codings are looked at as strictly as without.
    llhttp.set_dangerous_leniencies(lenient_headers=True)
    return llhttp


class RequestParser:
    """The server's reading side of one connection.

    `max_body` and the rest are bytes, `max_headers` a count; the defaults leave room for a message to some thousand
    recipients, each a header. POST, PUT and PATCH without Content-Length and not chunked are refused with 411.
    """

    def __init__(
        self, *, max_body: int, max_headers: int = 4096, max_header_bytes: int = 256 * 1024, max_target: int = 16 * 1024
    ) -> None:
        self._incoming = _Requests(
            max_target=max_target, max_body=max_body, max_headers=max_headers, max_header_bytes=max_header_bytes
        )
        self._llhttp = _llhttp_for(self._incoming)
        self.has_excess = False  # data followed a closing request, and was ignored (RFC 9112 9.6)

    def feed(self, data: bytes) -> list[Request]:
        """The requests that `data` completes; b"" is the end of the stream.

        Raises ProtocolError for the peer's fault, at the next call where this one has requests to return: look at `fault`.
        """
        incoming = self._incoming
        if incoming.closed:
            if incoming.fault is not None:
                raise incoming.error()
            self.has_excess = self.has_excess or bool(data.strip(b"\r\n"))
            return []
        if not data and incoming.is_begun:
            incoming.refuse(400, "Connection closed in the middle of a request", "closed")
        incoming.closed = not data
        while data:
            try:
                incoming.run(self._llhttp, data)
                break
            except HttpParserUpgrade as upgrade:
                # llhttp takes an Upgrade as accepted and drops the body (curl --http2 sends one with each POST): ask it again
                # without that header.
                self._llhttp = _llhttp_for(incoming)
                data = incoming.take_head_without_upgrade() + data[upgrade.args[0] :]
        requests, incoming.requests = incoming.requests, []
        if incoming.fault is not None:
            if incoming.closed and data:
                self.has_excess, incoming.fault = True, None
            else:
                incoming.closed = True
                if not requests:
                    raise incoming.error()
        return requests

    @property
    def fault(self) -> ProtocolError | None:
        """What the next `feed` will raise, for the server that has answered what came before it."""
        return None if self._incoming.fault is None else self._incoming.error()

    @property
    def closed(self) -> bool:
        """No request will come any more: after a closing request, the end of the stream or a fault."""
        return self._incoming.closed

    @property
    def is_begun(self) -> bool:
        """Part of a request has come, and its end has not."""
        return self._incoming.is_begun

    @property
    def expects_continue(self) -> bool:
        """The client waits for `CONTINUE` before it sends the body of which nothing has come yet. Set it False once sent."""
        return self._incoming.expects_continue and not self._incoming.body

    @expects_continue.setter
    def expects_continue(self, value: bool) -> None:
        self._incoming.expects_continue = value


class _Reply(Incoming):
    side = "Response"

    def __init__(self, *, head: bool, **limits: int) -> None:
        super().__init__(max_start_line=256, **limits)
        self.restart(head=head)

    def restart(self, *, head: bool) -> None:
        self.clear()
        self.fault = None
        self.is_head = head
        self.status = 0
        self.reason = b""
        self.keep_alive = False
        self.complete = False
        self.until_close = False

    def on_message_begin(self) -> None:
        if self.complete:  # an answer to a question nobody asked
            self.keep_alive = False
            raise self.refuse(502, "data after the response")
        self.headers = []  # those of an interim response; the limits go on counting
        self.reason = b""

    def on_status(self, piece: bytes) -> None:
        self.reason += piece

    def on_headers_complete(self) -> None:
        llhttp = self.llhttp
        self.status = llhttp.get_status_code()
        if 100 <= self.status < 200 and self.status != 101:
            return  # RFC 9110 15.2: an interim response, expected or not
        if self.status < 200:
            raise self.refuse(502, f"unusable response status {self.status:03}")  # 101: nobody asked to switch protocols
        self.has_head = True
        if self.is_head:  # RFC 9112 6.3: no body, whatever the headers say. llhttp cannot be told, so it ends here.
            self.complete = True
            raise self.refuse(502, "the end of the response to a HEAD")
        if self.status not in (204, 304):
            fields = self.framing()
            self.until_close = b"content-length" not in fields and b"transfer-encoding" not in fields
        self.keep_alive = llhttp.should_keep_alive()  # false once feed_data has returned

    def on_message_complete(self) -> None:
        self.complete = self.status >= 200

    def end(self) -> None:
        """The end of the stream: the end of the body where nothing else says it (RFC 9112 6.3), else a fault."""
        if self.until_close:
            self.complete = True
            return
        if self.has_head:
            where = f"in the middle of the response's body, after {len(self.body)} bytes"
        else:
            where = "in the middle of the response's head" if self.overhead else "before the response"
        self.refuse(502, f"connection closed {where}", "closed")


class ResponseParser:
    """The client's reading side of one connection, one exchange after the other (`reset` between them).

    `max_body` and `max_header_bytes` are bytes. With `head` the response has no body, and the connection is not reused.
    """

    def __init__(
        self, *, max_body: int, max_headers: int = 1024, max_header_bytes: int = 64 * 1024, head: bool = False
    ) -> None:
        self._reply = _Reply(head=head, max_body=max_body, max_headers=max_headers, max_header_bytes=max_header_bytes)
        self._llhttp = HttpResponseParser(self._reply)

    def reset(self, *, head: bool = False) -> None:
        """Make ready for the next response; only after one that left `keep_alive` true, or on a new connection."""
        if not self._reply.keep_alive or not self._reply.complete:
            self._llhttp = HttpResponseParser(self._reply)
        self._reply.restart(head=head)

    def feed(self, data: bytes) -> bool:
        """True when the response is complete; b"" is the end of the stream. ProtocolError where it cannot be completed."""
        reply = self._reply
        if reply.complete:
            reply.keep_alive = False
        elif data:
            reply.run(self._llhttp, data)
        else:
            reply.end()
        if reply.fault is not None and not reply.complete:
            raise reply.error()
        return reply.complete

    @property
    def status(self) -> int:
        """The status code, 0 before it is known."""
        return self._reply.status

    @property
    def reason(self) -> str:
        return self._reply.reason.decode("latin-1")

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Lower-case names and values, in order."""
        return self._reply.headers

    @property
    def body(self) -> bytes:
        """The body, or as much of it as has come: also after a fault."""
        return bytes(self._reply.body)

    @property
    def complete(self) -> bool:
        return self._reply.complete

    @property
    def keep_alive(self) -> bool:
        """The connection may carry another request (only meaningful when complete)."""
        return self._reply.keep_alive
