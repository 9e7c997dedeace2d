"""What a rule's exception means to the person who must act on it."""

from collections.abc import Collection, Mapping
from time import monotonic
from typing import Protocol

from filterd.engine.tracebacks import innermost_line, story, summary
from filterd.mail.verdict import RuleFailure
from filterd.net.greenlets import Stop
from filterd.net.guard import Held
from filterd.outcome import RequestFailed
from filterd.task import Deadline

__all__ = ["describe", "held_the_loop"]

_STEPS = {
    "connect": "connecting to",
    "tls": "in the TLS handshake with",
    "read": "reading from",
    "write": "writing to",
    "dns": "asking DNS for",
}


class Blamed(Protocol):
    """A rule, or an action of a stream."""

    @property
    def name(self) -> str: ...
    @property
    def place(self) -> str: ...


class Run(Protocol):
    """What it ran for."""

    @property
    def timings(self) -> Mapping[str, float]: ...
    @property
    def deadline(self) -> Deadline: ...


def describe(error: BaseException, *, rule: Blamed, scan: Run, files: Collection[str]) -> RuleFailure:
    """The failure of `rule`: a stop says what it was waiting for, a failed request whom it asked, a bug shows its traceback."""
    elapsed = scan.timings.get(rule.name)
    if elapsed is None:
        # A child of a rule that has not ended: what is known is when the message began.
        elapsed = monotonic() - (scan.deadline.end - scan.deadline.budget)
    where = innermost_line(error, files) or rule.place
    if isinstance(error, Stop):
        doing = f" while {_STEPS.get(error.phase, error.phase)} {error.peer}".rstrip() if error.phase else ""
        told = f"{error.kind}: {error.reason}{doing}"
        # Cut by the CPU guard: whoever is to repair it wants to know by which way it came there.
        stack = story(error, files) if error.kind == "limit" else ""
        return RuleFailure(rule.name, error.kind, told, where, error.phase, error.peer, elapsed, stack)
    if isinstance(error, RequestFailed):
        failure = error.failure
        return RuleFailure(rule.name, failure.kind, failure.detail, where, failure.phase, failure.peer, elapsed)
    return RuleFailure(rule.name, "exception", summary(error), where, elapsed=elapsed, traceback=story(error, files))


def held_the_loop(rule: Blamed, seconds: float, limit: float, held: Held | None = None) -> RuleFailure:
    """A rule that has ended by itself, after more than `limit` seconds in which nobody else got to run. `held` tells where."""
    if held is not None:
        seconds = held.seconds
    text = (
        f"limit: held the loop for {seconds:.2f} s (burst_timeout {limit:g} s) in code that could not be interrupted; "
        "its result counts"
    )
    if held is None:
        return RuleFailure(rule.name, "limit", text, rule.place, elapsed=seconds)
    return RuleFailure(rule.name, "limit", text, held.place, elapsed=seconds, traceback=f"Called by:\n{held.stack}")
