"""Where the Redis of a module is, and what a set of its servers can do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from filterd.net.redis_commands import Command
from filterd.net.redis_server import Private, Server
from filterd.net.redis_wire import Login
from filterd.net.stream import Address
from filterd.net.tls import TlsSettings

__all__ = ["Key", "RedisSettings", "ServerOf", "Target"]

Key: TypeAlias = str | bytes | None
"""What chooses among several servers, the same one each time."""


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where a Redis is and how to speak to it; `timeout` in seconds, for a call as well as for an attempt to connect.

    `servers` serve reads and writes where the list for one of these is empty; writes go to the first that is alive. With
    `sentinels` the servers are those that Sentinel knows: the masters whose names match the pattern `sentinel_masters`, and for
    reads their replicas too. With `cluster=True` the servers are where to ask for the nodes.
    """

    servers: tuple[Address, ...] = ()
    read_servers: tuple[Address, ...] = ()
    write_servers: tuple[Address, ...] = ()
    sentinels: tuple[Address, ...] = ()
    sentinel_masters: str = "*"
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    cluster: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 1.0
    tls: TlsSettings | None = None

    @property
    def login(self) -> Login:
        """What a connection begins with."""
        return Login(self.db, self.username, self.password, self.tls)

    @property
    def sentinel_login(self) -> Login:
        """What a connection to a Sentinel begins with."""
        return Login(0, self.sentinel_username, self.sentinel_password, self.tls)


ServerOf: TypeAlias = Callable[[Address, Login], Server]
"""Gives the one `Server` for an address and a login."""


class Target(Protocol):
    """The servers of one `RedisSettings`."""

    settings: RedisSettings

    def execute(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> list[Any]:
        """The answers in order, as plain values; a refusal is a `Failure` of kind `server`. Raises RequestFailed."""

    def private(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> Private:
        """A connection for the caller alone, to where these commands belong."""
