"""`@action` and `@service`: functions of rule files that work on streams.

Promises: they only leave a mark in the rule file; one that cannot be right is refused with its file and line, and so is a name
that is there twice. Which of them run, and when, is said by the configuration (`[listen.NAME]`).
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from math import isnan
from types import ModuleType
from typing import Any, Literal, TypeVar

from filterd.engine.registry import RegistrationError
from filterd.task import refuse_late
from filterd.task.txn import STAGES, Stage

__all__ = ["ACTIONS", "Action", "action", "collect_actions", "service"]

ACTIONS = "__filterd_actions__"
"""The name under which a rule file's module keeps them, in the order they were marked."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True, eq=False)
class Action:
    """A marked function; `file` and `line` are where. `runs`, `errors` and `seconds` are its history."""

    name: str
    function: Callable[[Any], Any]
    stages: frozenset[Stage]
    timeout: float | None = None
    file: str = ""
    line: int = 0
    runs: int = field(default=0, repr=False)
    errors: int = field(default=0, repr=False)
    seconds: float = field(default=0.0, repr=False)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def kind(self) -> Literal["action", "service"]:
        return "service" if "tcp.service" in self.stages else "action"


def action(
    name: str, *, stages: str | Iterable[str] = ("tcp.request",), timeout: float | None = None
) -> Callable[[Function], Function]:
    """Mark a function as the action `name`, for the `accept`, `request`, `response` and `close` lists of a stream listener.

    It gets a Txn, and returns nothing: `txn.reject(text)`, `txn.drop()`, `txn.accept()`, `txn.stop()` and `txn.done()` decide.
    `stages` are those it can run in: tcp.accept (the client is known), tcp.request (`txn.req` can be read), tcp.response
    (`txn.res` can be read), tcp.close (it is over). All actions of a stage together have `inspect_delay` of the listener; one
    with a `timeout` has that many seconds of its own, and with `math.inf` as many as the connection.
    """
    _needs_a_name("action", name)
    wanted = frozenset(stages.replace(",", " ").split() if isinstance(stages, str) else stages)

    def marked(function: Function) -> Function:
        faults = [f"stage {one!r} is not one of {', '.join(STAGES)}" for one in sorted(wanted.difference(STAGES))]
        if not wanted:
            faults.append(f"it has no stage; there are {', '.join(STAGES)}")
        if timeout is not None and not _is_time(timeout):
            faults.append(f"timeout {timeout!r} is not a number of seconds above 0")
        _keep("action", name, function, wanted, timeout, faults)
        return function

    return marked


def service(name: str) -> Callable[[Function], Function]:
    """Mark a function as the service `name`, for the key `service` of a stream listener: it has the connection for itself.

    It gets a Txn, reads `txn.req`, answers with `txn.res.send`, and the connection ends when it returns.
    """
    _needs_a_name("service", name)

    def marked(function: Function) -> Function:
        _keep("service", name, function, frozenset({"tcp.service"}), None, [])
        return function

    return marked


def collect_actions(modules: Iterable[ModuleType]) -> tuple[dict[str, Action], list[RegistrationError]]:
    """The actions and services of all rule files by name, and an error for each name that is there twice."""
    found: dict[str, Action] = {}
    errors = []
    for module in modules:
        for one in getattr(module, ACTIONS, ()):
            have = found.setdefault(one.name, one)
            if have is not one:
                errors.append(RegistrationError(f"{one.kind} {one.name!r} is already registered at {have.place}", one.place))
    return found, errors


def _needs_a_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise RegistrationError(f'@{what} without a name: write @{what}("name")')


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not isnan(value) and value > 0


def _keep(what: str, name: str, function: Any, stages: frozenset[Any], timeout: float | None, faults: list[str]) -> None:
    code = getattr(function, "__code__", None)
    frame = sys._getframe(2)
    refuse_late(f"@{what}({name!r}) is used", frame)
    file, line = (code.co_filename, code.co_firstlineno) if code else (frame.f_code.co_filename, frame.f_lineno)
    if not name or not name.replace("-", "_").replace(".", "_").isidentifier():
        faults = ["a name consists of letters, digits, _, - and .", *faults]
    faults += _faults_of(function)
    if faults:
        raise RegistrationError(f"{what} {name!r}: {'; '.join(faults)}", f"{file}:{line}")
    kept: list[Action] = frame.f_globals.setdefault(ACTIONS, [])
    kept.append(Action(name, function, stages, timeout, file, line))


def _faults_of(function: Any) -> Iterator[str]:
    if not callable(function):
        yield f"{function!r} is no function"
    elif iscoroutinefunction(function) or isasyncgenfunction(function):
        yield "an async function would never run: write def, calls wait by themselves"
    elif isgeneratorfunction(function):
        yield "a function with yield would never run"
    else:
        try:
            signature(function).bind(None)
        except TypeError as error:
            yield f"it is called with one argument, the txn, and that does not fit: {error}"
        except ValueError:
            pass  # a function in C that does not tell
