"""Many calls at once, from greenlets of the test."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import gevent

__all__ = ["Started", "at_once"]

T = TypeVar("T")


class Started(Generic[T]):
    """Calls under way."""

    def __init__(self, calls: Iterable[Callable[[], T]]) -> None:
        self._jobs: list[Any] = [gevent.spawn(call) for call in calls]

    def values(self) -> list[T]:
        """What each returned, in their order, 18 s at most; raises what one of them raised."""
        gevent.joinall(self._jobs, timeout=18, raise_error=True)
        return [job.get(block=False) for job in self._jobs]


def at_once(calls: Iterable[Callable[[], T]]) -> list[T]:
    """Make all the calls at the same time and wait for all."""
    return Started(calls).values()
