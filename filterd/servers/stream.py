"""The front door for streams: a client, the actions that the configuration names, and the server behind.

    accept ──► tcp.accept ──► tcp.request ──► server (when first needed) ──► bytes in both directions ──► tcp.close
                                                   └──► tcp.response, when its first bytes have come

Promises:

* Without a server the connection ends after `tcp.request`, in good order; a service has it until it returns.
* Bytes arrive unchanged and in order, or the connection breaks: never with a hole in it.
* Memory, idle time, life time, connections of one address: each has its limit. What ends a stream is in the log.
* Whatever ends it, both connections are closed, and what ran for it has ended.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from logging import INFO, getLogger
from time import monotonic
from typing import Final, Protocol

from filterd.mail.ip import network_of
from filterd.net.backend import Backend
from filterd.net.exchange import Exchange
from filterd.net.greenlets import Batch, Crew, Stop
from filterd.net.linger import LINGER, hang_up
from filterd.net.listen import Connection
from filterd.net.stream import Stream
from filterd.outcome import Failure, RequestFailed
from filterd.proto.channel import LIMIT
from filterd.task.txn import STAGES, Ended, Session, Stage

__all__ = ["Actions", "StreamCounts", "StreamLimits", "StreamServer"]

log = getLogger("filterd.stream")

SERVICE: Final[Stage] = "tcp.service"


class Actions(Protocol):
    """What the engine does for a listener."""

    def has(self, stage: Stage) -> bool: ...
    def run(self, stage: Stage, session: Session) -> Ended | None: ...


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Seconds without a byte, seconds altogether, connections of one address (0: any number), bytes kept per direction."""

    idle: float = 600.0
    total: float = 3600.0
    per_address: int = 0
    buffer: int = LIMIT


class StreamCounts:
    """What has become of a listener's streams; they only grow, but for `open`. `received` and `sent` are bytes from and to
    clients; `seconds` is the time that connections lasted.
    """

    __slots__ = (
        "broken",
        "dropped",
        "ended",
        "open",
        "received",
        "refused",
        "rejected",
        "seconds",
        "sent",
        "timeouts",
        "unreachable",
    )

    def __init__(self) -> None:
        self.open = 0
        self.ended = self.rejected = self.dropped = self.refused = 0
        self.timeouts = self.broken = self.unreachable = 0
        self.received = self.sent = 0
        self.seconds = 0.0

    def as_dict(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__slots__}


class StreamServer:
    """Serves the connections of one listener. Without a `backend` there is no server behind."""

    def __init__(
        self, name: str, actions: Actions, *, crew: Crew, backend: Backend | None = None, limits: StreamLimits | None = None
    ) -> None:
        self.name = name
        self.actions = actions
        self.crew = crew
        self.backend = backend
        self.limits = StreamLimits() if limits is None else limits
        self.counts = StreamCounts()
        self.stages = frozenset(stage for stage in (*STAGES, SERVICE) if actions.has(stage))
        """Those in which there is anything to run."""
        self._addresses: dict[str, int] = {}

    def serve(self, connection: Connection) -> None:
        """One connection, from its first byte to its last."""
        connection.busy = True
        client = connection.client
        address = network_of(client[0]) if isinstance(client, tuple) and self.limits.per_address else None
        if address is not None:
            have = self._addresses.get(address, 0)
            if have >= self.limits.per_address:
                self.counts.refused += 1
                text = "listen.%s: %s refused: %d connections from %s (max_per_address)"
                log.warning(text, self.name, connection.peer, have, address)
                return
            self._addresses[address] = have + 1
        self.counts.open += 1
        try:
            _Served(self, connection).run()
        finally:
            self.counts.open -= 1
            if address is not None:
                left = self._addresses[address] - 1
                if left:
                    self._addresses[address] = left
                else:
                    del self._addresses[address]


class _OtherSide(Batch[Callable[[], None]]):
    """What the server sends is passed on beside what the client sends."""

    __slots__ = ("served",)

    def __init__(self, served: "_Served") -> None:
        super().__init__(served.server.crew)
        self.served = served

    def perform(self, job: Callable[[], None]) -> None:
        job()

    def failed(self, job: Callable[[], None], error: BaseException) -> None:
        self.served.other_failed(error)


class _Served:
    """One stream."""

    def __init__(self, server: StreamServer, connection: Connection) -> None:
        self.server = server
        self.connection = connection
        self.began = monotonic()
        limits = server.limits
        self.exchange = Exchange(
            connection,
            None if server.backend is None else self._connect,
            idle=limits.idle,
            deadline=self.began + limits.total,
            limit=limits.buffer,
        )
        self.session = Session(connection, self.exchange, server.name)
        self.failure: Failure | None = None
        self.is_unreachable = self.is_cut = False
        self.request_seconds: float | None = None
        self.other: _OtherSide | None = None

    def run(self) -> None:
        try:
            self._stages()
        except RequestFailed as error:
            self._fail(error.failure)
        except BaseException:
            self.is_cut = True
            raise
        finally:
            self._end()

    def _stages(self) -> None:
        exchange, stages = self.exchange, self.server.stages
        if "tcp.accept" in stages and not self._goes_on("tcp.accept"):
            return
        if SERVICE in stages:
            self._goes_on(SERVICE)
            return
        goes_on = self._goes_on("tcp.request")
        self.request_seconds = monotonic() - self.began
        if not goes_on or self.server.backend is None:
            return
        exchange.reach_server(exchange.deadline)
        exchange.request.pump(exchange.deadline)
        self._join_other()

    def _goes_on(self, stage: Stage) -> bool:
        verdict = self.server.actions.run(stage, self.session)
        if verdict is not None:
            self.session.finish(verdict)
            return False
        exchange = self.exchange
        if exchange.broken is not None and not exchange.ended:
            exchange.check()
        return not exchange.ended

    def _connect(self, until: float) -> Stream:
        assert self.server.backend is not None
        try:
            stream = self.server.backend.connect(self.connection, until)
        except RequestFailed:
            self.is_unreachable = True
            raise
        self.is_unreachable = False
        self.other = _OtherSide(self)
        self.other.add(self._respond)
        return stream

    def _join_other(self) -> None:
        if self.other is not None:
            self.other.join()

    def _respond(self) -> None:
        response, deadline = self.exchange.response, self.exchange.deadline
        if "tcp.response" in self.server.stages and not self.session.accepted:
            response.fill(deadline)
            verdict = self.server.actions.run("tcp.response", self.session)
            if verdict is not None:
                response.flush(deadline)
                self.session.finish(verdict)
            if self.exchange.ended:
                return
            self.exchange.check()
        response.pump(deadline)

    def other_failed(self, error: BaseException) -> None:
        """The server's side has come to a bad end, and takes the client's with it."""
        if isinstance(error, RequestFailed):
            self._fail(error.failure)
        elif not isinstance(error, Stop):
            self.is_cut = True
            log.error("listen.%s: serving %s failed", self.server.name, self.connection.peer, exc_info=error)
        self.session.finish()

    def _fail(self, failure: Failure) -> None:
        # What comes after the first, or after a verdict, is only its echo.
        if self.failure is None and self.session.ended is None and not self.exchange.ended:
            self.failure = failure

    def _end(self) -> None:
        session = self.session
        session.finish()
        self._join_other()
        try:
            if not self.is_cut:
                self._part()
        finally:
            self.connection.close()
            try:
                if "tcp.close" in self.server.stages:
                    self.server.actions.run("tcp.close", session)
            finally:
                self._count()
                self.exchange.forget()
                self.other = None

    def _part(self) -> None:
        """The last word for the client, unless it is to get none or has gone."""
        verdict = self.session.ended
        if (verdict is not None and verdict.word == "drop") or self._is_client_gone():
            return
        with suppress(RequestFailed):
            if verdict is not None and verdict.text:
                self.connection.write(verdict.text, until=monotonic() + LINGER)
                self.exchange.response.moved += len(verdict.text)
            if not self.connection.eof:
                hang_up(self.connection)

    def _is_client_gone(self) -> bool:
        failure = self.failure
        return failure is not None and failure.peer == self.connection.peer and failure.kind != "timeout"

    def _count(self) -> None:
        counts, session, failure = self.server.counts, self.session, self.failure
        seconds = monotonic() - self.began
        counts.seconds += seconds
        counts.received += self.exchange.request.received
        counts.sent += self.exchange.response.moved
        if session.ended is not None and session.ended.word != "done":
            fate = "rejected" if session.ended.word == "reject" else "dropped"
        elif self.is_cut:
            fate = "broken"
        elif failure is not None:
            fate = "unreachable" if self.is_unreachable else "timeouts" if failure.kind == "timeout" else "broken"
        else:
            fate = "ended"
        setattr(counts, fate, getattr(counts, fate) + 1)
        if log.isEnabledFor(INFO):
            self._tell(fate, seconds)

    def _tell(self, fate: str, seconds: float) -> None:
        server = self.exchange.server
        requested = "" if self.request_seconds is None else f", actions {self.request_seconds:.3f} s"
        log.info(
            "listen.%s: %s%s: %s%s, %d bytes received, %d sent%s, %.3f s",
            self.server.name,
            self.connection.peer,
            "" if server is None else f" to {server.peer}",
            {"timeouts": "timed out", "unreachable": "no server"}.get(fate, fate),
            "" if self.failure is None else f" ({self.failure.detail})",
            self.exchange.request.received,
            self.exchange.response.moved,
            requested,
            seconds,
            extra={"task_id": self.session.id},
        )
