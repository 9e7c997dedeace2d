"""Running the rules over a message: stage by stage, each rule on a reused runner, each failure its own.

Promises:

* Stages run in this order: prefilters by falling priority, filters all at once, postfilters by rising priority, idempotent
  rules. A stage begins when everything the stage before it started has ended. Composites are judged after the filters and
  after the postfilters.
* A rule that raises, is too late or holds the loop costs only its own result: the failure is recorded with rule, file and
  line, and the message is answered.
* When the task's budget is over the filters are stopped, postfilters run with a budget of the same length, and the verdict
  tells what was not finished.
* A pre-result ends the search: rules not yet started are skipped, but for those that ask to run all the same.
"""

from collections.abc import Callable, Collection, Iterable
from time import monotonic

from filterd.engine.composites import Composites
from filterd.engine.expressions import Compiler
from filterd.engine.matching import Element
from filterd.engine.plan import Level, stage_of
from filterd.engine.registry import Rule
from filterd.engine.scan import Scan
from filterd.engine.variants import Variants
from filterd.mail.edits import rewritten_subject
from filterd.mail.request import ScanRequest
from filterd.mail.results import PreResult
from filterd.mail.verdict import RuleFailure, Verdict
from filterd.task import Deadline, Environment, Task

__all__ = ["Engine"]


class Engine:
    """Rules and configuration of one worker, ready to scan."""

    def __init__(
        self,
        rules: Iterable[Rule],
        environment: Environment,
        *,
        files: Iterable[str] = (),
        on_failure: Callable[[Task, RuleFailure], object] = lambda task, failure: None,
        settings: Iterable[Element] = (),
        composites: Composites | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        """`files` are the rule files, by which a rule's own lines are told; `on_failure` hears of each failure.

        `settings` and `composites` are those of the configuration, `compiler` knows the words of `task.get`. Raises OrderError.
        """
        rules = tuple(rules)
        self.rules = tuple(one for one in rules if one.type != "virtual")
        self.environment = environment
        self.files: Collection[str] = frozenset(files)
        self.on_failure = on_failure
        self.composites = Composites() if composites is None else composites
        self.compiler = Compiler() if compiler is None else compiler
        self._names = {one.name: one for one in self.rules}
        self._counted = {one.name: one for one in self.rules if "nostat" not in one.flags}
        self._parents = {one.name: one.parent for one in rules if one.parent is not None}
        self.variants = Variants(rules, environment, self.compiler, settings)

    def rule_of(self, symbol: str) -> Rule | None:
        """The rule that makes a symbol, None where there is none."""
        return self._names.get(self._parents.get(symbol, symbol))

    def scan(self, request: ScanRequest) -> Verdict:
        """Run the rules over one message and return what they make of it. Call it from a greenlet that may wait."""
        variant = self.variants.of(request)
        task = Scan(request, self.environment, self, variant)
        if self.variants.troubles:
            task.settings_failed(self.variants.troubles)
        began = task.deadline.end - task.deadline.budget
        if variant.settings.whitelist or "skip" in task.flags:
            return self._skipped(task)
        task.arm()
        try:
            self._stage(task, "prefilter")
            self._stage(task, "normal")
            task.timed_out = task.cut
            if task.cut and self.environment.soft_reject_on_timeout:
                # A floor: what is to be rejected anyhow is rejected.
                task.results.decide(
                    PreResult("soft reject", "Could not be checked in time, try again later", "timeout", least=True)
                )
            task.judge_composites(is_last=False)
            self._stage(task, "postfilter", renew=True)
            task.judge_composites(is_last=True)
            verdict = self._judge(task)
            task.results.seal()
            self._stage(task, "idempotent", renew=True)
        finally:
            task.close()
        verdict.failures = tuple(task.failures)
        verdict.timings = task.timings
        verdict.log_fields, verdict.log_text, verdict.log_level = task.log_fields, task.log_text, task.log_level
        verdict.seconds = monotonic() - began
        self._count(task)
        return verdict

    def _skipped(self, task: Scan) -> Verdict:
        verdict = self._judge(task)
        verdict.action, verdict.is_skipped = "no action", True
        if self.variants.always:
            self._level(task, Level(self.variants.always, {}, {}))
            verdict.failures, verdict.log_fields, verdict.log_text = tuple(task.failures), task.log_fields, task.log_text
        task.close()
        return verdict

    def _stage(self, task: Scan, stage: str, *, renew: bool = False) -> None:
        if task.cut and renew:
            task.cut = False
            task.deadline = Deadline(task.deadline.budget)
            task.arm()
        for level in task.plan.stages[stage]:
            self._level(task, level)
        while more := [rule for rule in task.enabled if stage_of(rule) == stage]:
            # Rules the settings had left out, that another rule has asked for.
            task.enabled = [rule for rule in task.enabled if rule not in more]
            self._level(task, Level(tuple(more), {}, {}))

    @staticmethod
    def _level(task: Scan, level: Level) -> None:
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
        scoring = task.results.scoring
        message = task.message
        # Looking for links costs more than all the rest: it is done for rules that want them, and clients that ask.
        looked_at = "ext_urls" in task.flags or "_links" in vars(message)
        urls, emails = (message.urls, message.emails) if looked_at else (None, None)
        return Verdict(
            action=action,
            score=score,
            required_score=scoring.required_score,
            thresholds=scoring.thresholds,
            symbols=task.results.symbols,
            messages=messages,
            milter=task.milter_reply,
            urls=urls,
            emails=emails,
            task_id=task.id,
            # Rspamd's placeholder for a message without one; an empty request has no message at all.
            message_id=(task.message.message_id or "undef") if task.message.size else None,
            passthrough_module=None if pre_result is None else pre_result.module,
            milter_action=scoring.custom.get(action),
            subject=_subject(task, score) if action == "rewrite subject" else None,
            body=task.new_body,
            timed_out=task.timed_out,
        )

    def _count(self, task: Scan) -> None:
        symbols = task.results.symbols
        counted = self._counted
        for name, seconds in task.timings.items():
            rule = counted.get(name)
            if rule is None:
                continue
            rule.runs += 1
            rule.seconds += seconds
            if name in symbols:
                rule.hits += 1


def _subject(task: Scan, score: float) -> str:
    return rewritten_subject(task.new_subject or task.results.scoring.subject, task.message.subject, score)
