"""The actions of a stream listener, run stage by stage.

Promises:

* The actions of a stage run one after the other, in the order of the configuration, each if its condition holds.
* One that fails is recorded with its name, file and line, and the next one runs; or the connection is dropped, where the
  listener says so. One that is late is stopped, one that holds the loop is cut, and every `finally` runs.
* In an action every call works that works in a rule, and what it opened is closed at the end of the stage.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from filterd.engine.actions import Action
from filterd.engine.expressions import Compiler, Expression
from filterd.engine.failures import describe, held_the_loop
from filterd.mail.verdict import RuleFailure
from filterd.net.greenlets import Stop
from filterd.outcome import RequestFailed
from filterd.task import Child, Environment, Txn
from filterd.task.txn import Ended, Session, Stage

__all__ = ["Chains", "House", "Step"]

GRACE = 0.05
"""Seconds between the end of an action's time, which a call in it may tell by itself, and its being stopped."""


@dataclass(frozen=True, slots=True)
class Step:
    """An action, and when it runs: always without a condition."""

    action: Action
    condition: Expression | None = None


@dataclass(frozen=True, slots=True)
class House:
    """What all listeners of a worker share: `files` are the rule files, `on_failure` is told of each failure."""

    environment: Environment
    compiler: Compiler
    files: Collection[str]
    on_failure: Callable[[Any, RuleFailure], object]


class Chains:
    """The actions of one listener. `inspect_delay` is the time of a stage, in seconds."""

    def __init__(
        self, house: House, steps: Mapping[Stage, tuple[Step, ...]], *, inspect_delay: float, drops: bool = False
    ) -> None:
        self._house = house
        self._steps = steps
        self._inspect_delay = inspect_delay
        self._drops = drops

    def has(self, stage: Stage) -> bool:
        """Whether there is an action in this stage."""
        return bool(self._steps.get(stage))

    def run(self, stage: Stage, session: Session) -> Ended | None:
        """Run the actions of a stage; the verdict that ends the connection, None where it goes on."""
        steps = self._steps.get(stage)
        if not steps or (session.accepted and stage != "tcp.close"):
            return None
        txn = _Run(self._house, session, stage, self._inspect_delay)
        session.running.append(txn)
        try:
            for step in steps:
                verdict = txn.perform(step)
                if verdict is None and txn.failures and self._drops:
                    return Ended("drop")
                if verdict is not None or (stage != "tcp.close" and session.exchange.is_over):
                    break
        finally:
            session.running.remove(txn)
            txn.close()
        if verdict is None or verdict.word == "stop":
            return None
        if verdict.word == "accept":
            session.accepted = True
            return None
        return verdict


class _Job:
    """One action at work."""

    __slots__ = ("action", "condition", "name", "txn")

    timeout = None

    def __init__(self, step: Step, txn: "_Run") -> None:
        self.action = step.action
        self.name = step.action.name
        self.condition = step.condition
        self.txn = txn

    def run(self) -> None:
        txn, action = self.txn, self.action
        turn = txn.environment.crew.hub.loop.iteration
        began = monotonic()
        try:
            if self.condition is None or self.condition(txn):
                action.runs += 1
                value = action.function(txn)
                if value is not None:
                    raise TypeError(
                        f"{action.name} returned {value!r}; an action returns nothing: txn.reject() and its like decide"
                    )
        finally:
            seconds = txn.timings[action.name] = monotonic() - began
            action.seconds += seconds
        if seconds > txn.environment.burst_timeout:
            txn.ran_long(action, seconds, turn)


class _Run(Txn):
    """A stage of a stream while its actions run."""

    def __init__(self, house: House, session: Session, stage: Stage, budget: float) -> None:
        super().__init__(house.environment, session, stage, budget)
        self.house = house
        self.stage_end = self.deadline.end
        self.inspect_delay = budget
        self.timings: dict[str, float] = {}
        self.failures: list[RuleFailure] = []
        self.verdict: Ended | None = None

    def perform(self, step: Step) -> Ended | None:
        """Run one action and all it starts; what it has decided."""
        action = step.action
        own = inf if action.kind == "service" else action.timeout
        seconds = self.stage_end - monotonic() if own is None else own
        if seconds <= 0:
            text = f"timeout: not begun, the time of {self.stage} is over (inspect_delay {self.inspect_delay:g} s)"
            self._tell(action, RuleFailure(action.name, "timeout", text, action.place))
            return None
        self.allow(seconds)
        timer = self.environment.crew.hub.loop.timer(self.deadline.left + GRACE)
        timer.start(self._late, own is None, update=True)
        try:
            self.jobs.do(_Job(step, self))
        finally:
            timer.close()
        return self.verdict

    def _late(self, is_stage: bool) -> None:  # noqa: FBT001 - a callback of the loop
        what = f"inspect_delay of {self.inspect_delay:g} s" if is_stage else f"time of {self.deadline.budget:g} s"
        self.jobs.stop(Stop(f"its {what} is over"))

    def close(self) -> None:
        super().close()
        # It holds the txn: a circle, which the garbage collector would have to look for.
        del self.jobs

    def get(self, expression: str, default: Any = None) -> Any:
        return self.house.compiler.get(expression, self, default)

    def job_failed(self, job: Any, error: BaseException) -> None:
        if isinstance(error, Ended):
            if self.verdict is None:
                self.verdict = error.with_traceback(None)
            return
        if self._is_the_streams(error):
            return
        action = (job.parent if isinstance(job, Child) else job).action
        self._tell(action, describe(error, rule=action, scan=self, files=self.house.files))

    def _is_the_streams(self, error: BaseException) -> bool:
        """Whether an action met the end of the stream, which is told elsewhere and is not its fault."""
        exchange = self.session.exchange
        if self.stage == "tcp.close":
            return False
        if isinstance(error, Stop):
            return exchange.ended and error.kind == "cancelled"
        return isinstance(error, RequestFailed) and (exchange.ended or error.failure is exchange.broken)

    def ran_long(self, action: Action, seconds: float, turn: int) -> None:
        """Tell of an action the CPU guard could not cut: the loop is in the turn yet in which it began."""
        if self.environment.crew.hub.loop.iteration == turn:
            self._tell(action, held_the_loop(action, seconds, self.environment.burst_timeout))

    def _tell(self, action: Action, failure: RuleFailure) -> None:
        self.failures.append(failure)
        action.errors += 1
        self.house.on_failure(self, failure)
