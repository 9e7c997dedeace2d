"""Redis servers that a test can kill and start again where they were, clusters and Sentinels of them, and a server that says
what a test makes it say.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import gevent

from filterd.net.greenlets import Crew
from filterd.net.redis import RedisClient, RedisSettings
from filterd.net.stream import Address
from tests.support.partners import LOOPBACK, free_port, require
from tests.support.peers import Peer, serving

__all__ = ["RestartedRedis", "network_with", "redis_cluster", "redis_process", "redis_sentinel", "scripted_redis", "tell"]


class RestartedRedis:
    """A redis-server on one port. `start` and `stop` let greenlets run meanwhile; data does not survive a restart."""

    def __init__(self, *options: str | Path, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._argv = [str(require("redis-server", package="redis-server")), *map(str, options)]
        port_options = ["--port", "0", "--tls-port"] if "--tls-cert-file" in options else ["--port"]
        self._argv += [*port_options, str(self.port), "--bind", LOOPBACK]
        if "--sentinel" not in options:
            self._argv += ["--save", "", "--appendonly", "no"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Address:
        return LOOPBACK, self.port

    def start(self) -> None:
        """Until it accepts."""
        process = self._process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait_until(self._accepts, "accepts")
        assert process.poll() is None

    def stop(self) -> None:
        """At once, without a farewell; a second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            while process.poll() is None:
                gevent.sleep(0.01)

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Until the condition holds; AssertionError after ten seconds, or when the server ends first."""
        give_up = time.monotonic() + 10.0
        while not condition():
            assert self._process is not None
            assert self._process.poll() is None, f"redis-server ended with {self._process.returncode}"
            assert time.monotonic() < give_up, f"in vain for ten seconds: redis-server {what}"
            gevent.sleep(0.02)

    def _accepts(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1.0).close()
        except OSError:
            return False
        return True


@contextmanager
def redis_process(*options: str | Path, port: int | None = None) -> Iterator[RestartedRedis]:
    """One that runs, and does not outlive the block."""
    with TemporaryDirectory() as home:
        # A replica writes there what it gets from its master.
        server = RestartedRedis(*options, *([] if "--dir" in options else ["--dir", home]), port=port)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def redis_cluster(directory: Path, *, replicas: int = 0) -> Iterator[list[RestartedRedis]]:
    """Three masters with a third of the slots each, then `replicas` of the first. Nodes keep their identity over a restart."""
    with ExitStack() as running:
        nodes = []
        buses = {}
        for number in range(3 + replicas):
            home = directory / f"node{number}"
            home.mkdir()
            bus = free_port()
            options: list[str | Path] = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "600",
                "--cluster-port",
                str(bus),
            ]
            node = running.enter_context(redis_process(*options, "--dir", home))
            nodes.append(node)
            buses[node.port] = bus
        for number, node in enumerate(nodes[:3]):
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            assert tell(node, "CLUSTER", "ADDSLOTSRANGE", first, last) == "OK"
            assert tell(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1) == "OK"
        for node in nodes[1:]:
            assert tell(node, "CLUSTER", "MEET", LOOPBACK, nodes[0].port, buses[nodes[0].port]) == "OK"
        for node in nodes:
            _until_told(node, f"cluster_known_nodes:{len(nodes)}", "CLUSTER", "INFO")
        master = tell(nodes[0], "CLUSTER", "MYID")
        for node in nodes[3:]:
            _until_told(node, "OK", "CLUSTER", "REPLICATE", master)
            _until_told(node, "master_link_status:up", "INFO", "replication")
        for node in nodes:
            _until_told(node, "cluster_state:ok", "CLUSTER", "INFO")
        yield nodes


@contextmanager
def redis_sentinel(directory: Path, master: RestartedRedis, *, name: str = "main", replicas: int) -> Iterator[RestartedRedis]:
    """A Sentinel that watches a master with so many replicas, and alone decides within a second that it is gone."""
    configuration = directory / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor {name} {LOOPBACK} {master.port} 1\n"
        f"sentinel down-after-milliseconds {name} 300\n"
        f"sentinel failover-timeout {name} 3000\n"
    )
    with redis_process(configuration, "--sentinel", "--dir", directory) as sentinel:
        in_step = "master-link-status\nok"
        sentinel.wait_until(
            lambda: tell(sentinel, "SENTINEL", "SLAVES", name).count(in_step) == replicas, "has found the replicas"
        )
        yield sentinel


def _until_told(server: RestartedRedis, text: str, *words: str) -> None:
    server.wait_until(lambda: text in tell(server, *words), f"says {text} to {words[0]}")


def tell(server: RestartedRedis, *words: str | int) -> str:
    """What redis-cli prints for one command: tests look at a server from outside our client."""
    program = require("redis-cli", package="redis-tools")
    argv = [str(program), "-h", LOOPBACK, "-p", str(server.port), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10).stdout.strip()


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
