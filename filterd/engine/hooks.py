"""Hooks: functions of rule files that belong to the worker and not to a message.

Promises:

* `@on_load`, `@periodic`, `@background` and `@on_finish` only leave a mark in the rule file, as `@rule` does; a function that
  cannot be called is refused with its file and line.
* A hook is called with the worker, or with nothing if it takes nothing.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from math import isfinite
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args, overload

from filterd.engine.registry import RegistrationError
from filterd.task import refuse_late

__all__ = ["HOOKS", "Hook", "HookScopeName", "WorkerInfo", "background", "collect_hooks", "on_finish", "on_load", "periodic"]

HOOKS = "__filterd_hooks__"
"""The name under which a rule file's module keeps its hooks, in the order they were marked."""

Kind = Literal["on_load", "periodic", "background", "on_finish", "spawned"]
HookScopeName = Literal["worker", "once"]
Restart = Literal["on-error", "always", "never"]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a hook gets: which of how many workers this is, `number` from 0."""

    number: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Hook:
    """A marked function; `file` and `line` are where. `seconds` and `jitter` are those of `@periodic`."""

    kind: Kind
    function: Callable[..., Any]
    takes_worker: bool
    file: str
    line: int
    seconds: float = 0.0
    jitter: float = 0.0
    scope: HookScopeName = "worker"
    restart: Restart = "on-error"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def title(self) -> str:
        """Its name in the log."""
        return f"{self.kind} {getattr(self.function, '__name__', self.function)}"

    def call(self, worker: WorkerInfo) -> Any:
        return self.function(worker) if self.takes_worker else self.function()


def collect_hooks(modules: Iterable[ModuleType]) -> list[Hook]:
    """The hooks of all rule files, in the order they stand in."""
    return [hook for module in modules for hook in getattr(module, HOOKS, ())]


def on_load(function: Function) -> Function:
    """Call it in each worker before the first message is accepted. It may ask others; if it raises, filterd does not start."""
    _mark("on_load", function)
    return function


def on_finish(function: Function) -> Function:
    """Call it when the worker ends and its last message is answered. It may ask others, for as long as the end may take."""
    _mark("on_finish", function)
    return function


def periodic(seconds: float, *, jitter: float = 0.0, scope: HookScopeName = "worker") -> Callable[[Function], Function]:
    """Call it every so many seconds, counted from its end to its next beginning, the first time after as many.

    `jitter` adds up to so many seconds each time, by chance. `scope` is "worker" for every worker, "once" for one of them. The
    function may return a number, the seconds from now on, or False, which ends it. What it raises is logged, and it is called
    again.
    """
    if callable(seconds):
        raise RegistrationError("@periodic without its seconds: write @periodic(60)")

    def marked(function: Function) -> Function:
        _mark("periodic", function, seconds=seconds, jitter=jitter, scope=scope)
        return function

    return marked


@overload
def background(function: Function) -> Function: ...
@overload
def background(*, scope: HookScopeName = "worker", restart: Restart = "on-error") -> Callable[[Function], Function]: ...
def background(function: Any = None, *, scope: HookScopeName = "worker", restart: Restart = "on-error") -> Any:
    """Call it when messages are accepted, and let it run beside them for good.

    `restart` is what is done when it ends: "on-error" starts it again if it raised, "always" also if it returned, "never" does
    not. The first new start comes after a second, the next ones after twice the time each, a minute at most.
    """

    def marked(function: Function) -> Function:
        _mark("background", function, scope=scope, restart=restart)
        return function

    return marked if function is None else marked(function)


def _mark(kind: Kind, function: Any, **settings: Any) -> None:
    frame = sys._getframe(2)
    while frame.f_globals.get("__name__") == __name__ and frame.f_back is not None:
        frame = frame.f_back
    refuse_late(f"@{kind} is used", frame)
    code = getattr(function, "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code else (frame.f_code.co_filename, frame.f_lineno)
    faults = [*_faults_of(function), *_faults_in(**settings)]
    if faults:
        raise RegistrationError(f"@{kind} {getattr(function, '__name__', function)}: {'; '.join(faults)}", f"{file}:{line}")
    hooks: list[Hook] = frame.f_globals.setdefault(HOOKS, [])
    hooks.append(Hook(kind, function, _takes(function, None), file, line, **settings))


def _faults_in(
    seconds: object = 1.0, jitter: object = 0.0, scope: object = "worker", restart: object = "never"
) -> Iterable[str]:
    if not _is_number(seconds) or not seconds > 0:  # type: ignore[operator]
        yield f"{seconds!r} is not a number of seconds above 0"
    if not _is_number(jitter) or jitter < 0:  # type: ignore[operator]
        yield f"jitter {jitter!r} is not a number of seconds"
    if scope not in get_args(HookScopeName):
        yield f"scope {scope!r} is not one of {', '.join(get_args(HookScopeName))}"
    if restart not in get_args(Restart):
        yield f"restart {restart!r} is not one of {', '.join(get_args(Restart))}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _faults_of(function: object) -> Iterable[str]:
    if not callable(function):
        yield f"{function!r} is no function"
    elif iscoroutinefunction(function) or isasyncgenfunction(function):
        yield "an async function would never run: write def, calls wait by themselves"
    elif isgeneratorfunction(function):
        yield "a function with yield would never run"
    elif not _takes(function) and not _takes(function, None):
        yield "it is called with the worker or with nothing, and takes neither"


def _takes(function: Callable[..., Any], *args: None) -> bool:
    try:
        signature(function).bind(*args)
    except TypeError:
        return False
    except ValueError:
        return True  # a function in C that does not tell
    return True
