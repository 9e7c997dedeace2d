"""The CPU guard: a timer signal that ends a rule which has held the loop for too long.

Promises:

* Python code that runs on is cut, a catastrophic regular expression too; the rule's function, file and line are named.
* Only code of a rule is cut, and what it calls directly: never filterd's own bookkeeping in mid-air, nor what that calls, nor a
  log line or an import on its way.
* A rule that waits is not held to account for it, and one message's rule not for the same rule on other messages.
* C code that never looks at signals cannot be cut. What it was called by is noted, line by line, when it returns.
* The computing of each rule and hook is added up, by what each tick finds running: no rule pays for it.

Known limit: CPython up to 3.13 can skip a `finally` whose `try` begins with the loop that is cut. Connections are therefore
closed by the scope, not by the rule.
"""

import signal
from collections.abc import Container
from dataclasses import dataclass
from time import monotonic, thread_time
from traceback import extract_stack, format_list
from types import FrameType
from typing import Any

from gevent import get_hub

from filterd.net.greenlets import Stop, running

__all__ = ["CpuGuard", "Held"]

_UNTOUCHABLE = ("filterd.", "gevent.", "greenlet.", "logging.", "importlib.")
"""Where an exception out of the blue leaves locks taken, or things half done that others rely on."""


MAX_NAMES = 10_000
"""Names whose computing is added up: rules and hooks; there is no need of more, and some bound must be."""


MAX_FRAMES = 50
"""Frames of a stack that are told, the innermost."""


@dataclass(frozen=True, slots=True)
class Held:
    """A piece of C code that took no signal: for how many seconds of CPU time, called at which `file:line`, by what."""

    seconds: float
    place: str
    stack: str


class CpuGuard:
    """Ticks every `tick` seconds of CPU time and ends the job that has held the loop for `limit` seconds.

    A job may have a limit of its own in `burst_timeout`. `cpu` has the seconds computed by the name of the job.

    `files` are the rule files. With `wall=True` it ticks in wall-clock time: it then also cuts blocking system calls, at 0.6 %
    of a core when idle, and third-party C code sees interrupted calls.
    """

    def __init__(self, limit: float, files: Container[str], *, tick: float = 0.02, wall: bool = False) -> None:
        self.limit = limit
        self.files = files
        self.tick = tick
        self.cuts = 0
        self.cpu: dict[str, float] = {}
        self._spent = 0.0
        self._timer, self._signal = (signal.ITIMER_REAL, signal.SIGALRM) if wall else (signal.ITIMER_PROF, signal.SIGPROF)
        self._seen: tuple[Any, ...] | None = None
        self._since = 0.0
        self._loop: Any = None
        self._before: Any = None

    def start(self) -> None:
        """Begin to watch. In the main thread, once per process."""
        self._loop = get_hub().loop
        self._spent = thread_time()
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
        before, self._spent = self._spent, thread_time()
        spent = self._spent - before
        runner = running()
        if runner is None or runner.job is None:
            self._seen = None
            return
        limit: float = getattr(runner.job, "burst_timeout", None) or self.limit
        self._charge(runner.job, spent)
        if spent >= limit and (held_by := self._innermost(frame)) is not None:
            # No tick for so long: it was one piece of C code, and it has just returned.
            runner.held = self._told(held_by, spent)
        now = monotonic()
        # The batch, because the next message's turn of the same rule may come on the same runner, before the loop turns.
        seen = (runner, runner.job, runner.batch, self._loop.iteration)
        if self._seen != seen:
            self._seen, self._since = seen, now
            return
        held = now - self._since
        if held < limit:
            return
        rule_frame = self._rule_frame(frame)
        if rule_frame is None:
            return
        # Not counted anew: as long as the job goes on it is told at every tick.
        runner.throws += 1
        self.cuts += 1
        raise Stop(
            f"held the loop for {held:.2f} s (burst_timeout {limit:g} s) in {rule_frame.f_code.co_name}, "
            f"{rule_frame.f_code.co_filename}:{rule_frame.f_lineno}",
            "limit",
        )

    def _charge(self, job: Any, spent: float) -> None:
        name = getattr(job, "name", None)
        if isinstance(name, str) and (name in self.cpu or len(self.cpu) < MAX_NAMES):
            self.cpu[name] = self.cpu.get(name, 0.0) + spent

    def _innermost(self, frame: FrameType | None) -> FrameType | None:
        while frame is not None and frame.f_code.co_filename not in self.files:
            frame = frame.f_back
        return frame

    def _told(self, innermost: FrameType, spent: float) -> Held:
        frames = extract_stack(innermost)
        first = next(place for place, one in enumerate(frames) if one.filename in self.files)
        code = innermost.f_code
        return Held(
            spent, f"{code.co_filename}:{innermost.f_lineno}", "".join(format_list(frames[first:])[-MAX_FRAMES:]).rstrip()
        )

    def _rule_frame(self, frame: FrameType | None) -> FrameType | None:
        """The innermost frame of a rule file; None if there is none, or the code that runs must not be cut."""
        while frame is not None and frame.f_code.co_filename not in self.files:
            if f"{frame.f_globals.get('__name__')}.".startswith(_UNTOUCHABLE):
                return None
            frame = frame.f_back
        return frame
