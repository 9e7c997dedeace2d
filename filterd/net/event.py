"""One event, any number of greenlets that wait for it."""

from time import monotonic
from typing import Any

from gevent import get_hub, getcurrent

from filterd.net.greenlets import Stop

__all__ = ["Event"]


class _Place:
    """One waiter's place. It forgets its greenlet when the wait ends: a wake-up on its way cannot hit what runs there next."""

    __slots__ = ("greenlet",)

    def __init__(self, greenlet: Any) -> None:
        self.greenlet = greenlet


class Event:
    """Set once; `wait` returns at once from then on. Cheaper than gevent's, which serves threads too."""

    __slots__ = ("_places", "happened")

    def __init__(self) -> None:
        self.happened = False
        self._places: list[_Place] = []

    def set(self) -> None:
        """Wake every waiter in the next turn of the loop."""
        if self.happened:
            return
        self.happened = True
        if self._places:
            get_hub().loop.run_callback(self._wake)

    def _wake(self) -> None:
        places, self._places = self._places, []
        for place in places:
            if place.greenlet is not None:
                place.greenlet.switch()

    def wait(self, *, until: float | None = None, phase: str = "wait", peer: str = "") -> bool:
        """Wait for it; False when the moment `until` (of `time.monotonic()`) comes first. `phase` and `peer` tell what for."""
        if self.happened:
            return True
        place = _Place(getcurrent())
        self._places.append(place)
        hub = get_hub()
        timer = None
        if until is not None:
            timer = hub.loop.timer(max(until - monotonic(), 0.0))
            timer.start(place.greenlet.switch, update=True)
        try:
            hub.switch()
        except Stop as stop:
            stop.phase, stop.peer = phase, peer
            raise
        finally:
            place.greenlet = None
            if timer is not None:
                timer.close()
            if not self.happened:
                self._places.remove(place)
        return self.happened
