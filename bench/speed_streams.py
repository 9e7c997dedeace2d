"""The same conversation in a TCP stream's action, in filterd and in HAProxy's Lua; see `streams.py` for the actions."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from time import sleep

import gevent
from gevent import socket

from bench.backends import Backends
from bench.load import SERVER_CORE, Result, Wrong
from bench.peers import pinned
from bench.speed_rounds import SETTLING, Budget, Measure, Round, Row, in_turn, rest_of
from bench.streams import Program, filterd, haproxy

__all__ = ["beside_haproxy"]

AT_ONCE = 50
ANSWER = b"100\n"


def beside_haproxy(budget: Budget, backends: Backends) -> list[Row]:
    """One row, or none without HAProxy."""
    with ExitStack() as stack:
        programs: dict[str, Program] = {}
        with pinned(SERVER_CORE):
            other = stack.enter_context(haproxy(_folder(stack), backends.tcp))
            if other is None:
                return []
            programs["haproxy"] = other
            programs["filterd"] = stack.enter_context(filterd(_folder(stack), backends.tcp, backends.tcp, backends.tcp))
        found = in_turn({name: _measure(program, backends) for name, program in programs.items()}, budget)
    return [Row("S6T", "an action of a stream asks by TCP", None, "haproxy", found["haproxy"], found["filterd"])]


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _measure(program: Program, backends: Backends) -> Measure:
    def measure(connections: int) -> Round:
        asked, cpu, began = backends.counts(), program.cpu(), time.perf_counter()
        seconds: list[float] = []
        shares = [connections // AT_ONCE + (number < connections % AT_ONCE) for number in range(AT_ONCE)]
        gevent.joinall([gevent.spawn(_client, program.ports["ask"], share, seconds) for share in shares], raise_error=True)
        elapsed = time.perf_counter() - began
        sleep(SETTLING)
        cpu = program.cpu() - cpu
        done = rest_of(asked, backends.counts())["tcp"]
        if done != connections:
            raise Wrong(f"tcp: {done} requests where {connections} were due")
        return Round(Result(seconds, elapsed), cpu, program.peak())

    return measure


def _client(port: int, count: int, seconds: list[float]) -> None:
    for _ in range(count):
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port)) as sock:
            data = b""
            while piece := sock.recv(1000):
                data += piece
        seconds.append(time.perf_counter() - began)
        if data != ANSWER:
            raise Wrong(f"a stream's answer is {data!r}")
