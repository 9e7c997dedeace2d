"""The counts of a client: what ends how, and that they add up."""

import pytest

from filterd.net.counters import Counters
from filterd.net.greenlets import Stop
from filterd.outcome import Failure, RequestFailed


@pytest.mark.parametrize(
    ("error", "timeouts", "errors"),
    [
        (RequestFailed(Failure("late", kind="timeout")), 1, 0),
        (RequestFailed(Failure("refused", kind="connect")), 0, 1),
        (Stop("the budget is over"), 1, 0),
        (Stop("nobody waits", "cancelled"), 0, 1),
        (KeyError("a bug"), 0, 1),
    ],
)
def test_a_timeout_is_not_an_error(error: BaseException, timeouts: int, errors: int) -> None:
    counters = Counters()
    counters.requests += 1
    counters.failed(error)
    assert (counters.timeouts, counters.errors, counters.in_flight) == (timeouts, errors, 0)


def test_what_has_not_ended_is_in_flight() -> None:
    counters = Counters()
    counters.requests += 3
    counters.replies += 1
    assert counters.as_dict() == {"requests": 3, "replies": 1, "errors": 0, "timeouts": 0, "in_flight": 2}
