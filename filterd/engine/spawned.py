"""Functions that rules and hooks have started beside the messages (`filterd.spawn`).

Promises: there are never more than `MOST` of them; what they raise is logged as that of hooks is; none begins before messages
are accepted, and none once the worker ends.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import gevent

from filterd.engine.hooks import Hook
from filterd.net.event import Event

__all__ = ["MOST", "Spawned"]

MOST = 1000
"""Functions that run, or wait to be started: each may hold connections, and none is stopped before the worker ends."""


class Spawned:
    """`begin` takes a function; `run` is given it as a hook. `ending` is the end of the worker."""

    def __init__(self, run: Callable[[Hook], object], ending: Event) -> None:
        self._run = run
        self._ending = ending
        self._early: list[Hook] | None = []
        self.greenlets: set[Any] = set()

    def begin(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Start it, or keep it until `start`. Raises RuntimeError."""
        name = getattr(function, "__name__", repr(function))
        if self._ending.happened:
            raise RuntimeError(f"filterd.spawn: the worker ends, so {name} is not started any more")
        if len(self.greenlets) + len(self._early or ()) >= MOST:
            raise RuntimeError(f"filterd.spawn: {name} is not started, for {MOST} functions run already: do they ever end?")
        code = getattr(function, "__code__", None)
        file, line = (code.co_filename, code.co_firstlineno) if code else ("?", 0)
        called = partial(function, *args)
        called.__name__ = name  # type: ignore[attr-defined]  # its name in the log
        hook = Hook("spawned", called, False, file, line)
        if self._early is None:
            self._start(hook)
        else:
            self._early.append(hook)

    def start(self) -> None:
        """Messages are accepted: start what was kept, and from now on at once."""
        early, self._early = self._early or [], None
        for hook in early:
            self._start(hook)

    def _start(self, hook: Hook) -> None:
        greenlet = gevent.spawn(self._run, hook)
        self.greenlets.add(greenlet)
        greenlet.rawlink(self.greenlets.discard)
