"""A question under way, and those who wait for its answer.

Promise: a question knows each place where an answer to it may still arrive, and leaves all of them when it is answered.
"""

from collections.abc import Mapping
from itertools import chain
from os import urandom
from struct import unpack
from time import monotonic
from typing import Any, Protocol

from gevent import get_hub, getcurrent

from filterd.net.greenlets import Stop
from filterd.net.stream import Address
from filterd.proto.dns import Reply

__all__ = ["Answer", "Asker", "Inquiry", "Numbers", "Pending", "Place", "Receiver"]

Answer = tuple[Reply, float, str]
"""What was said, how many seconds ago it was heard, and who said it."""


class Inquiry:
    """One caller who waits for some answers at once, `left` of them. An `Event` of its own would cost it a tenth more."""

    __slots__ = ("_greenlet", "answers", "left")

    def __init__(self, size: int, left: int = 0) -> None:
        self.answers: list[Answer | None] = [None] * size
        self.left = left
        self._greenlet: Any = None
        """Who waits, and nobody once the wait has ended: a wake-up on its way cannot hit what runs there next."""

    def take(self, place: int, answer: Answer) -> bool:
        self.answers[place] = answer
        self.left -= 1
        return not self.left and self._greenlet is not None

    def wait(self, *, until: float | None, peer: str) -> None:
        """Wait for the last answer, or for that moment of time.monotonic(). `peer` is told where a `Stop` ends the wait."""
        self._greenlet = getcurrent()
        try:
            if until is None:
                get_hub().switch()
            else:
                self._switch(until)
                if self.left:
                    # Something may have held the loop, so that time and answers are up together: the answers are read now.
                    self._switch(until)
        except Stop as stop:
            stop.phase, stop.peer = "dns", peer
            raise
        finally:
            self._greenlet = None

    def wake(self) -> None:
        """End the wait. In the hub."""
        if self._greenlet is not None:
            self._greenlet.switch()

    def _switch(self, until: float) -> None:
        hub = get_hub()
        timer = hub.loop.timer(max(until - monotonic(), 0.0))
        timer.start(self._greenlet.switch, update=True)
        try:
            hub.switch()
        finally:
            timer.close()


class Asker(Protocol):
    """Who asked a question, among others: one who waits, or has a function called."""

    def take(self, place: int, answer: Answer) -> bool:
        """The answer to its question of this place; True if somebody is to be woken now. In the hub, or while it is asked."""

    def wake(self) -> None:
        """What `take` said True for."""


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
        self.tried: tuple[Address, ...] = ()
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
    """Unpredictable numbers from 0 to 65535 (RFC 5452 9.2): `next()` gives another one, at 40 ns."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = chain.from_iterable(iter(_drawn, ())).__next__


def _drawn() -> tuple[int, ...]:
    return unpack("!2048H", urandom(4096))
