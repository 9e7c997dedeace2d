"""The `[dns]`, `[http]` and `[redis]` sections as the settings of the network's clients."""

from collections.abc import Callable
from pathlib import Path

from filterd.daemon.config import Config
from filterd.daemon.schema import RedisServers
from filterd.daemon.units import Address
from filterd.engine.loader import Problem
from filterd.net.http_call import HttpSettings
from filterd.net.network import NetworkSettings
from filterd.net.redis import RedisClient, RedisSettings
from filterd.net.resolver import FakeRecord, Resolver, ResolverSettings
from filterd.net.stream import Address as Peer
from filterd.net.tls import TlsSettings

__all__ = ["client_problems", "client_settings"]


def client_problems(config: Config) -> list[Problem]:
    """What only the clients themselves can tell to be wrong: TLS files, fake records, a set of servers. Opens no connection."""
    settings = client_settings(config)
    trials: dict[str, Callable[[], object]] = {
        "dns": lambda: Resolver(settings.dns),
        "http": settings.http.tls.context,
        "redis": lambda: RedisClient(settings.redis, settings.redis_modules),
    }
    problems = []
    for section, trial in trials.items():
        try:
            trial()
        except (ValueError, OSError) as error:  # what is wrong with a TLS file is an OSError too
            problems.append(Problem(f"[{section}]", str(error)))
    return problems


def client_settings(config: Config) -> NetworkSettings:
    """What `net.network.Network` is made with."""
    dns, http, redis = config.dns, config.http, config.redis
    return NetworkSettings(
        dns=ResolverSettings(
            nameservers=tuple((server.host, server.port) for server in dns.nameservers),
            timeout=dns.timeout,
            retransmits=dns.retransmits,
            max_requests=dns.max_requests,
            cache=dns.cache,
            fake_records=tuple(FakeRecord(one.name, one.type, one.replies, one.rcode) for one in dns.fake_records),
        ),
        http=HttpSettings(
            timeout=http.timeout,
            connect_timeout=http.connect_timeout,
            proxy=http.proxy,
            tls=TlsSettings(
                verify_host=http.tls_verify_host,
                verify_peer=http.tls_verify_peer,
                ca_path=_text(http.tls_ca_path),
                client_cert=_text(http.tls_client_cert),
                client_key=_text(http.tls_client_key),
            ),
        ),
        redis=_redis(redis) if redis.has_servers else None,
        redis_modules={
            name: _redis(servers) for name in redis.model_extra or () if (servers := redis.for_module(name)) is not None
        },
    )


def _redis(servers: RedisServers) -> RedisSettings:
    return RedisSettings(
        servers=_peers(servers.servers),
        read_servers=_peers(servers.read_servers),
        write_servers=_peers(servers.write_servers),
        sentinels=_peers(servers.sentinels),
        cluster=servers.cluster,
        db=servers.db,
        username=servers.username,
        password=servers.password,
        timeout=servers.timeout,
        tls=TlsSettings() if servers.tls else None,
    )


def _peers(addresses: tuple[Address, ...]) -> tuple[Peer, ...]:
    return tuple(address.path or (address.host, address.port) for address in addresses)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
