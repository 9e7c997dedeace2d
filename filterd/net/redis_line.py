"""The line that all callers of one Redis server share: commands go out as they come, replies are counted off in that order.

Promises:

* Callers never wait for each other's replies to send, and what is asked for in one turn of the loop goes out in one piece.
* Commands given together are not interleaved with those of others.
* A caller that leaves (its time is over, or it was stopped) leaves its place in the order behind, so that nobody gets a reply
  meant for somebody else. What it had not sent yet is never sent.
* When the connection ends, whoever waits for a reply is told so at once. Nothing that was sent is sent again: for a command
  that may change something the text says that its fate is unknown. What was not yet sent waits for the next connection, unless
  this one never served anybody.
* A server that owes a reply and stays silent for `stall` seconds is given up. Unsent bytes are capped by `max_queued`.
* The line opens by itself when it is needed: a server that was restarted is found again by the next call.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent import get_hub, getcurrent
from hiredis import ReplyError

from filterd.net.greenlets import Stop
from filterd.net.redis_wire import UNKNOWN, Wire
from filterd.net.stream import failed
from filterd.outcome import Failure, RequestFailed

__all__ = ["Call", "Line"]

SECOND_LOOK = 0.001
"""Seconds. A timer is served before the socket in one turn of the loop: an answer that is already there must still win."""


class _NotWritten(Exception):
    """Tells the greenlet that reads what befell the one that writes."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class Call:
    """Commands sent together, and the place of their replies."""

    __slots__ = ("_greenlet", "began", "count", "failure", "is_done", "is_read", "left", "line", "payload", "replies", "size")

    def __init__(self, line: "Line", payload: bytes, count: int, *, is_read: bool) -> None:
        self.line = line
        self.payload: bytes | None = payload
        """None once it was sent."""
        self.size = len(payload)
        self.count = count
        self.is_read = is_read
        self.replies: list[Any] = []
        self.failure: Failure | None = None
        self.is_done = False
        self.left = False
        self.began = monotonic()
        self._greenlet: Any = None

    def wait(self, until: float | None) -> list[Any]:
        """The replies, `hiredis.ReplyError` where the server refused; raises RequestFailed. Ends at `until` at the latest."""
        if not self.is_done:
            self._wait(until)
        if self.failure is not None:
            raise RequestFailed(self.failure)
        if not self.is_done:
            raise self.line.late(self)
        return self.replies

    def _wait(self, until: float | None) -> None:
        hub = get_hub()
        greenlet = self._greenlet = getcurrent()
        timer = None
        if until is not None:
            timer = hub.loop.timer(max(until - monotonic(), 0.0), SECOND_LOOK)
            timer.start(greenlet.switch, update=True)
        try:
            hub.switch()
            if not self.is_done:
                hub.switch()
        except Stop as stop:
            stop.phase, stop.peer = self.line.phase(self), self.line.peer
            raise
        finally:
            self._greenlet = None
            self.left = not self.is_done
            if timer is not None:
                timer.close()

    def wake(self) -> None:
        """From the hub, once it is done: nobody is woken who has left meanwhile."""
        if self._greenlet is not None:
            self._greenlet.switch()


class Line:
    """One shared connection, which may be closed just now. `open_wire` opens one, until the moment it is given."""

    def __init__(
        self,
        open_wire: Callable[[float], Wire],
        peer: str,
        *,
        connect_timeout: float = 5.0,
        stall: float = 10.0,
        max_queued: int = 16 * 2**20,
    ) -> None:
        self.peer = peer
        self.connect_timeout = connect_timeout
        self.stall = stall
        self.max_queued = max_queued
        self.queued = 0
        """Bytes that were not sent yet."""
        self._open_wire = open_wire
        self._unsent: list[Call] = []
        self._sent: deque[Call] = deque()
        self._keeper: gevent.Greenlet[..., Any] | None = None
        self._writer: gevent.Greenlet[..., Any] | None = None
        self._writer_rests = False
        self._served = False

    @property
    def is_open(self) -> bool:
        """Connected and logged in."""
        return self._writer is not None

    def send(self, payload: bytes, count: int, *, is_read: bool = False) -> Call:
        """Queue `count` commands; raises RequestFailed (`limit`) where too much is queued already. Does not wait."""
        call = Call(self, payload, count, is_read=is_read)
        if self.queued + call.size > self.max_queued:
            text = f"{self.queued} bytes are waiting to be sent to {self.peer} already"
            raise failed(text, "limit", peer=self.peer, phase="write", since=call.began)
        self._unsent.append(call)
        self.queued += call.size
        if self._writer_rests:
            self._writer_rests = False
            get_hub().loop.run_callback(self._writer.switch)  # type: ignore[union-attr]
        elif self._keeper is None:
            self._keeper = gevent.spawn(self._keep)
        return call

    def close(self) -> None:
        """Close the connection and fail what waits; the line opens again when it is used."""
        keeper = self._keeper
        if keeper is not None:
            self._end(Failure("the connection is closed on our side", kind="closed", phase="read"), everything=True)
            keeper.kill(block=False)

    def phase(self, call: Call) -> str:
        """What the call waits for."""
        return "read" if call.payload is None else "write" if self.is_open else "connect"

    def late(self, call: Call) -> RequestFailed:
        """The failure of a call whose time is over."""
        phase = self.phase(call)
        step = {"read": "read from", "write": "write to", "connect": "connect to"}[phase]
        text = f"timeout: {step} {self.peer} after {monotonic() - call.began:.2f} s"
        return failed(text, "timeout", peer=self.peer, phase=phase, since=call.began)

    # -- the life of one connection

    def _keep(self) -> None:
        # A keeper that was replaced meanwhile (by `close`) touches nothing that belongs to its successor.
        keeper = getcurrent()
        self._served = False
        failure: Failure | None = None
        wire: Wire | None = None
        try:
            wire = self._open_wire(monotonic() + self.connect_timeout)
            if self._keeper is keeper:
                self._writer = gevent.spawn(self._write, wire)
                self._read(wire)
        except (RequestFailed, _NotWritten) as error:
            failure = error.failure
        finally:
            if wire is not None:
                wire.close()
            if self._keeper is keeper:
                self._end(failure or Failure("the connection broke down", kind="closed"), everything=not self._served)

    def _write(self, wire: Wire) -> None:
        writer = getcurrent()
        hub = get_hub()
        try:
            while self._writer is writer:
                if self._unsent and not self._sent and not wire.is_quiet():
                    # Nothing is owed to us, so this is the end of the connection: what is sent now would be lost.
                    gevent.sleep(SECOND_LOOK)
                    continue
                while self._unsent:
                    self._send_all(wire)
                self._writer_rests = True
                hub.switch()
        except RequestFailed as error:
            # The keeper waits for replies; it is the one that ends a connection.
            if self._writer is writer and self._keeper is not None:
                self._keeper.kill(_NotWritten(error.failure), block=False)

    def _send_all(self, wire: Wire) -> None:
        calls, self._unsent = self._unsent, []
        parts = []
        for call in calls:
            if call.payload is not None and not call.left:
                parts.append(call.payload)
                call.payload = None
                self._sent.append(call)
        if parts:
            wire.stream.write(b"".join(parts), until=monotonic() + self.stall)
        self.queued -= sum(call.size for call in calls)

    def _read(self, wire: Wire) -> None:
        sent = self._sent
        hub = get_hub()
        while True:
            since = monotonic()
            try:
                replies = wire.receive(until=since + self.stall)
            except RequestFailed as error:
                if error.failure.kind != "timeout":
                    raise
                if sent and sent[0].began <= since:
                    text = f"{self.peer} has been silent for {self.stall:g} s"
                    raise failed(text, "timeout", peer=self.peer, phase="read", since=since) from None
                continue
            finished = []
            unasked: list[Any] = []
            for reply in replies:
                if sent:
                    call = sent[0]
                    call.replies.append(reply)
                    if len(call.replies) == call.count:
                        call.is_done = True
                        finished.append(sent.popleft())
                else:
                    unasked.append(reply)
            if finished:
                self._served = True
                hub.loop.run_callback(_wake, finished)
            if unasked:
                raise self._unasked(unasked[0], since)

    def _unasked(self, reply: Any, since: float) -> RequestFailed:
        # A server that has no room for us says so before it is asked anything.
        if isinstance(reply, ReplyError):
            return failed(str(reply), "server", peer=self.peer, phase="read", since=since)
        return failed(f"{self.peer} sent a reply that nobody asked for", "protocol", peer=self.peer, phase="read", since=since)

    def _end(self, failure: Failure, *, everything: bool = False) -> None:
        writer, self._writer, self._keeper = self._writer, None, None
        self._writer_rests = False
        if writer is not None:
            writer.kill(block=False)
        lost, self._sent = list(self._sent), deque()
        waiting, self._unsent = [call for call in self._unsent if not call.left], []
        if everything:
            lost += waiting
        else:
            self._unsent = waiting
        self.queued = sum(call.size for call in self._unsent)
        for call in lost:
            text = str(failure)
            if call.payload is None and not call.is_read:
                text += UNKNOWN
            spent = monotonic() - call.began
            call.failure = Failure(text, kind=failure.kind, peer=self.peer, phase=failure.phase, elapsed=spent)
            call.is_done = True
        if lost:
            get_hub().loop.run_callback(_wake, lost)
        if self._unsent:
            self._keeper = gevent.spawn(self._keep)


def _wake(calls: list[Call]) -> None:
    for call in calls:
        call.wake()
