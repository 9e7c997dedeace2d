"""What a message is judged by instead of the usual: which rules run, what they count, what their sum means.

Settings come with the request (`Settings` header, in UCL), by name (`Settings-ID`), or by what the message is (`[settings.ID]`
with conditions). They mean the same wherever they come from.

Promises:

* With `symbols_enabled` or `groups_enabled` only what is listed runs, and rules flagged `explicit_disable`; what is in
  `symbols_disabled` and `groups_disabled` is taken away from that. A virtual symbol stands for the rule that inserts it.
* `scores` and `actions` go before the configuration's; an action that is null is disabled.
* Text that cannot be read, or that is of another shape, is a SettingsError: the caller tells it and judges as usual.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

from filterd.engine.registry import Rule
from filterd.mail.results import Scoring, SymbolScore, action_name
from filterd.proto.ucl import UclError, parse

__all__ = ["USUAL", "Settings", "SettingsError"]

_NAMES = ("symbols_enabled", "symbols_disabled", "groups_enabled", "groups_disabled", "flags")


class SettingsError(ValueError):
    """These are no settings; says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is applied; None and empty is what is not said.

    `symbols` are inserted with the weight given, `whitelist` answers "no action" without running a rule, `subject` is the
    template for rewritten subjects, `messages` are texts for the client by category, `add_headers` and `remove_headers` are for
    the MTA.
    """

    symbols_enabled: frozenset[str] | None = None
    symbols_disabled: frozenset[str] = frozenset()
    groups_enabled: frozenset[str] | None = None
    groups_disabled: frozenset[str] = frozenset()
    scores: Mapping[str, float] = field(default_factory=dict)
    actions: Mapping[str, float | None] = field(default_factory=dict)
    symbols: Mapping[str, float] = field(default_factory=dict)
    add_headers: Mapping[str, Any] = field(default_factory=dict)
    remove_headers: Mapping[str, Any] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    subject: str | None = None
    messages: Mapping[str, str] = field(default_factory=dict)
    whitelist: bool = False

    @classmethod
    def of_text(cls, text: str) -> "Settings":
        """Settings in UCL or JSON, as a request brings them. Raises SettingsError."""
        try:
            return cls.of(parse(text))
        except UclError as error:
            raise SettingsError(str(error)) from None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Settings":
        """Settings as a table; what it does not know is left alone, for clients may know more. Raises SettingsError."""
        if isinstance(table.get("apply"), Mapping):
            table = table["apply"]
        told: dict[str, Any] = {name: _names(table, name) for name in _NAMES if table.get(name) is not None}
        told |= {name: _table(table, name) for name in ("add_headers", "remove_headers") if name in table}
        if "scores" in table:
            told["scores"] = {name: _number(value, f"scores.{name}") for name, value in _table(table, "scores").items()}
        if "actions" in table:
            told["actions"] = {
                action_name(name): None if value is None or value is False else _number(value, f"actions.{name}")
                for name, value in _table(table, "actions").items()
            }
        if "symbols" in table:
            told["symbols"] = _weights(table["symbols"])
        if "subject" in table:
            told["subject"] = str(table["subject"])
        if "messages" in table:
            told["messages"] = {name: str(text) for name, text in _table(table, "messages").items()}
        if table.get("whitelist"):
            told["whitelist"] = True
        return cls(**told)

    def as_table(self) -> dict[str, Any]:
        """What is said, for rules to read."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != getattr(USUAL, one.name)}

    def of_rules(
        self, rules: Iterable[Rule], *, parents: Mapping[str, str], groups: Mapping[str, Collection[str]]
    ) -> list[Rule]:
        """The rules that run. `parents` are those of virtual symbols, `groups` the groups of each symbol."""
        if self.whitelist:
            return []

        def resolved(names: frozenset[str]) -> frozenset[str]:
            return frozenset(parents.get(name, name) for name in names)

        enabled = None if self.symbols_enabled is None else resolved(self.symbols_enabled)
        disabled = resolved(self.symbols_disabled)

        def runs(rule: Rule) -> bool:
            its_groups = groups.get(rule.name, ())
            if rule.name in disabled or not self.groups_disabled.isdisjoint(its_groups):
                return False
            if enabled is None and self.groups_enabled is None:
                return True
            if "explicit_disable" in rule.flags or (enabled is not None and rule.name in enabled):
                return True
            return self.groups_enabled is not None and not self.groups_enabled.isdisjoint(its_groups)

        return [rule for rule in rules if runs(rule)]

    def of_scoring(self, scoring: Scoring) -> Scoring:
        """The scoring with these scores, thresholds and subject."""
        if not (self.scores or self.actions or self.subject):
            return scoring
        symbols = {**scoring.symbols}
        for name, score in self.scores.items():
            symbols[name] = replace(symbols.get(name, SymbolScore()), score=score)
        changed = {name: limit for name, limit in self.actions.items() if limit is not None}
        kept = {name: limit for name, limit in scoring.thresholds.items() if name not in self.actions}
        disabled = frozenset(name for name, limit in self.actions.items() if limit is None)
        return replace(
            scoring,
            symbols=symbols,
            thresholds={**kept, **changed},
            disabled=disabled,
            subject=self.subject or scoring.subject,
        )


def _names(table: Mapping[str, Any], key: str) -> frozenset[str]:
    value = table[key]
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str) for one in listed):
        raise SettingsError(f"{key} is not a name or a list of names")
    return frozenset(listed)


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table[key]
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} is not a table")
    return value


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise SettingsError(f"{key} is not a number")
    return float(value)


def _weights(value: object) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {name: _number(weight, f"symbols.{name}") for name, weight in value.items()}
    return dict.fromkeys(sorted(_names({"symbols": value}, "symbols")), 1.0)


USUAL = Settings()
"""Settings that say nothing."""
