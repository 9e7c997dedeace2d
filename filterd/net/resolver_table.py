"""Answers that are kept, and the questions under way, in one table: one look tells whether a question must be asked.

Promises:

* An answer is kept no longer than its time to live and MAX_AGE, and never a failure of a server or a part of an answer.
* Memory is bounded: the young half, when it is full, becomes the old one, whose rest is forgotten. What is used stays, and
  what is large is not kept at all.
"""

from typing import NamedTuple

from filterd.net.resolver_pending import Pending
from filterd.proto.dns import Reply

__all__ = ["Kept", "Table"]

MAX_AGE = 86400.0
"""Seconds; longer times to live are usually mistakes (RFC 8767 4), and nobody waits a week for a correction."""

_UNDER_WAY = 5000
"""The size of a half that keeps no answers: questions only, which leave when they are answered."""


class Kept(NamedTuple):
    """An answer, when it was heard, until when it is good (moments of time.monotonic()), and whose it is."""

    reply: Reply
    heard: float
    expires: float
    peer: str


_made = tuple.__new__  # without the function of the named tuple, which takes three times as long


class Table:
    """`size` is about how many answers are kept."""

    __slots__ = ("_half", "_keeps", "_old", "_young")

    def __init__(self, size: int) -> None:
        self._keeps = size > 0
        self._half = (size + 1) // 2 or _UNDER_WAY
        self._young: dict[bytes, Kept | Pending] = {}
        self._old: dict[bytes, Kept | Pending] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, question: bytes, now: float) -> Kept | Pending:
        """The answer while it is good, or the question under way; where neither is there it begins, and has tried no server."""
        young = self._young
        entry = young.get(question)
        if entry is not None and (isinstance(entry, Pending) or entry.expires > now):
            return entry
        if entry is None:
            entry = self._old.pop(question, None)
            if len(young) >= self._half:
                self._old = young
                young = self._young = {}
            if entry is not None and (isinstance(entry, Pending) or entry.expires > now):
                young[question] = entry
                return entry
        fresh = young[question] = Pending(question, now)
        return fresh

    def answered(self, pending: Pending, reply: Reply, now: float) -> None:
        """Keep the reply instead of its question, or neither."""
        question = pending.question
        ttl = reply.ttl
        keep = ttl and self._keeps and not (reply.truncated or pending.large)
        if keep:
            # It is there already, or was moved to the old half meanwhile, where nobody looks for it any more.
            self._young[question] = _made(Kept, (reply, now, now + min(ttl, MAX_AGE), pending.peer))
        elif self._young.get(question) is pending:
            del self._young[question]
        elif self._old.get(question) is pending:
            del self._old[question]

    def clear(self) -> None:
        self._young.clear()
        self._old.clear()
