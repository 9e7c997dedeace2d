"""How late the loop is: a timer that should ring four times a second, and what it is late by.

Promises: it costs four wake-ups a second; a loop that was held is told once, not for each ring that was missed.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["LatenessClock"]

INTERVAL = 0.25


class LatenessClock:
    """Rings until it is closed; `tell` hears after each ring how many seconds too late it was."""

    def __init__(self, loop: Any, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._due = monotonic() + INTERVAL
        self._timer = loop.timer(INTERVAL, INTERVAL)
        self._timer.start(self._ring, update=True)

    def _ring(self) -> None:
        # In the hub.
        now = monotonic()
        self._tell(max(now - self._due, 0.0))
        self._due = now + INTERVAL
        # From now on, not from when it was due: a loop that was held is not late twice.
        self._timer.again(self._ring, update=True)

    def close(self) -> None:
        """Ring no more."""
        self._timer.close()
