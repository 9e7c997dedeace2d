"""A picture of how a Redis is set up, as others tell it: drawn anew when it is old or in doubt.

Promises: it is drawn by one greenlet at a time, which belongs to no message. Whoever asks gets the last picture at once; only
while there is none at all does it wait, until the moment it gives.
"""

from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

import gevent

from filterd.net.event import Event
from filterd.net.stream import failed
from filterd.outcome import Failure, RequestFailed

__all__ = ["Picture"]

T = TypeVar("T")


class Picture(Generic[T]):
    """`draw` makes one, or raises RequestFailed. `peer` names whom it asks, `every` and `pause` are in seconds."""

    def __init__(self, draw: Callable[[], T], *, peer: str, every: float = 60.0, pause: float = 1.0) -> None:
        self.peer = peer
        self.every = every
        self.pause = pause
        """The least time between two drawings: doubts come with every call."""
        self._draw = draw
        self._last: T | None = None
        self._failure = Failure(f"{peer} did not tell which servers there are", kind="server", peer=peer, phase="connect")
        self._begun = 0.0
        self._in_doubt = False
        self._drawing: Event | None = None

    def get(self, until: float | None) -> T:
        """The last picture. Raises RequestFailed where there is none and none can be drawn."""
        now = monotonic()
        age = now - self._begun
        if self._last is None or age > self.every or (self._in_doubt and age > self.pause):
            self._begin(now)
        if self._last is None:
            drawing = self._drawing
            if drawing is not None and not drawing.wait(until=until, phase="connect", peer=self.peer):
                text = f"timeout: connect to {self.peer} after {monotonic() - now:.2f} s"
                raise failed(text, "timeout", peer=self.peer, phase="connect", since=now)
            if self._last is None:
                raise RequestFailed(self._failure)
        return self._last

    def doubt(self) -> None:
        """Something happened that the picture does not explain: have it drawn again soon."""
        self._in_doubt = True
        now = monotonic()
        if now - self._begun > self.pause:
            self._begin(now)

    def _begin(self, now: float) -> None:
        if self._drawing is None:
            self._drawing = Event()
            self._begun = now
            self._in_doubt = False
            gevent.spawn(self._run, self._drawing)

    def _run(self, drawing: Event) -> None:
        try:
            self._last = self._draw()
        except RequestFailed as error:
            self._failure = error.failure
            self._in_doubt = True
        finally:
            self._drawing = None
            drawing.set()
