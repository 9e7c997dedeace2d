"""Everything one worker shares to reach other services; built once, handed down, closed at the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from filterd.net.counters import Counters
from filterd.net.greenlets import Crew
from filterd.net.http import HttpClient
from filterd.net.http_call import HttpSettings
from filterd.net.redis import RedisClient, RedisSettings
from filterd.net.resolver import Resolver, ResolverSettings
from filterd.net.tcp import TcpClient
from filterd.net.udp import UdpClient

__all__ = ["Network", "NetworkSettings"]


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The settings of every client. `redis` is the default server, `redis_modules` those of single modules."""

    dns: ResolverSettings = field(default_factory=ResolverSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    redis: RedisSettings | None = None
    redis_modules: Mapping[str, RedisSettings | None] = field(default_factory=dict)


class Network:
    """The clients of one worker. They open connections when they are first needed."""

    def __init__(self, settings: NetworkSettings | None = None, *, crew: Crew | None = None) -> None:
        """Raises OSError or ssl.SSLError for TLS files that cannot be used."""
        settings = NetworkSettings() if settings is None else settings
        self.crew = Crew() if crew is None else crew
        self.resolver = Resolver(settings.dns)
        self.http = HttpClient(settings.http, resolver=self.resolver)
        self.tcp = TcpClient(resolver=self.resolver)
        self.udp = UdpClient(resolver=self.resolver)
        self.redis = RedisClient(settings.redis, settings.redis_modules, resolver=self.resolver)

    @property
    def stats(self) -> Mapping[str, Counters]:
        """What each client has done."""
        return {
            "dns": self.resolver.stats,
            "http": self.http.stats,
            "redis": self.redis.stats,
            "tcp": self.tcp.stats,
            "udp": self.udp.stats,
        }

    def close(self) -> None:
        """Close every connection."""
        for client in (self.redis, self.http, self.tcp, self.udp, self.resolver):
            client.close()
