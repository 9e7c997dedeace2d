"""The supervisor's loop: descriptors that become ready, moments that come, signals that arrive. One thread, no hub.

Promises:

* A callback that raises is logged, and the loop goes on: whatever happens, somebody has to start workers.
* A signal is handled between callbacks, never inside one.
"""

import os
import selectors
import signal
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from logging import getLogger
from time import monotonic
from typing import Any

__all__ = ["READ", "WRITE", "Loop", "Timer"]

log = getLogger("filterd.supervisor")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Timer:
    """A call at a moment; `cancel` takes it back."""

    __slots__ = ("callback", "moment")

    def __init__(self, moment: float, callback: Callable[[], object]) -> None:
        self.moment = moment
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """`turn` waits for something to happen and handles it. `close` gives signals and descriptors back."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._signals: dict[int, Callable[[], object]] = {}
        self._before: dict[int, Any] = {}
        self._arrived: list[int] = []
        # The handler of a signal interrupts nothing by itself: the byte that Python writes here ends the wait.
        self._bell, self._clapper = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._clapper, warn_on_full_buffer=False)
        self.watch(self._bell, READ, lambda ready: self._silence())

    def watch(self, descriptor: Any, events: int, callback: Callable[[int], object]) -> None:
        """Call back with what a descriptor is ready for; again for the same descriptor replaces what was asked before."""
        try:
            self._selector.modify(descriptor, events, callback)
        except KeyError:
            self._selector.register(descriptor, events, callback)

    def unwatch(self, descriptor: Any) -> None:
        try:
            self._selector.unregister(descriptor)
        except KeyError:
            pass

    def later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back once after so many seconds."""
        timer = Timer(monotonic() + seconds, callback)
        heappush(self._timers, (timer.moment, next(self._order), timer))
        return timer

    def on_signal(self, number: int, callback: Callable[[], object]) -> None:
        self._signals[number] = callback
        before = signal.signal(number, lambda number, frame: self._arrived.append(number))
        self._before.setdefault(number, before)

    def turn(self) -> None:
        """Wait for the next thing and handle all that is due."""
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
        wait = max(self._timers[0][0] - monotonic(), 0.0) if self._timers else None
        # Python's handlers may have run since the last turn, and a wait would then not end.
        for key, ready in self._selector.select(0.0 if self._arrived else wait):
            # An earlier callback of this turn may have closed it.
            if self._selector.get_map().get(key.fd) is key:
                self._call(key.data, ready)
        while self._arrived:
            self._call(self._signals[self._arrived.pop(0)])
        now = monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heappop(self._timers)[2]
            if timer.callback is not None:
                self._call(timer.callback)

    def close(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup)
        self._selector.close()
        os.close(self._bell)
        os.close(self._clapper)

    def _silence(self) -> None:
        os.read(self._bell, 4096)

    def _call(self, callback: Callable[..., object], *words: Any) -> None:
        try:
            callback(*words)
        except Exception:
            # A mistake of ours must not end the process that all others hang on.
            log.exception("the supervisor stumbled; it goes on")
