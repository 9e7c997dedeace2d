"""Conditions made into functions: and, or, not, comparisons, patterns, lists and maps, symbols and groups, and counting them.

Promises:

* A comparison with what is absent is false, `!=` too; `not` turns that around as it does everything.
* A list compares as any of its items does; it is `!=` something when none of its items is equal to it.
* Symbols in a sum count 1 where they are there: `A + B + C >= 2`.
"""

import operator
from collections.abc import Callable, Collection, Container, Mapping
from typing import Any, Final, Protocol

from filterd.engine.expressions.errors import ExpressionError
from filterd.engine.expressions.expression import Atom, Context, Draft, Evaluate, Expression
from filterd.engine.expressions.kinds import TEXT, UNKNOWN, YES_NO, Kind
from filterd.engine.expressions.lexer import OptionFilter
from filterd.engine.expressions.nodes import (
    And,
    Chain,
    Compare,
    GroupAtom,
    Literal,
    Member,
    Named,
    Names,
    Node,
    Not,
    Or,
    PatternLiteral,
    Sum,
    SymbolAtom,
    Values,
)
from filterd.engine.expressions.patterns import Pattern
from filterd.engine.expressions.vocabulary import Vocabulary, did_you_mean
from filterd.mail.verdict import Hit

__all__ = ["Conditions"]

_COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SIGNS: Final[Mapping[str, Callable[[Hit], bool]]] = {
    "": lambda hit: True,
    "+": lambda hit: hit.metric_score > 0,
    "-": lambda hit: hit.metric_score < 0,
}
_NUMBER = Kind(float)


class Words(Protocol):
    """What is asked of the compiler that the conditions are part of."""

    vocabulary: Vocabulary
    symbols: Collection[str]

    def chain(self, chain: Chain, draft: Draft) -> tuple[Evaluate, Kind]: ...
    def table(self, name: str, draft: Draft, at: int) -> Container[Any]: ...
    def named(self, name: str) -> Expression: ...


class Conditions:
    """Compiles the nodes of one condition; `sees_hidden` looks at symbols that another composite has hidden, too.

    `names` are conditions that have a name here.
    """

    def __init__(
        self, compiler: Words, draft: Draft, *, sees_hidden: bool = False, names: Mapping[str, Evaluate] | None = None
    ) -> None:
        self.compiler = compiler
        self.names: Mapping[str, Evaluate] = {} if names is None else names
        self.draft = draft
        self.sees_hidden = sees_hidden
        self._negations = 0

    def truth(self, node: Node) -> Evaluate:
        """A function of the task that is true or false."""
        if isinstance(node, And | Or):
            parts = tuple(self.truth(one) for one in node.operands)
            return _all(parts) if isinstance(node, And) else _any(parts)
        if isinstance(node, Not):
            self._negations += 1
            inner = self.truth(node.operand)
            self._negations -= 1
            return lambda task: not inner(task)
        evaluate, kind = self.value(node)
        return evaluate if kind == YES_NO else lambda task: bool(evaluate(task))

    def value(self, node: Node) -> tuple[Evaluate, Kind]:
        """A function of the task, and the kind of its value."""
        if isinstance(node, Literal):
            constant = node.value
            return (lambda task: constant), Kind(type(constant))
        if isinstance(node, Chain):
            return self.compiler.chain(node, self.draft)
        if isinstance(node, Named):
            return self._named(node), YES_NO
        if isinstance(node, SymbolAtom):
            return self._symbol(node), YES_NO
        if isinstance(node, GroupAtom):
            return self._group(node), YES_NO
        if isinstance(node, Compare):
            return self._comparison(node), YES_NO
        if isinstance(node, Member):
            return self._member(node), YES_NO
        if isinstance(node, Sum):
            return self._sum(node), _NUMBER
        return self.truth(node), YES_NO

    def _named(self, node: Named) -> Evaluate:
        if node.name in self.names:
            return self.names[node.name]
        try:
            found = self.compiler.named(node.name)
        except ExpressionError as error:
            raise self.draft.fail(f"condition {node.name}: {error.sentence}", node.at) from None
        # Whoever asks it asks what it asks.
        self.draft.needs_stage(found.stage, f"condition {node.name}", node.at)
        self.draft.symbols |= found.symbols
        self.draft.groups |= found.groups
        self.draft.asks_results |= found.asks_results
        self.draft.is_foreign |= found.is_foreign
        return found.plain

    # -- symbols

    def _symbol(self, node: SymbolAtom) -> Evaluate:
        name, draft = node.name, self.draft
        if name.islower() and name not in self.compiler.symbols:
            known = [*self.compiler.vocabulary.extractors, *self.compiler.symbols]
            advice = did_you_mean(name, known) or f"; a symbol with such a name is symbol({name!r})"
            raise draft.fail(f"there is no value {name!r}{advice}", node.at)
        draft.needs_stage("results", name, node.at)
        draft.symbols.add(name)
        options = [self._option(one) for one in node.options]
        find = _hit_or_hidden if self.sees_hidden else _hit

        def present(task: Context) -> bool:
            hit = find(task, name)
            return hit is not None and (not options or all(any(map(test, hit.options)) for test in options))

        self._note(node.prefix, lambda task: [name] if present(task) else [])
        if options or self.sees_hidden:
            return present
        return lambda task: name in task.results.symbols

    def _group(self, node: GroupAtom) -> Evaluate:
        # Any rule may have a symbol in it, so none can be waited for: it is known when all have ended.
        self.draft.needs_stage("score", f"group {node.name}", node.at)
        self.draft.groups.add(node.name)
        name, fits = node.name, _SIGNS[node.sign]

        def matched(task: Context) -> list[str]:
            hits = list(task.results.symbols.values())
            if self.sees_hidden:
                hits += task.results.hidden.values()
            return [hit.name for hit in hits if name in hit.groups and fits(hit)]

        self._note(node.prefix, matched)
        return lambda task: bool(matched(task))

    def _note(self, prefix: str, matched: Callable[[Any], list[str]]) -> None:
        self.draft.atoms.append(Atom(matched, prefix, self._negations > 0))

    def _option(self, wanted: OptionFilter) -> Callable[[str], bool]:
        if wanted.is_pattern:
            return self._pattern(PatternLiteral(wanted.text, wanted.flags, wanted.at)).found_in
        return wanted.text.__eq__

    def _pattern(self, literal: PatternLiteral) -> Pattern:
        try:
            return Pattern(literal.text, literal.flags)
        except ValueError as error:
            raise self.draft.fail(str(error), literal.at) from None

    # -- comparisons

    def _sum(self, node: Sum) -> Evaluate:
        parts = []
        for operand in node.operands:
            evaluate, kind = self.value(operand)
            if not (kind in (YES_NO, UNKNOWN) or kind.is_number):
                raise self.draft.fail(f"'+' adds numbers and counts symbols, and there is {kind}", operand.at)
            parts.append(evaluate)
        return lambda task: sum(_count(part(task)) for part in parts)

    def _comparison(self, node: Compare) -> Evaluate:
        left, kind = self.value(node.left)
        if isinstance(node.right, PatternLiteral):
            return self._match(left, kind, node.right, node)
        right, other = self.value(node.right)
        symbol = next((one for one in (node.left, node.right) if isinstance(one, SymbolAtom)), None)
        if symbol is not None:
            raise self.draft.fail(f"a symbol is there or not; its score is {symbol.name}.score", symbol.at)
        if not (kind.holds(other) or other.holds(kind)):
            raise self.draft.fail(f"{kind} is never {node.operator} {other}", node.at)
        if YES_NO in (kind, other) and kind != other and UNKNOWN not in (kind, other):
            raise self.draft.fail(f"{kind} is never {node.operator} {other}", node.at)
        compare = _COMPARE[node.operator]
        is_plain = not (kind.is_list or other.is_list) and UNKNOWN not in (kind, other)
        if is_plain and isinstance(node.right, Literal):
            constant = node.right.value
            return lambda task: (value := left(task)) is not None and compare(value, constant)
        test = _quantified(node.operator)

        def compared(task: Any) -> bool:
            one, two = left(task), right(task)
            return one is not None and two is not None and test(one, two)

        return compared

    def _match(self, left: Evaluate, kind: Kind, literal: PatternLiteral, node: Compare) -> Evaluate:
        if not TEXT.holds(kind):
            raise self.draft.fail(f"'~' looks into text, and there is {kind}", node.left.at)
        found_in = self._pattern(literal).found_in

        def matches(task: Any) -> bool:
            value = left(task)
            if isinstance(value, str):
                return found_in(value)
            return value is not None and any(found_in(str(one)) for one in _items(value))

        return matches

    def _member(self, node: Member) -> Evaluate:
        left, kind = self.value(node.left)
        if isinstance(node.right, Values):
            values = frozenset(node.right.values)
            odd = next((one for one in values if not (kind.holds(Kind(type(one))) or Kind(type(one)).holds(kind))), None)
            if odd is not None:
                raise self.draft.fail(f"{kind} is never {odd!r}", node.right.at)
            return lambda task: any(one in values for one in _items(left(task)))
        if isinstance(node.right, Names):
            table = self.compiler.table(node.right.name, self.draft, node.right.at)
            return lambda task: any(one in table for one in _items(left(task)))
        right, _ = self.value(node.right)

        def contained(task: Any) -> bool:
            whole = right(task)
            if whole is None:
                return False
            within = whole if isinstance(whole, str | list | tuple | set | frozenset | Mapping) else str(whole)
            return any((str(one) if isinstance(within, str) else one) in within for one in _items(left(task)))

        return contained


def _hit(task: Context, name: str) -> Hit | None:
    return task.results.symbols.get(name)


def _hit_or_hidden(task: Context, name: str) -> Hit | None:
    return task.results.symbols.get(name) or task.results.hidden.get(name)


def _all(parts: tuple[Evaluate, ...]) -> Evaluate:
    def holds(task: Any) -> bool:
        for part in parts:  # noqa: SIM110 - a third of the time of all() with a generator
            if not part(task):
                return False
        return True

    return holds


def _any(parts: tuple[Evaluate, ...]) -> Evaluate:
    def holds(task: Any) -> bool:
        for part in parts:  # noqa: SIM110 - likewise
            if part(task):
                return True
        return False

    return holds


def _count(value: Any) -> float:
    if isinstance(value, bool) or value is None:
        return 1 if value else 0
    if isinstance(value, int | float):
        return value
    return 1 if value else 0


def _items(value: Any) -> Any:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def _quantified(sign: str) -> Callable[[Any, Any], bool]:
    compare = _COMPARE[sign]
    every = all if sign == "!=" else any

    def test(left: Any, right: Any) -> bool:
        try:
            return every(compare(one, two) for one in _items(left) for two in _items(right))
        except TypeError:  # kinds that no declaration told apart
            return False

    return test
