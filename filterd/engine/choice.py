"""Which rules run, as usual and under settings, and which of their symbols are left out.

Promises:

* With `symbols_enabled` or `groups_enabled` only what is listed runs, and rules flagged `explicit_disable`; what is in
  `symbols_disabled` and `groups_disabled` is taken away from that.
* A virtual symbol stands for the rule that inserts it. A rule that runs for the sake of its virtual symbols alone leaves out
  its own and those that were not asked for.
* A rule with `settings_allow` runs, and a virtual symbol with it is inserted, only under those settings or if asked for by its
  name; with `settings_forbid` never under those. A rule flagged `explicit_enable` runs only if it is asked for by name.
* A rule with `requires=` runs only if all of those run.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from filterd.engine.registry import Rule
from filterd.engine.settings import USUAL, Settings

__all__ = ["Choice", "choose"]


class Choice(NamedTuple):
    """The rules in their order, and the symbols that are not inserted."""

    rules: tuple[Rule, ...]
    denied: frozenset[str]


def choose(
    rules: Collection[Rule], groups: Mapping[str, Collection[str]], settings: Settings = USUAL, id: str | None = None
) -> Choice:
    """What runs of these rules, virtual symbols among them. `groups` are those of each symbol, `id` the settings' name."""
    if settings.whitelist:
        return Choice((), frozenset())
    wishes = _Wishes(settings, id, groups)
    virtual: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.parent is not None:
            virtual.setdefault(rule.parent, []).append(rule)
    chosen: list[Rule] = []
    denied: set[str] = set()
    disabled = {rule.parent or rule.name for rule in rules if rule.name in settings.symbols_disabled}
    for rule in rules:
        if rule.parent is not None or rule.name in disabled:
            continue
        children = virtual.get(rule.name, ())
        if not wishes.runs(rule, children):
            continue
        chosen.append(rule)
        is_whole = wishes.wants(rule)
        if not is_whole:
            denied.add(rule.name)
        denied.update(child.name for child in children if not wishes.inserts(child, is_whole=is_whole))
    parents = {rule.name: rule.parent for rule in rules if rule.parent is not None}
    return Choice(tuple(_complete(chosen, parents)), frozenset(denied - settings.symbols.keys()))


class _Wishes:
    """What settings say about single rules and symbols."""

    def __init__(self, settings: Settings, id: str | None, groups: Mapping[str, Collection[str]]) -> None:
        self.id = id
        self.groups = groups
        self.named = settings.symbols_enabled or frozenset()
        self.groups_enabled = settings.groups_enabled or frozenset()
        self.groups_disabled = settings.groups_disabled
        is_selective = settings.symbols_enabled is not None or settings.groups_enabled is not None
        self.is_selective = is_selective and settings.policy != "implicit_allow"

    def asks(self, symbol: str) -> bool:
        return symbol in self.named or not self.groups_enabled.isdisjoint(self.groups.get(symbol, ()))

    def wants(self, rule: Rule) -> bool:
        """Is the rule wanted for its own sake?"""
        if not self.is_selective or rule.name in self.named or self.id in rule.settings_allow:
            return True
        return "explicit_disable" in rule.flags or self.asks(rule.name)

    def runs(self, rule: Rule, children: Iterable[Rule]) -> bool:
        if self.id in rule.settings_forbid or not self.groups_disabled.isdisjoint(self.groups.get(rule.name, ())):
            return False
        if (rule.settings_allow or "explicit_enable" in rule.flags) and self.id not in rule.settings_allow:
            return rule.name in self.named or any(child.name in self.named for child in children)
        return self.wants(rule) or any(self.asks(child.name) for child in children)

    def inserts(self, symbol: Rule, *, is_whole: bool) -> bool:
        if self.id in symbol.settings_forbid:
            return False
        if symbol.name in self.named or self.id in symbol.settings_allow:
            return True
        return not symbol.settings_allow and (is_whole or self.asks(symbol.name))


def _complete(chosen: list[Rule], parents: Mapping[str, str]) -> list[Rule]:
    """Without those that require what is not there, nor those that require these."""
    while True:
        names = {rule.name for rule in chosen}
        kept = [rule for rule in chosen if all(parents.get(need, need) in names for need in rule.requires)]
        if len(kept) == len(chosen):
            return kept
        chosen = kept
