"""What a request asks for in its `Settings` header: which rules run on this message.

Promises:

* With `symbols_enabled` or `groups_enabled` only what is listed runs, and rules flagged `explicit_disable`; what is in
  `symbols_disabled` and `groups_disabled` is taken away from that.
* A virtual symbol stands for the rule that inserts it.
* Text that cannot be read, or that is of another shape, is a SettingsError: the caller tells it and runs all rules.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from filterd.engine.registry import Rule
from filterd.proto.ucl import UclError, parse

__all__ = ["Choice", "SettingsError"]


class SettingsError(ValueError):
    """The text is no settings; says why."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Rules to run and not to run, by symbol and by group; None where nothing is said."""

    symbols_enabled: frozenset[str] | None = None
    symbols_disabled: frozenset[str] = frozenset()
    groups_enabled: frozenset[str] | None = None
    groups_disabled: frozenset[str] = frozenset()

    @classmethod
    def of(cls, text: str) -> "Choice":
        """The choice in UCL (or JSON) text; keys it does not know are left alone. Raises SettingsError."""
        try:
            read = parse(text)
        except UclError as error:
            raise SettingsError(str(error)) from None
        return cls(
            _names(read, "symbols_enabled"),
            _names(read, "symbols_disabled") or frozenset(),
            _names(read, "groups_enabled"),
            _names(read, "groups_disabled") or frozenset(),
        )

    def of_rules(
        self, rules: Iterable[Rule], *, parents: Mapping[str, str], groups: Mapping[str, Collection[str]]
    ) -> list[Rule]:
        """The rules that run. `parents` are those of virtual symbols, `groups` the groups of each symbol."""

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


def _names(settings: Mapping[str, Any], key: str) -> frozenset[str] | None:
    value = settings.get(key)
    if value is None:
        return None
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in listed):
        raise SettingsError(f"{key} is not a name or a list of names")
    return frozenset(listed)
