"""Redis for one worker: for each module that has a Redis its servers, chosen anew for every call.

Promises:

* Modules with equal settings share everything: connections, and what is known of failing servers.
* Connections are opened when they are needed, and a server that was restarted is found again without anybody's help.
* Nothing that may change something is sent twice, unless the server said that it did nothing.
"""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from filterd.net.counters import Counters
from filterd.net.redis_cluster import Cluster
from filterd.net.redis_listed import Listed
from filterd.net.redis_sentinel import Sentinels
from filterd.net.redis_server import Server
from filterd.net.redis_settings import RedisSettings, Target
from filterd.net.redis_wire import Addresses, Login
from filterd.net.stream import Address, failed

__all__ = ["RedisClient", "RedisSettings", "Target"]


class RedisClient:
    """The settings by the name of a module, and `default` for every other; None where there is no Redis for these.

    What is wrong with settings is raised here, not when they are used: ValueError, for TLS files OSError or ssl.SSLError.
    """

    def __init__(
        self,
        default: RedisSettings | None = None,
        modules: Mapping[str, RedisSettings | None] | None = None,
        *,
        resolver: Addresses | None = None,
    ) -> None:
        self.stats = Counters()
        self._resolver = resolver
        self._servers: dict[tuple[Address, Login], Server] = {}
        self._targets: dict[RedisSettings, Target] = {}
        self._default = self._made(default)
        self._modules = {name: self._made(settings) for name, settings in (modules or {}).items()}

    def target(self, module: str) -> Target:
        """The servers for a module; raises RequestFailed (`refused`) where none are configured."""
        target = self._modules.get(module, self._default)
        if target is None:
            text = f"no Redis server is configured for {module}: neither [redis.{module}] nor [redis] names one"
            raise failed(text, "refused", peer="", phase="connect", since=monotonic())
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

    def _made(self, settings: RedisSettings | None) -> Target | None:
        if settings is None or settings in self._targets:
            return None if settings is None else self._targets[settings]
        if settings.tls is not None:
            settings.tls.context()
        target: Target
        if settings.cluster:
            target = Cluster(settings, self._server)
        elif settings.sentinels:
            target = Sentinels(settings, self._server)
        else:
            reading = settings.read_servers or settings.servers or settings.write_servers
            writing = settings.write_servers or settings.servers or settings.read_servers
            target = Listed(settings, self._server, reading=reading, writing=writing)
        self._targets[settings] = target
        return target

    def _server(self, address: Address, login: Login) -> Server:
        server = self._servers.get((address, login))
        if server is None:
            server = self._servers[address, login] = Server(address, login, resolver=self._resolver)
        return server
