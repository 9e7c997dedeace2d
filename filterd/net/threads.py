"""Work that would hold the loop, done in threads: hashing a password, writing to a disk.

Promises: the loop turns meanwhile; what the function raises is raised here. The function must not touch gevent, greenlets or
the log. It cannot be stopped, but whoever waits for it can.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from gevent import get_hub
from gevent.threadpool import ThreadPool

__all__ = ["OneThread", "in_thread"]

T = TypeVar("T")


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """What `function(*arguments)` returns or raises, from one of the hub's threads."""
    result: T = get_hub().threadpool.apply(function, arguments)
    return result


class OneThread:
    """A thread of its own: what it is given runs one after the other, even when nobody waits for it any more."""

    def __init__(self) -> None:
        self._pool: ThreadPool | None = None

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """What `function(*arguments)` returns or raises. The thread begins with the first call."""
        if self._pool is None:
            self._pool = ThreadPool(1)
        result: T = self._pool.apply(function, arguments)
        return result

    def close(self) -> None:
        """End the thread when it has done what it was given."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.kill()
