"""What a message is judged by instead of the usual: which rules run, what they count, what their sum means.

Settings come with the request (`Settings` header, in UCL), by name (`Settings-ID`), or by what the message is (`[settings.ID]`
with conditions). They mean the same wherever they come from.

Promises:

* `scores` and `actions` go before the configuration's; an action that is null is disabled, one that nobody knew is made.
* A symbol that is injected and has no score counts as much as its weight says.
* Laid over others, settings say what both say; where they contradict each other the upper ones hold.
* Text that cannot be read, or that is of another shape, is a SettingsError: the caller tells it and judges without. What nobody
  here knows is kept for rules to read (`task.settings`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, Literal

from filterd.mail.results import Scoring, SymbolScore, action_name
from filterd.proto.ucl import UclError, parse

__all__ = ["KNOWN", "USUAL", "Settings", "SettingsError"]

Policy = Literal["default", "implicit_allow", "implicit_deny"]

_NAMES: Final = ("symbols_enabled", "symbols_disabled", "groups_enabled", "groups_disabled", "flags")
_POLICIES: Final = ("default", "implicit_allow", "implicit_deny")
_LARGEST: Final = 2.0**1000
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class SettingsError(ValueError):
    """These are no settings; says why, and for an expression shows where (`picture`)."""

    def __init__(self, text: str, picture: str = "") -> None:
        super().__init__(text)
        self.picture = picture


@dataclass(frozen=True, slots=True)
class Settings:
    """What is applied; None and empty is what is not said.

    `symbols` are inserted with the weight given and their `symbol_options`, `whitelist` answers "no action" without running a
    rule, `subject` is the template for rewritten subjects, `messages` are texts for the client by category, `add_headers` and
    `remove_headers` are for the MTA. `policy` "implicit_allow" lets run what is enabled besides the usual, not instead of it.
    """

    symbols_enabled: frozenset[str] | None = None
    symbols_disabled: frozenset[str] = frozenset()
    groups_enabled: frozenset[str] | None = None
    groups_disabled: frozenset[str] = frozenset()
    policy: Policy = "default"
    scores: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    actions: Mapping[str, float | None] = field(default_factory=lambda: _NOTHING)
    symbols: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    symbol_options: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NOTHING)
    add_headers: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    remove_headers: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    flags: frozenset[str] = frozenset()
    subject: str | None = None
    messages: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    whitelist: bool | None = None
    others: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @classmethod
    def of_text(cls, text: str) -> "Settings":
        """Settings in UCL or JSON, as a request brings them. Raises SettingsError."""
        try:
            return cls.of(parse(text))
        except UclError as error:
            raise SettingsError(str(error)) from None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Settings":
        """Settings as a table. Raises SettingsError."""
        if isinstance(table.get("apply"), Mapping):
            table = table["apply"]
        told: dict[str, Any] = {name: _names(table, name) for name in _NAMES if table.get(name) is not None}
        told |= {name: _table(table, name) for name in ("add_headers", "remove_headers") if name in table}
        told["others"] = {name: value for name, value in table.items() if name not in KNOWN}
        told["scores"] = _scores(table, told["others"])
        if "actions" in table:
            told["actions"] = {
                action_name(name): None if value is None or value is False else _number(value, f"actions.{name}")
                for name, value in _table(table, "actions").items()
            }
        if "symbols" in table:
            told["symbols"], told["symbol_options"] = _injected(table["symbols"])
        if table.get("subject") is not None:
            told["subject"] = str(table["subject"])
        if "messages" in table:
            told["messages"] = {name: str(text) for name, text in _table(table, "messages").items()}
        if table.get("whitelist") is not None:
            told["whitelist"] = bool(table["whitelist"])
        if (policy := table.get("policy")) is not None:
            if policy not in _POLICIES:
                raise SettingsError(f"policy is not one of {', '.join(_POLICIES)}")
            told["policy"] = policy
        return cls(**told)

    @classmethod
    def of_limits(cls, maxscore: str | None, softscore: str | None) -> "Settings":
        """What the request headers `Maxscore` and `Softscore` mean; USUAL where the first is no number."""
        actions = {}
        for action, text in (("reject", maxscore), ("add header", softscore)):
            try:
                limit = float(text or "")
            except ValueError:
                continue
            if isfinite(limit):
                actions[action] = limit
        return cls(actions=actions) if "reject" in actions else USUAL

    def over(self, lower: "Settings") -> "Settings":
        """These laid over others."""
        if lower is USUAL:
            return self
        if self is USUAL:
            return lower
        chooses = self.symbols_enabled is not None or self.groups_enabled is not None
        named, grouped = self.symbols_enabled or frozenset(), self.groups_enabled or frozenset()
        upper = self if chooses else lower
        return Settings(
            symbols_enabled=upper.symbols_enabled,
            groups_enabled=upper.groups_enabled,
            # What the upper ones ask for by name is not held back by the lower.
            symbols_disabled=self.symbols_disabled | (lower.symbols_disabled - named),
            groups_disabled=self.groups_disabled | (lower.groups_disabled - grouped),
            policy=lower.policy if self.policy == "default" else self.policy,
            flags=self.flags | lower.flags,
            subject=lower.subject if self.subject is None else self.subject,
            whitelist=lower.whitelist if self.whitelist is None else self.whitelist,
            **{name: {**getattr(lower, name), **getattr(self, name)} for name in _TABLES},
        )

    def as_table(self) -> dict[str, Any]:
        """What is said, for rules to read; what nobody here knows included."""
        said = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != getattr(USUAL, one.name)}
        said.pop("symbol_options", None)
        return {**said.pop("others", {}), **said}

    def of_scoring(self, scoring: Scoring) -> Scoring:
        """The scoring with these scores, thresholds and subject."""
        if not (self.scores or self.actions or self.subject or self.symbols):
            return scoring
        symbols = {**scoring.symbols}
        for name in self.symbols.keys() - symbols.keys():
            symbols[name] = SymbolScore(1.0)
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
    if isinstance(value, Mapping):
        return frozenset(value)
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str) for one in listed):
        raise SettingsError(f"{key} is not a name or a list of names")
    return frozenset(listed)


def _scores(table: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, float]:
    enabled = table.get("symbols_enabled")
    scores = {} if not isinstance(enabled, Mapping) else {name: one for name, one in enabled.items() if _is_number(one)}
    if "scores" in table:
        return scores | {name: _number(value, f"scores.{name}") for name, value in _table(table, "scores").items()}
    # Rspamd's older form: `{MISSING_DATE = 3}`.
    return scores | {name: float(value) for name, value in others.items() if _is_number(value)}


def _injected(value: Any) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(sorted(_names({"symbols": value}, "symbols")), 1.0), {}
    weights, options = {}, {}
    for name, one in value.items():
        if isinstance(one, Mapping):
            weights[name] = _number(one.get("score", 1.0), f"symbols.{name}.score")
            told = one.get("options", ())
            options[name] = tuple(map(str, told if isinstance(told, list | tuple) else (told,)))
        else:
            weights[name] = _number(one, f"symbols.{name}")
    return weights, options


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table[key]
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} is not a table")
    return value


def _is_number(value: object) -> bool:
    # Of whole numbers some are too large to be compared with others.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _number(value: object, key: str) -> float:
    if not _is_number(value):
        raise SettingsError(f"{key} is not a number")
    return float(value)  # type: ignore[arg-type]  # it is one


KNOWN: Final = frozenset({one.name for one in fields(Settings)} - {"symbol_options", "others"} | {"id", "name"})
_TABLES: Final = (
    "scores", "actions", "symbols", "symbol_options", "add_headers", "remove_headers", "messages", "others"
)  # fmt: skip

USUAL = Settings()
"""Settings that say nothing."""
