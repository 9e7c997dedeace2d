"""Connections to one Redis server for one user at a time: for commands that wait, or that leave a state behind.

Promises: there are never more than `size` of them; who asks for one waits in line for it, until the moment it gives. One that
has rested for `idle` seconds is closed, and so is one on which something came in while it rested.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import get_hub

from filterd.net.event import Event
from filterd.net.redis_wire import Wire
from filterd.net.stream import failed

__all__ = ["Pool"]


class Pool:
    """At most `size` connections, opened by `open_wire` (until the moment it is given) when there is need for one."""

    def __init__(self, open_wire: Callable[[float | None], Wire], peer: str, *, size: int = 32, idle: float = 10.0) -> None:
        self.peer = peer
        self.size = size
        self.idle = idle
        self.in_use = 0
        self._open_wire = open_wire
        self._resting: deque[tuple[Wire, float]] = deque()
        self._line: deque[Event] = deque()
        self._timer: Any = None

    @property
    def resting(self) -> int:
        """Connections that are open and unused."""
        return len(self._resting)

    def take(self, until: float | None) -> Wire:
        """A connection for the caller alone, who hands it to `give` or `drop`. Raises RequestFailed (`limit`: all in use)."""
        self._enter(until)
        try:
            while self._resting:
                wire, _ = self._resting.pop()
                if wire.is_quiet():
                    return wire
                wire.close()
            return self._open_wire(until)
        except BaseException:
            self._leave()
            raise

    def give(self, wire: Wire) -> None:
        """Back for others: every reply to what was sent has been read, and no state is left behind."""
        if wire.is_quiet():
            self._resting.append((wire, monotonic() + self.idle))
            if self._timer is None:
                self._timer = get_hub().loop.timer(self.idle, ref=False)
                self._timer.start(self._expire, update=True)
        else:
            wire.close()
        self._leave()

    def drop(self, wire: Wire) -> None:
        """Back for nobody."""
        wire.close()
        self._leave()

    def close(self) -> None:
        """Close what rests; what is in use belongs to its users."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        while self._resting:
            self._resting.pop()[0].close()

    def _expire(self) -> None:
        self._timer.close()
        self._timer = None
        now = monotonic()
        while self._resting and self._resting[0][1] <= now:
            self._resting.popleft()[0].close()
        if self._resting:
            self._timer = get_hub().loop.timer(self._resting[0][1] - now, ref=False)
            self._timer.start(self._expire, update=True)

    def _enter(self, until: float | None) -> None:
        if self.in_use < self.size:
            self.in_use += 1
            return
        began = monotonic()
        turn = Event()
        self._line.append(turn)
        try:
            turn.wait(until=until, phase="connect", peer=self.peer)
        except BaseException:
            self._out_of_line(turn)
            raise
        if not turn.happened:
            self._out_of_line(turn)
            text = f"all {self.size} private connections to {self.peer} have been in use for {monotonic() - began:.2f} s"
            raise failed(text, "limit", peer=self.peer, phase="connect", since=began)

    def _out_of_line(self, turn: Event) -> None:
        if turn.happened:
            self._leave()
        else:
            self._line.remove(turn)

    def _leave(self) -> None:
        # A place is handed to the next in line, who need not be quicker than others to have it.
        if self._line:
            self._line.popleft().set()
        else:
            self.in_use -= 1
