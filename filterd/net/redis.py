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
                target = self._targets[settings] = self._made(settings)
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

    def _made(self, settings: RedisSettings) -> Target:
        def server(address: Address, login: Login) -> Server:
            known = self._servers.get((address, login))
            if known is None:
                known = Server(address, login, resolver=self._resolver, connect_timeout=settings.timeout)
                self._servers[address, login] = known
            return known

        if settings.cluster:
            return Cluster(settings, server)
        if settings.sentinels:
            return Sentinels(settings, server)
        reading = settings.read_servers or settings.servers or settings.write_servers
        writing = settings.write_servers or settings.servers or settings.read_servers
        return Listed(settings, server, reading=reading, writing=writing)
