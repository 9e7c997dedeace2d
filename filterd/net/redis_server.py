"""One Redis server: the line all share, and the private connections beside it.

Promises: every batch of commands runs where it can do no harm to others, on the shared line if at all possible.
"""

from collections.abc import Sequence
from typing import Any

from filterd.net.redis_commands import Command, Place, only_reads, packed, place_of, plain
from filterd.net.redis_line import Call, Line
from filterd.net.redis_pool import Pool
from filterd.net.redis_wire import Addresses, Login, Wire, dial
from filterd.net.stream import Address, peer_name

__all__ = ["Private", "Server"]

MAX_SHARED = 2**20
"""Bytes. What is longer goes on a private connection: on the line everybody else would wait until it is through."""


class Server:
    """A server as one user sees it: an address and a login."""

    def __init__(self, address: Address, login: Login, *, resolver: Addresses | None) -> None:
        self.address = address
        self.peer = peer_name(address)

        def open_wire(until: float | None) -> Wire:
            return dial(address, login, resolver=resolver, until=until)

        self.line = Line(open_wire, self.peer)
        self.pool = Pool(open_wire, self.peer)

    def execute(self, commands: Sequence[Command], *, until: float | None, place: Place | None = None) -> list[Any]:
        """What the server answers to commands sent in one piece, as plain values; a refusal is a `Failure` of kind `server`.

        Raises RequestFailed. `place` is for who knows better where they may run.
        """
        payload = packed(commands)
        if place is None:
            place = place_of(commands)
        if place is Place.SHARED and len(payload) <= MAX_SHARED:
            return self.finish(self.begin(commands, payload), until)
        wire = self.pool.take(until)
        try:
            replies = _answers(wire, commands, payload, until)
        except BaseException:
            self.pool.drop(wire)
            raise
        if place is Place.PINNED:
            self.pool.drop(wire)
        else:
            self.pool.give(wire)
        return replies

    def begin(self, commands: Sequence[Command], payload: bytes | None = None) -> Call:
        """Send ordinary commands on the shared line and wait later."""
        return self.line.send(packed(commands) if payload is None else payload, len(commands), is_read=only_reads(commands))

    def finish(self, call: Call, until: float | None) -> list[Any]:
        """What the server answers to what was begun."""
        return [plain(reply, peer=self.peer, since=call.began) for reply in call.wait(until)]

    def private(self, *, until: float | None) -> "Private":
        """A connection for the caller alone."""
        return Private(self.pool, self.pool.take(until))

    def close(self) -> None:
        """Close every connection that is not somebody's private one."""
        self.line.close()
        self.pool.close()


class Private:
    """A connection that keeps the state its owner gives it (a database, a transaction, a watch) until it is closed."""

    __slots__ = ("_pool", "_wire")

    def __init__(self, pool: Pool, wire: Wire) -> None:
        self._pool = pool
        self._wire: Wire | None = wire

    @property
    def is_open(self) -> bool:
        return self._wire is not None

    def execute(self, commands: Sequence[Command], *, until: float | None) -> list[Any]:
        """As `Server.execute`; after a failure the connection is closed, because nobody knows what would be read next."""
        wire = self._wire
        assert wire is not None
        try:
            return _answers(wire, commands, packed(commands), until)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._pool.drop(wire)


def _answers(wire: Wire, commands: Sequence[Command], payload: bytes, until: float | None) -> list[Any]:
    replies = wire.exchange(payload, len(commands), until=until, is_read=only_reads(commands))
    return [plain(reply, peer=wire.peer, since=wire.stream.began) for reply in replies]
