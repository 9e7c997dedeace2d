"""The milter door: Postfix, Sendmail and their like over a connection, joined to `scan(request)`.

Promises:

* Every message is answered: by its verdict, or by "try again later" when it could not be scanned, is too large, or the MTA
  broke the protocol; where no answer is possible the connection closes, and the MTA does what it is set to (tempfail mostly).
* One connection carries any number of messages, and nothing of one is left for the next.
* While the MTA waits for its client a connection may be silent for `idle_timeout` seconds: that is the client's pace, not the
  MTA's. A command that has begun, and each piece of a message once the MTA hands it over, must come within `timeout`.
* A worker that ends answers the message under way and closes between two messages.
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
from filterd.proto import http1, rspamd
from filterd.proto.milter import Command, FilterSide, ProtocolError, Reply, render_reply
from filterd.proto.milter_commands import Abort, EndOfMessage, Mail, Negotiate, QuitNewConnection
from filterd.proto.milter_message import Conversation
from filterd.proto.milter_replies import Continue, TempFail, reply_code
from filterd.proto.milter_verdict import Texts, answer

__all__ = ["MilterServer"]

log = getLogger("filterd.milter")


class MilterServer:
    """Serves connections; `scan` is the joint to the engine. Times are seconds, sizes bytes.

    A message above `max_message` is not scanned: it is refused for good with `reject_oversized`, else for now. A worker that
    ends waits `grace` seconds for the first message of a client that has just come.
    """

    def __init__(
        self,
        scan: Callable[[ScanRequest], Verdict],
        *,
        max_message: int,
        timeout: float = 60.0,
        idle_timeout: float = 7210.0,
        texts: Texts | None = None,
        reject_oversized: bool = False,
        grace: float = 5.0,
    ) -> None:
        self.scan = scan
        self.max_message = max_message
        self.timeout = timeout
        self.idle_timeout = idle_timeout
        self.texts = texts or Texts()
        self.reject_oversized = reject_oversized
        self.grace = grace

    def serve(self, connection: Connection) -> None:
        """Answer messages until the MTA or a fault ends the connection."""
        session = _Session(self, connection)
        try:
            session.run()
        except ProtocolError as error:
            session.refuse(error)
        except BaseException:
            # Too late, or the worker is out of time: if the MTA still listens it hears that the message was not taken.
            session.give_up()
            raise


class _Session:
    """One connection. `unanswered` from a message's sender to its answer; `is_new` until the first message is answered."""

    def __init__(self, server: MilterServer, connection: Connection) -> None:
        self.server = server
        self.connection = connection
        self.side = FilterSide()
        self.talk = Conversation(max_message=server.max_message)
        self.unanswered = False
        self.is_new = True

    def run(self) -> None:
        side, connection = self.side, self.connection
        until = monotonic() + self.server.timeout
        while not side.closed:
            was_partial = side.is_partial
            data = self._read(until)
            if data is None:
                return
            # A client that has just come is about to send a message: only when that is answered is there a gap to end in.
            connection.busy = connection.busy or bool(data)
            commands = side.feed(data)
            for command in commands:
                self._take(command)
            if side.fault is not None:
                raise side.fault
            connection.busy = self.is_new or self.unanswered
            if connection.draining and not connection.busy:
                return
            if commands or not was_partial:
                is_quick = side.is_partial or self.talk.has_content
                until = monotonic() + (self.server.timeout if is_quick else self.server.idle_timeout)

    def _read(self, until: float) -> bytes | None:
        """What comes next; None where the worker ends and a client that has just come has nothing to say after all."""
        connection = self.connection
        if connection.busy and not self.unanswered:
            end = monotonic() + self.server.grace
            if end < until:
                try:
                    return connection.read(until=end, expect_wait=True)
                except RequestFailed as error:
                    if error.failure.kind != "timeout":
                        raise
                connection.busy = False
                if connection.draining:
                    return None
        return connection.read(until=until, expect_wait=True)  # after an answer there is nothing yet

    def _take(self, command: Command) -> None:
        self.talk.take(command)
        if isinstance(command, Negotiate):
            self._agree()
        elif isinstance(command, EndOfMessage):
            self._send(self._answer())
            self.talk.reset()
            self._is_over()
        elif self.side.owes_reply(command):
            self._send([Continue()])
        if isinstance(command, Mail):
            self.unanswered = True
        elif isinstance(command, Abort | QuitNewConnection):
            self._is_over()

    def _is_over(self) -> None:
        self.unanswered = self.is_new = False

    def _agree(self) -> None:
        terms = self.side.terms
        assert terms is not None
        self.talk.keeps_space = terms.keeps_space
        self.unanswered = False  # a message that was under way is none any more
        if terms.lacking:
            log.info("%s: the MTA does not let a filter %s", self.connection.peer, ", ".join(terms.lacking))
        self._send([terms.answer])

    def _answer(self) -> list[Reply]:
        server, talk, peer = self.server, self.talk, self.connection.peer
        if talk.refusal:
            log.warning("%s: a message was not scanned: %s (queue id %s)", peer, talk.refusal, talk.queue_id or "unknown")
            text = f"The message has {talk.refusal}"
            return [reply_code("552", "5.3.4", text) if server.reject_oversized else reply_code("451", "4.3.4", text)]
        try:
            request = ScanRequest(Message(talk.raw), Envelope(talk.headers), "milter", peer)
            verdict = server.scan(request)
            if verdict.is_unjudged:
                log.warning("%s: the time was over before any rule had ended (queue id %s)", peer, talk.queue_id or "unknown")
                return [TempFail()]
            terms = self.side.terms
            assert terms is not None
            made = answer(verdict, talk.names, terms, server.texts)
        except Overloaded as error:
            log.warning("%s: a message was refused for now: %s (queue id %s)", peer, error, talk.queue_id or "unknown")
            return [TempFail()]
        except Exception:
            log.exception("a message from %s could not be scanned (queue id %s)", peer, talk.queue_id or "unknown")
            return [TempFail()]
        for text in dict.fromkeys(made.undone):
            log.warning("%s: %s (queue id %s)", peer, text, talk.queue_id or "unknown")
        return made.replies

    def _send(self, replies: list[Reply]) -> None:
        self.connection.write(b"".join(map(render_reply, replies)), until=monotonic() + self.server.timeout)

    def give_up(self) -> None:
        """Say without waiting that the message under way is not taken."""
        if not self.unanswered:
            return
        try:
            self.connection.write(render_reply(TempFail()), until=monotonic())
            self.connection.shutdown()
        except RequestFailed:
            pass

    def refuse(self, error: ProtocolError) -> None:
        """Answer a fault of the peer, as far as there is an answer, and listen until it has been read."""
        connection = self.connection
        (log.info if error.kind == "closed" else log.warning)("%s: %s", connection.peer, error)
        if error.kind == "closed":
            return
        if error.spoken == "HTTP":
            body = rspamd.render_error(str(error))
            answer_and_end(connection, http1.render_response(400, body=body, content_type=rspamd.JSON))
        elif self.unanswered:
            answer_and_end(connection, render_reply(TempFail()))
        else:
            hang_up(connection)
