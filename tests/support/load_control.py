"""Somebody who watches a daemon by its control listener while it is under load, reloaded, and loses workers."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle

import gevent

from tests.support.control import Answer, ask

__all__ = ["Watch", "watched"]

PATHS = ("/stat", "/healthy", "/metrics", "/ready")


@dataclass(slots=True)
class Watch:
    """What was told. `scanned` is the last count; it never falls, whoever of the workers ends."""

    port: int
    answers: Counter[str] = field(default_factory=Counter)
    """By path, and `lost` for connections that broke."""
    scanned: int = 0
    problems: list[str] = field(default_factory=list)

    def look(self, path: str) -> None:
        """Ask once."""
        try:
            answer = ask(self.port, path)
        except ConnectionRefusedError:
            self.problems.append(f"the connection for {path} was refused")
        except (OSError, ValueError):  # closed, or cut off in the head
            self.answers["lost"] += 1
        else:
            self.answers[path] += 1
            self._read(path, answer)

    def _read(self, path: str, answer: Answer) -> None:
        if answer.status != 200:
            self.problems.append(f"{path} was answered with {answer.status} {answer.reason}: {answer.body[:200]!r}")
        elif path == "/stat":
            stat = json.loads(answer.body)
            self._count(path, stat["scanned"])
            if sum(stat["actions"].values()) != stat["scanned"]:
                self.problems.append(f"/stat: {stat['scanned']} messages, but {stat['actions']}")
        elif path == "/metrics":
            found = re.search(r"^rspamd_scanned_total (\S+)$", answer.body.decode(), re.MULTILINE)
            assert found is not None, answer.body
            self._count(path, int(float(found[1])))

    def _count(self, path: str, scanned: int) -> None:
        if scanned < self.scanned:
            self.problems.append(f"{path}: {scanned} messages after {self.scanned}")
        self.scanned = scanned


@contextmanager
def watched(port: int, *, pause: float = 0.05) -> Iterator[Watch]:
    """Ask one path after the other until the block ends, then /stat and /metrics once more."""
    watch = Watch(port)
    is_over = False

    def work() -> None:
        for path in cycle(PATHS):
            if is_over:
                return
            watch.look(path)
            gevent.sleep(pause)

    watching = gevent.spawn(work)
    try:
        yield watch
    finally:
        is_over = True
        watching.get(timeout=60)
    for path in PATHS:
        watch.look(path)
