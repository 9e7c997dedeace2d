"""What a client has done so far: requests, replies, errors, timeouts, and how many are under way.

Promises: requests = replies + errors + timeouts + in_flight at any moment, and a timeout is not an error.
"""

from filterd.net.greenlets import Stop
from filterd.outcome import RequestFailed

__all__ = ["Counters"]


class Counters:
    """The four counts of one client; they only grow.

    Whoever sends counts `requests` at the beginning and in the end one of the others: `replies`, or whatever `failed` finds.
    """

    __slots__ = ("errors", "replies", "requests", "timeouts")

    def __init__(self) -> None:
        self.requests = 0
        self.replies = 0
        self.errors = 0
        self.timeouts = 0

    @property
    def in_flight(self) -> int:
        """Requests that have not ended yet."""
        return self.requests - self.replies - self.errors - self.timeouts

    def failed(self, error: BaseException) -> None:
        """Count a request that ended with this exception. One cut off by its budget (`Stop`) timed out."""
        if isinstance(error, RequestFailed):
            kind: str = error.failure.kind
        else:
            kind = error.kind if isinstance(error, Stop) else ""
        if kind == "timeout":
            self.timeouts += 1
        else:
            self.errors += 1

    def as_dict(self) -> dict[str, int]:
        """All five by name, for display."""
        return {
            "requests": self.requests,
            "replies": self.replies,
            "errors": self.errors,
            "timeouts": self.timeouts,
            "in_flight": self.in_flight,
        }
