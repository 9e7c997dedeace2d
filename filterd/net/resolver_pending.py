"""A question under way, and those who wait for its answer.

Promise: a question knows each place where an answer to it may still arrive, and leaves all of them when it is answered.
"""

from collections.abc import Mapping
from os import urandom
from struct import unpack
from typing import Protocol

from filterd.net.event import Event
from filterd.net.stream import Address
from filterd.proto.dns import Reply

__all__ = ["Answer", "Asker", "Inquiry", "Numbers", "Pending", "Place", "Receiver"]

Answer = tuple[Reply, float, str]
"""What was said, how many seconds ago it was heard, and who said it."""


class Inquiry:
    """One caller who waits for some answers at once; `event` happens when there is none left to wait for."""

    __slots__ = ("answers", "event", "left")

    def __init__(self, size: int) -> None:
        self.answers: list[Answer | None] = [None] * size
        self.left = 0
        self.event = Event()

    def take(self, place: int, answer: Answer) -> None:
        self.answers[place] = answer
        self.left -= 1
        if not self.left:
            self.event.set()


class Asker(Protocol):
    """Who asked a question, among others: one who waits, or has a function called."""

    def take(self, place: int, answer: Answer) -> None:
        """The answer to its question of this place. In the hub, or before the asking ends."""


class Place(Protocol):
    """A socket on which an answer may arrive: `server` is at its other end, called `peer`; `stream` tells TCP from UDP."""

    @property
    def server(self) -> Address: ...
    @property
    def peer(self) -> str: ...
    @property
    def stream(self) -> bool: ...

    def forget(self, query_id: int) -> None:
        """Nobody waits for this any more."""


class Pending:
    """A question that has been asked and not been answered."""

    __slots__ = (
        "asked",
        "best",
        "done",
        "edns",
        "inquiries",
        "large",
        "peer",
        "places",
        "question",
        "repeats",
        "stream",
        "tried",
    )

    def __init__(self, question: bytes, asked: float) -> None:
        self.question = question
        self.asked = asked
        """When this try began, a moment of time.monotonic()."""
        self.inquiries: list[tuple[Asker, int]] = []
        """Who waits, and which of its answers this is."""
        self.places: list[tuple[Place, int]] = []
        """Where answers may arrive, the latest try last."""
        self.tried: list[Address] = []
        """The servers asked in this round."""
        self.peer = ""
        """Who was asked last, or has answered."""
        self.repeats = 0
        self.best: Reply | None = None
        """What is answered if nothing better comes."""
        self.edns = True
        self.stream = False
        """It must be asked by TCP."""
        self.large = False
        """Its answer is too large to be kept."""
        self.done = False

    def leave(self) -> None:
        """Be answered: what arrives from now on is not for this question."""
        self.done = True
        for place, query_id in self.places:
            place.forget(query_id)


class Receiver(Protocol):
    """Whom the sockets tell. Called in the hub, or by `send`."""

    def arrived(self, pending: Pending, query_id: int, data: bytes, place: Place) -> None:
        """A message with the id of this question."""

    def lost(self, waiting: Mapping[int, Pending], place: Place) -> None:
        """The server refused, closed or cannot be reached: these, by their ids, will not be answered from there."""


class Numbers:
    """Unpredictable numbers from 0 to 65535 (RFC 5452 9.2), at 50 ns each."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: list[int] = []

    def next(self) -> int:
        if not self._left:
            self._left = list(unpack("!2048H", urandom(4096)))
        return self._left.pop()
