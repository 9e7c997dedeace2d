"""Constant load on front doors: clients that send one mail after the other and count what becomes of each.

A door is a class with `scan(mail) -> Outcome` and `close()` (`load_doors` has one for each way to ask). The mails say who they
are in `X-Id`, and the rule file RULE tells it back, so that a verdict can be told from another message's.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import gevent

__all__ = ["RULE", "Door", "Outcome", "Tally", "loaded", "mail_of"]

RULE = """
from filterd import rule, sleep

VERSION = "@VERSION@"

@rule("WHOSE", score=1.0)
def whose(task):
    sleep(0.01)
    told = [task.message.header("X-Id") or "-", VERSION]
    # For the protocols that have no place for options.
    task.append_message(" ".join(told), "whose")
    task.add_header("X-Whose", " ".join(told))
    return True, *told
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mail: `answered` (then `whose` is the id the rule told, None if no rule ran, and `version` that of
    the rules), `accepted` (by an MTA: the verdict is seen where it is delivered), `tempfail` (refused for now, in the
    protocol's words), `closed` (a kept connection had been closed since the mail before), `lost` (the connection broke) or
    `refused` (nobody listens). `twice` tells that there was a second answer, `tempfails` how often it was sent in vain before,
    `why` what broke.
    """

    kind: str
    whose: str | None = None
    version: str = ""
    twice: bool = False
    tempfails: int = 0
    why: str = ""

    @classmethod
    def told(cls, text: str | None, *, twice: bool = False) -> "Outcome":
        """An answer with what the rule told, None if it told nothing."""
        if text is None:
            return cls("answered", twice=twice)
        whose, _, version = text.partition(" ")
        return cls("answered", whose, version, twice)


class Door(Protocol):
    """A client of one front door."""

    def scan(self, mail: bytes) -> Outcome: ...

    def close(self) -> None: ...


def mail_of(name: str) -> bytes:
    return f"X-Id: {name}\r\nFrom: a@example.org\r\nSubject: load\r\n\r\nHello.\r\n".encode()


@dataclass(slots=True)
class Tally:
    """What was counted, and the sentences about what must not be."""

    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By door and kind."""
    versions: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    """The mails that an MTA has taken."""
    losses: list[str] = field(default_factory=list)
    """How each of the lost connections broke, in the words of its client."""
    problems: list[str] = field(default_factory=list)

    def count(self, kind: str) -> int:
        return sum(number for (_, one), number in self.kinds.items() if one == kind)

    def add(self, door: str, name: str, outcome: Outcome) -> None:
        self.kinds[door, outcome.kind] += 1
        self.kinds[door, "tempfail"] += outcome.tempfails
        self.versions[outcome.version] += 1
        if outcome.kind == "refused":
            self.problems.append(f"{door}: the connection for {name} was refused")
        if outcome.twice:
            self.problems.append(f"{door}: {name} was answered twice")
        if outcome.kind == "lost":
            self.losses.append(f"{door}: {name}: {outcome.why}")
        if outcome.kind == "accepted":
            self.accepted.append(name)
        if outcome.kind == "answered" and outcome.whose is None:
            self.problems.append(f"{door}: {name} was answered without having been scanned")
        elif outcome.kind == "answered" and outcome.whose != name:
            self.problems.append(f"{door}: {name} got the verdict of {outcome.whose}")


@contextmanager
def loaded(doors: Mapping[str, Callable[[], Door]], *, clients: int = 4, pause: float = 0.005) -> Iterator[Tally]:
    """So many clients at each door, until the block ends; then the last answers are waited for."""
    tally = Tally()
    numbers = count()
    is_over = False

    def work(name: str, make: Callable[[], Door]) -> None:
        with closing(make()) as door:
            while not is_over:
                mine = f"mail{next(numbers)}"
                tally.add(name, mine, door.scan(mail_of(mine)))
                gevent.sleep(pause)

    working = [gevent.spawn(work, name, make) for name, make in doors.items() for _ in range(clients)]
    try:
        yield tally
    finally:
        is_over = True
        gevent.joinall(working, timeout=60, raise_error=True)
        assert all(one.dead for one in working), "a client still waits for its answer"
