"""Running the hooks of one worker: each in a scope of its own, without a message.

Promises:

* In a hook every call works that works in a rule, and what it opened is closed when the hook ends.
* What a hook raises is told with the hook's name and the traceback from the user's own line on, and costs nothing else: but
  for `on_load`, whose failure is `LoadError`.
* A hook of `scope="once"` runs from `elect` to `resign`: whoever calls these sees to it that one worker is elected at a time.
* `finish` stops what runs, lets every `finally` run, calls the `on_finish` hooks at the same time, and returns in time.
"""

from collections.abc import Callable, Collection, Iterable
from logging import getLogger
from math import isfinite
from random import random
from time import monotonic
from typing import Any

import gevent

from filterd.engine.hooks import Hook, HookScopeName, WorkerInfo
from filterd.engine.loader import LoadError, Problem
from filterd.engine.spawned import Spawned
from filterd.engine.tracebacks import innermost_line, story, summary
from filterd.net.event import Event
from filterd.net.greenlets import Stop
from filterd.outcome import RequestFailed
from filterd.task import Deadline, Environment, Scope
from filterd.task.rule_log import RuleLog

__all__ = ["HookScope", "Hooks"]

log = getLogger("filterd.hooks")

LEAST_FINISH = 1.0
"""Seconds that `on_finish` hooks get even if the messages have used up the time for ending."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a background hook that failed is started again."""


class _Job:
    """What runs in the scope; its name is in the texts of what it asks for."""

    timeout = None

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        self.name = name
        self.function = function
        self.value: Any = None

    def run(self) -> None:
        self.value = self.function()


class _NoEnd(Deadline):
    """For a hook that may take as long as it likes: ten years, a number that timers can still take."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(10 * 365 * 86400.0)

    def __str__(self) -> str:
        return "without a budget"


class HookScope(Scope):
    """The scope of one run of a hook; `error` is what it raised first. A `budget` of None is no end."""

    job_word = ""

    def __init__(self, hook: Hook, environment: Environment, budget: float | None) -> None:
        super().__init__(environment, hook.title, budget or 0.0)
        if budget is None:
            self.deadline = _NoEnd()
        self.error: BaseException | None = None

    @property
    def log(self) -> RuleLog:
        """A logger whose lines carry the hook's name."""
        return RuleLog(getLogger("filterd.rule"), {"rule": self.title})

    def job_failed(self, job: Any, error: BaseException) -> None:
        """The hook, or a child nobody asked, has raised."""
        if self.error is None:
            self.error = error

    def perform(self, function: Callable[[], Any]) -> Any:
        """The value of the function, when all it started has ended. Raises what one of them raised."""
        job = _Job(self.title, function)
        timer = self.environment.crew.hub.loop.timer(self.deadline.left)
        timer.start(self.jobs.stop, Stop(f"its budget of {self.deadline.budget:g} s is over"), update=True)
        try:
            self.jobs.add(job)
            self.jobs.join()
        finally:
            timer.close()
            self.close()
        if self.error is not None:
            raise self.error
        return job.value


class _Living:
    """Hooks that live beside the messages, and end together."""

    def __init__(self) -> None:
        self.ending = Event()
        self.running: dict[HookScope, None] = {}
        self.greenlets: list[Any] = []

    def end(self, loop: Any, seconds: float) -> None:
        """Stop what runs, let every `finally` run, give up after so many seconds."""
        until = monotonic() + seconds
        self.ending.set()
        for scope in self.running:
            loop.run_callback(scope.jobs.stop, Stop("the worker ends", "cancelled"))
        gevent.joinall(self.greenlets, timeout=max(until - monotonic(), 0.0))
        late = [greenlet for greenlet in self.greenlets if not greenlet.dead]
        if late:
            log.error("%d hooks did not end in time", len(late))
            gevent.killall(late, block=False)


class Hooks:
    """The hooks of one worker: `load` before it accepts messages, `start` when it does, `finish` at its end; in between it may
    be elected to run those that run once among all workers.

    `files` are the rule files, by which the user's own lines are told.
    """

    def __init__(
        self, hooks: Iterable[Hook], environment: Environment, *, files: Collection[str] = (), worker: WorkerInfo | None = None
    ) -> None:
        self._worker = WorkerInfo() if worker is None else worker
        self._hooks = tuple(hooks)
        self._environment = environment
        self._files = files
        self._each = _Living()
        self._once: _Living | None = None
        self._is_loaded = False
        self._spawned = Spawned(lambda hook: self._tried(hook, self._each), self._each.ending)
        environment.background.begin = self._spawned.begin

    def load(self) -> None:
        """Call the `on_load` hooks one after the other, in the order of the files. Raises LoadError with all that failed."""
        problems = []
        for hook in self._of("on_load"):
            try:
                self._call(hook, self._each)
            except (Exception, Stop) as error:  # noqa: BLE001 - a hook may raise anything, and the next one is tried
                where = innermost_line(error, self._files) or hook.place
                told = f"{hook.title}: {_text_of(error)}"
                problems.append(Problem(where, told, "" if _is_expected(error) else story(error, self._files)))
        if problems:
            raise LoadError(problems)
        self._is_loaded = True

    def start(self) -> None:
        """Begin with the periodic and the background hooks of each worker."""
        self._begin(self._each, "worker")
        self._spawned.start()

    def elect(self) -> None:
        """Begin with those that run in one worker only: this is the one."""
        if self._once is None:
            self._once = _Living()
            self._begin(self._once, "once")

    def resign(self, seconds: float) -> None:
        """End those that run in one worker only: another one may be elected when this returns."""
        if self._once is not None:
            self._once.end(self._environment.crew.hub.loop, seconds)
            self._once = None

    def finish(self, seconds: float) -> None:
        """Stop what runs, then call the `on_finish` hooks, all within about so many seconds, at least LEAST_FINISH."""
        end = monotonic() + max(seconds, LEAST_FINISH)
        self.resign(end - monotonic())
        self._each.greenlets += self._spawned.greenlets
        self._each.end(self._environment.crew.hub.loop, max(end - monotonic(), 0.0))
        if self._is_loaded:
            left = max(end - monotonic(), LEAST_FINISH)
            gevent.joinall([gevent.spawn(self._tried, hook, self._each, left) for hook in self._of("on_finish")])

    def _begin(self, living: _Living, scope: HookScopeName) -> None:
        for kind, live in (("periodic", self._repeat), ("background", self._keep_up)):
            living.greenlets += [gevent.spawn(live, hook, living) for hook in self._of(kind) if hook.scope == scope]

    def _of(self, kind: str) -> list[Hook]:
        return [hook for hook in self._hooks if hook.kind == kind]

    def _call(self, hook: Hook, living: _Living, budget: float | None = None) -> Any:
        scope = HookScope(hook, self._environment, budget)
        living.running[scope] = None
        try:
            return scope.perform(lambda: hook.call(self._worker))
        finally:
            del living.running[scope]

    def _tried(self, hook: Hook, living: _Living, budget: float | None = None) -> tuple[bool, Any]:
        """Whether it went well, and its value; what went wrong is in the log."""
        try:
            return True, self._call(hook, living, budget)
        except (Exception, Stop) as error:  # noqa: BLE001 - a hook may raise anything, and the worker goes on
            if not living.ending.happened or not isinstance(error, Stop) or error.kind != "cancelled":
                self._tell(hook, error)
            return False, None

    def _tell(self, hook: Hook, error: BaseException) -> None:
        where = innermost_line(error, self._files) or hook.place
        traceback = None if _is_expected(error) else story(error, self._files)
        log.error("%s: %s (%s)", hook.title, _text_of(error), where, extra={"traceback": traceback, "rule": hook.title})

    def _repeat(self, hook: Hook, living: _Living) -> None:
        seconds = hook.seconds
        # The sleep ends early when the worker does.
        while not living.ending.wait(until=monotonic() + seconds + hook.jitter * random()):  # noqa: S311 - no secret
            _, value = self._tried(hook, living)
            if value is False:
                log.info("%s: ended by itself", hook.title)
                return
            if isinstance(value, int | float) and value is not True:
                if not (isfinite(value) and value > 0):
                    log.error(
                        "%s: returned %r, which is no number of seconds above 0: it is not called again", hook.title, value
                    )
                    return
                seconds = float(value)

    def _keep_up(self, hook: Hook, living: _Living) -> None:
        pause = FIRST_PAUSE
        while True:
            began = monotonic()
            is_well, _ = self._tried(hook, living)
            if living.ending.happened:
                return
            if hook.restart == "never" or (is_well and hook.restart == "on-error"):
                log.info("%s: has ended and is not started again (restart=%r)", hook.title, hook.restart)
                return
            if is_well or monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            log.warning("%s: has ended and is started again in %g s", hook.title, pause)
            if living.ending.wait(until=monotonic() + pause):
                return
            pause = min(2 * pause, LONGEST_PAUSE)


def _is_expected(error: BaseException) -> bool:
    return isinstance(error, RequestFailed | Stop)


def _text_of(error: BaseException) -> str:
    if isinstance(error, RequestFailed):
        return error.failure.detail
    if isinstance(error, Stop):
        doing = f" ({error.phase} {error.peer})".replace(" )", ")") if error.phase else ""
        return f"{error.kind}: {error.reason}{doing}"
    return summary(error)
