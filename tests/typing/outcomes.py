"""What type checkers must say about the two result shapes. Never run: mypy --strict and pyright read it.

Each ignore comment is an assertion as well: both checkers are told to complain about one that hides nothing.
"""

from typing import assert_type

from filterd.outcome import ErrorFirst, Failure, OkFirst


class Reply:
    content: bytes = b""


def the_idiom_needs_no_cast(outcome: ErrorFirst[Reply]) -> int:
    err, reply = outcome
    if err:
        assert_type(err.kind == "timeout", bool)
        return 0
    return len(reply.content)


def a_misspelt_attribute_is_found(outcome: ErrorFirst[Reply]) -> None:
    _, reply = outcome
    reply.contents  # type: ignore[union-attr] # pyright: ignore[reportAttributeAccessIssue]


def the_other_shape_likewise(outcome: OkFirst[list[str]]) -> list[str]:
    is_ok, addresses = outcome
    if not is_ok:
        return []
    addresses.push("")  # type: ignore[union-attr] # pyright: ignore[reportAttributeAccessIssue]
    return [address.lower() for address in addresses]


def unwrapping_gives_the_value_itself(first: ErrorFirst[Reply], second: OkFirst[int]) -> None:
    assert_type(first.unwrap(), Reply)
    assert_type(second.unwrap(), int)


def a_failure_is_text_with_facts(failure: Failure) -> None:
    assert_type(failure.upper(), str)
    assert_type(failure.elapsed, float)
    Failure("no kind")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
