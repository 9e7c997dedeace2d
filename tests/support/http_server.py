"""An HTTP server on loopback that a test writes as one function from request to answer."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import gevent.socket

from tests.support.peers import Peer, serving

__all__ = ["Asked", "HttpPeer", "answer", "http_serving", "read_request", "tunnels"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came: header names as sent, in order."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a header that came once at most; None when absent."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None


@dataclass(slots=True)
class HttpPeer:
    """A listening HTTP server and what it was asked; `connections` are its accepted ones by number, for each request."""

    peer: Peer
    scheme: str
    asked: list[Asked] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.peer.port

    @property
    def accepted(self) -> int:
        return self.peer.accepted

    def url(self, target: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.peer.port}{target}"


def answer(body: bytes = b"", status: str = "200 OK", *headers: str) -> bytes:
    """A response framed by Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def read_request(connection: Any, buffer: bytearray) -> Asked | None:
    """The next request; None at the end of the stream. `buffer` keeps what has come too early."""
    while b"\r\n\r\n" not in buffer:
        data = connection.recv(65536)
        if not data:
            return None
        buffer += data
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    method, target, _ = start.split(" ")
    pairs = [line.split(":", 1) for line in lines]
    headers = [(name, value.strip()) for name, value in pairs]
    length = int({name.lower(): value for name, value in headers}.get("content-length", 0))
    body = bytearray(rest)
    while len(body) < length:
        data = connection.recv(65536)
        if not data:
            return None
        body += data
    buffer[:] = body[length:]
    return Asked(method, target, headers, bytes(body[:length]))


@contextmanager
def http_serving(
    respond: Callable[[Asked], bytes | None],
    *,
    tls: ssl.SSLContext | None = None,
    unix: Path | None = None,
    host: str = "127.0.0.1",
) -> Iterator[HttpPeer]:
    """Answers each request with the bytes `respond` gives, over kept connections; None closes the connection instead."""

    def talk(connection: Any) -> None:
        number = server.accepted
        buffer = bytearray()
        while (asked := read_request(connection, buffer)) is not None:
            server.asked.append(asked)
            server.connections.append(number)
            data = respond(asked)
            if data is None:
                return
            connection.sendall(data)

    with serving(talk, tls=tls, unix=unix, host=host) as peer:
        server = HttpPeer(peer, "http" if tls is None else "https")
        yield server


def tunnels(connection: Any) -> None:
    """A proxy for CONNECT: opens the way to the port asked for, on loopback whatever the host, and then only carries bytes."""
    asked = read_request(connection, bytearray())
    assert asked is not None
    assert asked.method == "CONNECT"
    with gevent.socket.create_connection(("127.0.0.1", int(asked.target.rpartition(":")[2]))) as onward:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = gevent.spawn(_carry, onward, connection)
        _carry(connection, onward)
        back.kill()


def _carry(source: Any, target: Any) -> None:
    while data := source.recv(65536):
        target.sendall(data)
