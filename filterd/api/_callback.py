"""What all calls share: whose call it is, and the callback form made from the blocking one.

Promises:

* There is one implementation of each call, the blocking one. With `callback=` it runs in a child greenlet of the task's scope,
  and its outcome is handed to the callback there; the message waits for it. Lookups alone, of which a message has dozens, have
  no greenlet before their answer is there.
* A callback may take fewer arguments than it is offered, as in Lua.
* An exception in a callback is a failure of the rule that asked.
"""

from collections.abc import Callable
from inspect import CO_VARARGS, Parameter, signature
from types import FunctionType, MethodType
from typing import Any

from filterd.net.no_wait import refuse_now
from filterd.task import Scope, current, loading_modules

__all__ = ["later", "offer", "scope_of", "taken_by"]

_ALL = 1_000_000


def scope_of(task: Scope | None, call: str, *, waits: bool = True) -> Scope:
    """The scope a call belongs to: the one given, else the one that runs. `call` is its name for the error outside of all.

    One that `waits` raises WouldWait where nothing may wait, before it has done anything.
    """
    scope = current() if task is None else task
    if waits and (scope is not None or loading_modules.get() is None):
        refuse_now()
    if scope is None:
        raise RuntimeError(
            f"{call} was called outside of any rule: a rule file may only register at its top level; "
            "call it from a rule or a hook"
        )
    return scope


def later(scope: Scope, callback: Callable[..., Any], work: Callable[[], tuple[Any, ...]]) -> bool:
    """Run `work` in a child greenlet and offer what it returns to the callback; True, or False if it could not be started."""
    count = taken_by(callback)

    def run() -> None:
        callback(*work()[:count])

    return scope.start_later(run)


def offer(callback: Callable[..., Any], *args: Any) -> None:
    """Call it with as many of these as it takes."""
    callback(*args[: taken_by(callback)])


def taken_by(callback: Callable[..., Any]) -> int:
    """How many positional arguments it takes. A default is no reason to be left out: `def done(err, data=None)` gets both."""
    # A signature costs some 10 µs. What decorators leave on a function lies in its __dict__, and changes its signature.
    if type(callback) is FunctionType and not callback.__dict__:
        code = callback.__code__
        return _ALL if code.co_flags & CO_VARARGS else code.co_argcount
    if type(callback) is MethodType:
        # Without the self that is there already, even if it is one of *args.
        return taken_by(callback.__func__) - 1
    if not callable(callback):
        raise TypeError(f"callback= is no function: {callback!r}")
    try:
        parameters = signature(callback).parameters.values()
    except ValueError:  # a C function that does not tell
        return _ALL
    if any(one.kind is Parameter.VAR_POSITIONAL for one in parameters):
        return _ALL
    return sum(one.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for one in parameters)
