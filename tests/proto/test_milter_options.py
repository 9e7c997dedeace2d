"""Negotiation: what is wanted of what is offered, down to version 2."""

import pytest
from kilter.protocol import messages as kilter
from kilter.protocol.buffer import SimpleBuffer

from filterd.proto.milter_frames import ProtocolError, frame
from filterd.proto.milter_options import WANTED_MACROS, Actions, Negotiate, Stage, Steps, agree

POSTFIX = Negotiate(6, 0x1FF, 0x1FFFFF)
NET_MILTER = Negotiate(2, 0x3F, 0x7F)


def test_what_postfix_offers_is_used_in_full() -> None:
    terms = agree(POSTFIX)
    assert (terms.version, terms.actions, terms.lacking) == (6, Actions(0x1FF), [])
    assert [code for code in (b"C", b"H", b"M", b"R", b"T", b"U", b"L", b"N", b"B") if terms.owes_reply(code)] == []
    assert terms.keeps_space
    assert all(terms.may(action) for action in Actions)


def test_no_step_that_tells_something_is_left_out() -> None:
    told = Steps(0x7F) | Steps.REJECTED_RECIPIENTS
    assert not agree(POSTFIX).steps & told
    assert Steps.NO_UNKNOWN in agree(POSTFIX).steps


def test_version_2_answers_every_command_and_names_what_cannot_be_done() -> None:
    terms = agree(NET_MILTER)
    assert (terms.version, terms.actions, int(terms.steps)) == (2, Actions(0x3F), 0)
    assert all(terms.owes_reply(code) for code in (b"C", b"H", b"M", b"R", b"L", b"N", b"B"))
    assert terms.lacking == ["change sender"]
    assert not terms.keeps_space
    assert terms.answer == Negotiate(2, 0x3F, 0)


def test_what_is_not_offered_is_not_asked_for() -> None:
    terms = agree(Negotiate(6, 0x1, 0x80))
    assert terms.answer == Negotiate(6, 0x1, 0x80)
    assert not terms.may(Actions.QUARANTINE)
    assert terms.owes_reply(b"B")
    assert not terms.owes_reply(b"L")
    assert terms.lacking == [
        "change body",
        "add recipients",
        "delete recipients",
        "change headers",
        "quarantine",
        "change sender",
    ]


def test_only_negotiation_and_the_end_of_a_message_are_answered_always() -> None:
    terms = agree(POSTFIX)
    assert [code for code in (b"O", b"E", b"A", b"Q", b"K", b"D") if terms.owes_reply(code)] == [b"O", b"E"]


def test_a_newer_mta_is_answered_with_our_version() -> None:
    assert agree(Negotiate(8, 0xFFFF, 0xFFFFFFFF)).answer.version == 6


def test_version_1_is_refused() -> None:
    with pytest.raises(ProtocolError, match="milter version 1 is offered, 2 is the oldest spoken here"):
        agree(Negotiate(1, 0xF, 0x3F))


def test_macros_are_chosen_where_the_mta_lets_us() -> None:
    assert agree(POSTFIX).answer.macros == tuple((int(stage), names.encode()) for stage, names in WANTED_MACROS.items())
    assert Stage.END_OF_HEADERS not in WANTED_MACROS
    assert agree(Negotiate(6, 0xFF, 0)).answer.macros == ()


def test_the_answer_is_read_by_others_as_it_was_meant() -> None:
    answer = agree(POSTFIX).answer
    buffer = SimpleBuffer(4096)
    buffer[:] = frame(b"O", answer.payload())
    message, _ = kilter.Message.unpack(buffer)
    assert isinstance(message, kilter.Negotiate)
    assert (message.version, int(message.action_flags), int(message.protocol_flags)) == (6, answer.actions, answer.steps)
    assert {int(stage): " ".join(names) for stage, names in message.macros.items()} == {
        int(stage): names for stage, names in WANTED_MACROS.items()
    }


@pytest.mark.parametrize("offer", [POSTFIX, NET_MILTER, Negotiate(6, 1, 2, ((0, b"j v"), (5, b""))), agree(POSTFIX).answer])
def test_a_negotiation_survives_its_bytes(offer: Negotiate) -> None:
    assert Negotiate.parse(offer.payload()) == offer


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"\0" * 11, "a negotiation of 11 bytes, 12 are needed"),
        (POSTFIX.payload() + b"\0\0\0\x01j", "a list of macros without its end"),
        (POSTFIX.payload() + b"\0\0", "a list of macros without its end"),
    ],
)
def test_what_is_cut_off_is_a_fault(payload: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        Negotiate.parse(payload)
