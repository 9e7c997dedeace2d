"""Real servers beside filterd: found, started on loopback, stopped by their process id.

Promises:

* A partner that is not installed skips the test and names the Debian package; where `CI=true` it fails the test.
* A server is handed over only when it answers, and what it printed is in the error when it does not come up.
* Nothing outlives its `with` block: TERM, a few seconds of grace, KILL.
"""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import IO

import pytest

__all__ = ["RedisServer", "Running", "ask_redis", "free_port", "require", "running", "running_redis", "running_unbound"]

LOOPBACK = "127.0.0.1"
SHARES = 4
"""Processes of one run of the suite that have ports of their own."""
# Daemons live where an ordinary user's PATH does not look.
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def require(program: str, *, package: str) -> Path:
    """The path of `program`; without it the test is skipped, or failed where CI=true, naming the Debian package it is in."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN]))
    if found:
        return Path(found)
    absence = f"{program} is not installed (Debian package {package})"
    if os.environ.get("CI") == "true":
        pytest.fail(absence)
    pytest.skip(absence)


def _quiet_ports() -> Iterator[int]:
    """Ports that no outgoing connection gets and no bind to port 0, over and over, for processes side by side each its own.

    On others a server that has not begun to listen, or is away for a moment, may find its port taken, and whoever calls it then
    may even be connected to itself, which looks like an echo.
    """
    # Where outgoing connections get all ports there are none; then those that are seldom used otherwise.
    end = max(int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]), 16_000)
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SHARES
    ports = range(max(end - 12_000, 1024) + share, end, SHARES)
    # Two runs of the suite at once, which know nothing of each other, begin at different places.
    begin = random.randrange(len(ports))
    return cycle([*ports[begin:], *ports[:begin]])


_PORTS = _quiet_ports()


def free_port() -> int:
    """A loopback port that nobody holds, for TCP and UDP alike. Our own servers bind port 0 instead."""
    for port in islice(_PORTS, 3000):
        with socket.socket(type=socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((LOOPBACK, port))
                udp.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise AssertionError("3000 ports have been tried, and all of them are taken")


class Running:
    """A server process that answers. `output()` is what it has printed so far, both streams in order."""

    def __init__(self, process: "subprocess.Popen[bytes]", printed: IO[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self._printed = printed

    def output(self) -> str:
        return os.pread(self._printed.fileno(), 1 << 20, 0).decode(errors="replace")


@contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    ready: int | Callable[[], bool],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    patience: float = 10.0,
    grace: float = 5.0,
) -> Iterator[Running]:
    """Starts a server in the foreground and stops it in the end.

    `ready` is the loopback port that must accept, or a function that says True; after `patience` seconds without it, or when
    the process ends first, AssertionError tells what was printed. `env` is added to ours. A process still there `grace`
    seconds after TERM is killed.
    """
    answers = ready if callable(ready) else lambda: _accepts(ready)
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [os.fspath(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        server = Running(process, printed)
        try:
            give_up = time.monotonic() + patience
            while not answers():
                code = process.poll()
                late = time.monotonic() > give_up
                if code is not None or late:
                    end = f"did not answer within {patience:g} s" if code is None else f"ended with {code} before it answered"
                    raise AssertionError(f"{argv[0]} {end}; it printed:\n{server.output()}")
                time.sleep(0.02)
            yield server
        finally:
            _stop(process, grace)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _stop(process: "subprocess.Popen[bytes]", grace: float) -> None:
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class RedisServer:
    """Where a redis-server listens, and its process."""

    port: int
    unix_socket: Path
    process: Running


@contextmanager
def running_redis(directory: Path, *options: str) -> Iterator[RedisServer]:
    """A redis-server on TCP and a unix socket, without persistence; `options` are further words of its command line."""
    program = require("redis-server", package="redis-server")
    port = free_port()
    unix_socket = directory / "redis.sock"
    argv: list[str | Path] = [program, "--bind", LOOPBACK, "--port", str(port), "--unixsocket", unix_socket, "--dir", directory]
    argv += ["--save", "", "--appendonly", "no", "--daemonize", "no", *options]
    with running(argv, ready=port) as process:
        yield RedisServer(port, unix_socket, process)


def ask_redis(port: int, *words: str) -> bytes:
    """The first line of a Redis reply to one command, by a plain socket: tests look at a server from outside our client."""
    with socket.create_connection((LOOPBACK, port), timeout=5.0) as connection, connection.makefile("rwb") as stream:
        stream.write(b"*%d\r\n" % len(words))
        for word in words:
            stream.write(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()))
        stream.flush()
        return stream.readline().rstrip(b"\r\n")


@contextmanager
def running_unbound(
    directory: Path, records: Sequence[str], *, zones: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[int]:
    """An unbound that knows `records` ("mx.test. A 192.0.2.1") and nothing else; gives its port, on UDP and TCP.

    It never asks anyone: a name without records does not exist. `zones` gives a zone another type of `local-zone`:
    `{"silent.test.": "deny"}` never answers, `"refuse"` answers REFUSED.
    """
    program = require("unbound", package="unbound")
    port = port or free_port()
    zones = {".": "static", **(zones or {})}
    configuration = directory / "unbound.conf"
    configuration.write_text(
        "\n".join(
            [
                "server:",
                f'  directory: "{directory}"',
                '  username: ""',
                '  chroot: ""',
                '  pidfile: ""',
                "  use-syslog: no",
                "  do-daemonize: no",
                "  num-threads: 1",
                '  module-config: "iterator"',
                f"  interface: {LOOPBACK}@{port}",
                *(f'  local-zone: "{zone}" {kind}' for zone, kind in zones.items()),
                *(f"  local-data: '{record}'" for record in records),
                "remote-control:",
                "  control-enable: no",
                "",
            ]
        )
    )
    with running([program, "-d", "-c", configuration], ready=port):
        yield port
