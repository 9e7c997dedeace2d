"""A client and a server who talk through us: two directions, one clock.

Promises:

* Each direction holds at most its buffer, and what one write was given: who reads slowly slows down who sends.
* A stream is idle when nothing has moved in either direction; an upload does not make the silent other side late.
* When a sender ends its side the receiver is told so, after the last byte, and the other direction goes on.
* After `end` every wait of both directions is over, and the client's connection is left for a last word.
"""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from gevent.lock import Semaphore

from filterd.net.stream import READ_SIZE, Buffer, Stream, failed
from filterd.outcome import Failure, RequestFailed
from filterd.proto.channel import LIMIT, ChannelBuffer

__all__ = ["Direction", "Exchange"]

PIECE = 65536
"""Bytes that are written at a time, so that what moves is seen to move."""


class Direction:
    """From one end to the other: what was read from `source` and waits in `buffer`, and the writing of what goes on.

    `reach` gives the stream that is written to, and may open it; it is given the moment until which.
    """

    __slots__ = ("_buffer", "_limit", "_lock", "exchange", "moved", "reach", "received", "source")

    def __init__(self, exchange: "Exchange", source: Stream | None, reach: Callable[[float], Stream], limit: int) -> None:
        self.exchange = exchange
        self.source = source
        self.reach = reach
        # Made when first needed: many a connection is refused, or answered, without them.
        self._buffer: ChannelBuffer | None = None
        self._limit = limit
        self._lock: Semaphore | None = None
        self.moved = 0
        """Bytes that were written."""
        self.received = 0
        """Bytes that were read."""

    @property
    def buffer(self) -> ChannelBuffer:
        """What has arrived, and what was decided."""
        if self._buffer is None:
            self._buffer = ChannelBuffer(self._limit)
        return self._buffer

    @property
    def _turn(self) -> Semaphore:
        if self._lock is None:
            self._lock = Semaphore()
        return self._lock

    def fill(self, until: float) -> bool:
        """Read what has arrived into the buffer, waiting for it; False at the sender's end.

        Raises RequestFailed: `timeout`, `closed`; `limit` where the buffer has no room.
        """
        if self.buffer.eof:
            return False
        if self.buffer.full:
            text = f"no room for more than {self.buffer.limit} bytes"
            raise failed(text, "limit", peer=self.exchange.name, phase="read", since=self.exchange.began)
        source = self.source
        if source is None:
            raise failed("there is no server yet", "closed", peer=self.exchange.name, phase="read", since=self.exchange.began)
        data = self._read(source, min(self.buffer.room, READ_SIZE), until)
        if data:
            self.buffer.receive(data)
        else:
            self.buffer.end()
        return bool(data)

    def write(self, data: Buffer, until: float) -> None:
        """Write all of it, behind what is being written by somebody else."""
        sink = self.reach(until)
        # Both directions may have something to say to the client: what the server sends, and what an action answers.
        with self._turn:
            try:
                if len(data) <= PIECE:
                    self._write(sink, data, until)
                else:
                    view = memoryview(data)
                    for at in range(0, len(view), PIECE):
                        self._write(sink, view[at : at + PIECE], until)
            except BaseException as error:
                # The rest will never come: what came after it would be taken for it.
                self.exchange.broken = self.exchange.broken or _failure_of(error, sink, self.exchange)
                raise

    def flush(self, until: float) -> None:
        """Write out what was decided."""
        if self._buffer is not None and self._buffer.out_len:
            self.write(self._buffer.take_output(), until)

    def pump(self, until: float) -> None:
        """Pass on everything, until the sender has ended; then tell the receiver."""
        buffer = self.buffer
        while buffer.out_len or buffer.forward():
            self.flush(until)
        if not buffer.eof:
            assert self.source is not None
            while data := self._read(self.source, READ_SIZE, until):
                self.write(data, until)
            buffer.end()
        sink = self.reach(until)
        with self._turn, suppress(RequestFailed):  # it may have gone, and has all it wanted
            sink.shutdown()

    def _read(self, source: Stream, size: int, until: float) -> bytes:
        exchange = self.exchange
        while True:
            exchange.check()
            try:
                data = source.read(size, until=min(until, exchange.idle_end))
            except RequestFailed as error:
                if not self._goes_on(error, until):
                    # Within its own time nothing is lost: the next read begins where this one did.
                    if error.failure.kind != "timeout":
                        exchange.broken = error.failure
                    raise
            else:
                exchange.active = monotonic()
                self.received += len(data)
                return data

    def _write(self, sink: Stream, data: Buffer, until: float) -> None:
        exchange = self.exchange
        while data:
            exchange.check()
            before = sink.written
            try:
                sink.write(data, until=min(until, exchange.idle_end))
            except RequestFailed as error:
                data = data[self._count(sink.written - before) :]
                if not self._goes_on(error, until):
                    raise
            else:
                self._count(len(data))
                return

    def _count(self, size: int) -> int:
        self.moved += size
        if size:
            self.exchange.active = monotonic()
        return size

    def _goes_on(self, error: RequestFailed, until: float) -> bool:
        exchange = self.exchange
        exchange.check()
        if error.failure.kind != "timeout" or (monotonic() >= until and until < exchange.idle_end):
            return False
        if monotonic() < exchange.idle_end:
            return True
        late = exchange.deadline <= monotonic()
        text = "the time of the connection is over (timeout)" if late else f"idle for {exchange.idle:g} s (idle_timeout)"
        idle = failed(text, "timeout", peer=error.failure.peer, phase=error.failure.phase, since=exchange.began)
        exchange.broken = idle.failure
        raise idle from None


def _failure_of(error: BaseException, sink: Stream, exchange: "Exchange") -> Failure:
    if isinstance(error, RequestFailed):
        return error.failure
    text = "cut off in the middle of a write"
    return failed(text, "cancelled", peer=sink.peer, phase="write", since=exchange.began).failure


class Exchange:
    """Both directions of one client's connection. `connect(until)` opens the one to the server, when it is first needed.

    `idle` are seconds, `deadline` is the moment when it is over whatever happens.
    """

    __slots__ = (
        "_connect",
        "_dialling",
        "active",
        "began",
        "broken",
        "client",
        "deadline",
        "ended",
        "idle",
        "request",
        "response",
        "server",
    )

    def __init__(
        self,
        client: Stream,
        connect: Callable[[float], Stream] | None,
        *,
        idle: float,
        deadline: float,
        limit: int = LIMIT,
    ) -> None:
        self.client = client
        self.server: Stream | None = None
        self.idle = idle
        self.deadline = deadline
        self.ended = False
        self.broken: Failure | None = None
        """Why nothing can go on any more."""
        self.began = self.active = monotonic()
        self._connect = connect
        self._dialling: Semaphore | None = None
        self.request = Direction(self, client, self.reach_server, limit)
        self.response = Direction(self, None, lambda until: client, limit)

    @property
    def name(self) -> str:
        return self.client.peer

    @property
    def idle_end(self) -> float:
        """The moment from which on it has been idle for too long."""
        return min(self.active + self.idle, self.deadline)

    @property
    def is_over(self) -> bool:
        """Nothing can be read or written any more."""
        return self.ended or self.broken is not None

    def reach_server(self, until: float) -> Stream:
        """The connection to the server. Raises RequestFailed where there is none."""
        self.check()
        if self._connect is None:
            raise failed("this listener has no server", "closed", peer=self.name, phase="write", since=self.began)
        if self._dialling is None:
            self._dialling = Semaphore()
        with self._dialling:
            if self.server is None:
                server = self._connect(min(until, self.deadline))
                if self.ended:
                    server.close()
                    self.check()
                self.server = self.response.source = server
                self.active = monotonic()
        return self.server

    def check(self) -> None:
        """Raises RequestFailed when it has ended, or broken."""
        if self.broken is not None:
            raise RequestFailed(self.broken)
        if self.ended:
            raise failed("the stream has ended", "closed", peer=self.name, phase="stream", since=self.began)

    def forget(self) -> None:
        """It is over, and nobody will ask for anything: let go of what refers back to it.

        Circles would be left to the garbage collector, and took it a tenth of a short stream's time.
        """
        del self.request, self.response
        self._connect = None

    def end(self) -> None:
        """No more: the server's connection is closed, and whoever waits for either is woken."""
        if not self.ended:
            self.ended = True
            self.client.wake()
            if self.server is not None:
                self.server.close()
