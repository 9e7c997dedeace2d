"""Composites: a symbol that stands for a condition over other symbols, and what becomes of those.

The semantics are Rspamd's. An atom of a composite that holds wants to hide its symbol and to drop its score, as `policy` says;
`~` before it keeps the symbol in sight, `-` leaves it as it is, `^` forces both.

Promises:

* A symbol loses what all composites that hold and name it want to take; one that forces it is enough. Atoms under a negation
  take nothing.
* Composites may be made of composites, in whatever order they are written; those that need themselves are found when the
  configuration loads.
* They are judged after the filters and again after the postfilters; one that looks at a postfilter's symbol only then, for
  `A & !B` would else hold too early.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from filterd.engine.expressions.expression import Context, Expression
from filterd.engine.settings import USUAL, Settings
from filterd.net.greenlets import Stop

__all__ = ["Composite", "CompositeError", "Composites", "Policy"]

Policy = Literal["default", "remove_all", "remove_weight", "remove_symbol", "leave"]
POLICIES: Final[tuple[str, ...]] = get_args(Policy)

# What is taken: (the symbol, its weight).
_TAKES: Final[Mapping[str, tuple[bool, bool]]] = {
    "default": (True, True),
    "remove_all": (True, True),
    "remove_symbol": (True, False),
    "remove_weight": (False, True),
    "leave": (False, False),
}


class CompositeError(ValueError):
    """Composites that need themselves; `name` is the one to look at first."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """One composite; `groups` are those its symbol is in."""

    name: str
    expression: Expression
    policy: Policy = "default"
    groups: tuple[str, ...] = ()


@dataclass(slots=True)
class _Wish:
    """What the composites that hold want of one symbol."""

    symbol: bool = True
    weight: bool = True
    is_forced: bool = False

    def add(self, *, symbol: bool, weight: bool, is_forced: bool) -> None:
        self.symbol &= symbol
        self.weight &= weight
        self.is_forced |= is_forced


class Composites:
    """All composites, in an order in which each comes after those it is made of."""

    def __init__(self, composites: Iterable[Composite] = (), *, late: Iterable[str] = ()) -> None:
        """`late` are the symbols of postfilters. Raises CompositeError."""
        self._all = _ordered({one.name: one for one in composites})
        waiting = set(late)
        for one in self._all:
            if not waiting.isdisjoint(one.expression.symbols):
                waiting.add(one.name)
        self._early = tuple(one for one in self._all if one.name not in waiting)

    def __len__(self) -> int:
        return len(self._all)

    def judge(
        self,
        task: Context,
        *,
        is_last: bool,
        settings: Settings = USUAL,
        on_error: Callable[[Composite, BaseException], object] | None = None,
    ) -> None:
        """Insert the composites that hold, then take from their members. `is_last` is the time after the postfilters.

        Those that `settings` leave out are left out. One whose expression raises does not hold, and `on_error` is told; without
        it the exception goes on.
        """
        results = task.results
        held: list[Composite] = []
        for one in self._all if is_last else self._early:
            if one.name in results.symbols or one.name in results.hidden:
                continue
            if settings is not USUAL and not _runs(one, settings):
                continue
            try:
                holds = one.expression(task)
            except (Exception, Stop) as error:
                # A Stop here is the CPU guard's: a word of a rule file has held the loop. Nothing here waits.
                if on_error is None:
                    raise
                on_error(one, error)
                continue
            if holds:
                results.insert(one.name)
                held.append(one)
        if held:
            for name, wish in _wishes(held, task).items():
                if name in results.symbols:
                    results.drop(name, symbol=wish.symbol or wish.is_forced, weight=wish.weight or wish.is_forced)


def _runs(composite: Composite, settings: Settings) -> bool:
    if composite.name in settings.symbols_disabled or not settings.groups_disabled.isdisjoint(composite.groups):
        return False
    if settings.symbols_enabled is None and settings.groups_enabled is None:
        return True
    return composite.name in (settings.symbols_enabled or ()) or not (settings.groups_enabled or frozenset()).isdisjoint(
        composite.groups
    )


def _wishes(held: Iterable[Composite], task: Any) -> dict[str, _Wish]:
    wishes: dict[str, _Wish] = {}
    for one in held:
        for atom in one.expression.atoms:
            if atom.is_negated:
                continue
            symbol, weight = _TAKES[one.policy]
            if "-" in atom.prefix:
                symbol = weight = False
            elif "~" in atom.prefix:
                symbol = False
            for name in atom.matched(task):
                # A group may have the composite itself in it.
                if name != one.name:
                    wishes.setdefault(name, _Wish()).add(symbol=symbol, weight=weight, is_forced="^" in atom.prefix)
    return wishes


def _ordered(composites: Mapping[str, Composite]) -> tuple[Composite, ...]:
    ordered: dict[str, Composite] = {}
    for name in composites:
        _visit(name, composites, ordered)
    return tuple(ordered.values())


def _visit(start: str, composites: Mapping[str, Composite], ordered: dict[str, Composite]) -> None:
    # Depth first without recursion: a chain may be as long as there are composites.
    path: list[str] = []
    stack: list[tuple[str, bool]] = [(start, False)]
    while stack:
        name, is_left = stack.pop()
        if is_left:
            path.pop()
            ordered[name] = composites[name]
        elif name in path:
            chain = " needs ".join([*path[path.index(name) :], name])
            raise CompositeError(name, f"composites need each other: {chain}")
        elif name not in ordered:
            path.append(name)
            stack.append((name, True))
            stack += [(need, False) for need in _needs(composites[name], composites, path)]


def _needs(composite: Composite, composites: Mapping[str, Composite], path: Collection[str]) -> Iterator[str]:
    yield from sorted(composite.expression.symbols & composites.keys())
    # A group is what happens to be in it: it asks for no order that there cannot be.
    for other in composites.values():
        if not composite.expression.groups.isdisjoint(other.groups) and other.name not in path:
            yield other.name
