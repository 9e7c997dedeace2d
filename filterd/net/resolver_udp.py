"""Questions by UDP to one server: a set of connected sockets, each renewed now and then.

Promises:

* Only the server itself is heard: the sockets are connected. Ids and ports cannot be predicted (RFC 5452 9): a question leaves
  by a random socket of SOCKETS, and a socket is replaced by one with another port after LIFE questions, or MAX_AGE seconds.
* A server that refuses (ICMP) is noticed at once.
"""

from errno import EAGAIN, EINTR, ENOBUFS, EWOULDBLOCK
from socket import AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK
from typing import Any

from gevent import get_hub

from filterd.net.resolver_pending import Numbers, Pending, Receiver
from filterd.net.stream import Socket, peer_name
from filterd.proto.dns import render_query

__all__ = ["LIFE", "MAX_AGE", "SOCKETS", "UdpSockets"]

SOCKETS = 16
"""One overflows under load (its buffer holds some 200 replies), and its port could be guessed."""

LIFE = 1000
"""Questions by one socket; a new one costs 20 µs."""

MAX_AGE = 60.0
"""Seconds in which a socket is given questions: who asks little would keep a port for days."""

MOST = 4096
"""Questions under way on one socket: beyond that it is rather the server that has a problem."""

_SIZE = 4096  # 1232 are announced
_BURST = 64  # replies read in one go, before others have their turn
_READ = 1
_NOT_NOW = (EAGAIN, EWOULDBLOCK, EINTR, ENOBUFS)


class UdpSockets:
    """The sockets for one server, opened when they are needed."""

    def __init__(self, server: tuple[str, int], receiver: Receiver, numbers: Numbers) -> None:
        self.server = server
        self.peer = peer_name(server)
        self.receiver = receiver
        self._numbers = numbers
        self._current: list[_UdpSocket | None] = [None] * SOCKETS
        self._open: set[_UdpSocket] = set()

    def send(self, pending: Pending) -> bool:
        """Ask; False where that is not possible now. What did not leave for want of room is left to the next try."""
        number = self._numbers.next()
        slot = number % SOCKETS
        one = self._current[slot]
        if one is None or one.sent >= LIFE or pending.asked >= one.too_old:
            try:
                fresh = _UdpSocket(self, pending.asked + MAX_AGE)
            except OSError:
                return False
            self._open.add(fresh)
            self._current[slot] = fresh
            if one is not None:
                one.retire()
            one = fresh
        waiting = one.waiting
        if len(waiting) >= MOST:
            return False
        query_id = self._numbers.next()
        while query_id in waiting:
            query_id = self._numbers.next()
        waiting[query_id] = pending
        pending.places.append((one, query_id))
        one.sent += 1
        try:
            one.sock.send(render_query(query_id, pending.question, edns=pending.edns))
        except OSError as error:
            if error.errno not in _NOT_NOW:
                del waiting[query_id]
                pending.places.pop()
                self.broken(one)
                return False
        return True

    def broken(self, one: "_UdpSocket") -> None:
        """The server cannot be reached from this socket: nothing that left by it will be answered."""
        waiting, one.waiting = one.waiting, {}
        self.drop(one)
        self.receiver.lost(waiting, one)

    def drop(self, one: "_UdpSocket") -> None:
        """Close one socket."""
        self._open.discard(one)
        for slot, current in enumerate(self._current):
            if current is one:
                self._current[slot] = None
        one.close()

    def close(self) -> None:
        for one in list(self._open):
            self.drop(one)


class _UdpSocket:
    __slots__ = ("_owner", "_reader", "_retired", "peer", "sent", "server", "sock", "too_old", "waiting")

    stream = False

    def __init__(self, owner: UdpSockets, too_old: float) -> None:
        self._owner = owner
        self.too_old = too_old
        self._retired = False
        self.server = owner.server
        self.peer = owner.peer
        self.sent = 0
        self.waiting: dict[int, Pending] = {}
        self.sock = Socket(AF_INET6 if ":" in owner.server[0] else AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        try:
            self.sock.connect(owner.server)
        except BaseException:
            self.sock.close()
            raise
        self._reader: Any = get_hub().loop.io(self.sock.fileno(), _READ)
        self._reader.start(self._readable)

    def _readable(self) -> None:
        sock = self.sock
        arrived = self._owner.receiver.arrived
        try:
            for _ in range(_BURST):
                data = sock.recv(_SIZE)
                query_id = int.from_bytes(data[:2], "big")
                pending = self.waiting.get(query_id)
                if pending is not None:
                    arrived(pending, query_id, data, self)
        except OSError as error:
            # A socket that is retired closes with its last answer.
            if error.errno not in _NOT_NOW and sock.fileno() >= 0:
                self._owner.broken(self)

    def forget(self, query_id: int) -> None:
        self.waiting.pop(query_id, None)
        if self._retired and not self.waiting:
            self._owner.drop(self)

    def retire(self) -> None:
        """Ask no more, and close when everything is answered."""
        self._retired = True
        if not self.waiting:
            self._owner.drop(self)

    def close(self) -> None:
        # The watcher goes before the descriptor, or the loop would poll a number that is somebody else's soon.
        self._reader.close()
        self.sock.close()
