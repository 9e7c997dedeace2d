"""Speaking to a daemon's supervisor from a greenlet of the test, and waiting for what follows."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import gevent

from filterd.daemon.console import default_places
from tests.support.client import Client
from tests.support.daemon import Daemon

__all__ = ["all_serving", "ask", "log_lines", "order", "pids", "serving", "status", "until"]

T = TypeVar("T")


def until(condition: Callable[[], T], *, patience: float = 45.0) -> T:
    """The first true value of the condition."""
    with gevent.Timeout(patience, AssertionError("it has not come true")):
        while not (value := condition()):
            gevent.sleep(0.03)
        return value


def ask(place: Path, word: str) -> dict[str, Any]:
    """One order to the supervisor at a socket, and its answer."""
    with Client(str(place)) as client:
        client.sock.settimeout(60)
        client.send(json.dumps({"do": word}).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            piece = client.sock.recv(65536)
            assert piece, f"no answer to {word}, but {data!r}"
            data += piece
    answer: dict[str, Any] = json.loads(data)
    return answer


def order(daemon: Daemon, word: str) -> dict[str, Any]:
    """One order to a daemon, by the socket whose path follows from its configuration."""
    return ask(next(place for place in default_places(daemon.conf) if place.exists()), word)


def status(daemon: Daemon) -> dict[str, Any]:
    return order(daemon, "status")


def serving(daemon: Daemon) -> list[dict[str, Any]]:
    """The workers that serve, in their order."""
    return [worker for worker in status(daemon)["workers"] if worker["state"] == "serving"]


def pids(daemon: Daemon) -> list[int]:
    return [worker["pid"] for worker in serving(daemon)]


def all_serving(daemon: Daemon, count: int, *, without: Iterable[int] = ()) -> list[int]:
    """The process ids of so many workers, when all serve and none of those is among them."""
    found: list[int] = []

    def is_so() -> bool:
        found[:] = pids(daemon)
        return len(found) == count and not set(found) & set(without)

    until(is_so)
    return found


def log_lines(daemon: Daemon, logger: str) -> list[str]:
    """What a logger has said so far."""
    lines = [json.loads(line) for line in daemon.process.output().splitlines() if line.startswith("{")]
    return [line["text"] for line in lines if line["logger"] == logger]
