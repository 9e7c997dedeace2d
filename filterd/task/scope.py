"""What belongs to one message or one hook: its jobs, its open connections, its budget.

Promises:

* Rules, their children and their callbacks run in the scope; nothing in it outlives the message, and every connection
  opened in it is closed with it.
* Budgets nest and only shrink: a call ends with its rule, a rule with its task.
* `current()` is the scope this code runs for, from any rule, child or hook.
"""

from collections.abc import Callable, Iterable, Mapping
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from logging import getLogger
from math import inf
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar, cast

from filterd.mail.live_map import LiveMap
from filterd.mail.results import Scoring
from filterd.net.event import Event
from filterd.net.greenlets import Batch, Crew, Stop, running
from filterd.net.network import Network
from filterd.outcome import Failure

__all__ = [
    "Background",
    "Child",
    "Closable",
    "Deadline",
    "Environment",
    "Expected",
    "Jobs",
    "Scope",
    "current",
    "loading_maps",
    "loading_modules",
    "msleep",
    "sleep",
    "with_budget",
]

log = getLogger("filterd.task")

T = TypeVar("T")
Item = TypeVar("Item")


loading_modules: ContextVar[Mapping[str, Mapping[str, Any]] | None] = ContextVar("loading_modules", default=None)
"""The `[modules.*]` tables while rule files are being loaded, when there is no scope to find them by."""
loading_maps: ContextVar[Mapping[str, LiveMap] | None] = ContextVar("loading_maps", default=None)
"""The same for the maps."""


@dataclass(slots=True)
class Background:
    """What begins a function beside the messages, once there is something that does."""

    begin: Callable[[Callable[..., Any], tuple[Any, ...]], object] | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What every scope of one worker shares. `modules` holds the `[modules.NAME]` tables, `maps` the maps by name.

    `task_timeout` is the budget of a message, `burst_timeout` how long a rule may hold the loop, both in seconds. `resolver_of`
    makes the object that `task.get_resolver()` gives; it comes from outside, for the calls of rules are a layer above this one.
    `soft_reject_on_timeout`: a message whose budget ended before its filters had is to come again.
    """

    network: Network
    crew: Crew
    scoring: Scoring
    modules: Mapping[str, Mapping[str, Any]]
    task_timeout: float = 8.0
    burst_timeout: float = inf
    resolver_of: Callable[["Scope"], Any] | None = None
    maps: Mapping[str, LiveMap] = field(default_factory=dict)
    soft_reject_on_timeout: bool = False
    background: Background = field(default_factory=Background)


class Closable(Protocol):
    """What a scope closes at its end."""

    def close(self) -> None: ...


class Deadline:
    """A budget of seconds that began when this object was made. `end` is a moment of `time.monotonic()`."""

    __slots__ = ("budget", "end")

    def __init__(self, budget: float) -> None:
        self.renew(budget)

    def renew(self, budget: float) -> None:
        """Begin anew, for all who hold it."""
        self.budget = budget
        self.end = monotonic() + budget

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(self.end - monotonic(), 0.0)

    def __str__(self) -> str:
        return f"{self.left:.1f} s of {self.budget:.1f} s left"


class Named(Protocol):
    """A job with a name for texts: a rule, or a child of one."""

    @property
    def name(self) -> str: ...


class Child(Generic[T]):
    """A function running beside the rule that asked for it. Its failure is that rule's failure unless somebody asks for it."""

    __slots__ = ("args", "asked", "context", "done", "error", "function", "parent", "value", "watched")

    def __init__(self, parent: Named, function: Callable[..., T], args: tuple[Any, ...]) -> None:
        self.parent: Any = parent.parent if isinstance(parent, Child) else parent
        self.function = function
        self.args = args
        self.context: Context = copy_context()
        self.done = Event()
        self.value: T | None = None
        self.error: BaseException | None = None
        """Why it failed; one that never was to begin is given it before it runs."""
        self.watched = False
        self.asked: float | None = None
        """Since which moment of time.monotonic() there was something to wait for before it could begin."""

    @property
    def name(self) -> str:
        return str(self.parent.name)

    @property
    def burst_timeout(self) -> float | None:
        """The limit that its rule has of its own."""
        limit: float | None = getattr(self.parent, "burst_timeout", None)
        return limit

    def run(self) -> None:
        if self.error is not None:
            raise self.error
        self.value = self.context.run(self.function, *self.args)
        self.done.set()

    def get(self) -> T:
        """Wait for the end; the function's value, or its exception."""
        self.watched = True
        self.done.wait(phase="child")
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


class Expected:
    """A child that begins when something has happened. Until then it needs no runner, but its batch waits for it.

    When the batch is stopped first, `cancelled` hears of it; it may tell in the `Stop` what was waited for.
    """

    __slots__ = ("_cancelled", "_child", "_jobs", "_timer")

    def __init__(self, jobs: "Jobs", child: Child[Any], cancelled: Callable[[Stop], object]) -> None:
        self._jobs = jobs
        self._child = child
        self._cancelled = cancelled
        self._timer: Any = None
        seconds = jobs.limit(child)
        if seconds is not None:
            child.asked = monotonic()
            self._timer = jobs.crew.hub.loop.timer(max(seconds, 0.0))
            self._timer.start(self.stop, Stop(f"its own timeout of {seconds:g} s is over"), update=True)

    def begin(self) -> None:
        """It has happened. Not to be called again, nor after it was stopped."""
        if self._timer is not None:
            self._timer.close()
        self._jobs.begin(self, self._child)

    def stop(self, stop: Stop) -> None:
        """The child fails with this, as one does that waits in its runner."""
        again = stop.again()
        self._cancelled(again)
        self._child.error = again
        self.begin()


class Jobs(Batch[Any]):
    """A batch of rules and children that belongs to a scope."""

    __slots__ = ("scope", "unasked")

    def __init__(self, crew: Crew, scope: "Scope") -> None:
        super().__init__(crew)
        self.scope = scope
        self.unasked: list[Child[Any]] = []
        """Children that failed before anybody asked for their value; somebody still may."""

    def perform(self, job: Any) -> None:
        job.run()

    def expect(self, child: Child[Any], cancelled: Callable[[Stop], object]) -> Expected:
        """Wait for what the child is to begin with."""
        expected = Expected(self, child, cancelled)
        self.waiting.add(expected)
        return expected

    def failed(self, job: Any, error: BaseException) -> None:
        if isinstance(job, Child):
            job.error = error
            job.done.set()
            if not isinstance(error, Stop):
                self.unasked.append(job)
                return
        self.scope.job_failed(job, error)

    def join(self) -> None:
        super().join()
        if self.unasked:
            self._tell_unasked()

    def do(self, job: Any) -> None:
        super().do(job)
        if self.unasked:
            self._tell_unasked()

    def _tell_unasked(self) -> None:
        unasked, self.unasked = self.unasked, []
        for child in unasked:
            if not child.watched:
                self.scope.job_failed(child, cast(BaseException, child.error))


class Scope:
    """What belongs to one message or one hook: its jobs, its open connections, its budget."""

    jobs: Jobs
    deadline: Deadline
    job_word = "rule "
    """What stands before the name of a job in a text."""

    def __init__(self, environment: Environment, title: str, budget: float) -> None:
        self.environment = environment
        self.network = environment.network
        self.title = title
        self.deadline = Deadline(budget)
        self.jobs = Jobs(environment.crew, self)
        self._open: dict[int, Closable] | None = None
        self._is_closed = False
        self.dns_requests = 0

    def adopt(self, resource: Closable) -> None:
        """Close this with the scope; at once if that is over, as for a rule that could not be stopped."""
        if self._is_closed:
            resource.close()
            return
        if self._open is None:
            self._open = {}
        self._open[id(resource)] = resource

    def release(self, resource: Closable) -> None:
        """It was closed, or belongs to somebody else now."""
        if self._open is not None:
            self._open.pop(id(resource), None)

    def close(self) -> None:
        """Close every connection that is still open, and whatever is opened from now on."""
        self._is_closed = True
        resources, self._open = self._open, None
        if resources:
            for resource in resources.values():
                try:
                    resource.close()
                except Exception:
                    # One that cannot be closed keeps neither the others open nor the message from its answer.
                    log.exception("%s: a connection could not be closed", self.title)

    def job_failed(self, job: Any, error: BaseException) -> None:
        """A job ended with an exception nobody else takes."""
        raise NotImplementedError  # pragma: no cover - a subclass has it

    def start(self, function: Callable[..., T], *args: Any) -> Child[T]:
        """Run the function in a child greenlet; the message waits for it. From a rule, a child or a hook of this scope."""
        runner = running()
        if runner is None or runner.job is None or self._is_closed:
            raise RuntimeError(f"{self.title}: a child can only be started from inside a rule")
        child = Child(runner.job, function, args)
        self.jobs.add(child)
        return child

    def start_later(self, function: Callable[[], Any]) -> bool:
        """The same for a callback: False where nothing can be started any more, because the scope's budget is over."""
        child = self._callback(function)
        if child is None:
            return False
        self.jobs.add(child)
        return True

    def expect(self, function: Callable[[], Any], cancelled: Callable[[Stop], object]) -> Expected | None:
        """The same for a function that begins with `Expected.begin`, called in the hub or here; None where it cannot be."""
        child = self._callback(function)
        return None if child is None else self.jobs.expect(child, cancelled)

    def _callback(self, function: Callable[[], Any]) -> Child[Any] | None:
        runner = running()
        if runner is None or runner.job is None or self._is_closed or not self.deadline.left:
            return None
        return Child(runner.job, function, ())

    def map(self, function: Callable[[Item], T], items: Iterable[Item], limit: int | None = None) -> list[T]:
        """`function` of every item, at most `limit` at once (None: all), results in the order of the items.

        An exception is raised once all have ended. Raises ValueError for a limit below 1.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit {limit!r} would let nothing run")
        waiting = list(items)
        width = len(waiting) if limit is None else min(limit, len(waiting))
        results: list[Any] = [None] * len(waiting)
        places = iter(enumerate(waiting))

        def work() -> None:
            for place, item in places:
                results[place] = function(item)

        children = [self.start(work) for _ in range(width)]
        for child in children:
            child.watched = True
        for child in children:
            child.done.wait(phase="child")
        for child in children:
            child.get()
        return results


def current() -> Scope | None:
    """The scope this code runs for; None outside of rules and hooks."""
    runner = running()
    batch = None if runner is None else runner.batch
    return batch.scope if isinstance(batch, Jobs) else None


def with_budget(failure: Failure, scope: Scope | None) -> Failure:
    """The failure, its text telling also whose call it was and how much of the budget is left, if it was a timeout."""
    if failure.kind != "timeout" or scope is None:
        return failure
    runner = running()
    job = None if runner is None else runner.job
    whose = f"{scope.job_word}{job.name}, " if job is not None else ""
    text = f"{failure} ({whose}{scope.deadline})"
    return Failure(
        text, kind=failure.kind, peer=failure.peer, phase=failure.phase, elapsed=failure.elapsed, partial=failure.partial
    )


def sleep(seconds: float) -> None:
    """Let others run for so many seconds. `sleep(0)` waits one real turn of the loop, so that pending I/O is served.

    Raises ValueError for a time without an end.
    """
    if not seconds < inf:
        raise ValueError(f"sleep: {seconds!r} is no number of seconds")
    Event().wait(until=monotonic() + max(seconds, 0.000001), phase="sleep")


def msleep(milliseconds: float) -> None:
    """The same in milliseconds, as HAProxy has it."""
    sleep(milliseconds / 1000)
