"""Redis for one worker: for each module that has a Redis its servers, chosen anew for every call.

Promises:

* Modules with equal settings share everything: connections, and what is known of failing servers.
* A call that only reads is repeated once, elsewhere if possible, when its server cannot be reached or closes the connection.
  Whatever may change something is sent once.
* Connections are opened when they are needed, and a server that was restarted is found again without anybody's help.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from filterd.net.counters import Counters
from filterd.net.redis_commands import Command
from filterd.net.redis_server import Private, Server, only_reads
from filterd.net.redis_wire import Addresses, Login
from filterd.net.stream import Address, failed
from filterd.net.tls import TlsSettings
from filterd.net.upstream import Upstreams
from filterd.outcome import RequestFailed

__all__ = ["RedisClient", "RedisSettings", "Target"]


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where a Redis is and how to speak to it; `timeout` in seconds, for a call as well as for a connection attempt.

    `servers` serve reads and writes where the list for one of these is empty; writes go to the first that is alive.
    """

    servers: tuple[Address, ...] = ()
    read_servers: tuple[Address, ...] = ()
    write_servers: tuple[Address, ...] = ()
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 1.0
    tls: TlsSettings | None = None

    @property
    def login(self) -> Login:
        """What a connection begins with."""
        return Login(self.db, self.username, self.password, self.tls)


class Target(Protocol):
    """The servers of one `RedisSettings`."""

    settings: RedisSettings

    def execute(
        self, commands: Sequence[Command], *, key: str | bytes | None, is_write: bool, until: float | None
    ) -> list[Any]:
        """The replies in order, refusals among them (`hiredis.ReplyError`). Raises RequestFailed."""

    def private(self, *, key: str | bytes | None, is_write: bool, until: float | None) -> Private:
        """A connection for the caller alone."""


class RedisClient:
    """The settings by the name of a module, and `default` for every other; None where there is no Redis for these.

    Raises what is wrong with TLS files (OSError, ssl.SSLError) when it is made, not when it is used.
    """

    def __init__(
        self,
        default: RedisSettings | None = None,
        modules: Mapping[str, RedisSettings | None] | None = None,
        *,
        resolver: Addresses | None = None,
    ) -> None:
        self.stats = Counters()
        self._default = default
        self._modules = dict(modules or {})
        self._resolver = resolver
        self._servers: dict[tuple[Address, Login], Server] = {}
        self._targets: dict[RedisSettings, Target] = {}
        self._by_module: dict[str, Target] = {}
        for settings in (default, *self._modules.values()):
            if settings is not None and settings.tls is not None:
                settings.tls.context()

    def target(self, module: str) -> Target:
        """The servers for a module; raises RequestFailed (`refused`) where none are configured."""
        target = self._by_module.get(module)
        if target is None:
            settings = self._modules.get(module, self._default)
            if settings is None:
                text = f"no Redis server is configured for {module}: neither [redis.{module}] nor [redis] names one"
                raise failed(text, "refused", peer="", phase="connect", since=monotonic())
            target = self._targets.get(settings)
            if target is None:
                target = self._targets[settings] = Listed(settings, self._server)
            self._by_module[module] = target
        return target

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers known by now, each with a login of its own."""
        return tuple(self._servers.values())

    def counted(self, work: Callable[[], list[Any]]) -> list[Any]:
        """What `work` does is one request in `stats`."""
        self.stats.requests += 1
        try:
            replies = work()
        except BaseException as error:
            self.stats.failed(error)
            raise
        self.stats.replies += 1
        return replies

    def close(self) -> None:
        """Close every connection that is not somebody's private one."""
        for server in self._servers.values():
            server.close()

    def _server(self, address: Address, settings: RedisSettings) -> Server:
        identity = address, settings.login
        server = self._servers.get(identity)
        if server is None:
            server = Server(address, settings.login, resolver=self._resolver, connect_timeout=settings.timeout)
            self._servers[identity] = server
        return server


class Listed:
    """Servers named one by one, for reads and for writes."""

    def __init__(self, settings: RedisSettings, server: Callable[[Address, RedisSettings], Server]) -> None:
        self.settings = settings
        reading = settings.read_servers or settings.servers or settings.write_servers
        writing = settings.write_servers or settings.servers or settings.read_servers
        self._reading = Upstreams(reading)
        self._writing = Upstreams(writing, rotation="master-slave")
        self._servers = {address: server(address, settings) for address in {*reading, *writing}}

    def execute(
        self, commands: Sequence[Command], *, key: str | bytes | None, is_write: bool, until: float | None
    ) -> list[Any]:
        upstreams = self._writing if is_write else self._reading
        address = upstreams.pick(key)
        try:
            replies = self._servers[address].execute(commands, until=until)
        except RequestFailed as error:
            upstreams.fail(address)
            if error.failure.kind not in ("connect", "closed") or not only_reads(commands):
                raise
            other = upstreams.pick(key, avoid=(address,))
            if other == address and error.failure.kind == "connect":
                raise
            address = other
        else:
            upstreams.ok(address)
            return replies
        try:
            replies = self._servers[address].execute(commands, until=until)
        except RequestFailed:
            upstreams.fail(address)
            raise
        upstreams.ok(address)
        return replies

    def private(self, *, key: str | bytes | None, is_write: bool, until: float | None) -> Private:
        upstreams = self._writing if is_write else self._reading
        address = upstreams.pick(key)
        try:
            return self._servers[address].private(until=until)
        except RequestFailed:
            upstreams.fail(address)
            raise
