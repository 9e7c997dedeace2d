"""The two result shapes and the failure in them: what rules unpack, compare, print and unwrap."""

import copy
import pickle
from typing import Any

import pytest

from filterd.outcome import ErrorFirst, Failure, OkFirst, RequestFailed

REFUSED = Failure("Connection refused", kind="connect", peer="127.0.0.1:1", phase="connect", elapsed=0.25, partial=b"220 ")


def facts(failure: Failure) -> tuple[Any, ...]:
    return str(failure), failure.kind, failure.peer, failure.phase, failure.elapsed, failure.partial


def test_an_outcome_is_a_plain_pair() -> None:
    err, value = ErrorFirst(None, 42)
    is_ok, data = OkFirst(True, [1])
    assert (err, value) == (None, 42) == ErrorFirst(None, 42)
    assert (is_ok, data) == (True, [1]) == OkFirst(True, [1])
    assert tuple(ErrorFirst(REFUSED, None)) == ("Connection refused", None)


def test_a_failure_is_the_text_that_is_documented() -> None:
    assert REFUSED == "Connection refused"
    assert {"Connection refused": 1}[REFUSED] == 1
    assert f"{REFUSED}" == "Connection refused"
    assert isinstance(REFUSED, str)


@pytest.mark.parametrize("text", ["Connection refused", ""])
def test_a_failure_is_never_taken_for_a_success(text: str) -> None:
    failure = Failure(text, kind="connect")
    assert failure
    assert str(failure) == (text or "connect")


def test_facts_that_nobody_knows_are_empty() -> None:
    assert facts(Failure("x", kind="limit")) == ("x", "limit", "", "", 0.0, b"")


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, *(lambda one, n=n: pickle.loads(pickle.dumps(one, n)) for n in range(2, 6))]
)
def test_a_copy_has_the_same_facts(copied: Any) -> None:
    twin = copied(REFUSED)
    assert type(twin) is Failure
    assert facts(twin) == facts(REFUSED)


def test_a_failure_has_no_other_attributes() -> None:
    """A misspelt one would be set, and never read."""
    with pytest.raises(AttributeError):
        REFUSED.phases = "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("failure", "detail"),
    [
        (REFUSED, "connect: Connection refused with 127.0.0.1:1 after 0.25 s"),
        (Failure("no answer", kind="timeout", peer="::1", phase="read", elapsed=1.004),
         "timeout: no answer in phase read with ::1 after 1.00 s"),
        # What the text says is not said again.
        (Failure("timeout: read from ::1 after 1.00 s", kind="timeout", peer="::1", phase="read", elapsed=1.0),
         "timeout: read from ::1 after 1.00 s"),
        (Failure("dns", kind="dns", phase="dns"), "dns"),
        (Failure("too long", kind="limit"), "limit: too long"),
    ],
)  # fmt: skip
def test_the_detail_is_the_whole_story_in_one_line(failure: Failure, detail: str) -> None:
    assert failure.detail == detail


def test_unwrap_gives_the_value() -> None:
    assert ErrorFirst(None, 42).unwrap() == 42
    assert OkFirst(True, 42).unwrap() == 42


@pytest.mark.parametrize("value", [None, False, 0, b"", []])
def test_a_value_that_is_false_is_a_value(value: Any) -> None:
    assert ErrorFirst(None, value).unwrap() is value
    assert OkFirst(True, value).unwrap() is value


@pytest.mark.parametrize("outcome", [ErrorFirst(REFUSED, None), OkFirst(False, REFUSED)])
def test_unwrap_raises_the_failure(outcome: ErrorFirst[Any] | OkFirst[Any]) -> None:
    with pytest.raises(RequestFailed, match="Connection refused") as raised:
        outcome.unwrap()
    assert raised.value.failure is REFUSED
