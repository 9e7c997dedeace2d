"""A control listener on loopback, with books of a test's own, and requests from any loopback address."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent import socket as gsocket

from filterd.daemon.statistics import Statistics, merged
from filterd.mail.maps import IpMap
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import Crew
from filterd.net.listen import Listener, open_socket
from filterd.net.map_sources import MapFeeds
from filterd.net.stream import Address
from filterd.proto.control_shapes import SymbolFacts
from filterd.proto.passwords import PasswordHash, hash_password, read_hash
from filterd.servers.control import Access, Control, MapFiles, Passwords, StaticFiles
from filterd.servers.http import HttpServer

__all__ = ["READ", "WRITE", "Answer", "TestBooks", "ask", "networks", "reachable", "scanned", "serving_control"]

READ, WRITE = (read_hash(hash_password(password, b"salt salt salt 1")) for password in (b"read me", b"change me"))


@dataclass
class TestBooks:
    """Books that are what the test wrote into them."""

    __test__ = False

    version: str = "9.9"
    config_id: str = "abc"
    control_listeners: frozenset[str] = frozenset()
    snapshots: list[dict[str, Any]] = field(default_factory=lambda: [Statistics().snapshot()])
    known: list[SymbolFacts] = field(default_factory=list)
    history: list[bytes] = field(default_factory=list)
    resets: int = 0

    def totals(self) -> Mapping[str, Any]:
        return merged(self.snapshots)

    def reset(self) -> None:
        self.resets += 1

    def facts(self) -> Sequence[SymbolFacts]:
        return self.known

    def thresholds(self) -> Mapping[str, float]:
        return {"reject": 15.0}

    def metrics(self, accept: str) -> tuple[bytes, str]:
        return f"accepts {accept}\n".encode(), "text/x-metrics"

    def rows(self, first: int, last: int) -> list[bytes]:
        return self.history[first : last + 1]

    def clear_history(self) -> None:
        self.history.clear()

    def words(self, kind: str) -> Mapping[str, str]:
        return {kind: f"All {kind}"}

    def fault(self, expression: str) -> str | None:
        return None if expression == "subject" else f"no expression: {expression}"

    def values(self, expression: str, message: ScanRequest) -> list[str]:
        return [message.message.subject or "", message.envelope.helo or "", str(message.envelope.get("password"))]


scanned: list[ScanRequest] = []


def scan(request: ScanRequest) -> Verdict:
    scanned.append(request)
    return Verdict("no action", 1.0, 15.0)


def networks(*written: str) -> IpMap:
    found = IpMap()
    for network in written:
        found.add(network, True)
    found.finish()
    return found


@contextmanager
def serving_control(
    books: TestBooks | None = None,
    *,
    passwords: tuple[PasswordHash | None, PasswordHash | None] = (None, None),
    trusted: Sequence[str] = ("127.0.0.1",),
    feeds: MapFeeds | None = None,
    access: Callable[[Passwords, IpMap], Access] = Access,
    static: Path | None = None,
    address: Address = ("127.0.0.1", 0),
) -> Iterator[Listener]:
    """A control listener; `passwords` are those for reading and for changing."""
    scanned.clear()
    gate = access(Passwords(*passwords), networks(*trusted))
    files = None if static is None else StaticFiles(static)
    control = Control(gate, TestBooks() if books is None else books, MapFiles(feeds or MapFeeds({}, ()), {}), files)
    server = HttpServer(scan, max_message=200_000, first=control, is_heard=gate.is_heard)
    listener = Listener(open_socket(address), server.serve, crew=Crew(), name="listen.control")
    listener.start()
    try:
        yield listener
    finally:
        listener.drain(0.2)


@dataclass(frozen=True)
class Answer:
    """A reply, whole."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def reachable(port: int) -> int:
    """The port, when it accepts: a daemon that answers on one listener may be about to open the next."""
    while True:
        try:
            gsocket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            gevent.sleep(0.02)
        else:
            return port


def ask(
    where: Listener | int,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes | None = None,
    source: str = "127.0.0.1",
    method: str | None = None,
) -> Answer:
    """One request on a connection of its own, from the loopback address `source`."""
    address = ("127.0.0.1", where) if isinstance(where, int) else where.address
    if isinstance(address, str):
        sock = gsocket.socket(gsocket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(address)
    else:
        sock = gsocket.create_connection(address, timeout=10, source_address=(source, 0))
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in {"Connection": "close", **(headers or {})}.items()]
    lines += [] if body is None else [f"Content-Length: {len(body)}"]
    with sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        data = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, content = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    _, status, reason = first.split(" ", 2)
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return Answer(int(status), reason, fields, content)
