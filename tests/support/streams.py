"""A stream listener with rule files of a test, in this process, and servers to put behind it."""

import logging
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent import socket as gsocket

from filterd.daemon.assembly import Assembly, assemble
from filterd.daemon.config import load_config
from filterd.net.listen import Listener, open_socket
from filterd.net.proxies import Proxies
from filterd.servers.stream import StreamCounts
from tests.support.client import Client

__all__ = ["Backend", "Gate", "backend", "gate", "load"]


@dataclass
class Gate:
    """The listener `listen.gate`, and what failed in its actions."""

    assembly: Assembly
    listener: Listener
    failures: list[Any] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int] | str:
        return self.listener.address

    @property
    def counts(self) -> StreamCounts:
        return self.assembly.streams.counts["gate"]

    def client(self) -> Client:
        return Client(self.address)

    def ask(self, *pieces: bytes, ends: bool = True) -> bytes:
        """Send all pieces, half-close, and read to the end."""
        with self.client() as client:
            for piece in pieces:
                client.send(piece)
                gevent.sleep(0.002)
            if ends:
                client.end()
            return client.read_all()

    def wait_idle(self, *, accepted: int = 1) -> None:
        """Until so many were accepted and none is open; each ends by itself, in the time of a test."""
        while self.listener.open or self.listener.accepted < accepted:
            gevent.sleep(0.002)

    def texts(self) -> list[str]:
        return [str(one) for one in self.failures]


def load(folder: Path, rules: str | Mapping[str, str], toml: str, *, bind: str = "127.0.0.1:0", **keywords: Any) -> Assembly:
    """The configuration with one stream listener, loaded; `toml` are lines of its section and what comes behind it."""
    sources = {"rules": rules} if isinstance(rules, str) else rules
    paths = []
    for name, source in sources.items():
        path = folder / f"{name}.py"
        path.write_text(textwrap.dedent(source))
        paths.append(str(path))
    conf = folder / "filterd.toml"
    conf.write_text(f'[listen.gate]\nprotocol = "tcp"\nbind = "{bind}"\n{textwrap.dedent(toml)}')
    return assemble(load_config(conf, rules=paths), **keywords)


@contextmanager
def gate(folder: Path, rules: str | Mapping[str, str], toml: str, *, bind: str = "127.0.0.1:0") -> Iterator[Gate]:
    """A listener that serves; at the end nothing may be left open."""
    failures: list[Any] = []
    assembly = load(folder, rules, toml, bind=bind, on_failure=lambda txn, failure: failures.append(failure))
    (door,) = assembly.config.listen.values()
    serve = assembly.streams.serve("gate", door)
    where = door.bind[0]
    listener = Listener(
        open_socket(where.path or (where.host, where.port)),
        serve,
        crew=assembly.environment.crew,
        name="listen.gate",
        max_connections=door.max_connections,
        proxies=Proxies(door.accept_proxy) if door.accept_proxy else None,
    )
    assembly.hooks.load()
    listener.start()
    assembly.hooks.start()
    logging.getLogger("filterd.stream").setLevel("INFO")
    try:
        yield Gate(assembly, listener, failures)
    finally:
        listener.drain(0.5)
        assembly.hooks.finish(1.0)
        assembly.close()


class Backend:
    """A server whose connections are given to `serve`; `seen` are those it has had."""

    def __init__(self, serve: Callable[[Any], None]) -> None:
        self.sock = gsocket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(1024)
        self.port: int = self.sock.getsockname()[1]
        self.seen = 0
        self.open = 0
        self.most = 0
        self._serve = serve
        self._accepted: list[Any] = []
        self._greenlets: list[Any] = [gevent.spawn(self._accept)]

    @property
    def toml(self) -> str:
        return f'server = "127.0.0.1:{self.port}"\n'

    def _accept(self) -> None:
        while True:
            sock, _ = self.sock.accept()
            self.seen += 1
            self._accepted.append(sock)
            self._greenlets.append(gevent.spawn(self._run, sock))

    def _run(self, sock: Any) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            self._serve(sock)
        except OSError:
            pass  # the other side has gone
        finally:
            sock.close()
            self.open -= 1

    def wait_idle(self) -> None:
        """Until every connection has ended."""
        while self.open:
            gevent.sleep(0.002)

    def close(self) -> None:
        gevent.killall(self._greenlets)
        # One that was ended before it began has closed nothing.
        for sock in (self.sock, *self._accepted):
            sock.close()


def echo(sock: Any) -> None:
    """Send back what comes, and end when the other side does."""
    while data := sock.recv(65536):
        sock.sendall(data)


@contextmanager
def backend(serve: Callable[[Any], None] = echo) -> Iterator[Backend]:
    """One that echoes, by default."""
    server = Backend(serve)
    try:
        yield server
    finally:
        server.close()
