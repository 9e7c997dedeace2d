"""Redis servers named one by one: a list for reads, a list for writes.

Promise: a call that only reads is repeated once, elsewhere if possible, when its server cannot be reached or closes the
connection. Whatever may change something is sent once.
"""

from collections.abc import Sequence
from typing import Any

from filterd.net.redis_commands import Command, only_reads
from filterd.net.redis_server import Private
from filterd.net.redis_settings import Key, RedisSettings, ServerOf
from filterd.net.stream import Address
from filterd.net.upstream import Upstreams
from filterd.outcome import RequestFailed

__all__ = ["Listed"]


class Listed:
    """A target whose servers do not change. Reads go round, writes go to the first server that is alive."""

    def __init__(
        self, settings: RedisSettings, server: ServerOf, *, reading: Sequence[Address], writing: Sequence[Address]
    ) -> None:
        self.settings = settings
        self.reading = tuple(reading)
        self.writing = tuple(writing)
        self._readers = Upstreams(reading)
        self._writers = Upstreams(writing, rotation="master-slave")
        self._servers = {address: server(address, settings.login) for address in {*reading, *writing}}

    def execute(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> list[Any]:
        upstreams = self._writers if is_write else self._readers
        address = upstreams.pick(key)
        try:
            replies = self._servers[address].execute(commands, until=until)
        except RequestFailed as error:
            _tell(upstreams, address, error)
            if error.failure.kind not in ("connect", "closed") or not only_reads(commands):
                raise
            refused, address = address, upstreams.pick(key, avoid=(address,))
            if address == refused and error.failure.kind == "connect":
                raise
            try:
                replies = self._servers[address].execute(commands, until=until)
            except RequestFailed as again:
                _tell(upstreams, address, again)
                raise
        upstreams.ok(address)
        return replies

    def private(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> Private:
        upstreams = self._writers if is_write else self._readers
        address = upstreams.pick(key)
        try:
            return self._servers[address].private(until=until)
        except RequestFailed as error:
            _tell(upstreams, address, error)
            raise


def _tell(upstreams: Upstreams, address: Address, error: RequestFailed) -> None:
    # A limit is our own, no fault of the server's.
    if error.failure.kind != "limit":
        upstreams.fail(address)
