"""Expressions made into functions, once, when the configuration loads: every name, argument, type and stage is checked then.

Promises:

* What cannot be right is an `ExpressionError` with the sentence, the column and the text; a misspelt name is told the nearest.
* None ends a chain: no transform is asked but `default` and `inverse`, which are there for it. An empty list is None.
* A transform of one item is asked for each item of a list.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from filterd.engine.expressions.arguments import ArgumentError, fitted
from filterd.engine.expressions.conditions import Conditions
from filterd.engine.expressions.errors import ExpressionError
from filterd.engine.expressions.expression import Draft, Evaluate, Expression, ExpressionKind
from filterd.engine.expressions.extractors import EXTRACTORS
from filterd.engine.expressions.kinds import ATTRIBUTES, TEXT, UNKNOWN, YES_NO, Kind, kind_of
from filterd.engine.expressions.lexer import MAX_LENGTH
from filterd.engine.expressions.nodes import Arguments, Chain, Step
from filterd.engine.expressions.parser import parse_condition, parse_selector, parse_template
from filterd.engine.expressions.transforms import TRANSFORMS
from filterd.engine.expressions.vocabulary import Transform, Vocabulary, did_you_mean

__all__ = ["Compiler", "Table", "standard_vocabulary"]

_KEPT: Final = 1000
"""Expressions of rules that are kept compiled: more of them are made at run time, which they should not be."""


class Table(Protocol):
    """A map, as far as expressions look into it."""

    def __contains__(self, key: Any, /) -> bool: ...
    def get(self, key: Any, default: Any = None, /) -> Any: ...


def standard_vocabulary() -> Vocabulary:
    """The words of filterd itself, to which rule files may add."""
    return Vocabulary(EXTRACTORS, TRANSFORMS)


class Compiler:
    """Compiles expressions with the words of one configuration.

    `symbols` are those that are known, `maps` the maps by name, `conditions` those that others may call by name.
    """

    def __init__(
        self,
        vocabulary: Vocabulary | None = None,
        *,
        maps: Mapping[str, Table] | None = None,
        symbols: Collection[str] = (),
        conditions: Mapping[str, str] | None = None,
    ) -> None:
        self.vocabulary = standard_vocabulary() if vocabulary is None else vocabulary
        self.maps: Mapping[str, Table] = {} if maps is None else maps
        self.symbols = symbols
        self._written: Mapping[str, str] = {} if conditions is None else conditions
        self._named: dict[str, Expression] = {}
        self._naming: list[str] = []
        self._kept: dict[str, Expression] = {}

    def compile(
        self,
        text: str,
        kind: ExpressionKind = "selector",
        *,
        stage: str = "score",
        names: Mapping[str, Evaluate] | None = None,
    ) -> Expression:
        """The expression, to be evaluated at `stage`; `names` are conditions that a condition may call by name.

        Raises ExpressionError.
        """
        draft = Draft(text, stage)
        if kind == "selector":
            return self._selector(draft)
        if kind == "template":
            return self._template(draft)
        is_composite = kind == "composite"
        known = {*self._written, *names} if names else self._written
        node = parse_condition(text, is_value=self.vocabulary.extractors.__contains__, has_prefixes=is_composite, names=known)
        conditions = Conditions(self, draft, sees_hidden=is_composite, names=names)
        return Expression(draft, kind, conditions.truth(node), YES_NO)

    def named(self, name: str) -> Expression:
        """The condition of this name, compiled when it is first asked for. Raises ExpressionError."""
        found = self._named.get(name)
        if found is None:
            text = self._written[name]
            if name in self._naming:
                chain = " needs ".join([*self._naming[self._naming.index(name) :], name])
                raise ExpressionError(f"conditions need each other: {chain}", text, 0)
            self._naming.append(name)
            try:
                found = self._named[name] = self.compile(text, "condition")
            finally:
                self._naming.pop()
        return found

    def get(self, text: str, task: Any, default: Any = None) -> Any:
        """The value of a selector, compiled once; `default` where it is absent. Raises ExpressionError."""
        expression = self._kept.get(text)
        if expression is None:
            expression = self.compile(text)
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[text] = expression
        value = expression(task)
        return default if value is None else value

    def _selector(self, draft: Draft) -> Expression:
        compiled = [self.chain(chain, draft) for chain in parse_selector(draft.text)]
        if len(compiled) == 1:
            return Expression(draft, "selector", *compiled[0])
        parts = tuple(evaluate for evaluate, _ in compiled)

        def several(task: Any) -> list[Any] | None:
            values = []
            for part in parts:
                value = part(task)
                if value is None:
                    return None
                values.append(value)
            return values

        kinds = {kind for _, kind in compiled}
        return Expression(draft, "selector", several, Kind(kinds.pop().item if len(kinds) == 1 else object, is_list=True))

    def _template(self, draft: Draft) -> Expression:
        if len(draft.text) > MAX_LENGTH:
            raise draft.fail(f"an expression of more than {MAX_LENGTH} characters", MAX_LENGTH)
        pieces = [
            piece if isinstance(piece, str) else self.chain(piece, draft)[0] for piece in parse_template(draft.text).pieces
        ]

        def filled(task: Any) -> str:
            return "".join(piece if isinstance(piece, str) else _as_text(piece(task)) for piece in pieces)

        return Expression(draft, "template", filled, TEXT)

    # -- chains

    def chain(self, chain: Chain, draft: Draft) -> tuple[Evaluate, Kind]:
        """An extractor with its steps, and the kind of what comes out."""
        source, kind = self._source(chain, draft)
        steps: list[tuple[Callable[[Any], Any], bool]] = []
        for step in chain.steps:
            apply, on_none, kind = self._step(step, kind, draft)
            steps.append((apply, on_none))
        if not steps:
            return source, kind
        if len(steps) == 1 and not steps[0][1]:
            (only, _) = steps[0]

            def one(task: Any) -> Any:
                value = source(task)
                return None if value is None else only(value)

            return one, kind

        def many(task: Any) -> Any:
            value = source(task)
            for apply, on_none in steps:
                if value is not None or on_none:
                    value = apply(value)
            return value

        return many, kind

    def _source(self, chain: Chain, draft: Draft) -> tuple[Evaluate, Kind]:
        words = self.vocabulary.extractors
        found = words.get(chain.name)
        if found is None:
            raise draft.fail(f"there is no extractor {chain.name!r}{did_you_mean(chain.name, words)}", chain.at)
        function = found.function
        values, named = self._fitted(function, chain, draft)
        try:
            kind = kind_of(found.returns if found.returns_of is None else found.returns_of(values))
        except ValueError as error:
            raise draft.fail(f"{chain.name}: {error}", _place(chain)) from None
        stage = found.stage if found.stage_of is None else found.stage_of(values)
        draft.needs_stage(stage, chain.name, chain.at)
        draft.asks_results |= stage in ("results", "score") and chain.name != "symbol"
        draft.is_foreign |= bool(found.place)
        if chain.name == "symbol":
            draft.symbols.add(str(values[0]))
        if not (values or named):
            return function, kind
        return (lambda task: function(task, *values, **named)), kind

    def _step(self, step: Step, kind: Kind, draft: Draft) -> tuple[Callable[[Any], Any], bool, Kind]:
        attributes = ATTRIBUTES.get(kind.item, {})
        found = self.vocabulary.transforms.get(step.name)
        if step.name in attributes and (step.is_attribute or found is None or not kind_of(found.takes).holds(kind)):
            return _attribute(step, kind, draft)
        if found is None:
            known = [*self.vocabulary.transforms, *attributes]
            raise draft.fail(f"there is no transform {step.name!r}{did_you_mean(step.name, known)}", step.at)
        draft.is_foreign |= bool(found.place)
        apply = self._applied(found, step, draft)
        taken = kind_of(found.takes)
        if not taken.holds(kind):
            raise draft.fail(f"{step.name} takes {taken}, and there is {kind}", step.at)
        if taken.is_list:
            if kind != UNKNOWN and not kind.is_list:
                raise draft.fail(f"{step.name} takes {taken}, and there is {kind}", step.at)
            result = kind_of(found.returns) if found.returns_of is None else found.returns_of(kind)
            return (apply if kind.is_list else _listed(apply)), found.on_none, result
        item = Kind(kind.item)
        result = kind_of(found.returns) if found.returns_of is None else found.returns_of(item)
        if found.takes is object:
            # It has a use for a list as a whole.
            return apply, found.on_none, kind if found.returns_of is not None and kind.is_list else result
        if kind.item is object and found.takes is str:
            apply = _of_text(apply)
        if kind.is_list:
            return _mapped(apply), found.on_none, Kind(result.item, is_list=True)
        return (_mapped_if_list(apply) if kind == UNKNOWN else apply), found.on_none, result

    def _applied(self, found: Transform, step: Step, draft: Draft) -> Callable[[Any], Any]:
        function = found.function
        values, named = self._fitted(found.prepare or function, step, draft, given=0 if found.prepare else 1)
        if found.prepare is not None:
            try:
                values, named = found.prepare(*values, **named), {}
            except ValueError as error:
                raise draft.fail(f"{step.name}: {error}", _place(step)) from None
        if found.wants_map:
            values = (self.table(str(values[0]), draft, _place(step)), *values[1:])
        if not (values or named):
            return function
        return lambda value: function(value, *values, **named)

    def table(self, name: str, draft: Draft, at: int) -> Table:
        """The map of this name."""
        found = self.maps.get(name)
        if found is None:
            raise draft.fail(f"there is no map {name!r}{did_you_mean(name, self.maps)}", at)
        return found

    @staticmethod
    def _fitted(
        function: Callable[..., Any], call: Chain | Step, draft: Draft, *, given: int = 1
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            return fitted(function, call.arguments, given=given)
        except ArgumentError as error:
            at = call.at if error.place is None else error.place
            raise ExpressionError(f"{call.name}: {error}", draft.text, at) from None


def _place(call: Chain | Step) -> int:
    return call.arguments.places[0] if call.arguments.places else call.at


def _attribute(step: Step, kind: Kind, draft: Draft) -> tuple[Callable[[Any], Any], bool, Kind]:
    if step.arguments != Arguments():
        raise draft.fail(f"{step.name} takes no arguments", step.at)
    name, annotation = ATTRIBUTES[kind.item][step.name]
    found = kind_of(annotation)

    def apply(value: Any) -> Any:
        return getattr(value, name)

    if kind.is_list:
        return _mapped(apply), False, Kind(found.item, is_list=True)
    return apply, False, found


def _mapped(apply: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def each(values: Any) -> list[Any] | None:
        return [made for value in values if value is not None and (made := apply(value)) is not None] or None

    return each


def _mapped_if_list(apply: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # What a rule file has not declared is looked at when it comes.
    each = _mapped(apply)

    def either(value: Any) -> Any:
        return each(value) if isinstance(value, list | tuple) else apply(value)

    return either


def _of_text(apply: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def of_text(value: Any) -> Any:
        return apply(value if value is None or isinstance(value, str) else str(value))

    return of_text


def _listed(apply: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def alone(value: Any) -> Any:
        values = list(value) if isinstance(value, list | tuple) else [value]
        return apply(values) if values else None

    return alone


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ",".join(map(_as_text, value))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
