"""All that was changed in maps while filterd runs, in one order: kept by whoever all workers speak to.

Promises:

* `take` gives each edit its place in the order, a number that grows also over a restart of everything.
* `picture` brings a new worker to where the others are; what the others get after it follows on.
* Its size is bounded by what maps hold: what was undone is remembered only for a while.
"""

from collections.abc import Mapping
from time import time
from typing import Any

__all__ = ["MapJournal", "next_place"]

MAX_UNDONE = 10_000
"""Undone changes that are remembered: a new worker may have read from the disk what was there before."""
MAX_TEXT = 2 * 2**20
"""Characters of keys and values in one message of a picture."""


def next_place(before: int) -> int:
    """The place in the order of what comes now: microseconds of the clock, or one more than `before` where that is more."""
    return max(before + 1, int(time() * 10**6))


class MapJournal:
    """`take` what a worker publishes, and send the result to all workers, also to that one; send `picture` to a new one."""

    def __init__(self) -> None:
        self._seq = 0
        self._over: dict[str, dict[str, Any]] = {}
        self._undone: dict[tuple[str, str], None] = {}

    def take(self, edit: Mapping[str, Any]) -> dict[str, Any]:
        """The edit with its place in the order."""
        self._seq = next_place(self._seq)
        name = edit["map"]
        over = self._over.setdefault(name, {})
        for key, value in edit["changes"]:
            over[key] = value
            self._undone.pop((name, key), None)
            if value is None:
                self._undone[name, key] = None
        while len(self._undone) > MAX_UNDONE:
            name, key = next(iter(self._undone))
            del self._undone[name, key], self._over[name][key]
        return {**edit, "seq": self._seq}

    def picture(self) -> list[dict[str, Any]]:
        """Everything as edits that have no origin, in pieces of bounded size."""
        found: list[dict[str, Any]] = []
        for name, over in self._over.items():
            changes: list[tuple[str, Any]] = []
            size = 0
            for key, value in over.items():
                length = len(key) + len(value if isinstance(value, str) else "")
                if changes and size + length > MAX_TEXT:
                    found.append(self._piece(name, changes))
                    changes, size = [], 0
                changes.append((key, value))
                size += length
            found.append(self._piece(name, changes))
        return found

    def _piece(self, name: str, changes: list[tuple[str, Any]]) -> dict[str, Any]:
        return {"map": name, "origin": None, "number": 0, "changes": changes, "seq": self._seq}
