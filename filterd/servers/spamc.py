"""The SPAMC and RSPAMC door: SpamAssassin's protocol and Rspamd's older one, joined to `scan(request)`.

Promises:

* Every request gets an answer in its own dialect, and the connection is closed behind it (Exim reads to its end).
* What could not be judged is a failure there, never a verdict: too many messages and errors of ours are "try again" (75), and
  so is a soft reject in SPAMC, which has no other word for it.
* A request must be complete within `timeout` seconds of its first byte, however slowly it drips.
"""

from collections.abc import Callable
from logging import getLogger
from time import monotonic

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import Overloaded, ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.linger import answer_and_end, hang_up
from filterd.net.listen import Connection
from filterd.outcome import RequestFailed
from filterd.proto import rspamc_reply, spamc, spamc_reply
from filterd.proto.compression import CODINGS, BadCompression, decompress
from filterd.task import sleep

__all__ = ["SpamcServer"]

log = getLogger("filterd.spamc")

# sysexits.h, as spamd uses it.
DATA_ERROR, UNAVAILABLE, TRY_AGAIN, TIMEOUT = 65, 69, 75, 79

NO_TIME = "the time was over before any rule had ended, try again later"
NO_CLASSIFIER = "nothing was learned: no classifier is configured"


class _Failed(Exception):
    """The request is answered with a failure."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class SpamcServer:
    """Serves connections; `scan` is the joint to the engine. `timeout` is seconds, `max_message` bytes."""

    def __init__(self, scan: Callable[[ScanRequest], Verdict], *, max_message: int, timeout: float = 60.0) -> None:
        self.scan = scan
        self.max_message = max_message
        self.timeout = timeout

    def serve(self, connection: Connection, data: bytes) -> None:
        """Answer the request that begins with `data`."""
        parser = spamc.RequestParser(max_body=self.max_message)
        until = monotonic() + self.timeout
        try:
            while (request := parser.feed(data)) is None:
                if parser.closed:
                    return
                data = connection.read(until=until)
            if parser.has_excess:
                raise spamc.ProtocolError("more than Content-length says has come")
        except spamc.ProtocolError as error:
            log.info("%s: %s", connection.peer, error)
            if error.kind != "closed":
                answer_and_end(connection, _failure(parser.dialect, error.code, str(error)))
            return
        except RequestFailed as error:
            if error.failure.kind != "timeout":
                raise
            log.info("%s: no whole request within %g s", connection.peer, self.timeout)
            answer_and_end(connection, _failure(parser.dialect, TIMEOUT, f"no whole request within {self.timeout:g} s"))
            return
        try:
            answer = self._answer(request, connection)
        except _Failed as failed:
            answer = _failure(request.dialect, failed.code, str(failed))
        connection.write(answer, until=monotonic() + self.timeout)
        hang_up(connection)

    def _answer(self, request: spamc.Request, connection: Connection) -> bytes:
        match request.verb:
            case "PING":
                return spamc_reply.render_pong() if request.dialect == "spamc" else rspamc_reply.render_pong()
            case "SKIP":
                return b""
            case "TELL":
                raise _Failed(UNAVAILABLE, NO_CLASSIFIER)
        message = self._message(request)
        verdict = self._judge(request, message, connection)
        if request.dialect == "rspamc":
            return rspamc_reply.render_verdict(verdict)
        if verdict.action == "soft reject":
            raise _Failed(TRY_AGAIN, verdict.messages.get("smtp_message") or "try again later")
        return spamc_reply.render_verdict(request.verb, request.version, verdict, message)

    def _message(self, request: spamc.Request) -> bytes:
        name = request.header("compress").strip().lower()
        coding = CODINGS.get(name)
        if coding is None and name not in CODINGS:
            raise _Failed(DATA_ERROR, f"compression {name!r} is not known")
        if coding is None:
            return request.body
        try:
            return decompress(request.body, coding, self.max_message, lambda: sleep(0))
        except BadCompression as error:
            raise _Failed(DATA_ERROR, f"the message cannot be decompressed: {error}") from None

    def _judge(self, request: spamc.Request, message: bytes, connection: Connection) -> Verdict:
        headers = dict(request.headers)
        if request.dialect == "spamc" and "user" in headers:
            # Whose mailbox it is, or as whom spamc runs; not who has logged in to send it.
            headers["spamc-user"] = headers.pop("user")
        envelope = Envelope(headers)
        scan_request = ScanRequest(Message(message, is_mime=not envelope.raw_mode), envelope, request.dialect, connection.peer)
        try:
            verdict = self.scan(scan_request)
        except Overloaded as error:
            raise _Failed(TRY_AGAIN, str(error)) from None
        except Exception:
            log.exception("a message from %s could not be scanned", connection.peer)
            raise _Failed(TRY_AGAIN, "internal error, see the log") from None
        if verdict.is_unjudged:
            raise _Failed(TRY_AGAIN, NO_TIME)
        return verdict


def _failure(dialect: spamc.Dialect | None, code: int, text: str) -> bytes:
    render = rspamc_reply.render_failure if dialect == "rspamc" else spamc_reply.render_failure
    return render(code, text)
