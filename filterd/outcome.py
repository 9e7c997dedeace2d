"""What a call that leaves the process gives back: a pair, and a failure that explains itself.

Promises:

* `ErrorFirst` is `(error, value)` and `OkFirst` is `(is_ok, value)`. Both are plain pairs to unpack, compare and print, and
  both have `unwrap()` for authors who prefer exceptions.
* A `Failure` is a `str`, so that comparing it with a documented text works, and it carries what a person needs to act on
  it: the kind, the peer, the phase and the seconds spent.
"""

from typing import Any, Generic, Literal, NamedTuple, TypeVar

__all__ = ["ErrorFirst", "Failure", "Kind", "OkFirst", "RequestFailed"]

Kind = Literal["timeout", "dns", "connect", "tls", "closed", "protocol", "limit", "refused", "local", "cancelled", "server"]

T = TypeVar("T")


class Failure(str):
    """Why a call failed, as a sentence with its facts attached.

    `kind` is the class of failure, `peer` whom the call was for (`127.0.0.1:6379`, a host name, a unix path, or ""),
    `phase` what was being done (`dns`, `connect`, `tls`, `write`, `read`, …), `elapsed` the seconds spent until then and
    `partial` the bytes that had arrived before it failed.
    """

    __slots__ = ("elapsed", "kind", "partial", "peer", "phase")

    kind: Kind
    peer: str
    phase: str
    elapsed: float
    partial: bytes

    def __new__(
        cls, text: str, *, kind: Kind, peer: str = "", phase: str = "", elapsed: float = 0.0, partial: bytes = b""
    ) -> "Failure":
        # Without a text it would be false, and `if err:` would take it for a success.
        failure = super().__new__(cls, text or kind)
        failure.kind = kind
        failure.peer = peer
        failure.phase = phase
        failure.elapsed = elapsed
        failure.partial = partial
        return failure

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (str(self), self.kind, self.peer, self.phase, self.elapsed, self.partial)

    @property
    def detail(self) -> str:
        """The whole story in one line, for logs: the text, then whatever of kind, phase, peer and time it does not say."""
        text = str(self)
        told = [text if text.startswith(self.kind) else f"{self.kind}: {text}"]
        if self.phase and self.phase not in text and self.phase != self.kind:
            told.append(f"in phase {self.phase}")
        if self.peer and self.peer not in text:
            told.append(f"with {self.peer}")
        if self.elapsed and f"{self.elapsed:.2f} s" not in text:
            told.append(f"after {self.elapsed:.2f} s")
        return " ".join(told)


def _rebuild(text: str, kind: Kind, peer: str, phase: str, elapsed: float, partial: bytes) -> Failure:
    return Failure(text, kind=kind, peer=peer, phase=phase, elapsed=elapsed, partial=partial)


class RequestFailed(Exception):
    """Raised by `unwrap()`. Escaping from a rule it counts as an expected failure of that rule, not as a bug in it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class ErrorFirst(NamedTuple, Generic[T]):
    """`(None, value)` on success, `(Failure, None)` on failure."""

    # `T | Any`, not `T | None`: after `if err: return` a type checker cannot know that the value is set, and this union
    # lets the idiom pass while a misspelt attribute of T is still found.
    error: Failure | None
    value: T | Any

    def unwrap(self) -> T:
        """The value; raises RequestFailed where the call failed."""
        if self.error is not None:
            raise RequestFailed(self.error)
        value: T = self.value
        return value


class OkFirst(NamedTuple, Generic[T]):
    """`(True, value)` on success, `(False, Failure)` on failure."""

    is_ok: bool
    value: T | Any

    def unwrap(self) -> T:
        """The value; raises RequestFailed where the call failed."""
        outcome: Any = self.value
        if not self.is_ok:
            raise RequestFailed(outcome)
        value: T = outcome
        return value
