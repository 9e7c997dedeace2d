"""A message on its way through the rules: the Task, and the Scope that owns all that runs and is open for it.

Promises:

* Rules, their children and their callbacks run in the scope; nothing in it outlives the message, and every connection
  opened in it is closed with it.
* Budgets nest and only shrink: a call ends with its rule, a rule with its task.
* `current()` is the scope this code runs for, from any rule, child or hook.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from itertools import count
from logging import Logger, LoggerAdapter, getLogger
from os import urandom
from time import monotonic
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, cast

from filterd.mail.address import Address
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.results import PreResult, Results, Scoring, action_name
from filterd.mail.verdict import Hit, RuleFailure
from filterd.net.event import Event
from filterd.net.greenlets import Batch, Crew, Stop, running
from filterd.net.network import Network
from filterd.outcome import Failure

__all__ = ["Child", "Closable", "Deadline", "Environment", "Jobs", "Scope", "Task", "current", "loading_modules", "sleep", "with_budget"]

T = TypeVar("T")
Item = TypeVar("Item")


loading_modules: ContextVar[Mapping[str, Mapping[str, Any]] | None] = ContextVar("loading_modules", default=None)
"""The `[modules.*]` tables while rule files are being loaded, when there is no scope to find them by."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What every scope of one worker shares. `modules` holds the `[modules.NAME]` tables, `task_timeout` is in seconds."""

    network: Network
    crew: Crew
    scoring: Scoring
    modules: Mapping[str, Mapping[str, Any]]
    task_timeout: float = 8.0


class Closable(Protocol):
    """What a scope closes at its end."""

    def close(self) -> None: ...


class Deadline:
    """A budget of seconds that began when this object was made. `end` is a moment of `time.monotonic()`."""

    __slots__ = ("budget", "end")

    def __init__(self, budget: float) -> None:
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

    __slots__ = ("args", "context", "done", "error", "function", "parent", "value", "watched")

    def __init__(self, parent: Named, function: Callable[..., T], args: tuple[Any, ...]) -> None:
        self.parent: Any = parent.parent if isinstance(parent, Child) else parent
        self.function = function
        self.args = args
        self.context: Context = copy_context()
        self.done = Event()
        self.value: T | None = None
        self.error: BaseException | None = None
        self.watched = False

    @property
    def name(self) -> str:
        return str(self.parent.name)

    def run(self) -> None:
        self.value = self.context.run(self.function, *self.args)
        self.done.set()

    def get(self) -> T:
        """Wait for the end; the function's value, or its exception."""
        self.watched = True
        self.done.wait(phase="child")
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


class Jobs(Batch[Any]):
    """A batch of rules and children that belongs to a scope."""

    __slots__ = ("scope",)

    def __init__(self, crew: Crew, scope: "Scope") -> None:
        super().__init__(crew)
        self.scope = scope

    def perform(self, job: Any) -> None:
        job.run()

    def failed(self, job: Any, error: BaseException) -> None:
        if isinstance(job, Child):
            job.error = error
            watched = job.watched and not isinstance(error, Stop)
            job.done.set()
            if watched:
                return
        self.scope.job_failed(job, error)


class Scope:
    """What belongs to one message or one hook: its jobs, its open connections, its budget."""

    jobs: Jobs
    deadline: Deadline

    def __init__(self, environment: Environment, title: str, budget: float) -> None:
        self.environment = environment
        self.network = environment.network
        self.title = title
        self.deadline = Deadline(budget)
        self.jobs = Jobs(environment.crew, self)
        self._open: dict[int, Closable] | None = None
        self.dns_requests = 0

    def adopt(self, resource: Closable) -> None:
        """Close this with the scope."""
        if self._open is None:
            self._open = {}
        self._open[id(resource)] = resource

    def release(self, resource: Closable) -> None:
        """It was closed, or belongs to somebody else now."""
        if self._open is not None:
            self._open.pop(id(resource), None)

    def close(self) -> None:
        """Close every connection that is still open."""
        resources, self._open = self._open, None
        if resources:
            for resource in resources.values():
                resource.close()

    def job_failed(self, job: Any, error: BaseException) -> None:
        """A job ended with an exception nobody else takes."""
        raise NotImplementedError  # pragma: no cover - a subclass has it

    def start(self, function: Callable[..., T], *args: Any) -> Child[T]:
        """Run the function in a child greenlet; the message waits for it. From a rule, a child or a hook of this scope."""
        runner = running()
        if runner is None or runner.job is None:
            raise RuntimeError(f"{self.title}: a child can only be started from inside a rule")
        child = Child(runner.job, function, args)
        self.jobs.add(child)
        return child

    def start_later(self, function: Callable[[], Any]) -> bool:
        """The same for a callback: False where nothing can be started any more, because the scope's budget is over."""
        runner = running()
        if runner is None or runner.job is None or not self.deadline.left:
            return False
        self.jobs.add(Child(runner.job, function, ()))
        return True

    def map(self, function: Callable[[Item], T], items: Iterable[Item], limit: int | None = None) -> list[T]:
        """`function` of every item, at most `limit` at once (None: all), results in the order of the items.

        The first exception is raised once all have ended.
        """
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
    whose = f"rule {job.name}, " if job is not None else ""
    text = f"{failure} ({whose}{scope.deadline})"
    return Failure(
        text, kind=failure.kind, peer=failure.peer, phase=failure.phase, elapsed=failure.elapsed, partial=failure.partial
    )


_serial = count()
_prefix = urandom(4).hex()


class Task(Scope):
    """One message being scanned: what came with it, what it holds, what was found on it."""

    def __init__(self, request: ScanRequest, environment: Environment) -> None:
        self.id = f"{_prefix}{next(_serial) & 0xFFFFFF:06x}"
        super().__init__(environment, self.id, environment.task_timeout)
        self.request = request
        self.envelope = request.envelope
        self.message: Message = request.message
        self.results = Results(environment.scoring)
        self.timed_out = False
        self.messages: dict[str, str] = {}
        self.milter_reply: dict[str, Any] = {}
        self.failures: list[RuleFailure] = []
        self.timings: dict[str, float] = {}
        self._vars: dict[str, Any] | None = None
        self._cache: dict[Any, Any] | None = None

    # -- the request

    @property
    def ip(self) -> str | None:
        """The client's address as text, None when the client sent none."""
        return self.envelope.ip

    @property
    def mail_from(self) -> Address | None:
        """The envelope sender; the null sender is an empty Address, None means the client sent none."""
        return self.envelope.mail_from

    @property
    def rcpts(self) -> Sequence[Address]:
        return self.envelope.rcpts

    @property
    def helo(self) -> str | None:
        return self.envelope.helo

    @property
    def hostname(self) -> str | None:
        """The client's name as the MTA resolved it."""
        return self.envelope.hostname

    @property
    def user(self) -> str | None:
        """The authenticated SMTP user."""
        return self.envelope.user

    @property
    def queue_id(self) -> str | None:
        return self.envelope.queue_id

    @property
    def deliver_to(self) -> str | None:
        return self.envelope.deliver_to

    @property
    def mta_name(self) -> str | None:
        return self.envelope.mta_name

    @property
    def tls(self) -> bool:
        """The client spoke TLS to the MTA."""
        return self.envelope.tls

    @property
    def flags(self) -> frozenset[str]:
        """What the client asked for: `pass_all`, `no_log`, `milter`, …"""
        return self.envelope.flags

    def get_request_header(self, name: str) -> str | None:
        """Any header the client sent with the request, case-insensitive; None when absent."""
        return self.envelope.get(name)

    # -- results

    def insert_result(self, symbol: str, weight: float = 1.0, *options: object) -> None:
        """Record a hit: score = configured score × weight. Options are shown as text."""
        self.results.insert(symbol, weight, [str(option) for option in _flat(options)])

    def adjust_result(self, symbol: str, score: float, *options: object) -> None:
        """Set the score of a symbol that was inserted; raises KeyError otherwise."""
        self.results.adjust(symbol, score, [str(option) for option in _flat(options)])

    def remove_result(self, symbol: str) -> bool:
        """Take a symbol back; False where it was not there."""
        return self.results.remove(symbol)

    def has_symbol(self, symbol: str) -> bool:
        return symbol in self.results.symbols

    @property
    def symbols(self) -> Mapping[str, Hit]:
        """What was found so far, read-only."""
        return MappingProxyType(self.results.symbols)

    @property
    def score(self) -> float:
        return self.results.judgement()[1]

    @property
    def action(self) -> str:
        return self.results.judgement()[0]

    def threshold(self, action: str) -> float | None:
        """The score that earns an action, None where there is none."""
        return self.results.scoring.thresholds.get(action_name(action))

    # -- control

    def set_pre_result(
        self,
        action: str,
        message: str | None = None,
        module: str | None = None,
        score: float | None = None,
        priority: int = 1,
        least: bool = False,
    ) -> None:
        """Decide before the score does. `least=True` makes the action a floor. The remaining ordinary rules are skipped."""
        self.results.decide(PreResult(action_name(action), message, module, score, priority, least))

    # -- the reply

    def set_milter_reply(self, reply: Mapping[str, Any]) -> None:
        """Merge into the reply object for the MTA: add_headers, remove_headers, change_from, add_rcpt, …"""
        for key, value in reply.items():
            have = self.milter_reply.get(key)
            if isinstance(have, dict) and isinstance(value, Mapping):
                for name, entry in value.items():
                    if key == "add_headers" and name in have:
                        first = have[name] if isinstance(have[name], list) else [have[name]]
                        have[name] = first + (entry if isinstance(entry, list) else [entry])
                    else:
                        have[name] = entry
            else:
                self.milter_reply[key] = dict(value) if isinstance(value, Mapping) else value

    def add_header(self, name: str, value: str, order: int = -1) -> None:
        """Ask the MTA to add a header; order 0 is the top, -1 the end."""
        self.set_milter_reply({"add_headers": {name: {"value": value, "order": order}}})

    def remove_header(self, name: str, index: int = 0) -> None:
        """Ask the MTA to remove a header: its occurrence `index` from 1, negative from the end, 0 for all."""
        self.set_milter_reply({"remove_headers": {name: index}})

    def append_message(self, text: str, category: str = "smtp_message") -> None:
        """A text for the client under a category."""
        have = self.messages.get(category)
        self.messages[category] = text if have is None else f"{have}; {text}"

    # -- concurrency, variables, log

    def spawn(self, function: Callable[..., T], *args: Any) -> Child[T]:
        """Run a function beside this rule; the message waits for it. `.get()` on what it returns waits for its value."""
        return self.start(function, *args)

    def sleep(self, seconds: float) -> None:
        """Let others run for so many seconds; 0 is one turn of the loop."""
        sleep(seconds)

    @property
    def vars(self) -> dict[str, Any]:
        """For rules to share among themselves, for this message."""
        if self._vars is None:
            self._vars = {}
        return self._vars

    @property
    def cache(self) -> dict[Any, Any]:
        """For what is computed once per message."""
        if self._cache is None:
            self._cache = {}
        return self._cache

    @property
    def log(self) -> "LoggerAdapter[Logger]":
        """A logger whose lines carry the task's id, the queue id and the rule's name."""
        runner = running()
        job = None if runner is None else runner.job
        return LoggerAdapter(
            getLogger("filterd.rule"),
            {"task_id": self.id, "queue_id": self.queue_id, "rule": None if job is None else job.name},
        )


def sleep(seconds: float) -> None:
    """Let others run for so many seconds. `sleep(0)` waits one real turn of the loop, so that pending I/O is served."""
    Event().wait(until=monotonic() + max(seconds, 0.000001), phase="sleep")


def _flat(options: Iterable[object]) -> Iterable[object]:
    for option in options:
        if isinstance(option, (list, tuple)):
            yield from option
        else:
            yield option
