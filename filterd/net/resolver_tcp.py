"""Questions by TCP to one server: many at once on one connection, answered in any order (RFC 7766 6.2.1.1).

Promises:

* The questions of one turn of the loop leave in one piece.
* A connection the server closed after it had answered is opened again, and asked what was still open on the old one. One that
  never answered, or cannot be opened, has failed: it rests, longer each time until something is answered.
"""

from collections.abc import Mapping, Sequence
from errno import EAGAIN, EINPROGRESS, EINTR, EWOULDBLOCK
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SO_ERROR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    TCP_QUICKACK,
)
from time import monotonic
from typing import Any

from gevent import get_hub

from filterd.net.resolver_pending import Numbers, Pending, Receiver
from filterd.net.stream import READ_SIZE, Socket, peer_name
from filterd.proto.dns import render_query
from filterd.proto.dns_frames import frame, split

__all__ = ["TcpLine"]

MOST = 16384
"""Questions under way: a quarter of all ids, so that a free one is found soon; 2 MB of questions at most."""

FIRST_REST, LONGEST_REST = 1.0, 60.0
"""Seconds without a new try after a failure; twice as long after each further one."""

_READ, _WRITE = 1, 2
_AGAIN = (EAGAIN, EWOULDBLOCK, EINTR)


class TcpLine:
    """The connection to one server, opened when it is needed."""

    stream = True

    def __init__(self, server: tuple[str, int], receiver: Receiver, numbers: Numbers) -> None:
        self.server = server
        self.peer = peer_name(server)
        self.waiting: dict[int, Pending] = {}
        self._receiver = receiver
        self._numbers = numbers
        self._sock: Socket | None = None
        self._reader: Any = None
        self._writer: Any = None
        self._connected = False
        self._scheduled = False
        self._out: list[bytes] = []
        self._unsent = b""
        self._begun = b""
        """What has arrived of a message that has not ended."""
        self._useful = False
        """Something was answered on this connection."""
        self._heard = 0.0
        self._rest = 0.0
        self._rests_until = 0.0

    def send(self, questions: Sequence[Pending]) -> int:
        """Ask, in this turn of the loop; how many of them could be, which is none while the connection rests."""
        waiting = self.waiting
        if self._rests_until and monotonic() < self._rests_until:
            return 0
        if len(waiting) + len(questions) > MOST:
            questions = questions[: max(MOST - len(waiting), 0)]
        draw = self._numbers.next
        out = self._out
        for pending in questions:
            query_id = draw()
            while query_id in waiting:
                query_id = draw()
            waiting[query_id] = pending
            pending.places.append((self, query_id))
            out.append(frame(render_query(query_id, pending.question, edns=pending.edns)))
        if not self._scheduled:
            self._scheduled = True
            get_hub().loop.run_callback(self._flush)
        return len(questions)

    def forget(self, query_id: int) -> None:
        self.waiting.pop(query_id, None)

    def is_silent(self, since: float) -> bool:
        """Something waits, and nothing at all has arrived since that moment of time.monotonic()."""
        return bool(self.waiting) and self._heard < since

    def rest(self) -> Mapping[int, Pending]:
        """Give up this connection, for now; what waited on it, by the ids."""
        self._shut()
        self._rest = min(self._rest * 2 or FIRST_REST, LONGEST_REST)
        self._rests_until = monotonic() + self._rest
        waiting, self.waiting = self.waiting, {}
        return waiting

    def close(self) -> None:
        self.waiting.clear()
        self._shut()

    def _failed(self) -> None:
        self._receiver.lost(self.rest(), self)

    def _flush(self) -> None:
        self._scheduled = False
        if self._sock is None:
            if self.waiting:
                self._connect()
        elif self._connected and not self._unsent:
            self._write()

    def _connect(self) -> None:
        try:
            sock = Socket(AF_INET6 if ":" in self.server[0] else AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        except OSError:
            self._failed()
            return
        self._sock = sock
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        loop = get_hub().loop
        self._reader = loop.io(sock.fileno(), _READ)
        self._writer = loop.io(sock.fileno(), _WRITE)
        if sock.connect_ex(self.server) in (0, EINPROGRESS):
            self._writer.start(self._writable)
        else:
            self._failed()

    def _writable(self) -> None:
        assert self._sock is not None
        if not self._connected:
            if self._sock.getsockopt(SOL_SOCKET, SO_ERROR):
                self._failed()
                return
            self._connected = True
            self._reader.start(self._readable)
        self._write()

    def _write(self) -> None:
        assert self._sock is not None
        data = self._unsent + b"".join(self._out)
        self._out.clear()
        try:
            self._unsent = data[self._sock.send(data) :]
        except OSError as error:
            if error.errno not in _AGAIN:
                self._ended()
                return
            self._unsent = data
        if not self._unsent:
            self._writer.stop()
        elif not self._writer.active:
            self._writer.start(self._writable)

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(READ_SIZE)
        except OSError as error:
            if error.errno in _AGAIN:
                return
            data = b""
        if not data:
            self._ended()
            return
        # Servers write each answer by itself and wait (Nagle) for the last one to be acknowledged, which would take 40 ms.
        self._sock.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)
        self._heard = monotonic()
        messages, self._begun = split(self._begun + data)
        arrived = self._receiver.arrived
        useful = False
        for message in messages:
            query_id = int.from_bytes(message[:2], "big")
            pending = self.waiting.get(query_id)
            if pending is not None:
                arrived(pending, query_id, message, self)
                useful = useful or pending.done
        if useful and self._sock is not None:
            self._useful = True
            self._rest = self._rests_until = 0.0

    def _ended(self) -> None:
        useful = self._useful
        self._shut()
        if self.waiting and useful:
            self._out = [frame(render_query(key, one.question, edns=one.edns)) for key, one in self.waiting.items()]
            self._connect()
        elif self.waiting:
            self._failed()

    def _shut(self) -> None:
        sock, self._sock = self._sock, None
        self._connected = self._useful = False
        self._unsent = self._begun = b""
        self._out.clear()
        if sock is not None:
            # The watchers go before the descriptor, or the loop would poll a number that is somebody else's soon.
            self._reader.close()
            self._writer.close()
            sock.close()
