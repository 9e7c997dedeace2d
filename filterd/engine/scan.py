"""One message while the rules run over it: its jobs, its budget, what its rules return and how they fail."""

from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from time import monotonic
from typing import Any, Protocol

from filterd.engine.composites import Composite, Composites
from filterd.engine.expressions import Compiler, Expression
from filterd.engine.failures import describe, held_the_loop
from filterd.engine.matching import Element
from filterd.engine.order import Order
from filterd.engine.plan import place_of, stage_of
from filterd.engine.registry import Rule
from filterd.engine.settings import USUAL, Settings
from filterd.engine.variants import Variant
from filterd.mail.request import ScanRequest
from filterd.mail.results import PreResult, Results
from filterd.mail.verdict import Hit, RuleFailure
from filterd.net.greenlets import Stop, running
from filterd.net.no_wait import WouldWait, no_wait, told_wait
from filterd.task import Child, Environment, Expected, Jobs, Task

__all__ = ["Scan"]

FAILED_SYMBOL = "RULE_FAILED"
FINE = frozenset({"fine", "nice"})


class RuleJobs(Jobs):
    """The rules and children of one message."""

    __slots__ = ()

    scope: "Scan"

    def add(self, job: Any) -> None:
        if isinstance(job, Child):
            self.scope.order.child_begun(job.parent)
        super().add(job)

    def expect(self, child: Child[Any], cancelled: Callable[[Stop], object]) -> Expected:
        self.scope.order.child_begun(child.parent)
        return super().expect(child, cancelled)

    def perform(self, job: Any) -> None:
        task = self.scope
        if type(job) is not Rule:
            try:
                job.run()
            finally:
                runner = running()
                if runner is not None and runner.held is not None:
                    task.ran_long(job.parent, 0.0)
                task.order.child_ended(job.parent)
            return
        try:
            if task.results.pre_results and not _runs_despite(job, task):
                return
            if task.results.score > task.enough and _is_needless(job):
                return
            if task.disabled is not None and job in task.disabled:
                return
            self._run(job, task)
        finally:
            task.order.rule_ended(job)

    def _run(self, rule: Rule, task: "Scan") -> None:
        started = monotonic()
        runner = running() if rule.inline else None
        if runner is not None:
            runner.switch_out = _refuse_to_wait
        try:
            if rule.condition is None or _condition_holds(rule, task):
                value = rule.function(task)  # type: ignore[misc]
                if value is not None and value is not False:
                    task.take_value(rule, value)
        finally:
            seconds = task.timings[rule.name] = monotonic() - started
            if runner is not None:
                runner.switch_out = None
        if seconds > (rule.burst_timeout or task.environment.burst_timeout):
            task.ran_long(rule, seconds)

    def limit(self, job: Any) -> float | None:
        timeout: float | None = job.parent.timeout if isinstance(job, Child) else job.timeout
        return timeout

    def spent(self, job: Any) -> float:
        # A child that had to wait before it could begin has used that time.
        return monotonic() - job.asked if isinstance(job, Child) and job.asked is not None else 0.0


def _condition_holds(rule: Rule, task: "Scan") -> bool:
    condition = rule.condition
    assert condition is not None
    if isinstance(condition, Expression):
        return bool(condition(task))  # it watches itself
    with no_wait(lambda: f"the condition of rule {rule.name} must not wait, and {told_wait()}: ask in the rule itself"):
        return bool(condition(task))


def _refuse_to_wait() -> None:
    runner = running()
    assert runner is not None
    raise WouldWait(
        f"rule {runner.job.name} is inline and must not wait: take inline=True away, or the call, for {told_wait()}"
    )


def _runs_despite(rule: Rule, task: Task) -> bool:
    if rule.type == "idempotent" or "ignore_passthrough" in rule.flags or task.results.decided is None:
        return True
    return bool(rule.flags & FINE) and stage_of(rule) == "normal"


def _is_needless(rule: Rule) -> bool:
    # The score is above the limit already: only what may lower it is of use.
    return stage_of(rule) == "normal" and not rule.flags & FINE


class House(Protocol):
    """What a scan needs of the engine it runs in."""

    files: Collection[str]
    on_failure: Callable[[Task, RuleFailure], object]
    composites: Composites
    compiler: Compiler

    def rule_of(self, symbol: str) -> Rule | None: ...


class Scan(Task):
    """A task while the scheduler runs it."""

    def __init__(self, request: ScanRequest, environment: Environment, house: House, variant: Variant) -> None:
        super().__init__(request, environment)
        self.jobs = RuleJobs(environment.crew, self)
        self.house = house
        self.variant = variant
        self.plan = variant.plans.of(request.message)
        self.order = Order(self._start)
        self.timer: Any = None
        self.cut = False
        self.disabled: set[Rule] | None = None
        self.enabled: list[Rule] = []
        scoring = variant.scoring
        if scoring is not environment.scoring:
            self.results = Results(scoring)
        if variant.settings is not USUAL:
            self._apply(variant.settings)
        self.enough = inf if "pass_all" in self.flags else scoring.thresholds.get("reject", inf)
        """Above this score further filters are needless."""

    def _apply(self, settings: Settings) -> None:
        if settings.flags:
            self.more_flags = settings.flags
        for symbol, weight in settings.symbols.items():
            self.results.insert(symbol, weight, settings.symbol_options.get(symbol, ()))
        self.messages.update(settings.messages)
        if settings.add_headers:
            self.set_milter_reply({"add_headers": settings.add_headers})
        if settings.remove_headers:
            self.set_milter_reply({"remove_headers": settings.remove_headers})

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.variant.settings.as_table()

    @property
    def settings_id(self) -> str | None:
        return self.variant.id

    def disable_symbol(self, symbol: str) -> bool:
        rule = self._rule(symbol)
        if rule in self.order.over:
            return False
        if self.disabled is None:
            self.disabled = set()
        self.disabled.add(rule)
        return True

    def enable_symbol(self, symbol: str) -> bool:
        rule = self._rule(symbol)
        if self.disabled is not None:
            self.disabled.discard(rule)
        if rule in self.plan:
            return rule not in self.order.over
        if rule in self.enabled or rule in self.order.over:
            return False
        self.enabled.append(rule)
        return True

    def _rule(self, symbol: str) -> Rule:
        rule = self.house.rule_of(symbol)
        if rule is None:
            raise LookupError(f"there is no rule or virtual symbol {symbol!r}")
        return rule

    def _start(self, rule: Rule) -> None:
        if not self.cut:
            self.jobs.add(rule)

    def arm(self) -> None:
        """Begin to count the budget."""
        if self.timer is not None:
            self.timer.close()
        self.timer = self.environment.crew.hub.loop.timer(self.deadline.budget)
        self.timer.start(self._expire, update=True)

    def close(self) -> None:
        super().close()
        if self.timer is not None:
            self.timer.close()
        # Without these the message goes with its last reference. In their circles it would wait for the garbage collector:
        # that took a sixth of all time, and the next message got memory that was in no cache.
        self.order.end()
        del self.jobs

    def _expire(self) -> None:
        # In the hub.
        self.cut = True
        queued = [job.parent if isinstance(job, Child) else job for job in self.jobs.jobs]
        self.not_begun(dict.fromkeys([*queued, *self.order.blocked]))
        self.jobs.stop(Stop(f"the message's budget of {self.deadline.budget:g} s is over"))

    def not_begun(self, rules: Iterable[Rule]) -> None:
        """Record rules the budget did not reach: what was not checked is said, not left out."""
        for rule in rules:
            text = f"timeout: not begun, the message's budget of {self.deadline.budget:g} s is over"
            self._record(rule, RuleFailure(rule.name, "timeout", text, rule.place))

    def take_value(self, rule: Rule, value: object) -> None:
        """A rule's return value as a hit of its own symbol."""
        if value is True:  # as most rules say it; the ways of the others cost as much again
            self.results.insert(rule.name)
            return
        options: tuple[object, ...] = ()
        if isinstance(value, tuple):
            value, *rest = value or (None,)
            options = tuple(rest)
        if value is None or value is False:
            return
        if not isinstance(value, (bool, int, float)):
            raise TypeError(
                f"rule {rule.name} returned {value!r}; a rule returns None, True, a number, or (True or a number, *options)"
            )
        if value != 0:
            self.insert_result(rule.name, 1.0 if value is True else float(value), *options)

    def job_failed(self, job: Any, error: BaseException) -> None:
        rule: Rule = job.parent if isinstance(job, Child) else job
        self._record(rule, describe(error, rule=rule, scan=self, files=self.house.files))

    def ran_long(self, rule: Rule, seconds: float) -> None:
        """Tell of a rule the CPU guard could not cut: it has ended by itself, and held the loop in between.

        What the guard has seen of it is told; else it was known to if it has not waited for anything.
        """
        runner = running()
        if runner is not None and (runner.held is not None or not runner.waited):
            limit = rule.burst_timeout or self.environment.burst_timeout
            self._tell(rule, held_the_loop(rule, seconds, limit, runner.held))

    def _tell(self, rule: Rule, failure: RuleFailure) -> None:
        self.failures.append(failure)
        rule.errors += 1
        self.house.on_failure(self, failure)

    def _record(self, rule: Rule, failure: RuleFailure) -> None:
        self._tell(rule, failure)
        if self.results.is_sealed:
            return
        if rule.on_error == "symbol":
            self.insert_result(FAILED_SYMBOL, 1.0, rule.name)
        elif rule.on_error == "tempfail":
            # A floor: what is to be rejected anyhow is rejected.
            text = f"{rule.name} could not be checked, try again later"
            self.results.decide(PreResult("soft reject", text, rule.name, least=True))

    def judge_composites(self, *, is_last: bool) -> None:
        """Insert the composites that hold; `is_last` is after the postfilters."""
        composites = self.house.composites
        if composites:
            composites.judge(self, is_last=is_last, settings=self.variant.settings, on_error=self._composite_failed)

    def _composite_failed(self, composite: Composite, error: BaseException) -> None:
        rule = Rule(composite.name, None, file=f"composites.{composite.name}")
        if all(failure.rule != rule.name for failure in self.failures):  # it is judged twice
            self._tell(rule, describe(error, rule=rule, scan=self, files=self.house.files))

    def settings_failed(self, troubles: list[tuple[Element, BaseException]]) -> None:
        """Tell of settings whose conditions raised; they were taken not to match. Empties the list."""
        for element, error in troubles:
            rule = Rule(f"settings.{element.id}", None, file=f"settings.{element.id}")
            self._tell(rule, describe(error, rule=rule, scan=self, files=self.house.files))
        troubles.clear()

    def get(self, expression: str, default: Any = None) -> Any:
        return self.house.compiler.get(expression, self, default)

    def result(self, symbol: str) -> Hit | None:
        rule = self._rule(symbol)
        runner = running()
        job = None if runner is None else runner.job
        asking = job.parent if isinstance(job, Child) else job
        if rule in self.plan and asking is not None and asking is not rule:
            if place_of(rule) > place_of(asking):
                raise LookupError(
                    f"{asking.name} asks for the result of {rule.name}, which runs later: it is a {rule.type} rule"
                )
            self.order.wait(asking, rule)
        return self.results.symbols.get(symbol)
