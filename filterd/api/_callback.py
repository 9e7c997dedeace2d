"""What all calls share: whose call it is, and the callback form made from the blocking one.

Promises:

* There is one implementation of each call, the blocking one. With `callback=` it runs in a child greenlet of the task's scope,
  and its outcome is handed to the callback there; the message waits for it.
* A callback may take fewer arguments than it is offered, as in Lua.
* An exception in a callback is a failure of the rule that asked.
"""

from collections.abc import Callable
from inspect import Parameter, signature
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from filterd.task import Scope, current

__all__ = ["later", "offer", "scope_of"]

_takes: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_ANY = 1_000_000


def scope_of(task: Scope | None, call: str) -> Scope:
    """The scope a call belongs to: the one given, else the one that runs. `call` is its name for the error outside of all."""
    if task is not None:
        return task
    scope = current()
    if scope is None:
        raise RuntimeError(
            f"{call} was called outside of any rule: a rule file may only register at its top level; call it from a rule or a hook"
        )
    return scope


def later(scope: Scope, callback: Callable[..., Any], work: Callable[[], tuple[Any, ...]]) -> bool:
    """Run `work` in a child greenlet and offer what it returns to the callback; True, or False if it could not be started."""
    count = _taken_by(callback)

    def run() -> None:
        callback(*work()[:count])

    return scope.start_later(run)


def offer(callback: Callable[..., Any], *args: Any) -> None:
    """Call it with as many of these as it takes."""
    callback(*args[: _taken_by(callback)])


def _taken_by(callback: Callable[..., Any]) -> int:
    # Looked up once per function: a signature costs some 10 µs. A closure made per message shares its code object.
    key = callback.__code__ if type(callback) is FunctionType else None
    if key is None:
        return _positional(callback)
    count = _takes.get(key)
    if count is None:
        count = _takes[key] = _positional(callback)
    return count


def _positional(callback: Callable[..., Any]) -> int:
    try:
        parameters = signature(callback).parameters.values()
    except (TypeError, ValueError):  # a C function that does not tell
        return _ANY
    if any(one.kind is Parameter.VAR_POSITIONAL for one in parameters):
        return _ANY
    return sum(one.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for one in parameters)
