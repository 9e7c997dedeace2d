"""Work that would hold the loop, done in one of the hub's threads: hashing a password, writing to a disk.

Promises: the loop turns meanwhile; what the function raises is raised here. The function must not touch gevent, greenlets or
the log, and cannot be stopped: whoever waits for it can.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from gevent import get_hub

__all__ = ["in_thread"]

T = TypeVar("T")


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """What `function(*arguments)` returns or raises."""
    result: T = get_hub().threadpool.apply(function, arguments)
    return result
