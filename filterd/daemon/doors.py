"""Which server stands behind which front door: the `protocol` of a `[listen.NAME]` section, made into something that serves."""

from collections.abc import Callable

from filterd.daemon.books import Books
from filterd.daemon.config import Config
from filterd.daemon.password_files import passwords_of
from filterd.daemon.schema import Listener
from filterd.mail.maps import IpMap
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.listen import Connection
from filterd.net.map_sources import MapFeeds
from filterd.servers.control import Access, Control, MapFiles, StaticFiles
from filterd.servers.http import HttpServer

__all__ = ["Scan", "Serve", "control_for", "server_for"]

Scan = Callable[[ScanRequest], Verdict]
Serve = Callable[[Connection], None]


def server_for(door: Listener, config: Config, scan: Scan) -> Serve:
    """What serves one connection of this door; `scan` is the joint to the engine."""
    return _SERVERS[door.protocol](door, config, scan)


def _http(door: Listener, config: Config, scan: Scan) -> Serve:
    server = HttpServer(
        scan,
        max_message=config.limits.message,
        timeout=door.timeout,
        keepalive_timeout=door.keepalive_timeout,
    )
    return server.serve


def control_for(door: Listener, config: Config, scan: Scan, books: Books, feeds: MapFeeds) -> Serve:
    """What serves one connection of a control listener: HTTP, with somebody at the gate."""
    trusted = IpMap()
    for network in door.trusted:
        trusted.add(network, True)
    trusted.finish()
    descriptions = {name: section.description for name, section in config.maps.items()}
    access = Access(passwords_of(door), trusted)
    server = HttpServer(
        scan,
        max_message=config.limits.message,
        timeout=door.timeout,
        keepalive_timeout=door.keepalive_timeout,
        is_heard=access.is_heard,
        first=Control(
            access,
            books,
            MapFiles(feeds, descriptions),
            None if door.static_dir is None else StaticFiles(door.static_dir),
        ),
    )
    return server.serve


_SERVERS: dict[str, Callable[[Listener, Config, Scan], Serve]] = {"http": _http}
