"""The CPU guard: a timer signal that ends a rule which has held the loop for too long.

Promises:

* Python code that runs on is cut, a catastrophic regular expression too; the rule, its file and line are named.
* Only code of a rule is cut, and code it calls outside of filterd: never filterd's own bookkeeping in mid-air.
* C code that never looks at signals cannot be cut; it is seen afterwards (see `engine.scheduler`).

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

_OURS = ("filterd.net", "filterd.task", "filterd.api", "filterd.engine", "gevent", "greenlet")


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
        self._seen: tuple[Any, Any, int] | None = None
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
        signal.setitimer(self._timer, 0.0)
        signal.signal(self._signal, self._before)

    def _on_tick(self, number: int, frame: FrameType | None) -> None:
        runner = running()
        if runner is None or runner.job is None:
            self._seen = None
            return
        now = monotonic()
        seen = (runner, runner.job, self._loop.iteration)
        if self._seen != seen:
            self._seen, self._since = seen, now
            return
        held = now - self._since
        if held < self.limit or frame is None or frame.f_globals.get("__name__", "").startswith(_OURS):
            return
        rule_frame: FrameType | None = frame
        while rule_frame is not None and rule_frame.f_code.co_filename not in self.files:
            rule_frame = rule_frame.f_back
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
