"""Code that must not wait: while it runs, whatever would wait raises instead, and nothing else has run meanwhile.

gevent calls `switch_out` of a greenlet before it waits, whatever it waits for: a sleep, a socket, a lock, another greenlet.
"""

import sys
from collections.abc import Callable
from linecache import getline
from types import FrameType, TracebackType
from typing import Any

from gevent import getcurrent

from filterd.net.greenlets import Runner, running

__all__ = ["WouldWait", "no_wait", "refuse_now", "told_wait"]

RULE_FILES = "filterd_rules."
_OURS = ("filterd.", "gevent.", "greenlet.")


class WouldWait(RuntimeError):
    """Code that must not wait was about to."""


class no_wait:
    """`with no_wait(text):` whatever would wait in the block raises WouldWait with the text that `text()` gives."""

    __slots__ = ("_before", "_current", "_text")

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text

    def __enter__(self) -> None:
        current: Any = getcurrent()
        self._current = current
        # Most greenlets have a method of that name below, a runner has a slot.
        self._before = current.switch_out if isinstance(current, Runner) else vars(current).get("switch_out")
        current.switch_out = self._refuse

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._before is not None or isinstance(self._current, Runner):
            self._current.switch_out = self._before
        else:
            del self._current.switch_out

    def _refuse(self) -> None:
        raise WouldWait(self._text())


def refuse_now() -> None:
    """Raises WouldWait where nothing may wait: for a call that would wait later, when half of its work is done."""
    current: Any = getcurrent()
    refuse = current.switch_out if type(current) is Runner else getattr(current, "__dict__", {}).get("switch_out")
    if refuse is not None:
        refuse()


def told_wait() -> str:
    """Who is about to wait, by which call: `look (/etc/filterd/rules/a.py:12) calls dns.request("…") (rule A)`."""
    runner = running()
    name = getattr(None if runner is None else runner.job, "name", None)
    whose = f" ({name})" if name else ""
    frame = _users_frame()
    if frame is None:
        return f"a call{whose}"
    code = frame.f_code
    line = getline(code.co_filename, frame.f_lineno).strip()
    return f"{code.co_name} ({code.co_filename}:{frame.f_lineno}) would wait in `{line or '?'}`{whose}"


def _users_frame() -> FrameType | None:
    """The innermost frame of a rule file; else of what is neither ours nor gevent's."""
    frame: FrameType | None = sys._getframe(2)
    other = None
    while frame is not None:
        name = f"{frame.f_globals.get('__name__')}."
        if name.startswith(RULE_FILES):
            return frame
        if other is None and not name.startswith(_OURS):
            other = frame
        frame = frame.f_back
    return other
