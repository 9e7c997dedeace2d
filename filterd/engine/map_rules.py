"""Rules that the configuration makes of maps: a key of the message that stands in a map gives a symbol (Rspamd's multimap).

A line's value says more: a number is the weight of the hit; `OTHER_SYMBOL`, `OTHER_SYMBOL:2.5` or `OTHER_SYMBOL:2.5:one,two`
give another symbol, with these options. Without options of its own a hit has the key that was found as its option.

Promises: a value that means none of that is found when the map is read, an expression that cannot be right when the
configuration is; a rule with a condition runs after the rules whose symbols it names, and a condition over what is known only
when all have ended (the score, a group, a composite) is refused.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple

from filterd.engine.expressions import Compiler, Expression, ExpressionError
from filterd.engine.registry import Rule, make_rule
from filterd.mail.live_map import LiveMap
from filterd.mail.maps import Value
from filterd.task import Task

__all__ = ["BadExpression", "Finding", "MapRule", "finding_of", "rules_of", "value_fault"]

MAX_KEYS = 1000
"""Keys of one message that are looked up: a mail can have more links than that."""

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)"
_VALUE = re.compile(rf"(?P<weight>{_NUMBER})|(?P<symbol>\w*[^\W\d]\w*)(?::(?P<score>{_NUMBER})(?::(?P<options>.+))?)?")


@dataclass(frozen=True, slots=True)
class MapRule:
    """What `[maps.NAME]` says of its rule: `key` is a selector, `when` a condition, `file` where they stand."""

    name: str
    key: str
    symbol: str
    symbols: tuple[str, ...] = ()
    when: str | None = None
    score: float = 1.0
    group: str | None = None
    description: str | None = None
    file: str = ""


class Finding(NamedTuple):
    """What the value of a line means. `symbol` None is the map's own."""

    symbol: str | None
    weight: float
    options: tuple[str, ...]


def finding_of(value: Value) -> Finding | None:
    """None for a value that means nothing here."""
    if value is True:
        return Finding(None, 1.0, ())
    match = _VALUE.fullmatch(value)
    if match is None:
        return None
    options = tuple(word for part in (match["options"] or "").split(",") if (word := part.strip()))
    return Finding(match["symbol"], float(match["weight"] or match["score"] or 1.0), options)


def value_fault(rule: MapRule, value: str) -> str | None:
    """What is wrong with a line's value; None if it is well."""
    found = finding_of(value)
    if found is None:
        return f"{value!r} is no weight (2.5), no SYMBOL, SYMBOL:2.5 or SYMBOL:2.5:option,option"
    if found.symbol is not None and found.symbol not in (rule.symbol, *rule.symbols):
        return (
            f"{found.symbol} is neither the symbol of this map nor in its symbols ({', '.join((rule.symbol, *rule.symbols))})"
        )
    return None


class BadExpression(ValueError):
    """`field` of a map's rule is an expression that cannot be right."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def rules_of(rule: MapRule, live: LiveMap, compiler: Compiler, late: Collection[str] = ()) -> list[Rule]:
    """The rule that looks into the map, then a virtual symbol for each of `symbols`. `late` are the names of composites.

    Raises RegistrationError and BadExpression.
    """
    keys = _compiled(compiler, "key", rule.key, "selector")
    when = None if rule.when is None else _compiled(compiler, "when", rule.when, "condition")
    for field, expression in (("key", keys), ("when", when)):
        if expression is not None and (early := sorted(expression.symbols.intersection(late))):
            raise BadExpression(field, f"{early[0]} is a composite, known when all filters have ended, and this is one")
    others = [symbol for symbol in dict.fromkeys(rule.symbols) if symbol != rule.symbol]
    about: dict[str, Any] = {"group": rule.group, "score": rule.score}
    look = make_rule(
        rule.symbol,
        partial(_look, rule.symbol, keys, live),
        rule.file,
        0,
        description=rule.description,
        condition=when,
        after=sorted(keys.symbols | (frozenset() if when is None else when.symbols)),
        inline=True,
        **about,
    )
    return [
        look,
        *(make_rule(symbol, None, rule.file, 0, type="virtual", parent=rule.symbol, **about) for symbol in others),
    ]


def _compiled(compiler: Compiler, field: str, text: str, kind: Literal["selector", "condition"]) -> Expression:
    try:
        # It runs among the filters: what all of them have found is not known yet.
        return compiler.compile(text, kind, stage="results")
    except ExpressionError as error:
        raise BadExpression(field, str(error)) from None


def _look(symbol: str, keys_of: Expression, live: LiveMap, task: Task) -> None:
    for key in _keys(keys_of(task)):
        value = live.get(key)
        if value is not None and (found := finding_of(value)) is not None:
            task.insert_result(found.symbol or symbol, found.weight, *(found.options or (key,)))


def _keys(found: Any) -> list[str]:
    if found is None:
        return []
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        found = [found]
    # What is empty, as the null sender, is no key; what is there twice counts twice, as in Rspamd.
    return [key for one in islice(found, MAX_KEYS) if one is not None and (key := str(one))]
