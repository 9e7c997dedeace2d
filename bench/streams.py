"""Streams through a daemon of its own: what arrives, what it costs, what is left; beside HAProxy with Lua if it is installed.

`python -m bench streams` sends 1 GiB in every mix, keeps 2,000 streams idle and makes 10,000 short connections of each kind.
With FILTERD_BENCH_SHARE=0.01 it does a hundredth of it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import psutil
from gevent import socket
from gevent.event import Event

from bench.accounting import Tree
from tests.support.partners import free_port

__all__ = ["main"]

SHARE = float(os.environ.get("FILTERD_BENCH_SHARE", "1"))
SIZE = max(int(SHARE * 2**30), 2**20)
IDLE = max(int(SHARE * 2000), 20)
SHORT = max(int(SHARE * 10_000), 100)
AT_ONCE = 50
BLOCK = os.urandom(65536)

RULES = """
from filterd import action, tcp_sync

@action("hello_world")
def hello_world(txn):
    txn.res.send("hello world\\n")

@action("no")
def no(txn):
    txn.reject("no")

@action("ask")
def ask(txn):
    connection = tcp_sync.connect("127.0.0.1", BACKEND).unwrap()
    connection.write("ask\\n").unwrap()
    txn.res.send(connection.read_until("\\n").unwrap() + b"\\n")
"""
LISTENER = '[listen.{name}]\nprotocol = "tcp"\nbind = "127.0.0.1:{port}"\nmax_connections = 10000\n{more}\n'
LUA = """
core.register_action("hello_world", {"tcp-req"}, function(txn) txn.res:send("hello world\\n") end)
core.register_action("ask", {"tcp-req"}, function(txn)
  local sock = core.tcp()
  sock:settimeout(5)
  sock:connect("127.0.0.1", BACKEND)
  sock:send("ask\\n")
  txn.res:send(sock:receive("*l") .. "\\n")
  sock:close()
end)
"""
HAPROXY = """
global
  nbthread 1
  maxconn 4000
  lua-load LUA
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend hello
  bind 127.0.0.1:HELLO
  tcp-request inspect-delay 5s
  tcp-request content lua.hello_world
frontend ask
  bind 127.0.0.1:ASK
  tcp-request inspect-delay 5s
  tcp-request content lua.ask
"""


class Program(Tree):
    """A running process, its children, and its ports."""

    def __init__(self, pid: int, ports: dict[str, int]) -> None:
        super().__init__(pid)
        self.ports = ports

    @property
    def descriptors(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.pids)

    def close_wait(self) -> int:
        """Sockets at its ports that nobody closes."""
        ports = {f"{port:04X}" for port in self.ports.values()}
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(line[3] == "08" and line[1].rpartition(":")[2] in ports for line in lines)


class Backend:
    """A server in this process; `serve` has each connection."""

    def __init__(self, serve: Callable[[Any], None]) -> None:
        self.serve = serve
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(4096)
        self.port: int = self.sock.getsockname()[1]
        gevent.spawn(self._accept)

    def _accept(self) -> None:
        while True:
            sock, _ = self.sock.accept()
            gevent.spawn(self._run, sock)

    def _run(self, sock: Any) -> None:
        with sock:
            try:
                self.serve(sock)
            except OSError:
                pass  # the other side has gone


def echo(sock: Any) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


@contextmanager
def started(command: list[str], ports: dict[str, int]) -> Iterator[Program]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", next(iter(ports.values()))), timeout=5).close()
                break
            except OSError:
                gevent.sleep(0.05)
        gevent.sleep(0.3)
        # Of filterd the worker serves, not the supervisor.
        yield Program(next((child.pid for child in psutil.Process(process.pid).children()), process.pid), ports)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def filterd(folder: Path, backend: int, server: int, sink: int) -> Iterator[Program]:
    kinds = {
        "hello": 'request = "hello_world"',
        "ask": 'request = "ask"',
        "rejected": f'request = "no"\nserver = "127.0.0.1:{server}"',
        "forwarded": f'server = "127.0.0.1:{server}"',
        "transfer": f'server = "127.0.0.1:{sink}"',
    }
    ports = {name: free_port() for name in kinds}
    (folder / "rules").mkdir()
    (folder / "rules" / "streams.py").write_text(RULES.replace("BACKEND", str(backend)))
    listeners = "".join(LISTENER.format(name=name, port=ports[name], more=more) for name, more in kinds.items())
    conf = folder / "filterd.toml"
    conf.write_text(f'{listeners}[rules]\npaths = "rules"\n[workers]\ncount = 1\n[log]\nlevel = "warning"\n')
    with started([sys.executable, "-m", "filterd", "run", "-c", str(conf)], ports) as program:
        yield program


@contextmanager
def haproxy(folder: Path, backend: int) -> Iterator[Program | None]:
    path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if path is None:
        print("haproxy is not installed: nothing to compare with")
        yield None
        return
    ports = {name: free_port() for name in ("hello", "ask")}
    (folder / "actions.lua").write_text(LUA.replace("BACKEND", str(backend)))
    conf = HAPROXY.replace("LUA", str(folder / "actions.lua"))
    for name, port in ports.items():
        conf = conf.replace(name.upper(), str(port))
    (folder / "haproxy.cfg").write_text(conf)
    with started([path, "-db", "-f", str(folder / "haproxy.cfg")], ports) as program:
        yield program


# -- large


class Transfer:
    """One transfer in both directions at once: who is slow, and whose side ends first."""

    def __init__(self, *, slow_reader: bool, slow_writer: bool, first: str) -> None:
        self.slow_reader = slow_reader
        self.slow_writer = slow_writer
        self.first = first
        self.ended = Event()
        self.told: dict[str, tuple[int, int]] = {}

    def write(self, sock: Any, own: str) -> None:
        for number in range(SIZE // len(BLOCK)):
            sock.sendall(BLOCK)
            if self.slow_writer and number % 64 == 0:
                gevent.sleep(0.001)
        if self.first not in (own, "both"):
            self.ended.wait()
        sock.shutdown(socket.SHUT_WR)
        self.ended.set()

    def read(self, sock: Any, own: str) -> None:
        size = crc = 0
        while data := sock.recv(65536):
            size, crc = size + len(data), zlib.crc32(data, crc)
            if self.slow_reader and size % 4_000_000 < len(data):
                gevent.sleep(0.001)
        self.told[own] = size, crc

    def side(self, sock: Any, own: str) -> None:
        writer = gevent.spawn(self.write, sock, own)
        self.read(sock, own)
        writer.get()


def transfers(program: Program, current: list[Transfer]) -> None:
    expected = (SIZE // len(BLOCK)) * len(BLOCK)
    crc = 0
    for _ in range(SIZE // len(BLOCK)):
        crc = zlib.crc32(BLOCK, crc)
    for slow_reader in (False, True):
        for slow_writer in (False, True):
            for first in ("client", "server", "both"):
                one = Transfer(slow_reader=slow_reader, slow_writer=slow_writer, first=first)
                current[:] = [one]
                began, cpu = time.perf_counter(), program.cpu()
                with socket.create_connection(("127.0.0.1", program.ports["transfer"])) as sock:
                    one.side(sock, "client")
                while len(one.told) < 2:
                    gevent.sleep(0.01)
                spent = time.perf_counter() - began
                is_whole = set(one.told.values()) == {(expected, crc)} and len(one.told) == 2
                print(
                    f"{2 * expected / 2**20:7.0f} MiB, reader {'slow' if slow_reader else 'fast'}, "
                    f"writer {'slow' if slow_writer else 'fast'}, first to end: {first:6} "
                    f"{'unchanged' if is_whole else f'WRONG {one.told}'}, {2 * expected / spent / 2**20:5.0f} MiB/s, "
                    f"CPU {program.cpu() - cpu:.2f} s, at most {program.peak() / 2**20:.0f} MiB"
                )
                if not is_whole:
                    raise SystemExit("a stream did not arrive unchanged")


# -- many


def idle(program: Program) -> None:
    before = program.memory()
    opened = []
    for _ in range(IDLE):
        sock = socket.create_connection(("127.0.0.1", program.ports["forwarded"]))
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        opened.append(sock)
    cpu = program.cpu()
    gevent.sleep(2)
    cost = program.cpu() - cpu
    for sock in opened:
        sock.sendall(b"y")
        assert sock.recv(1) == b"y"
        sock.close()
    each = (program.memory() - before) / 1024 / IDLE
    print(f"{IDLE} idle streams: {each:.1f} KiB each, {cost * 500:.1f} ms of CPU a second")


def short(program: Program, kind: str, *, sends: bytes = b"", ends: bool = False) -> float:
    """Microseconds of CPU for each connection."""

    def client(count: int) -> None:
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", program.ports[kind])) as sock:
                if sends:
                    sock.sendall(sends)
                if ends:
                    sock.shutdown(socket.SHUT_WR)
                data = b""
                while piece := sock.recv(1000):
                    data += piece
                assert data, kind

    client(20)
    gevent.sleep(0.2)
    before, cpu, began = program.descriptors, program.cpu(), time.perf_counter()
    gevent.joinall([gevent.spawn(client, SHORT // AT_ONCE) for _ in range(AT_ONCE)], raise_error=True)
    spent = time.perf_counter() - began
    each = (program.cpu() - cpu) / (SHORT // AT_ONCE * AT_ONCE) * 1e6
    gevent.sleep(0.5)
    left = program.descriptors - before
    print(
        f"{SHORT} connections, {kind:9}: {SHORT / spent:6.0f} a second, {each:5.0f} µs of CPU each, "
        f"{left} descriptors left, {program.close_wait()} in CLOSE-WAIT"
    )
    if left > 0 or program.close_wait():
        raise SystemExit("something was left")
    return each


def main() -> None:
    """All of it."""
    current: list[Transfer] = []
    sink = Backend(lambda sock: current[0].side(sock, "server"))
    server = Backend(echo)
    answers = Backend(echo)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with filterd(folder, answers.port, server.port, sink.port) as program:
            ours = {kind: short(program, kind) for kind in ("hello", "ask")}
            short(program, "forwarded", sends=b"x", ends=True)
            short(program, "rejected")
            idle(program)
            transfers(program, current)
        with haproxy(folder, answers.port) as program:
            if program is not None:
                for kind, cost in ours.items():
                    theirs = short(program, kind)
                    print(f"{kind}: {cost:.0f} µs here, {theirs:.0f} µs in HAProxy's Lua: {cost / max(theirs, 1):.2f} times")
