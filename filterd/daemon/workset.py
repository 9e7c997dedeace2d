"""One generation of workers: the processes that were started with one configuration and one set of rules.

Promises:

* None of them accepts anything before all have loaded, and the set fails as a whole until it has passed its trial.
* Then a worker that ends unasked is started again, at once if it had served for a while, else after a pause that doubles;
  always, and always with its reason in the log. It gets the texts of its generation, whatever has been edited since.
* A worker that grew too large or judged enough is replaced, the new one first, one at a time.
* One that is told to drain and does not end is killed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from logging import getLogger
from time import monotonic
from typing import Any

from filterd.daemon.account import Account
from filterd.daemon.child import Child, resident
from filterd.daemon.loop import Loop, Timer
from filterd.daemon.plan import Door, Plan
from filterd.daemon.sockets import Sockets

__all__ = ["Ties", "WorkerSet"]

log = getLogger("filterd.supervisor")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before a worker is started again that did not last."""

CALM = 60.0
"""Seconds of service after which a worker's end is not held against the next one."""

GRACE = 5.0
"""Seconds that a draining worker has beyond what it was given, before it is killed."""


@dataclass(frozen=True, slots=True)
class Ties:
    """What a set asks of the supervisor, and whom it tells what happens."""

    loop: Loop
    sockets: Sockets
    started: Callable[[Child], object]
    """A process was started: it will have to be reaped."""
    heard: Callable[[Child, Mapping[str, Any]], object]
    """A worker has said something that is not the set's business."""
    changed: Callable[[], object]
    """A worker serves, or does not any more."""
    gone: Callable[[Child], object]
    empty: Callable[["WorkerSet"], object]
    """Its last worker has ended."""
    loaded: Callable[[], object] = lambda: None
    serving: Callable[[], object] = lambda: None
    failed: Callable[[list[str]], object] = lambda problems: None
    """Why the set cannot be used; at most once, and not after `settle`."""


class WorkerSet:
    """Workers of one generation. `begin` is what each is told, but for what is its own; `texts` a descriptor."""

    def __init__(
        self, ties: Ties, number: int, plan: Plan, begin: Mapping[str, Any], *, texts: int, account: Account | None
    ) -> None:
        self.ties = ties
        self.number = number
        self.plan = plan
        self.texts = texts
        self.account = account
        self.phase = "loading"
        """loading, entering, trial, settled, draining."""
        self.children: list[Child] = []
        self.restarts = 0
        self._begin = begin
        self._failures = [0] * plan.count
        self._restarting: dict[int, Timer] = {}
        self._late: dict[Child, Timer] = {}
        self._replace_after = 0.0
        self._is_told_empty = False

    # -- beginning

    def start(self) -> None:
        """Start all of them. What cannot be started fails the set."""
        for number in range(self.plan.count):
            try:
                self._start(number)
            except OSError as error:
                self._fail([f"cannot start a worker: {error.strerror or error}"])
                return

    def enter(self) -> None:
        """All have loaded: let them accept."""
        self.phase = "entering"
        for child in self.children:
            child.send({"do": "accept"})

    def settle(self) -> None:
        """The trial is passed: from now on a worker that ends is replaced."""
        self.phase = "settled"

    def _start(self, number: int) -> Child:
        descriptors = [self.ties.sockets.descriptor(door) for door in self.plan.doors]
        doors = [
            {"name": door.name, "number": door.number, "descriptor": descriptor}
            for door, descriptor in zip(self.plan.doors, descriptors, strict=True)
        ]
        own = {"do": "serve", "number": number, "count": self.plan.count, "generation": self.number, "doors": doors}
        child = Child(
            self.ties.loop,
            f"worker {number} of generation {self.number}",
            {**self._begin, **own, "texts": self.texts},
            descriptors=[self.texts, *descriptors],
            account=self.account,
            on_message=self._on_message,
            on_exit=self._on_exit,
        )
        child.number = number
        seconds = self.plan.start_timeout
        late = f"it was not ready after {seconds:g} s (workers.start_timeout)"
        self._late[child] = self.ties.loop.later(seconds, lambda: child.kill(late))
        self.children.append(child)
        self.ties.started(child)
        return child

    def _fail(self, problems: list[str]) -> None:
        if self.phase in ("loading", "entering", "trial"):
            self.drain(())
            self.ties.failed(problems)

    # -- what they say

    def _on_message(self, child: Child, message: Mapping[str, Any]) -> None:
        child.silent = 0.0
        what = message.get("what")
        if what == "heartbeat":
            child.under_way, child.messages = int(message["under_way"]), int(message["messages"])
        elif what == "failed":
            child.problems = [str(problem) for problem in message["problems"]]
        elif what == "loaded" and child.state == "starting":
            child.state = "loaded"
            if self.phase == "loading":
                if self._are_all("loaded"):
                    self.ties.loaded()
            else:
                child.send({"do": "accept"})
        elif what == "serving" and child.state == "loaded":
            self._serves(child)
        elif what == "leaving" and child.state != "draining":
            # Told by a signal of somebody else.
            child.state = "draining"
            if self.phase == "settled" and not self._others(child):
                self._restart(child.number)
            self.ties.changed()
        else:
            self.ties.heard(child, message)

    def _serves(self, child: Child) -> None:
        self._late.pop(child).cancel()
        child.state = "serving"
        child.serving_since = monotonic()
        if self.phase == "entering" and self._are_all("serving"):
            self.phase = "trial"
            self.ties.serving()
        for old in self._others(child):
            if old.state == "serving":
                log.info("%s (pid %d) is replaced by pid %d", old.name, old.pid, child.pid)
                self._drain(old, ())
        self.ties.changed()

    def _are_all(self, state: str) -> bool:
        return len(self.children) == self.plan.count and all(child.state == state for child in self.children)

    def _others(self, child: Child) -> list[Child]:
        """Those that stand in the same place, and are to stay."""
        return [
            other
            for other in self.children
            if other is not child and other.number == child.number and other.state != "draining"
        ]

    # -- while they serve

    def look(self, seconds: float) -> None:
        """Once in a while: `seconds` have passed since the last time."""
        for child in self.children:
            if child.state == "starting":
                continue
            child.silent += seconds
            if child.silent > self.plan.stuck_timeout:
                child.kill(f"no sign of life for {self.plan.stuck_timeout:g} s (workers.stuck_timeout)")
        if self.phase == "settled" and monotonic() >= self._replace_after:
            self._replace()

    def _replace(self) -> None:
        if any(child.state != "serving" for child in self.children) or self._restarting:
            return  # one at a time
        for child in self.children:
            reason = self._is_enough(child)
            if reason:
                log.info("%s (pid %d) is to be replaced: %s", child.name, child.pid, reason)
                self._restart(child.number)
                return

    def _is_enough(self, child: Child) -> str:
        if self.plan.max_messages is not None and child.messages >= self.plan.max_messages:
            return f"it has judged {child.messages} messages (workers.max_messages)"
        if self.plan.max_rss is not None:
            held = resident(child.pid)
            if held is not None and held > self.plan.max_rss:
                return f"it holds {held // 2**20} MiB (workers.max_rss)"
        return ""

    def _on_exit(self, child: Child) -> None:
        self.children.remove(child)
        if child in self._late:
            self._late.pop(child).cancel()
        self.ties.gone(child)
        is_well = child.state == "draining" and not child.returncode
        told = f"{child.name} (pid {child.pid}) has ended with {child.end_told()}"
        extra = {"traceback": child.last_words() or None}
        if self.phase in ("loading", "entering", "trial"):
            words = f"\n{extra['traceback']}" if extra["traceback"] else ""
            self._fail(child.problems or [f"{told}{words}"])
        elif self.phase == "settled":
            if not is_well:
                log.error("%s", "; ".join([told, *child.problems]), extra=extra)
            if not self._others(child):
                if not is_well or child.number not in self._restarting:
                    self._restart_after(child)
            elif not is_well:
                # The one that should have replaced another: that one stays for now.
                self._replace_after = monotonic() + self._pause(child)
        elif not is_well and child.state in ("serving", "draining"):
            log.error("%s", told, extra=extra)
        self.ties.changed()
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if self.phase == "draining" and not self.children and not self._is_told_empty:
            self._is_told_empty = True
            self.ties.empty(self)

    def _pause(self, child: Child) -> float:
        """Seconds until its place is filled again."""
        if child.serving_since and monotonic() - child.serving_since >= CALM:
            self._failures[child.number] = 0
        failures = self._failures[child.number]
        self._failures[child.number] += 1
        # Beyond that the pause is the longest one anyhow.
        return min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE) if failures else 0.0

    def _restart_after(self, child: Child) -> None:
        if child.number in self._restarting:
            return
        pause = self._pause(child)
        log.warning("%s is started again in %g s", child.name, pause)
        self._restarting[child.number] = self.ties.loop.later(pause, lambda: self._restart(child.number))

    def _restart(self, number: int) -> None:
        timer = self._restarting.pop(number, None)
        if timer is not None:
            timer.cancel()
        self.restarts += 1
        try:
            self._start(number)
        except OSError as error:
            log.error("cannot start worker %d: %s; trying again in %g s", number, error.strerror or error, LONGEST_PAUSE)
            self._restarting[number] = self.ties.loop.later(LONGEST_PAUSE, lambda: self._restart(number))

    # -- the end

    def drain(self, closing: Iterable[Door], *, seconds: float | None = None) -> None:
        """Let them finish what they have, and end. At the doors that close they take in who stands there."""
        self.phase = "draining"
        for timer in self._restarting.values():
            timer.cancel()
        self._restarting.clear()
        doors = [[door.name, door.number] for door in closing]
        for child in self.children:
            if child.state == "serving" or (child.state == "draining" and seconds is not None):
                self._drain(child, doors, seconds=seconds)
            elif child.state != "draining":
                child.kill("it is not needed any more")
        self._tell_if_empty()

    def _drain(self, child: Child, closing: Iterable[Any], *, seconds: float | None = None) -> None:
        child.state = "draining"
        given = 2 * self.plan.task_timeout if seconds is None else seconds
        child.send({"do": "drain", "seconds": given, "closing": list(closing)})
        late = f"it did not end within {given:g} s and {GRACE:g} s of grace"
        if child in self._late:
            self._late.pop(child).cancel()
        self._late[child] = self.ties.loop.later(given + GRACE, lambda: child.kill(late))
