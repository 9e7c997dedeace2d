"""Questions asked of the name servers until one of them answers: whom, by which transport, when again, and when no more.

Promises:

* Every question ends after (retransmits + 1) × timeout seconds at the latest, whatever the servers do.
* A server on this machine is asked by TCP (a pipelined line costs half of what datagrams do), again by UDP; others by UDP. An
  answer that did not fit, or cannot be read, is asked for by TCP, which nobody can forge.
* A server that refuses, cannot be reached or says that it failed is not waited for: another is asked at once, if there is one.
* A late answer counts as long as nobody has given a better one, and an answer to another question never does.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from time import monotonic
from typing import Any

from gevent import get_hub

from filterd.net.resolver_pending import Numbers, Pending, Place, Receiver
from filterd.net.resolver_tcp import TcpLine
from filterd.net.resolver_udp import UdpSockets
from filterd.net.stream import Address, peer_name
from filterd.net.upstream import Upstreams
from filterd.proto.dns import NO_NAME, NO_RECORDS, RCODE_TEXTS, TIMED_OUT, ProtocolError, Reply, parse_reply

__all__ = ["CLOSED", "Exchange"]

CLOSED = "the resolver was closed"

TICK = 0.01
"""Seconds between two looks at what is due: nobody minds that much, and a busy loop has less to do."""

BURST = 128
"""Questions asked again in one go, before others have their turn."""

LARGE = 8192
"""Octets of a reply beyond which it is not kept. With 64 KB each, whoever sends mail could fill our memory with his records."""

_NO_EDNS = (RCODE_TEXTS[1], RCODE_TEXTS[4])  # what servers say that do not know it (RFC 6891 7, RFC 2671 5.3)
_FINAL = (None, NO_NAME, NO_RECORDS)
_CUT_SHORT = Reply(RCODE_TEXTS[2], ())


class _Server:
    """One name server and the ways to it."""

    __slots__ = ("alone", "peer", "prefers_tcp", "tcp", "udp")

    def __init__(self, address: tuple[str, int], receiver: Receiver, numbers: Numbers, *, prefer_tcp: bool | None) -> None:
        self.alone = (address,)
        """What a question has tried that was asked here first."""
        self.peer = peer_name(address)
        self.prefers_tcp = ip_address(address[0]).is_loopback if prefer_tcp is None else prefer_tcp
        self.tcp = TcpLine(address, receiver, numbers)
        self.udp = UdpSockets(address, receiver, numbers)

    def send(self, pending: Pending) -> bool:
        """Ask it; False where that is not possible now."""
        if pending.stream:
            return self.tcp.send((pending,)) == 1
        if self.prefers_tcp and not pending.repeats and self.tcp.send((pending,)):
            return True
        return self.udp.send(pending)

    def send_new(self, questions: Sequence[Pending], sent: int) -> int:
        """Ask by UDP those from `sent` on, which nobody has been asked yet; from which on it was not possible."""
        while sent < len(questions) and self.udp.send(questions[sent]):
            sent += 1
        return sent


class Exchange:
    """The name servers and what they are being asked. `answered(pending, reply)` is called once for each question."""

    def __init__(
        self,
        servers: Upstreams,
        *,
        timeout: float,
        retransmits: int,
        prefer_tcp: bool | None,
        answered: Callable[[Pending, Reply], None],
    ) -> None:
        numbers = Numbers()
        self._upstreams = servers
        self._servers: dict[Address, _Server] = {}
        for address in servers.servers:
            assert not isinstance(address, str), "name servers have no unix sockets"
            self._servers[address] = _Server(address, self, numbers, prefer_tcp=prefer_tcp)
        self._timeout = timeout
        self._retransmits = retransmits
        self._answered = answered
        # In the order in which they are due: all wait equally long. What is answered leaves at once: kept until it comes to the
        # front, a second's questions would be 25 MB that the garbage collector walks through, a tenth of all time.
        self._queue: OrderedDict[Pending, None] = OrderedDict()
        self._timer: Any = None

    def ask(self, questions: Sequence[Pending]) -> None:
        """Begin. Answers may come before this returns, but nothing waits here."""
        queue = self._queue
        if self._timer is None:
            self._arm(self._timeout)
        if len(self._servers) > 1:
            # Shared out among them.
            for pending in questions:
                queue[pending] = None
                self._next(pending)
            return
        # All at once: one by one they would cost a tenth more.
        server = self._servers[self._upstreams.pick()]
        for pending in questions:
            queue[pending] = None
            pending.tried = server.alone
            pending.peer = server.peer
        sent = server.tcp.send(questions) if server.prefers_tcp else 0
        if sent < len(questions):
            sent = server.send_new(questions, sent)
            if sent < len(questions):
                self._upstreams.fail(server.alone[0])
                for pending in questions[sent:]:
                    self._next(pending)

    def close(self) -> None:
        """Close every socket; what waits is told."""
        queue, self._queue = self._queue, OrderedDict()
        for pending in queue:
            self._finish(pending, Reply(CLOSED, ()))
        self._disarm()
        for server in self._servers.values():
            server.tcp.close()
            server.udp.close()

    # -- what the sockets tell

    def arrived(self, pending: Pending, query_id: int, data: bytes, place: Place) -> None:
        """A message with the id of a question."""
        try:
            reply = parse_reply(data, query_id, pending.question)
        except ProtocolError as problem:
            reply = Reply(str(problem), (), truncated=not place.stream)
        if reply is None:
            return
        self._upstreams.ok(place.server)
        if reply.truncated and not place.stream:
            # That there is nothing cannot be known from a part: where TCP fails too, it must not be what is told.
            self._keep(pending, _CUT_SHORT if reply.error in _FINAL[1:] else reply, place)
            if not pending.stream:
                pending.stream = True
                self._again(pending, place)
        elif reply.error in _FINAL:
            pending.peer = place.peer
            pending.large = len(data) > LARGE
            self._finish(pending, reply)
        elif pending.edns and reply.error in _NO_EDNS:
            pending.edns = False
            self._again(pending, place)
        else:
            self._keep(pending, reply, place)
            if pending.places[-1] == (place, query_id):
                self._next(pending)

    def lost(self, waiting: Mapping[int, Pending], place: Place) -> None:
        """The server refused, closed or cannot be reached."""
        self._upstreams.fail(place.server)
        server = self._servers[place.server]
        for query_id, pending in waiting.items():
            if pending.places[-1] != (place, query_id):
                continue  # it has been asked again meanwhile
            by_udp = place.stream and not pending.stream
            if not (by_udp and server.udp.send(pending)):
                self._next(pending)

    # -- what is done then

    def _next(self, pending: Pending) -> None:
        """Ask a server that was not asked in this round. Where there is none, the best answer counts, if there was any."""
        while len(pending.tried) < len(self._servers):
            if self._ask_one(pending):
                return
        if pending.best is not None:
            self._finish(pending, pending.best)

    def _ask_one(self, pending: Pending) -> bool:
        address = self._upstreams.pick(avoid=pending.tried)
        pending.tried += (address,)
        server = self._servers[address]
        pending.peer = server.peer
        if server.send(pending):
            return True
        self._upstreams.fail(address)
        return False

    def _again(self, pending: Pending, place: Place) -> None:
        """Ask the same server in another way."""
        if not self._servers[place.server].send(pending):
            self._next(pending)

    def _keep(self, pending: Pending, reply: Reply, place: Place) -> None:
        """What is answered if nothing better comes: records that are not all are better than a failure."""
        if pending.best is None or not pending.best.answers:
            pending.best = reply
            pending.peer = place.peer

    def _finish(self, pending: Pending, reply: Reply) -> None:
        self._queue.pop(pending, None)
        pending.leave()
        self._answered(pending, reply)

    # -- time

    def _arm(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(max(seconds, TICK))
        # update=True: a loop that has been busy has an old idea of now, and the timer would fire early by that much.
        self._timer.start(self._tick, update=True)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _tick(self) -> None:
        # After what has arrived: when something held the loop, answers and timer become due together, and answers win.
        self._disarm()
        get_hub().loop.run_callback(self._look)

    def _look(self) -> None:
        queue, timeout, now = self._queue, self._timeout, monotonic()
        for _ in range(BURST):
            first = next(iter(queue), None)
            if first is None or first.asked + timeout > now:
                break
            del queue[first]
            self._overdue(first)
        first = next(iter(queue), None)
        if first is not None and self._timer is None:
            self._arm(first.asked + timeout - now)

    def _overdue(self, pending: Pending) -> None:
        last = pending.tried[-1]
        self._upstreams.fail(last)
        if pending.repeats >= self._retransmits:
            self._finish(pending, pending.best or Reply(TIMED_OUT, ()))
            return
        line = self._servers[last].tcp
        if line.is_silent(pending.asked) and not pending.stream:
            line.rest()
        pending.repeats += 1
        pending.asked += self._timeout
        self._queue[pending] = None
        # The next round begins with another server, where there is one.
        pending.tried = (last,)
        if not self._ask_one(pending):
            self._next(pending)
