"""Forced actions: what is done with a message when a condition holds, whatever its score says.

The semantics are Rspamd's. A forced action is a rule `FORCE_ACTION_<NAME>`, with the action as its option. One that needs only
what filters find runs among them, as soon as they have ended; one that asks for the action, the score, composites, groups or
the symbols of postfilters is a postfilter.
"""

from collections.abc import Collection
from dataclasses import dataclass

from filterd.engine.expressions.expression import Expression
from filterd.engine.registry import Registry, Rule, make_rule
from filterd.mail.results import PreResult
from filterd.task import Task

__all__ = ["ForcedAction", "is_late", "rule_of_force"]

_AMONG_POSTFILTERS = 9  # after all but the last: what it is decided by must have been found


@dataclass(frozen=True, slots=True)
class ForcedAction:
    """`expression` is a condition, `message` a template. `required` are the actions of which one must have been earned so far
    (empty: any), `honoured` those that are left as they are; the names of actions are those on the wire.

    `subject` is a template for the rewritten subject. `least` makes the action a floor, `priority` decides among pre-results.
    """

    name: str
    action: str
    expression: Expression
    message: Expression | None = None
    subject: str | None = None
    required: frozenset[str] = frozenset()
    honoured: frozenset[str] = frozenset()
    least: bool = False
    priority: int = 1

    @property
    def symbol(self) -> str:
        return f"FORCE_ACTION_{self.name}"

    def __call__(self, task: Task) -> tuple[bool, str] | None:
        """Decide the message if it is one; gives the hit."""
        have = task.action
        if self.action == have and self.message is None and self.subject is None:
            return None
        if have in self.honoured or (self.required and have not in self.required) or not self.expression(task):
            return None
        text = None if self.message is None else self.message(task)
        if self.subject is not None:
            task.new_subject = self.subject
        task.results.decide(PreResult(self.action, text, "force_actions", priority=self.priority, least=self.least))
        return True, self.action


def is_late(force: ForcedAction, registry: Registry, composites: Collection[str]) -> bool:
    """Must it run after the filters?"""
    expression = force.expression
    if force.required or force.honoured or expression.groups or expression.asks_results:
        return True
    for symbol in expression.symbols:
        rule = registry.rules.get(symbol)
        if rule is not None and rule.parent is not None:
            rule = registry.rules.get(rule.parent)
        # What no rule says it makes may be inserted by any.
        if symbol in composites or rule is None or rule.type in ("postfilter", "idempotent"):
            return True
    return False


def rule_of_force(force: ForcedAction, *, late: bool, file: str = "") -> Rule:
    """The rule that does it; `file` is the configuration file it stands in."""
    return make_rule(
        force.symbol,
        force,
        file,
        0,
        type="postfilter" if late else "normal",
        priority=_AMONG_POSTFILTERS if late else 0,
        after=() if late else sorted(force.expression.symbols),
        description=f"The action is {force.action}",
        flags="empty ignore_passthrough fine",
        inline=True,
    )
