"""Reused greenlets that pull their work.

On CPython 3.11 and later every new greenlet costs an mmap and a munmap (about 14 µs). Here parked *runners* take jobs from a
batch until one of them waits; the rest then goes to the next runner. A job that never waits costs a fraction of a microsecond,
one that waits about three.

Promises:

* Jobs of one batch run at the same time; `Batch.join` returns when the last of them, and all jobs added meanwhile, are done.
* Each job sees fresh context variables and fresh greenlet-locals, whoever used the runner before.
* A job is ended from outside by `Stop`, a BaseException: `except Exception` does not catch it, and every `finally` runs. A
  job that swallows it is told again, and after `MAX_THROWS` times it is disowned: the batch goes on without it.
* A runner that was stopped is never used again, so a late wake-up meant for one job cannot reach another.
"""

from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

import gevent
from gevent import get_hub, getcurrent
from greenlet import greenlet

__all__ = ["Batch", "Crew", "Runner", "Stop", "Waiting", "close_forgotten_timeouts", "running"]

MAX_THROWS = 5
"""How often a job is told to stop before it is disowned."""

GRACE = 0.2
"""Seconds between two throws: what a `finally` that waits is given."""

MAX_IDLE = 2000
"""Runners kept parked; 7.6 KB each. Above the real concurrency it costs memory only, below it costs 14 µs a job."""

Job = TypeVar("Job")


class Stop(BaseException):
    """Ends a job from outside: its budget is spent, its message is gone, or it held the loop.

    `reason` is a sentence, `kind` a `Failure` kind. The wait that was cut off fills in `phase` and `peer` on its way out.
    """

    def __init__(self, reason: str, kind: str = "timeout") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.phase = ""
        self.peer = ""

    def again(self) -> "Stop":
        """A new one with the same reason: an exception that is thrown twice would collect both tracebacks."""
        return Stop(self.reason, self.kind)


class Waiting(Protocol):
    """What a batch waits for: a runner whose job waits, or something else that a job is to begin with."""

    def stop(self, stop: Stop) -> None:
        """The batch is being stopped. In the hub."""


class Batch(Generic[Job]):
    """Jobs of one owner that run at the same time.

    A subclass says what a job is: `perform` does it, `failed` takes every exception that escapes it (and must not raise),
    `limit` gives the seconds it may take from its first wait on (None: no limit of its own), `spent` how many are gone by then.
    """

    __slots__ = ("crew", "dispatching", "jobs", "owner", "scheduled", "stopped", "waiting")

    def __init__(self, crew: "Crew") -> None:
        self.crew = crew
        self.jobs: deque[Job] = deque()
        self.waiting: set[Any] = set()
        """Runners whose jobs wait, and whatever else was given to `begin` later: all of them `Waiting`."""
        self.owner: greenlet | None = None
        self.scheduled = False
        self.dispatching = False
        self.stopped: Stop | None = None
        """Why it was stopped, until the last job is gone."""

    def perform(self, job: Job) -> None:
        raise NotImplementedError  # pragma: no cover - a subclass has it

    def failed(self, job: Job, error: BaseException) -> None:
        raise NotImplementedError  # pragma: no cover - a subclass has it

    def limit(self, job: Job) -> float | None:
        return None

    def spent(self, job: Job) -> float:
        return 0.0

    @property
    def idle(self) -> bool:
        """Nothing is queued and nothing waits."""
        return not (self.jobs or self.waiting)

    def add(self, job: Job) -> None:
        """Queue a job; it starts in this turn of the loop, or in the next. Added while the batch is being stopped it fails."""
        if self.stopped is not None:
            self.failed(job, self.stopped.again())
            return
        self.jobs.append(job)
        self._schedule()

    def begin(self, waiting: Waiting, job: Job) -> None:
        """What was waited for has come: queue the job that begins with it, also while the batch is being stopped."""
        self.waiting.discard(waiting)
        self.jobs.append(job)
        self._schedule()

    def join(self) -> None:
        """Wait until every job is done, those added meanwhile included. Stopped while waiting, it stops the jobs too."""
        if self.jobs:
            self._schedule()
        self._wait(None)

    def do(self, job: Job) -> None:
        """`add` and `join` for a job without a limit, which begins at once. Not where something forbids waiting.

        Going from the one greenlet to the other and back, not by way of the loop, spares a tenth of a short stream's time.
        """
        if self.jobs or self.waiting or self.stopped is not None:
            self.add(job)
            self.join()
            return
        self.jobs.append(job)
        runner = self.crew.take()
        runner.batch = self
        # Whoever starts it does not come to know when it waits: it counts as waiting from the start.
        runner.is_led = True
        self.waiting.add(runner)
        self._wait(runner)

    def _wait(self, first: "Runner | None") -> None:
        hub = self.crew.hub
        self.owner = getcurrent()
        try:
            if first is not None:
                first.switch()
            while self.jobs or self.waiting:
                hub.switch()
        except BaseException:
            hub.loop.run_callback(self.stop, Stop("whoever waited for it is gone", "cancelled"))
            raise
        finally:
            self.owner = None

    def stop(self, stop: Stop) -> None:
        """Drop what has not begun and stop what waits. Call it from the hub only (a timer or a callback)."""
        self.jobs.clear()
        self.stopped = stop
        for one in tuple(self.waiting):
            one.stop(stop)
        self._wake()

    def _schedule(self) -> None:
        if not (self.scheduled or self.dispatching):
            self.scheduled = True
            self.crew.hub.loop.run_callback(self._dispatch)

    def _dispatch(self) -> None:
        # In the hub. `switch` comes back when the runner has taken every job there is, or when one of them waits.
        self.scheduled = False
        self.dispatching = True
        jobs = self.jobs
        crew = self.crew
        while jobs:
            runner = crew.take()
            runner.batch = self
            runner.switch()
            job = runner.job
            if job is not None:
                runner.waited = True
                self.waiting.add(runner)
                seconds = self.limit(job)
                if seconds is not None:
                    crew.limit(runner, seconds, self.spent(job))
        self.dispatching = False
        self._wake()

    def _left(self, runner: "Runner", *, parks: bool) -> greenlet | None:
        # In the runner, at the end of a job that had waited. Gives whom a runner that parks has to wake.
        self.waiting.discard(runner)
        if self.jobs:
            self._schedule()
        elif not self.waiting:
            if parks:
                self.stopped = None
                return self.owner
            self.crew.hub.loop.run_callback(self._wake)
        return None

    def _wake(self) -> None:
        # In the hub.
        if not self.jobs and not self.waiting:
            self.stopped = None
            if self.owner is not None:
                self.owner.switch()


class Runner(greenlet):
    """A greenlet with many lives: it runs jobs of a batch until one has waited, then it is parked for the next batch."""

    # Slots, because greenlet-locals live in `__dict__`, which is emptied after each job.
    __slots__ = ("batch", "crew", "held", "is_led", "job", "links", "switch_out", "throws", "timeouts", "timer", "waited")

    def __init__(self, crew: "Crew") -> None:
        super().__init__(parent=crew.hub)
        self.crew = crew
        self.batch: Batch[Any] | None = None
        self.job: Any = None
        self.waited = False
        self.is_led = False
        """Its job was begun by `Batch.do`."""
        self.throws = 0
        self.timer: Any = None
        self.links: list[Callable[[Any], object]] = []
        self.timeouts: list[gevent.Timeout] = []
        self.held: Any = None
        """What the CPU guard could only look at (`net.guard.Held`), while the job runs that did it."""
        self.switch_out: Callable[[], None] | None = None
        """Called by gevent before this greenlet waits; set by who forbids waiting."""

    def run(self) -> None:
        idle = self.crew.idle
        hub = self.crew.hub
        while True:
            owner = self._pull()
            if self.throws or len(idle) >= MAX_IDLE:
                self.crew.alive -= 1
                return
            idle.append(self)
            if owner is None:
                hub.switch()
            else:
                owner.switch()

    def stop(self, stop: Stop) -> None:
        """Throw it into the job that waits here. From the hub only."""
        self.crew.stop(self, stop)

    def _pull(self) -> greenlet | None:
        # A function of its own, so that a parked runner holds no reference to the last message. Gives who waits for the end.
        batch = self.batch
        assert batch is not None
        jobs = batch.jobs
        perform = batch.perform
        fresh = self.crew.context.copy
        while jobs:
            job = self.job = jobs.popleft()
            self.gr_context = fresh()
            try:
                perform(job)
            except BaseException as error:  # noqa: BLE001 - a job may raise anything, and the runner goes on
                if self.batch is batch:
                    batch.failed(job, error)
            self.job = self.held = None
            if self.links or self.timeouts or self.__dict__:
                self._forget()
            if self.waited or self.is_led or self.throws:
                break
        self.gr_context = None
        self.switch_out = None
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        # None: it was disowned meanwhile, and nobody waits for it any more.
        batch, self.batch = self.batch, None
        if self.waited or self.is_led:
            self.waited = self.is_led = False
            if batch is not None:
                return batch._left(self, parks=not self.throws and len(self.crew.idle) < MAX_IDLE)
        return None

    def _forget(self) -> None:
        # gevent.local and threading's dummy threads register their clean-up by rawlink, and keep the rest in __dict__.
        links, self.links = self.links, []
        for link in links:
            link(self)
        self.__dict__.clear()
        timeouts, self.timeouts = self.timeouts, []
        for timeout in timeouts:
            timeout.close()

    def rawlink(self, link: Callable[[Any], object]) -> None:
        """Part of what gevent expects of a greenlet: call `link` when the life that runs now ends."""
        self.links.append(link)

    def unlink(self, link: Callable[[Any], object]) -> None:
        """Forget a link; one that is not there is ignored, as gevent does."""
        if link in self.links:
            self.links.remove(link)


class Crew:
    """The runners of one worker. `alive` counts all of them, `disowned` the jobs that would not end."""

    def __init__(self) -> None:
        self.hub: Any = get_hub()
        self.context = Context()
        self.idle: list[Runner] = []
        self.alive = 0
        self.disowned = 0

    def take(self) -> Runner:
        idle = self.idle
        while idle:
            runner = idle.pop()
            if not runner.dead:
                return runner
            self.alive -= 1
        self.alive += 1
        return Runner(self)

    def limit(self, runner: Runner, seconds: float, spent: float) -> None:
        """Stop the job that waits in `runner` after so many seconds, of which some are spent."""
        timer = runner.timer = self.hub.loop.timer(max(seconds - spent, 0.0))
        # update=True: a loop that has been busy has an old idea of now, and the timer would fire early by that much.
        timer.start(self.stop, runner, Stop(f"its own timeout of {seconds:g} s is over"), update=True)

    def stop(self, runner: Runner, stop: Stop) -> None:
        """Throw `stop` into a waiting runner. From the hub only."""
        if runner.job is None or runner.batch is None:
            return
        if runner.throws >= MAX_THROWS:
            self._disown(runner, stop)
            return
        runner.throws += 1
        runner.throw(stop.again())
        if runner.job is not None:
            if runner.timer is not None:
                runner.timer.close()
            runner.timer = self.hub.loop.timer(GRACE)
            runner.timer.start(self.stop, runner, stop, update=True)

    def _disown(self, runner: Runner, stop: Stop) -> None:
        batch, runner.batch = runner.batch, None
        assert batch is not None
        self.disowned += 1
        batch.failed(
            runner.job, Stop(f"{stop.reason}; it swallowed {runner.throws} requests to stop and was abandoned", stop.kind)
        )
        batch.waiting.discard(runner)
        batch._wake()


def running() -> Runner | None:
    """The runner this code runs in, None outside."""
    current = getcurrent()
    return current if type(current) is Runner else None


def close_forgotten_timeouts() -> None:
    """Make `gevent.Timeout.start` note itself on the runner, so that one a rule never closes cannot hit the next rule.

    Changes gevent for the whole process: for the daemon and the command line, not for those who import filterd as a library.
    """
    start = gevent.Timeout.start
    if getattr(start, "notes_runner", False):
        return

    def noted(self: gevent.Timeout) -> None:
        start(self)
        runner = running()
        if runner is not None and runner.job is not None:
            runner.timeouts.append(self)

    noted.notes_runner = True  # type: ignore[attr-defined]
    gevent.Timeout.start = noted  # type: ignore[method-assign]
