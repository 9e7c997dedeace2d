"""Redis servers that a test can kill and start again where they were, and a server that says what a test makes it say."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent

from filterd.net.greenlets import Crew
from filterd.net.redis import RedisClient, RedisSettings
from filterd.net.stream import Address
from tests.support.partners import LOOPBACK, free_port, require
from tests.support.peers import Peer, serving

__all__ = ["RestartedRedis", "network_with", "redis_process", "scripted_redis"]


class RestartedRedis:
    """A redis-server on one port. `start` and `stop` let greenlets run meanwhile; nothing is kept over a restart."""

    def __init__(self, *options: str | Path, port: int | None = None, mode: str = "") -> None:
        self.port = free_port() if port is None else port
        self._argv: list[str | Path] = [require("redis-server", package="redis-server"), *options]
        self._argv += ["--port" if "--tls-port" not in options else "--tls-port", str(self.port)]
        self._argv += ["--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
        self._argv += [mode] if mode else []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return LOOPBACK, self.port

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Until it accepts."""
        process = self._process = subprocess.Popen(
            [str(word) for word in self._argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        give_up = time.monotonic() + 10.0
        while not self._accepts():
            assert process.poll() is None, f"redis-server ended with {process.returncode}"
            assert time.monotonic() < give_up, "redis-server does not accept"
            gevent.sleep(0.02)

    def stop(self) -> None:
        """At once, without a farewell; a second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            while process.poll() is None:
                gevent.sleep(0.01)

    def _accepts(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1.0).close()
        except OSError:
            return False
        return True


@contextmanager
def redis_process(*options: str | Path, port: int | None = None, mode: str = "") -> Iterator[RestartedRedis]:
    """One that runs, and does not outlive the block."""
    server = RestartedRedis(*options, port=port, mode=mode)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def scripted_redis(*answers: bytes | Callable[[Any], object]) -> Iterator[Peer]:
    """Answers each piece it receives with the next of `answers`, sent or called with the socket; then only listens."""

    def talk(connection: Any) -> None:
        for answer in answers:
            if not connection.recv(65536):
                return
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)
        while connection.recv(65536):
            pass

    with serving(talk) as peer:
        yield peer


def network_with(*servers: Address, modules: dict[str, RedisSettings] | None = None, **settings: Any) -> Any:
    """Stands in for a worker's network: a crew and a Redis client with these servers (none: only those of `modules`)."""
    default = RedisSettings(servers=servers, **settings) if servers or settings else None
    return SimpleNamespace(crew=Crew(), redis=RedisClient(default, modules or {}))
