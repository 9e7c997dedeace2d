"""What a rule is, how a rule file marks one, and the set of all that were loaded.

Promises:

* `@rule` and `register_symbol` only leave a mark in the rule file; nothing happens until the loader collects it.
* A registration that cannot be right is refused with the file and line it stands in, and all of a file are.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import cleandoc, isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, isroutine, signature
from math import inf, isfinite
from types import FrameType
from typing import Any, Literal, TypeVar, get_args

from filterd.mail.results import SymbolScore
from filterd.task import Task, refuse_late

__all__ = ["MARKS", "OnError", "RegistrationError", "Registry", "Rule", "RuleType", "register_symbol", "rule", "virtual"]

RuleType = Literal["normal", "callback", "virtual", "prefilter", "postfilter", "idempotent"]
OnError = Literal["skip", "symbol", "tempfail"]
RuleFunction = Callable[[Task], Any]
Function = TypeVar("Function", bound=RuleFunction)

FLAGS = frozenset("coro fine nice empty mime nostat ignore_passthrough explicit_disable explicit_enable".split())
MARKS = "__filterd_marks__"
"""The name under which a rule file's module keeps its marks, in the order they were made; the loader puts it there."""


class RegistrationError(ValueError):
    """A rule that cannot be right; the text says which and why, `place` where (`file:line`)."""

    def __init__(self, text: str, place: str = "") -> None:
        super().__init__(text)
        self.place = place


@dataclass(slots=True, eq=False)
class Rule:
    """One registered rule; `file` and `line` are where. `seconds`, `runs`, `hits`, `errors` are its history."""

    name: str
    function: RuleFunction | None
    score: float = 0.0
    type: RuleType = "normal"
    priority: int = 0
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    settings_allow: frozenset[str] = frozenset()
    settings_forbid: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    description: str | None = None
    flags: frozenset[str] = frozenset()
    condition: Callable[[Task], Any] | None = None
    timeout: float | None = None
    burst_timeout: float | None = None
    on_error: OnError = "skip"
    one_shot: bool = False
    inline: bool = False
    parent: str | None = None
    file: str = ""
    line: int = 0
    runs: int = field(default=0, repr=False)
    hits: int = field(default=0, repr=False)
    errors: int = field(default=0, repr=False)
    seconds: float = field(default=0.0, repr=False)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def symbol_score(self) -> SymbolScore:
        """The score as the rule file has it; the configuration goes before it."""
        return SymbolScore(self.score, self.groups, self.description, self.one_shot)


def make_rule(
    name: str,
    function: RuleFunction | None,
    file: str,
    line: int,
    *,
    score: float = 0.0,
    type: str = "normal",
    priority: int = 0,
    after: str | Iterable[str] = (),
    requires: str | Iterable[str] = (),
    settings_allow: str | Iterable[str] = (),
    settings_forbid: str | Iterable[str] = (),
    group: str | None = None,
    groups: Iterable[str] | None = None,
    description: str | None = None,
    flags: str | Iterable[str] = "",
    condition: Callable[[Task], Any] | None = None,
    timeout: float | None = None,
    burst_timeout: float | None = None,
    on_error: str = "skip",
    one_shot: bool = False,
    inline: bool = False,
    parent: str | None = None,
) -> Rule:
    """A checked Rule; raises RegistrationError naming the rule and every argument that cannot be right."""
    words = _words(flags)
    faults = [
        *_faults_of_name(name),
        *_faults_of_kind(type, parent, function),
        *([] if condition is None else [f"condition: {fault}" for fault in _faults_of_function(condition)]),
        *([] if on_error in get_args(OnError) else [f"on_error {on_error!r} is not one of {', '.join(get_args(OnError))}"]),
        *(f"unknown flag {word!r}; there are {', '.join(sorted(FLAGS))}" for word in words if word not in FLAGS),
        *([] if _is_number(score) else [f"score {score!r} is not a number"]),
        *([] if _is_number(priority) and priority == int(priority) else [f"priority {priority!r} is not a whole number"]),
        *(
            f"{name_of} {seconds!r} is not a number of seconds above 0"
            for name_of, seconds in (("timeout", timeout), ("burst_timeout", burst_timeout))
            if seconds is not None and not _is_number(seconds, above=0)
        ),
    ]
    if faults:
        raise RegistrationError(f"rule {name!r}: {'; '.join(faults)}", f"{file}:{line}")
    all_groups = dict.fromkeys(([group] if group else []) + _words(groups or ()))
    if description is None and isroutine(function) and (text := cleandoc(function.__doc__ or "")):
        description = text.splitlines()[0]
    return Rule(
        name=name,
        function=function,
        score=float(score),
        type=type,  # type: ignore[arg-type]  # checked above
        priority=priority,
        after=tuple(dict.fromkeys([*([after] if isinstance(after, str) else after), *_words(requires)])),
        requires=tuple(_words(requires)),
        settings_allow=frozenset(_words(settings_allow)),
        settings_forbid=frozenset(_words(settings_forbid)),
        groups=tuple(all_groups),
        description=description,
        flags=frozenset(words),
        condition=condition,
        timeout=timeout,
        burst_timeout=burst_timeout,
        on_error=on_error,  # type: ignore[arg-type]  # checked above
        one_shot=one_shot,
        inline=inline,
        parent=parent,
        file=file,
        line=line,
    )


def _words(written: str | Iterable[str]) -> list[str]:
    return written.replace(",", " ").split() if isinstance(written, str) else list(written)


def _is_number(value: object, *, above: float = -inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > above


def _faults_of_name(name: object) -> Iterator[str]:
    if not isinstance(name, str) or not name or any(c.isspace() or c in "(){},;" for c in name):
        yield "a name is one word without blanks, brackets, commas or semicolons"


def _faults_of_kind(type: str, parent: str | None, function: object) -> Iterator[str]:
    if type not in get_args(RuleType):
        yield f"type {type!r} is not one of {', '.join(get_args(RuleType))}"
    elif type == "virtual":
        if parent is None:
            yield "a virtual symbol needs parent=, the rule that inserts it"
    else:
        if parent is not None:
            yield f"parent={parent!r} is for virtual symbols, and the type is {type!r}"
        yield from _faults_of_function(function)


def _faults_of_function(function: object) -> Iterator[str]:
    if not callable(function):
        yield f"{function!r} is no function"
    elif iscoroutinefunction(function) or isasyncgenfunction(function):
        yield "an async function would never run: write def, calls wait by themselves"
    elif isgeneratorfunction(function):
        yield "a function with yield would never run: return the result"
    else:
        try:
            signature(function).bind(None)
        except TypeError as error:
            yield f"it is called with one argument, the task, and that does not fit: {error}"
        except ValueError:
            pass  # a function in C that does not tell


def _site(depth: int) -> FrameType:
    """The line in the rule file that is being loaded; where shared code registers for it, the line that called that."""
    caller = sys._getframe(depth + 1)
    frame: FrameType | None = caller
    # Beyond an import there is another file, which has not asked for this.
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if MARKS in frame.f_globals:
            return frame
        frame = frame.f_back
    return caller


def _mark(name: str, function: RuleFunction | None, keywords: Mapping[str, Any]) -> None:
    site = _site(2)
    refuse_late(f"rule {name!r} is registered", site)
    marks = site.f_globals.setdefault(MARKS, [])
    try:
        marks.append(make_rule(name, function, site.f_code.co_filename, site.f_lineno, **keywords))
    except RegistrationError as error:
        marks.append(error)


def rule(
    name: str,
    *,
    score: float = 0.0,
    type: RuleType = "normal",
    priority: int = 0,
    after: str | Iterable[str] = (),
    requires: str | Iterable[str] = (),
    settings_allow: str | Iterable[str] = (),
    settings_forbid: str | Iterable[str] = (),
    group: str | None = None,
    groups: Iterable[str] | None = None,
    description: str | None = None,
    flags: str | Iterable[str] = "",
    condition: Callable[[Task], Any] | None = None,
    timeout: float | None = None,
    burst_timeout: float | None = None,
    on_error: OnError = "skip",
    one_shot: bool = False,
    inline: bool = False,
) -> Callable[[Function], Function]:
    """Mark a function as the rule `name`.

    The function gets the Task. It returns nothing, None or False for no hit; True or a number (a multiplier of the score) for a
    hit of its own symbol; or `(True or number, *options)`. `score` counts unless the configuration has one, `after` names rules
    that must have ended before, `requires` such without which it does not run, `settings_allow` and `settings_forbid` the names
    of settings under which alone and never it does; `priority` orders pre- and postfilters, `timeout` is in seconds from the
    rule's first wait on, `burst_timeout` how long it may compute without waiting (if not `limits.burst_timeout`), `on_error`
    is what its failure does: `skip` counts and logs it, `symbol` adds RULE_FAILED too, `tempfail` asks the MTA to try again.
    Several marks make several rules.
    """
    if callable(name):
        raise RegistrationError('@rule without a name: write @rule("NAME")')
    keywords = {key: value for key, value in locals().items() if key != "name"}

    def marked(function: Function) -> Function:
        _mark(name, function, keywords)
        return function

    return marked


def register_symbol(
    *,
    name: str,
    callback: RuleFunction | None = None,
    type: RuleType = "normal",
    parent: str | None = None,
    score: float = 0.0,
    priority: int = 0,
    after: str | Iterable[str] = (),
    requires: str | Iterable[str] = (),
    settings_allow: str | Iterable[str] = (),
    settings_forbid: str | Iterable[str] = (),
    group: str | None = None,
    groups: Iterable[str] | None = None,
    description: str | None = None,
    flags: str | Iterable[str] = "",
    condition: Callable[[Task], Any] | None = None,
    timeout: float | None = None,
    burst_timeout: float | None = None,
    on_error: OnError = "skip",
    one_shot: bool = False,
    inline: bool = False,
) -> None:
    """The same as `@rule`, as a call at the top level of a rule file: Rspamd's form."""
    keywords = {key: value for key, value in locals().items() if key not in ("name", "callback")}
    _mark(name, callback, keywords)


def virtual(
    name: str,
    *,
    parent: str,
    score: float = 0.0,
    group: str | None = None,
    groups: Iterable[str] | None = None,
    description: str | None = None,
    one_shot: bool = False,
    settings_allow: str | Iterable[str] = (),
    settings_forbid: str | Iterable[str] = (),
) -> None:
    """A symbol that the rule `parent` inserts, with a score of its own."""
    keywords = {key: value for key, value in locals().items() if key != "name"}
    _mark(name, None, {**keywords, "type": "virtual"})


class Registry:
    """The rules of one worker by name, in the order they were registered."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self.settings: dict[str, dict[str, Any]] = {}

    def register_settings_id(
        self,
        name: str,
        symbols_enabled: Iterable[str] | None = None,
        symbols_disabled: Iterable[str] = (),
        policy: str = "default",
    ) -> None:
        """Settings that a client can ask for by this name; the configuration's of the same name go before them."""
        if name in self.settings:
            raise RegistrationError(f"settings {name!r} are registered twice")
        enabled = {} if symbols_enabled is None else {"symbols_enabled": list(symbols_enabled)}
        self.settings[name] = {"apply": {**enabled, "symbols_disabled": list(symbols_disabled), "policy": policy}}

    def add(self, new: Rule) -> None:
        """Raises RegistrationError where the name is taken."""
        have = self.rules.get(new.name)
        if have is not None:
            raise RegistrationError(f"rule {new.name!r} is already registered at {have.place}")
        self.rules[new.name] = new

    def rule(self, name: str, **keywords: Any) -> Callable[[Function], Function]:
        """`@rule` for `def register(registry)`: registers at once."""

        def registered(function: Function) -> Function:
            self._add(name, function, keywords)
            return function

        return registered

    def register_symbol(self, *, name: str, callback: RuleFunction | None = None, **keywords: Any) -> None:
        """`register_symbol` for `def register(registry)`."""
        self._add(name, callback, keywords)

    def virtual(self, name: str, *, parent: str, **keywords: Any) -> None:
        """`virtual` for `def register(registry)`."""
        self._add(name, None, {**keywords, "type": "virtual", "parent": parent})

    def _add(self, name: str, function: RuleFunction | None, keywords: Mapping[str, Any]) -> None:
        refuse_late(f"rule {name!r} is registered", _site(2))
        site = _site(2)
        self.add(make_rule(name, function, site.f_code.co_filename, site.f_lineno, **keywords))

    def orphans(self) -> list[Rule]:
        """Virtual symbols whose parent does not exist or is virtual itself."""
        return [
            one for one in self.rules.values()
            if one.parent is not None and (one.parent not in self.rules or self.rules[one.parent].type == "virtual")
        ]  # fmt: skip
