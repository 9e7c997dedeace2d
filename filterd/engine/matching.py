"""Which messages settings are for: the conditions of `[settings.ID]`.

Promises:

* All conditions of an element must hold, or what its `expression` makes of them; of the values of one condition any. With
  `inverse` none of them may hold, and an expression must not.
* They are asked before the first rule runs: an expression that needs what rules find is refused, with the column.
* A condition that cannot be right is a SettingsError when the settings are read, naming the key; patterns are RE2's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from filterd.engine.expressions import Compiler, ExpressionError
from filterd.engine.matchers import CONDITIONS, Asked, Test
from filterd.engine.settings import KNOWN, Settings, SettingsError
from filterd.net.greenlets import Stop

__all__ = ["Element", "MatchFailed", "element", "element_of", "first_match"]


PRIORITIES = {"low": 1, "medium": 2, "high": 3}
_NO_CONDITIONS = ("apply", "expression", "id", "inverse", "priority", "whitelist")


@dataclass(frozen=True, slots=True)
class Element:
    """Settings with their name and the messages they are for: `test` None is nobody but who asks by name."""

    id: str
    settings: Settings
    test: Test | None = None
    priority: int = 1
    inverse: bool = False

    def matches(self, candidate: Asked) -> bool:
        """Whether they are for this message."""
        return self.test is not None and bool(self.test(candidate)) is not self.inverse


class MatchFailed(Exception):
    """The conditions of an element raised `reason`: the word of a rule file did."""

    def __init__(self, element: Element, reason: BaseException) -> None:
        super().__init__(f"settings.{element.id}: {reason}")
        self.element = element
        self.reason = reason


def first_match(elements: Iterable[Element], candidate: Asked, *, above: float = float("-inf")) -> Element | None:
    """The element for a message, of a sequence in the order of priority; only priorities `above` this one count.

    Raises MatchFailed.
    """
    for one in elements:
        if one.priority <= above:
            return None
        try:
            is_it = one.matches(candidate)
        except (Exception, Stop) as error:
            # A Stop here is the CPU guard's: a word of a rule file has held the loop. Nothing here waits.
            raise MatchFailed(one, error) from error
        if is_it:
            return one
    return None


def element(id: str, table: Mapping[str, Any], compiler: Compiler | None = None) -> Element:
    """An element from its table. Raises SettingsError for the first thing that is wrong."""
    problems: list[SettingsError] = []
    made = element_of(id, table, compiler or Compiler(), problems)
    if problems:
        raise problems[0]
    assert made is not None
    return made


def element_of(id: str, table: Mapping[str, Any], compiler: Compiler, problems: list[SettingsError]) -> Element | None:
    """The same, with everything that is wrong in `problems` and None where that is something."""
    before = len(problems)
    priority = table.get("priority", "low")
    is_number = isinstance(priority, int) and not isinstance(priority, bool)
    if not is_number and not (isinstance(priority, str) and priority in PRIORITIES):
        problems.append(SettingsError('priority: it is "low", "medium", "high" or a whole number'))
    try:
        settings = _settings(table)
    except SettingsError as error:
        problems.append(error)
        return None
    test = _test(table, compiler, problems)
    if len(problems) > before:
        return None
    name = table.get("id", id)
    return Element(
        str(name),
        settings,
        test,
        PRIORITIES[priority] if isinstance(priority, str) else priority,
        bool(table.get("inverse", False)),
    )


def _settings(table: Mapping[str, Any]) -> Settings:
    apply = table.get("apply", {})
    if not isinstance(apply, Mapping):
        raise SettingsError("apply is not a table")
    for key in apply.keys() - KNOWN:
        # A key of one's own is for one's own rules; one that looks like ours and is not would silently do nothing.
        if near := get_close_matches(key, KNOWN, 1, 0.8):
            raise SettingsError(f"apply.{key}: there is no such key; did you mean {near[0]!r}?")
    settings = Settings.of(apply)
    return Settings.of({"whitelist": True}).over(settings) if table.get("whitelist") else settings


def _test(table: Mapping[str, Any], compiler: Compiler, problems: list[SettingsError]) -> Test | None:
    tests: dict[str, Test] = {}
    for key, value in table.items():
        if key in _NO_CONDITIONS or value is None:
            continue
        condition = CONDITIONS.get(key)
        try:
            if condition is None:
                there_are = ", ".join([*CONDITIONS, "expression"])
                raise SettingsError(f"{key}: there is no such condition; there are {there_are}")
            tests |= condition(key, value, compiler)
        except ExpressionError as error:
            problems.append(SettingsError(f"{key}: {error.sentence}", error.picture))
        except SettingsError as error:
            problems.append(error)
        except ValueError as error:
            problems.append(SettingsError(f"{key}: {error}"))
    written = table.get("expression")
    if written is None:
        if not tests:
            return None
        # As in Rspamd: "not from here, nor by one of us" is what is meant by turning around two conditions.
        return _any_of(tuple(tests.values())) if table.get("inverse") else _all_of(tuple(tests.values()))
    try:
        if not isinstance(written, str):
            raise SettingsError(f"expression: {written!r} is not a text")
        expression = compiler.compile(written, "condition", stage="message", names=_named(tests))
    except ExpressionError as error:
        problems.append(SettingsError(f"expression: {error.sentence}", error.picture))
    except SettingsError as error:
        problems.append(error)
    else:
        return lambda candidate: expression(candidate.task)
    return None


def _all_of(tests: tuple[Test, ...]) -> Test:
    return tests[0] if len(tests) == 1 else lambda candidate: all(test(candidate) for test in tests)


def _any_of(tests: tuple[Test, ...]) -> Test:
    return lambda candidate: any(test(candidate) for test in tests)


def _named(tests: Mapping[str, Test]) -> Mapping[str, Test]:
    """The conditions by the names an expression may call them: `header:Mime-Version`, `header:mime_version`, `header:1`."""
    names: dict[str, Test] = {}
    counts: dict[str, int] = {}
    for key, test in tests.items():
        kind, colon, rest = key.partition(":")
        names[key] = test
        if colon:
            counts[kind] = counts.get(kind, 0) + 1
            names.setdefault(f"{kind}:{rest.lower().replace('-', '_')}", test)
            names.setdefault(f"{kind}:{counts[kind]}", test)
    return names
