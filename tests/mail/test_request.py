"""What the front doors hand to the engine."""

from dataclasses import FrozenInstanceError

import pytest

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import Overloaded, ScanRequest


def test_a_request_is_a_message_and_its_envelope_and_does_not_change() -> None:
    request = ScanRequest(Message(b""), Envelope.of(helo="x"), door="http", peer="192.0.2.1:4711")
    assert (request.message.size, request.envelope.helo, request.door, request.peer) == (0, "x", "http", "192.0.2.1:4711")
    with pytest.raises(FrozenInstanceError):
        request.door = "milter"  # type: ignore[misc]


def test_a_door_must_tell_no_more_than_message_and_envelope() -> None:
    request = ScanRequest(Message(b""), Envelope.of())
    assert (request.door, request.peer) == ("", "")


def test_overload_says_why() -> None:
    assert str(Overloaded("try again later")) == "try again later"
