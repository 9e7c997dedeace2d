"""The CPU guard: a timer signal that ends a rule which has held the loop for too long.

Promises:

* Python code that runs on is cut, a catastrophic regular expression too; the rule's function, file and line are named.
* Only code of a rule is cut, and what it calls directly: never filterd's own bookkeeping in mid-air, nor what that calls, nor a
  log line or an import on its way.
* A rule that waits is not held to account for it, and one message's rule not for the same rule on other messages.
* C code that never looks at signals cannot be cut; it is told afterwards (see `engine.scheduler`).

Known limit: CPython up to 3.13 can skip a `finally` whose `try` begins with the loop that is cut. Connections are therefore
closed by the scope, not by the rule.
"""

import signal
from collections.abc import Container
from time import monotonic
from types import FrameType
from typing import Any

from gevent import get_hub

from filterd.net.greenlets import Stop, running

__all__ = ["CpuGuard"]

_UNTOUCHABLE = ("filterd.", "gevent.", "greenlet.", "logging.", "importlib.")
"""Where an exception out of the blue leaves locks taken, or things half done that others rely on."""


class CpuGuard:
    """Ticks every `tick` seconds of CPU time and ends the job that has held the loop for `limit` seconds.

    `files` are the rule files. With `wall=True` it ticks in wall-clock time: it then also cuts blocking system calls, at 0.6 %
    of a core when idle, and third-party C code sees interrupted calls.
    """

    def __init__(self, limit: float, files: Container[str], *, tick: float = 0.02, wall: bool = False) -> None:
        self.limit = limit
        self.files = files
        self.tick = tick
        self.cuts = 0
        self._timer, self._signal = (signal.ITIMER_REAL, signal.SIGALRM) if wall else (signal.ITIMER_PROF, signal.SIGPROF)
        self._seen: tuple[Any, ...] | None = None
        self._since = 0.0
        self._loop: Any = None
        self._before: Any = None

    def start(self) -> None:
        """Begin to watch. In the main thread, once per process."""
        self._loop = get_hub().loop
        self._before = signal.signal(self._signal, self._on_tick)
        signal.setitimer(self._timer, self.tick, self.tick)

    def stop(self) -> None:
        """Watch no more, and leave the signal as it was."""
        if self._loop is None:
            return
        signal.setitimer(self._timer, 0.0)
        # A tick may be on its way, and what most signals do by default is to end the process: ignoring it discards it.
        signal.signal(self._signal, signal.SIG_IGN)
        signal.signal(self._signal, self._before)
        self._loop = self._seen = None

    def _on_tick(self, number: int, frame: FrameType | None) -> None:
        runner = running()
        if runner is None or runner.job is None:
            self._seen = None
            return
        now = monotonic()
        # The batch, because the next message's turn of the same rule may come on the same runner, before the loop turns.
        seen = (runner, runner.job, runner.batch, self._loop.iteration)
        if self._seen != seen:
            self._seen, self._since = seen, now
            return
        held = now - self._since
        if held < self.limit:
            return
        rule_frame = self._rule_frame(frame)
        if rule_frame is None:
            return
        # Not counted anew: as long as the job goes on it is told at every tick.
        runner.throws += 1
        self.cuts += 1
        raise Stop(
            f"held the loop for {held:.2f} s (burst_timeout {self.limit:g} s) in {rule_frame.f_code.co_name}, "
            f"{rule_frame.f_code.co_filename}:{rule_frame.f_lineno}",
            "limit",
        )

    def _rule_frame(self, frame: FrameType | None) -> FrameType | None:
        """The innermost frame of a rule file; None if there is none, or the code that runs must not be cut."""
        while frame is not None and frame.f_code.co_filename not in self.files:
            if f"{frame.f_globals.get('__name__')}.".startswith(_UNTOUCHABLE):
                return None
            frame = frame.f_back
        return frame
