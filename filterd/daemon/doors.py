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
from filterd.proto.milter_verdict import Texts
from filterd.servers.control import Access, Control, MapFiles, StaticFiles
from filterd.servers.door import Door
from filterd.servers.http import HttpServer
from filterd.servers.milter import MilterServer
from filterd.servers.spamc import SpamcServer

__all__ = ["Scan", "Serve", "control_for", "server_for"]

Scan = Callable[[ScanRequest], Verdict]
Serve = Callable[[Connection], None]


def server_for(door: Listener, config: Config, scan: Scan) -> Serve:
    """What serves one connection of this door; `scan` is the joint to the engine."""
    return _SERVERS[door.protocol](door, config, scan)


def _http(door: Listener, config: Config, scan: Scan) -> Serve:
    http = HttpServer(
        scan,
        max_message=config.limits.message,
        timeout=door.timeout,
        keepalive_timeout=door.keepalive_timeout,
    )
    spamc = SpamcServer(scan, max_message=config.limits.message, timeout=door.timeout)
    # As with Rspamd, the older protocols come to the same port.
    return Door({"http": http.serve, "rspamc": spamc.serve, "spamc": spamc.serve}, timeout=door.timeout).serve


def _spamc(door: Listener, config: Config, scan: Scan) -> Serve:
    spamc = SpamcServer(scan, max_message=config.limits.message, timeout=door.timeout)
    return Door({"spamc": spamc.serve, "rspamc": spamc.serve}, timeout=door.timeout).serve


def _milter(door: Listener, config: Config, scan: Scan) -> Serve:
    server = MilterServer(
        scan,
        max_message=config.limits.message,
        timeout=door.timeout,
        idle_timeout=door.keepalive_timeout,
        texts=Texts(
            door.reject_message,
            door.tempfail_message,
            door.quarantine_message,
            door.spam_header,
            door.discard_on_reject,
            door.quarantine_on_reject,
        ),
        reject_oversized=door.oversize == "reject",
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


_SERVERS: dict[str, Callable[[Listener, Config, Scan], Serve]] = {"http": _http, "spamc": _spamc, "milter": _milter}
