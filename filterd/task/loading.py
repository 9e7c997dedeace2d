"""Whether rule files are still being loaded: what they register, they register then, and at no other time.

Promises: who registers later is told so, with the line and what to do instead; nothing is left half registered.
"""

from collections.abc import MutableMapping
from types import FrameType
from typing import Any

from filterd.task.scope import current

__all__ = ["LateRegistration", "has_loaded", "refuse_late"]

LOADED = "__filterd_loaded__"


class LateRegistration(RuntimeError):
    """Something was to be registered when all was loaded."""


def has_loaded(names: MutableMapping[str, Any]) -> None:
    """The module with these names has been loaded."""
    names[LOADED] = True


def refuse_late(what: str, frame: FrameType) -> None:
    """Raises LateRegistration if the frame, which registers `what`, runs when its file was loaded, or in a rule or hook."""
    scope = current()
    if scope is None and LOADED not in frame.f_globals:
        return
    raise LateRegistration(
        f"{what} at {frame.f_code.co_filename}:{frame.f_lineno}, "
        + (f"called while {scope.title} runs" if scope is not None else "called after its file was loaded")
        + ": only the top level of a rule file registers, while it is loaded. Move it there; what is to run beside the "
        "messages from now on is started with filterd.spawn(function)"
    )
