"""Servers on loopback that a test writes as one function over the accepted socket, and doors nobody answers at.

They run in greenlets of the test's own hub, so what a test waits for happens in the order it is written down.
"""

import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.server import StreamServer

from filterd.outcome import Failure, RequestFailed

__all__ = ["LOOPBACK", "Names", "Peer", "dead_port", "drip", "full_queue", "reset", "serving", "serving_udp", "silent"]

LOOPBACK = "127.0.0.1"


class Peer:
    """A server. `accepted` counts its connections, `errors` is what its function raised, `received` are its datagrams."""

    def __init__(self, address: Any) -> None:
        self.address = address
        self.accepted = 0
        self.errors: list[BaseException] = []
        self.received: list[bytes] = []

    @property
    def port(self) -> int:
        port: int = self.address[1]
        return port


@contextmanager
def serving(
    talk: Callable[[Any], object], *, tls: ssl.SSLContext | None = None, unix: Path | None = None, host: str = LOOPBACK
) -> Iterator[Peer]:
    """Calls `talk(socket)` for each connection and closes it when that returns.

    `tls` (of `Certificates.server_context`) comes first; what a handshake or `talk` raises is in `errors`: look at it where it
    matters.
    """

    def handle(connection: Any, _: object) -> None:
        peer.accepted += 1
        try:
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                connection.do_handshake()
            talk(connection)
        except OSError as error:
            peer.errors.append(error)
        finally:
            connection.close()

    listening = _listening(host if unix is None else unix)
    # A pool, so that those still talking in the end are ended with the server.
    server = StreamServer(listening, handle, spawn=Pool())
    peer = Peer(listening.getsockname())
    server.start()
    try:
        yield peer
    finally:
        server.stop(timeout=0)


def _listening(where: str | Path, *, backlog: int = 16) -> Any:
    # gevent takes no address of IPv6 or of a unix socket by itself.
    if isinstance(where, Path):
        listening = gevent.socket.socket(socket.AF_UNIX)
        listening.bind(str(where))
    else:
        listening = gevent.socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET)
        listening.bind((where, 0))
    listening.listen(backlog)
    return listening


@contextmanager
def serving_udp(answer: Callable[[bytes], Sequence[bytes]], *, host: str = LOOPBACK) -> Iterator[Peer]:
    """Sends back, to each datagram, those that `answer(data)` gives. `received` of the peer is what has come."""
    sock = gevent.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))

    def serve() -> None:
        while True:
            data, sender = sock.recvfrom(65535)
            peer.received.append(data)
            for reply in answer(data):
                sock.sendto(reply, sender)

    peer = Peer(sock.getsockname())
    serving_them = gevent.spawn(serve)
    try:
        yield peer
    finally:
        serving_them.kill()
        sock.close()


def silent(connection: Any) -> None:
    """Accepts and says nothing until the other side closes."""
    while connection.recv(65536):
        pass


def drip(data: bytes, pause: float = 0.02) -> Callable[[Any], None]:
    """Sends the data byte by byte."""

    def talk(connection: Any) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            gevent.sleep(pause)

    return talk


def reset(connection: Any) -> None:
    """Makes the close that follows a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def dead_port() -> Iterator[int]:
    """A port that refuses, and that nobody else can get meanwhile."""
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        yield bound.getsockname()[1]


@contextmanager
def full_queue(unix: Path | None = None) -> Iterator[Any]:
    """The address of a listener nobody accepts at and whose queue is full: to connect there takes for ever.

    Gives `(address, listening)`; accepting makes room.
    """
    listening = _listening(unix or LOOPBACK, backlog=0)
    address = listening.getsockname()
    waiting = []
    try:
        for _ in range(4):
            one = socket.socket(listening.family)
            one.setblocking(False)
            one.connect_ex(address)
            waiting.append(one)
        gevent.sleep(0.01)
        yield address, listening
    finally:
        for one in waiting:
            one.close()
        listening.close()


class Names:
    """Stands in for the resolver: a few names, and numeric hosts as they are."""

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None) -> None:
        self.names = dict(names or {})

    def addresses(self, host: str, *, until: float | None) -> list[str]:
        if host in self.names:
            return list(self.names[host])
        bare = host.strip("[]")
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, bare)
            except OSError:
                continue
            return [bare]
        raise RequestFailed(Failure("no records with this name", kind="dns", phase="dns"))
