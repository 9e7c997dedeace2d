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
from logging import getLogger
from math import inf
from time import monotonic
from typing import Any

from filterd.engine.failures import describe, held_the_loop
from filterd.engine.order import Order
from filterd.engine.plan import Level, Plan, Plans, place_of, stage_of
from filterd.engine.registry import Rule
from filterd.engine.settings import Choice, SettingsError
from filterd.mail.edits import rewritten_subject
from filterd.mail.request import ScanRequest
from filterd.mail.results import PreResult
from filterd.mail.verdict import Hit, RuleFailure, Verdict
from filterd.net.greenlets import Stop, running
from filterd.task import Child, Deadline, Environment, Jobs, Task

__all__ = ["Engine"]

log = getLogger("filterd.engine")

FAILED_SYMBOL = "RULE_FAILED"
FINE = frozenset({"fine", "nice"})
KEPT_PLANS = 256
"""Plans kept for settings that clients sent."""


class RuleJobs(Jobs):
    """The rules and children of one message."""

    __slots__ = ()

    scope: "Scan"

    def add(self, job: Any) -> None:
        if isinstance(job, Child):
            self.scope.order.child_begun(job.parent)
        super().add(job)

    def perform(self, job: Any) -> None:
        task = self.scope
        if type(job) is not Rule:
            try:
                job.run()
            finally:
                task.order.child_ended(job.parent)
            return
        try:
            if task.results.pre_results and not _runs_despite(job, task):
                return
            if task.results.score > task.enough and _is_needless(job):
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
            if rule.condition is None or rule.condition(task):
                value = rule.function(task)  # type: ignore[misc]
                if value is not None and value is not False:
                    task.take_value(rule, value)
        finally:
            seconds = task.timings[rule.name] = monotonic() - started
            if runner is not None:
                runner.switch_out = None
        if seconds > task.environment.burst_timeout:
            task.ran_long(rule, seconds)

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
    return bool(rule.flags & FINE) and stage_of(rule) == "normal"


def _is_needless(rule: Rule) -> bool:
    # The score is above the limit already: only what may lower it is of use.
    return stage_of(rule) == "normal" and not rule.flags & FINE


class Scan(Task):
    """A task while the scheduler runs it."""

    def __init__(self, request: ScanRequest, environment: Environment, engine: "Engine") -> None:
        super().__init__(request, environment)
        self.jobs = RuleJobs(environment.crew, self)
        self.engine = engine
        self.plan: Plan
        self.order = Order(self._start)
        self.timer: Any = None
        self.cut = False
        limit = environment.scoring.thresholds.get("reject", inf)
        self.enough = inf if "pass_all" in self.envelope.flags else limit
        """Above this score further filters are needless."""

    def _start(self, rule: Rule) -> None:
        if not self.cut:
            self.jobs.add(rule)

    def arm(self) -> None:
        """Begin to count the budget."""
        if self.timer is not None:
            self.timer.close()
        self.timer = self.environment.crew.hub.loop.timer(self.deadline.budget)
        self.timer.start(self._expire, update=True)

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

    def ran_long(self, rule: Rule, seconds: float) -> None:
        """Tell of a rule the CPU guard could not cut: it has ended by itself, without having waited for anything."""
        runner = running()
        if runner is not None and not runner.waited:
            self._tell(rule, held_the_loop(rule, seconds, self.environment.burst_timeout))

    def _tell(self, rule: Rule, failure: RuleFailure) -> None:
        self.failures.append(failure)
        rule.errors += 1
        self.engine.on_failure(self, failure)

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

    def result(self, symbol: str) -> Hit | None:
        rule = self.engine.rule_of(symbol)
        if rule is None:
            raise LookupError(f"there is no rule or virtual symbol {symbol!r}")
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
        rules = tuple(rules)
        self.rules = tuple(one for one in rules if one.type != "virtual")
        self.environment = environment
        self.files = frozenset(files)
        self.on_failure = on_failure
        self._names = {one.name: one for one in self.rules}
        self._parents = {one.name: one.parent for one in rules if one.parent is not None}
        self._plans: dict[str | None, Plans] = {None: Plans(self.rules, self._parents)}

    def rule_of(self, symbol: str) -> Rule | None:
        """The rule that makes a symbol, None where there is none."""
        return self._names.get(self._parents.get(symbol, symbol))

    def scan(self, request: ScanRequest) -> Verdict:
        """Run the rules over one message and return what they make of it. Call it from a greenlet that may wait."""
        task = Scan(request, self.environment, self)
        began = task.deadline.end - task.deadline.budget
        settings = request.envelope.settings
        plans = self._plans[None] if settings is None else self._plans_for(settings)
        plan = task.plan = plans.full if request.message.size else plans.empty
        task.arm()
        try:
            self._stage(task, plan.stages["prefilter"])
            self._stage(task, plan.stages["normal"])
            task.timed_out = task.cut
            self._stage(task, plan.stages["postfilter"], renew=True)
            verdict = self._judge(task)
            task.results.seal()
            self._stage(task, plan.stages["idempotent"], renew=True)
        finally:
            task.timer.close()
            task.close()
        verdict.failures = tuple(task.failures)
        verdict.timings = task.timings
        verdict.seconds = monotonic() - began
        self._count(task)
        return verdict

    def _plans_for(self, settings: str) -> "Plans":
        plans = self._plans.get(settings)
        if plans is None:
            symbols = self.environment.scoring.symbols
            groups = {rule.name: symbols[rule.name].groups for rule in self.rules if rule.name in symbols}
            try:
                chosen = Choice.of(settings).of_rules(self.rules, parents=self._parents, groups=groups)
            except SettingsError as error:
                log.warning("the request's Settings cannot be used, all rules run: %s", error)
                return self._plans[None]
            # One client sends the same few settings again and again.
            plans = self._plans[settings] = Plans(chosen, self._parents)
            if len(self._plans) > KEPT_PLANS:
                self._plans.pop(next(key for key in self._plans if key is not None))
        return plans

    @staticmethod
    def _stage(task: Scan, levels: Iterable[Level], *, renew: bool = False) -> None:
        if task.cut and renew:
            task.cut = False
            task.deadline = Deadline(task.deadline.budget)
            task.arm()
        for level in levels:
            if task.cut:
                task.not_begun([*level.first, *level.blocked])
            else:
                task.order.enter(level)
                task.jobs.jobs.extend(level.first)
                task.jobs.join()

    def _judge(self, task: Scan) -> Verdict:
        task.results.grow()
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
            milter_action=scoring.custom.get(action),
            subject=rewritten_subject(scoring.subject, task.message.subject, score) if action == "rewrite subject" else None,
            body=task.new_body,
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
