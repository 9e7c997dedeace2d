"""Running the rules over a message: stage by stage, each rule on a reused runner, each failure its own.

Promises:

* Stages run in this order: prefilters by falling priority, filters all at once, postfilters by rising priority, idempotent
  rules. A stage begins when everything the stage before it started has ended.
* A rule that raises, is too late or holds the loop costs only its own result: the failure is recorded with rule, file and
  line, and the message is answered.
* When the task's budget is over the filters are stopped, postfilters run with a budget of the same length, and the verdict
  tells what was not finished.
* A pre-result ends the search: rules not yet started are skipped, but for those that ask to run all the same.
"""

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from filterd.engine.failures import describe
from filterd.engine.registry import Rule
from filterd.mail.request import ScanRequest
from filterd.mail.results import PreResult
from filterd.mail.verdict import RuleFailure, Verdict
from filterd.net.greenlets import Stop, running
from filterd.task import Child, Deadline, Environment, Jobs, Task

__all__ = ["Engine", "Plan"]

FAILED_SYMBOL = "RULE_FAILED"
Stage = tuple[Rule, ...]


class Plan:
    """The order in which one set of rules runs, worked out once: levels of rules that run at the same time."""

    __slots__ = ("after_answer", "before", "filters", "late")

    def __init__(self, rules: Iterable[Rule]) -> None:
        by_type: dict[str, list[Rule]] = {}
        for one in rules:
            by_type.setdefault("normal" if one.type == "callback" else one.type, []).append(one)
        self.before = _levels(by_type.get("prefilter", ()), falling=True)
        self.filters: Stage = tuple(by_type.get("normal", ()))
        self.late = _levels(by_type.get("postfilter", ()), falling=False)
        self.after_answer = _levels(by_type.get("idempotent", ()), falling=False)


def _levels(rules: Iterable[Rule], *, falling: bool) -> tuple[Stage, ...]:
    levels: dict[int, list[Rule]] = {}
    for one in rules:
        levels.setdefault(one.priority, []).append(one)
    return tuple(tuple(levels[priority]) for priority in sorted(levels, reverse=falling))


class RuleJobs(Jobs):
    """The rules and children of one message."""

    __slots__ = ()

    scope: "Scan"

    def perform(self, job: Any) -> None:
        if type(job) is not Rule:
            job.run()
            return
        task = self.scope
        if task.results.pre_results and not _runs_despite(job, task):
            return
        started = monotonic()
        runner = running() if job.inline else None
        if runner is not None:
            runner.switch_out = _refuse_to_wait
        try:
            if job.condition is None or job.condition(task):
                value = job.function(task)  # type: ignore[misc]
                if value is not None and value is not False:
                    task.take_value(job, value)
        finally:
            task.timings[job.name] = monotonic() - started
            if runner is not None:
                runner.switch_out = None

    def limit(self, job: Any) -> float | None:
        timeout: float | None = job.parent.timeout if isinstance(job, Child) else job.timeout
        return timeout


class WouldWait(RuntimeError):
    """A rule that promised not to wait was about to."""


def _refuse_to_wait() -> None:
    runner = running()
    assert runner is not None
    raise WouldWait(f"rule {runner.job.name} is inline and must not wait: take inline=True away, or the call")


def _runs_despite(rule: Rule, task: Task) -> bool:
    if rule.type == "idempotent" or "ignore_passthrough" in rule.flags or task.results.decided is None:
        return True
    return bool(rule.flags & {"fine", "nice"}) and rule.type in ("normal", "callback")


class Scan(Task):
    """A task while the scheduler runs it."""

    def __init__(self, request: ScanRequest, environment: Environment, engine: "Engine") -> None:
        super().__init__(request, environment)
        self.jobs = RuleJobs(environment.crew, self)
        self.engine = engine
        self.timer: Any = None
        self.cut = False

    def arm(self) -> None:
        """Begin to count the budget."""
        if self.timer is not None:
            self.timer.close()
        self.timer = self.environment.crew.hub.loop.timer(self.deadline.budget)
        self.timer.start(self._expire, update=True)

    def _expire(self) -> None:
        # In the hub.
        self.cut = True
        self.not_begun(job for job in self.jobs.jobs if type(job) is Rule)
        self.jobs.stop(Stop(f"the message's budget of {self.deadline.budget:g} s is over"))

    def not_begun(self, rules: Iterable[Rule]) -> None:
        """Record rules the budget did not reach: what was not checked is said, not left out."""
        for rule in rules:
            text = f"timeout: not begun, the message's budget of {self.deadline.budget:g} s is over"
            self._record(rule, RuleFailure(rule.name, "timeout", text, rule.place))

    def take_value(self, rule: Rule, value: object) -> None:
        """A rule's return value as a hit of its own symbol."""
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
        self._record(rule, describe(error, rule=rule, scan=self, files=self.engine.files))

    def _record(self, rule: Rule, failure: RuleFailure) -> None:
        self.failures.append(failure)
        rule.errors += 1
        self.engine.on_failure(self, failure)
        if self.results.is_sealed:
            return
        if rule.on_error == "symbol":
            self.insert_result(FAILED_SYMBOL, 1.0, rule.name)
        elif rule.on_error == "tempfail":
            self.results.decide(
                PreResult("soft reject", f"{rule.name} could not be checked, try again later", rule.name, priority=2)
            )


class Engine:
    """Rules and configuration of one worker, ready to scan."""

    def __init__(
        self,
        rules: Iterable[Rule],
        environment: Environment,
        *,
        files: Iterable[str] = (),
        on_failure: Callable[[Task, RuleFailure], object] = lambda task, failure: None,
    ) -> None:
        """`files` are the rule files, by which a rule's own lines are told; `on_failure` hears of each failure."""
        self.rules = tuple(one for one in rules if one.type != "virtual")
        self.environment = environment
        self.files = frozenset(files)
        self.on_failure = on_failure
        self.plan = Plan(self.rules)
        self.empty_plan = Plan(one for one in self.rules if "empty" in one.flags)
        self._names = {one.name: one for one in self.rules}

    def scan(self, request: ScanRequest) -> Verdict:
        """Run the rules over one message and return what they make of it. Call it from a greenlet that may wait."""
        task = Scan(request, self.environment, self)
        began = task.deadline.end - task.deadline.budget
        plan = self.plan if request.message.size else self.empty_plan
        task.arm()
        try:
            self._stage(task, plan.before)
            self._stage(task, (plan.filters,))
            task.timed_out = task.cut
            self._stage(task, plan.late, renew=True)
            verdict = self._judge(task)
            task.results.seal()
            self._stage(task, plan.after_answer, renew=True)
        finally:
            task.timer.close()
            task.close()
        verdict.failures = tuple(task.failures)
        verdict.timings = task.timings
        verdict.seconds = monotonic() - began
        self._count(task)
        return verdict

    @staticmethod
    def _stage(task: Scan, levels: Iterable[Stage], *, renew: bool = False) -> None:
        if task.cut and renew:
            task.cut = False
            task.deadline = Deadline(task.deadline.budget)
            task.arm()
        for level in levels:
            if task.cut:
                task.not_begun(level)
            elif level:
                task.jobs.jobs.extend(level)
                task.jobs.join()

    def _judge(self, task: Scan) -> Verdict:
        action, score, pre_result = task.results.judgement()
        messages = task.messages
        if pre_result is not None and pre_result.message is not None:
            messages = {**messages, "smtp_message": pre_result.message}
        scoring = self.environment.scoring
        return Verdict(
            action=action,
            score=score,
            required_score=scoring.required_score,
            thresholds=scoring.thresholds,
            symbols=task.results.symbols,
            messages=messages,
            milter=task.milter_reply,
            task_id=task.id,
            # Rspamd's placeholder for a message without one; an empty request has no message at all.
            message_id=(task.message.message_id or "undef") if task.message.size else None,
            passthrough_module=None if pre_result is None else pre_result.module,
            timed_out=task.timed_out,
        )

    def _count(self, task: Scan) -> None:
        symbols = task.results.symbols
        names = self._names
        for name, seconds in task.timings.items():
            rule = names[name]
            rule.runs += 1
            rule.seconds += seconds
            if name in symbols:
                rule.hits += 1
