"""The HTTP door: Rspamd's scan protocol over a connection, joined to `scan(request)`.

Promises:

* Every request gets an answer: the verdict, or `{"error": …}` with a status; never an empty 200.
* A request must be complete within `timeout` seconds of its first byte, however slowly it drips; between two requests a
  kept-alive connection may be silent for `keepalive_timeout` seconds.
* A compressed message (zstd, gzip, zlib) is judged as it was, and never larger than `max_message` either; a reply to one that
  came as zstd goes back as zstd.
* A connection is kept only when its client asked for that, and one client's fault never reaches another's connection.
"""

from collections.abc import Callable, Sequence
from email.utils import formatdate
from logging import getLogger
from time import monotonic, time

from filterd.mail.edits import with_body
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import Overloaded, ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.linger import answer_and_end
from filterd.net.listen import Connection
from filterd.proto import http1, rspamd
from filterd.proto.compression import CODINGS, BadCompression, Coding, compress, decompress
from filterd.proto.control import Reply
from filterd.task import sleep

__all__ = ["HttpServer"]

log = getLogger("filterd.http")

NO_FILES = "files that clients name are not opened here: send the message itself"

UNHEARD_BYTES = 64 * 1024
NO_TIME = "the time was over before any rule had ended, try again later"


class _Failed(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class HttpServer:
    """Serves connections; `scan` is the joint to the engine. Times are seconds, sizes bytes."""

    def __init__(
        self,
        scan: Callable[[ScanRequest], Verdict],
        *,
        max_message: int,
        timeout: float = 60.0,
        keepalive_timeout: float = 60.0,
        first: Callable[[http1.Request, Connection], Reply | http1.Request] | None = None,
        is_heard: Callable[[Connection], bool] = lambda connection: True,
    ) -> None:
        """`first` sees every request before all else and answers it, or gives the request to go on with.

        A connection that is not `is_heard` can ask for nothing that has a body: more than a small one is refused unread.
        """
        self.scan = scan
        self.first = first
        self.is_heard = is_heard
        self.max_message = max_message
        self.timeout = timeout
        self.keepalive_timeout = keepalive_timeout
        self._date = b""
        self._date_of = 0

    def serve(self, connection: Connection, data: bytes | None = None) -> None:
        """Answer requests until the client or a fault ends it; `data` has been read already."""
        parser = http1.RequestParser(max_body=self.max_message if self.is_heard(connection) else UNHEARD_BYTES)
        until = monotonic() + self.timeout
        answered = False
        while True:
            if data is None:
                # Who has had an answer waits for his turn, be his next request there or not: others have theirs meanwhile.
                data = connection.read(until=until, expect_wait=answered)
            if not connection.busy:
                connection.busy = True
                until = monotonic() + self.timeout
            try:
                requests = parser.feed(data)
                for number, request in enumerate(requests):
                    if number:
                        _let_others_run()
                    reply, keep = self._answer(request, connection)
                    connection.write(reply, until=monotonic() + self.timeout)
                    if not keep:
                        return
                if parser.fault is not None:
                    raise parser.fault
            except http1.ProtocolError as error:
                self._refuse(connection, error)
                return
            if parser.closed:
                return
            answered = bool(requests)
            if requests:
                connection.busy = parser.is_begun
                until = monotonic() + (self.timeout if connection.busy else self.keepalive_timeout)
                if connection.draining and not connection.busy:
                    return
            elif parser.expects_continue:
                parser.expects_continue = False
                connection.write(http1.CONTINUE, until=until)
            data = None

    def _answer(self, request: http1.Request, connection: Connection) -> tuple[bytes, bool]:
        keep = request.keep_alive and _asks_to_stay(request)
        if self.first is not None:
            try:
                answer = self.first(request, connection)
            except Exception:
                log.exception("a request from %s could not be answered", connection.peer)
                return self._error(500, "internal error, see the log", request, keep=False), False
            if isinstance(answer, Reply):
                return self._reply(answer, request, keep=keep and not connection.draining)
            request = answer
        command = rspamd.command(request.target)
        if command == "ping":
            return self._render(200, rspamd.PONG, request, keep=keep, content_type=rspamd.PLAIN), keep
        if command is None:
            return self._error(500, rspamd.INVALID_COMMAND, request, keep=keep), keep
        envelope = Envelope(rspamd.scan_headers(request))
        try:
            coding = _coding(envelope)
            raw = self._message(request.body, coding, envelope)
            verdict = self._judge(raw, envelope, connection)
        except _Failed as failed:
            keep = keep and not connection.draining
            return self._error(failed.status, str(failed), request, keep=keep), keep
        # Asked only now: the worker may have been told to end while the message was scanned.
        keep = keep and not connection.draining
        render = rspamd.render_verdict if command == "scan" else rspamd.render_old_verdict
        body = render(verdict, flags=envelope.flags)
        headers: list[tuple[str, str]] = []
        if verdict.body is not None and "body_block" in envelope.flags:
            # The new message follows the JSON; a milter, which has the header already, gets its body only.
            headers.append(("Message-Offset", str(len(body))))
            body += verdict.body if "milter" in envelope.flags else with_body(raw, verdict.body)
        if coding == "zstd":
            body = compress(body, _let_others_run)
            headers += [("Compression", "zstd"), ("Content-Encoding", "zstd")]
        return self._render(200, body, request, keep=keep, headers=headers), keep

    def _reply(self, reply: Reply, request: http1.Request, *, keep: bool) -> tuple[bytes, bool]:
        rendered = self._render(
            reply.status,
            reply.body,
            request,
            keep=keep,
            content_type=reply.content_type,
            reason=reply.reason,
            headers=reply.headers,
        )
        return rendered, keep

    def _message(self, body: bytes, coding: Coding | None, envelope: Envelope) -> bytes:
        if not body and any(envelope.get(name) for name in ("file", "path", "shm")):
            # To judge the empty body would be to pass the message unseen.
            raise _Failed(400, NO_FILES)
        if coding is None:
            return body
        try:
            return decompress(body, coding, self.max_message, _let_others_run)
        except BadCompression as error:
            status = 413 if error.too_large else 503
            raise _Failed(status, f"Decompression error: {error}") from None

    def _judge(self, raw: bytes, envelope: Envelope, connection: Connection) -> Verdict:
        message = Message(raw, is_mime=not envelope.raw_mode)
        try:
            verdict = self.scan(ScanRequest(message, envelope, "http", connection.peer))
        except Overloaded as error:
            raise _Failed(503, str(error)) from None
        except Exception:
            log.exception("a message from %s could not be scanned", connection.peer)
            raise _Failed(500, "internal error, see the log") from None
        if verdict.is_unjudged:
            raise _Failed(503, NO_TIME)
        return verdict

    def _error(self, status: int, text: str, request: http1.Request | None, *, keep: bool) -> bytes:
        return self._render(status, rspamd.render_error(text), request, keep=keep, reason=text)

    def _render(
        self,
        status: int,
        body: bytes,
        request: http1.Request | None,
        *,
        keep: bool,
        content_type: str = rspamd.JSON,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        now = int(time())
        if now != self._date_of:
            # Once a second: making the text costs more than the rest of the head.
            self._date_of, self._date = now, formatdate(now, usegmt=True).encode()
        return http1.render_response(
            status,
            body=body,
            content_type=content_type,
            keep_alive=keep,
            headers=headers,
            reason=reason,
            date=self._date,
            head=request is not None and request.method == "HEAD",
        )

    def _refuse(self, connection: Connection, error: http1.ProtocolError) -> None:
        log.info("%s: %s", connection.peer, error)
        if error.kind == "closed":
            return
        answer_and_end(connection, self._error(error.status, str(error), None, keep=False))


def _coding(envelope: Envelope) -> Coding | None:
    # Rspamd's own name for it, or that of HTTP.
    name = (envelope.get("compression") or envelope.get("content-encoding") or "").strip().lower()
    if name not in CODINGS:
        raise _Failed(503, "Invalid compression method")
    return CODINGS[name]


def _let_others_run() -> None:
    sleep(0)


def _asks_to_stay(request: http1.Request) -> bool:
    # HTTP/1.1 keeps a connection unless told otherwise. Rspamd never keeps one, and clients written for it may read to the
    # end of the stream: so only who says keep-alive gets it.
    return any(name == b"connection" and b"keep-alive" in value.lower() for name, value in request.headers)
