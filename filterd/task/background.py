"""Starting a function that runs beside the messages for as long as it likes: HAProxy's tasks."""

from collections.abc import Callable
from typing import Any

from filterd.task.scope import current

__all__ = ["spawn"]


def spawn(function: Callable[..., Any], *args: Any) -> None:
    """Run `function(*args)` beside the messages, in a scope of its own: no message waits for it, and it may outlive this one.

    From a rule or a hook, also where nothing may wait. It begins when messages are accepted, or in the next turn of the loop.
    What it raises is logged. Raises RuntimeError where none can be started: at the top level of a rule file, at the end of the
    worker, and while too many run.
    """
    scope = current()
    if scope is None:
        raise RuntimeError(
            "filterd.spawn was called outside of any rule or hook: at the top level of a rule file write @background "
            "above the function"
        )
    if not callable(function):
        raise TypeError(f"filterd.spawn: {function!r} is no function; its arguments follow it: spawn(function, 1, 2)")
    begin = scope.environment.background.begin
    if begin is None:
        raise RuntimeError("filterd.spawn: nothing runs beside the messages here")
    begin(function, args)
