"""What a rule's exception means to the person who must act on it."""

from collections.abc import Collection
from traceback import extract_tb
from types import TracebackType

from filterd.engine.loader import render, user_frames
from filterd.engine.registry import Rule
from filterd.mail.verdict import RuleFailure
from filterd.net.greenlets import Stop
from filterd.outcome import RequestFailed
from filterd.task import Task

__all__ = ["describe"]

_STEPS = {"connect": "connecting to", "tls": "in the TLS handshake with", "read": "reading from", "write": "writing to", "dns": "asking DNS for"}


def describe(error: BaseException, *, rule: Rule, scan: Task, files: Collection[str]) -> RuleFailure:
    """The failure of `rule`: a stop says what it was waiting for, a failed request whom it asked, a bug shows its traceback."""
    elapsed = scan.timings.get(rule.name, 0.0)
    where = _line(error.__traceback__, files) or rule.place
    if isinstance(error, Stop):
        doing = f" while {_STEPS.get(error.phase, error.phase)} {error.peer}".rstrip() if error.phase else ""
        return RuleFailure(
            rule.name, error.kind, f"{error.kind}: {error.reason}{doing}", where, error.phase, error.peer, elapsed
        )
    if isinstance(error, RequestFailed):
        failure = error.failure
        return RuleFailure(rule.name, failure.kind, failure.detail, where, failure.phase, failure.peer, elapsed)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return RuleFailure(
        rule.name, "exception", text, where, elapsed=elapsed, traceback=render(user_frames(error.__traceback__, files), error)
    )


def _line(traceback: TracebackType | None, files: Collection[str]) -> str | None:
    """`file:line` of the innermost frame that lies in a rule file."""
    for frame in reversed(extract_tb(traceback)):
        if frame.filename in files:
            return f"{frame.filename}:{frame.lineno}"
    return None
