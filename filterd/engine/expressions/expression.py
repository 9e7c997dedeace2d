"""A compiled expression, and what it was found to need.

Promises: calling it never waits. Where a rule file's function would, it gets a `WouldWait` and nothing else happens.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from filterd.engine.expressions.errors import ExpressionError
from filterd.engine.expressions.kinds import Kind
from filterd.engine.expressions.vocabulary import STAGES
from filterd.mail.results import Results
from filterd.net.no_wait import WouldWait, no_wait, told_wait

__all__ = ["Atom", "Context", "Draft", "Evaluate", "Expression", "ExpressionKind", "WouldWait"]

ExpressionKind = Literal["selector", "template", "condition", "composite"]
Evaluate = Callable[[Any], Any]


class Context(Protocol):
    """What the symbols of a condition are looked up in; a Task is one. Extractors want a whole Task."""

    @property
    def results(self) -> Results: ...


@dataclass(frozen=True, slots=True)
class Atom:
    """A symbol or group in a composite: `matched(context)` are the names it stands for that are there."""

    matched: Callable[[Any], list[str]]
    prefix: str
    is_negated: bool


class Expression:
    """`expression(task)` is its value: of a selector what it selects (of several a list) or None, of a template text, of a
    condition True or False.

    `stage` is the earliest at which it has a value; `symbols` and `groups` are those it looks at by name, `atoms` the same for
    composites; `asks_results`: it asks for more of what rules have found, the score, say.
    """

    __slots__ = ("_evaluate", "asks_results", "atoms", "groups", "is_foreign", "kind", "returns", "stage", "symbols", "text")

    def __init__(self, draft: "Draft", kind: ExpressionKind, evaluate: Evaluate, returns: Kind) -> None:
        self.text = draft.text
        self.kind = kind
        self.returns = returns
        self.stage = STAGES[draft.stage]
        self.symbols = frozenset(draft.symbols)
        self.groups = frozenset(draft.groups)
        self.atoms = tuple(draft.atoms)
        self.is_foreign = draft.is_foreign
        self.asks_results = draft.asks_results
        self._evaluate = evaluate

    def __repr__(self) -> str:
        return f"<Expression {self.text!r}>"

    @property
    def plain(self) -> Evaluate:
        """The function without the watch, for an expression that this one is a part of and that is watched itself."""
        return self._evaluate

    def __call__(self, task: Any) -> Any:
        # Filterd's own words never wait, and need no watching.
        return self._watched(task) if self.is_foreign else self._evaluate(task)

    def _watched(self, task: Any) -> Any:
        with no_wait(self._told):
            return self._evaluate(task)

    def _told(self) -> str:
        return (
            f"{self.text!r}: an extractor or transform must not wait, and {told_wait()}: "
            "ask in a rule and keep the answer in task.vars"
        )


@dataclass(slots=True)
class Draft:
    """What is gathered while an expression is compiled. `limit` is the stage it is evaluated at."""

    text: str
    limit: str
    stage: int = 0
    symbols: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    atoms: list[Atom] = field(default_factory=list)
    is_foreign: bool = False
    asks_results: bool = False

    def fail(self, problem: str, at: int) -> ExpressionError:
        """The error, to be raised."""
        return ExpressionError(problem, self.text, at)

    def needs_stage(self, stage: str, what: str, at: int) -> None:
        """`what` can be asked from this stage on. Raises ExpressionError where the expression is evaluated before."""
        place = STAGES.index(stage)
        if place > STAGES.index(self.limit):
            raise self.fail(f"{what} is known from stage {stage} on, and this is evaluated at stage {self.limit}", at)
        self.stage = max(self.stage, place)
