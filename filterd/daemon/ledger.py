"""What the workers have counted, living and ended ones, for whoever asks one of them.

Promises:

* What a worker counted is not lost with it: its last snapshot is added to the sum of those that have ended.
* A worker that does not answer in time is represented by the last snapshot it has sent; nobody waits longer than PATIENCE.

A snapshot is any JSON object. How two are added is told to the ledger (by default numbers are, through all depths), as is what
remains of one whose worker has ended, and what of that after a reset.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from logging import getLogger
from typing import Any

from filterd.daemon.child import Child
from filterd.daemon.loop import Loop

__all__ = ["PATIENCE", "Ledger", "added"]

log = getLogger("filterd.supervisor")

PATIENCE = 1.0
"""Seconds."""

Snapshot = dict[str, Any]


def added(snapshots: Sequence[Mapping[str, Any]]) -> Snapshot:
    """One snapshot for several: numbers are added, tables key by key, of everything else the last is taken."""
    total: Snapshot = {}
    for snapshot in snapshots:
        for key, value in snapshot.items():
            before = total.get(key)
            if isinstance(value, Mapping):
                total[key] = added([before, value] if isinstance(before, Mapping) else [value])
            elif _is_number(value) and _is_number(before):
                total[key] = before + value
            else:
                total[key] = value
    return total


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Question:
    """A collection under way: who asked, and who has still to answer."""

    def __init__(self, awaited: set[Child], answer: Callable[[list[Snapshot]], object]) -> None:
        self.awaited = awaited
        self.answer = answer


class Ledger:
    """Snapshots of all workers. `children` gives those that live."""

    def __init__(
        self,
        loop: Loop,
        children: Callable[[], Iterable[Child]],
        merge: Callable[[Sequence[Mapping[str, Any]]], Snapshot] = added,
        *,
        remains: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot,
        rebased: Callable[[Snapshot], Snapshot | None] = lambda snapshot: None,
    ) -> None:
        self.ended: Snapshot | None = None
        """The sum of what ended workers have counted."""
        self._loop = loop
        self._children = children
        self._merge = merge
        self._remains = remains
        self._rebased = rebased
        self._numbers = count(1)
        self._questions: dict[int, _Question] = {}

    def collect(self, answer: Callable[[list[Snapshot]], object]) -> None:
        """Ask all that serve, and answer with what each has, and the sum of the ended ones last if there is one."""
        asked = {child for child in self._children() if child.state in ("serving", "draining")}
        number = next(self._numbers)
        self._questions[number] = _Question(asked, answer)
        for child in list(asked):
            child.send({"do": "snapshot", "id": number})
        self._loop.later(PATIENCE, lambda: self._finish(number))
        self._progress(number)

    def reset(self) -> None:
        """Let all workers count from now on."""
        for child in self._children():
            child.send({"do": "reset"})
        if self.ended is not None:
            self.ended = self._rebased(self.ended)

    def heard(self, child: Child, message: Mapping[str, Any]) -> None:
        """A worker has sent a snapshot, asked for or not."""
        child.statistics = message["statistics"]
        number = message.get("id")
        if number in self._questions:
            self._questions[number].awaited.discard(child)
            self._progress(number)

    def gone(self, child: Child) -> None:
        """A worker has ended: its part goes to the sum."""
        if child.statistics is not None:
            try:
                left = self._remains(child.statistics)
                self.ended = left if self.ended is None else self._merge([self.ended, left])
            except (LookupError, TypeError, ValueError, ArithmeticError):
                log.exception("what %s (pid %d) has counted cannot be added to the rest, and is lost", child.name, child.pid)
        for number, question in list(self._questions.items()):
            question.awaited.discard(child)
            self._progress(number)

    def _progress(self, number: int) -> None:
        if not self._questions[number].awaited:
            self._finish(number)

    def _finish(self, number: int) -> None:
        question = self._questions.pop(number, None)
        if question is not None:
            living = [child.statistics for child in self._children() if child.statistics is not None]
            question.answer(living if self.ended is None else [*living, self.ended])
