"""Both sides of the milter protocol over a whole conversation: cut anywhere, in order, and as another implementation has it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kilter.protocol import FilterProtocol
from kilter.protocol import messages as kilter
from kilter.protocol.buffer import SimpleBuffer

from filterd.proto.milter import FilterSide, MtaSide, ProtocolError, render_command, render_reply
from filterd.proto.milter_commands import (
    Abort,
    Body,
    Command,
    Connect,
    Data,
    EndOfHeaders,
    EndOfMessage,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiate,
    Quit,
    QuitNewConnection,
    Rcpt,
    Unknown,
)
from filterd.proto.milter_replies import Accept, AddHeader, Continue, Reply

OFFER = Negotiate(6, 0x1FF, 0x1FFFFF)
TALK: list[Command] = [
    OFFER,
    Macros(b"C", ((b"j", b"mx.example.net"),)),
    Connect(b"a.example.org", b"4", 25, b"192.0.2.1"),
    Helo(b"a.example.org"),
    Macros(b"M", ((b"i", b"4X"),)),
    Mail(b"<a@example.org>"),
    Rcpt(b"<b@example.net>"),
    Data(),
    Header(b"Subject", b" one"),
    EndOfHeaders(),
    Body(b"Hi\r\n"),
    EndOfMessage(),
    Mail(b"<c@example.org>"),
    Abort(),
    Unknown(b"XYZZY"),
    QuitNewConnection(),
    Connect(b"b.example.org"),
    Quit(),
]
BYTES = b"".join(map(render_command, TALK))


def test_a_conversation_is_read() -> None:
    side = FilterSide()
    assert side.feed(BYTES) == TALK
    assert side.closed
    assert side.feed(b"anything") == []


@pytest.mark.parametrize("cut", range(1, len(BYTES)))
def test_it_does_not_matter_where_the_bytes_are_cut(cut: int) -> None:
    side = FilterSide()
    assert side.feed(BYTES[:cut]) + side.feed(BYTES[cut:]) == TALK


def test_byte_by_byte_gives_the_same() -> None:
    side = FilterSide()
    assert [command for byte in BYTES for command in side.feed(bytes([byte]))] == TALK


def test_it_is_known_whether_a_message_is_under_way() -> None:
    side = FilterSide()
    under_way = []
    for command in TALK:
        side.feed(render_command(command))
        under_way.append(side.in_message)
    assert under_way == [False] * 5 + [True] * 6 + [False, True, False, False, False, False, False]


def test_only_what_an_mta_waits_for_is_owed() -> None:
    side = FilterSide()
    assert not side.owes_reply(TALK[0])
    side.feed(BYTES)
    assert [command for command in TALK if side.owes_reply(command)] == [OFFER, EndOfMessage()]
    old = FilterSide()
    old.feed(render_command(Negotiate(2, 0x3F, 0x7F)))
    assert [type(command) for command in TALK if not old.owes_reply(command)] == [
        Macros,
        Macros,
        Abort,
        QuitNewConnection,
        Quit,
    ]


def test_a_new_negotiation_begins_anew() -> None:
    side = FilterSide()
    for command in (OFFER, Mail(b"<>"), Negotiate(2, 0x3F, 0x7F)):
        side.feed(render_command(command))
    assert side.terms is not None
    assert (side.terms.version, side.in_message) == (2, False)


@pytest.mark.parametrize(
    ("commands", "text"),
    [
        ([Helo(b"mx")], "the first command is b'H', not a negotiation"),
        ([OFFER, Rcpt(b"<b@example.net>")], "a recipient before a sender"),
        ([OFFER, Data()], "DATA before a sender"),
        ([OFFER, Header(b"A", b"b")], "a header before a sender"),
        ([OFFER, EndOfHeaders()], "the end of the headers before a sender"),
        ([OFFER, Body(b"x")], "a body before a sender"),
        ([OFFER, EndOfMessage()], "the end of a message before a sender"),
        ([OFFER, Mail(b"<>"), EndOfMessage(), Body(b"x")], "a body before a sender"),
        ([Negotiate(1, 0, 0)], "milter version 1 is offered, 2 is the oldest spoken here"),
    ],
)
def test_what_comes_out_of_order_is_a_fault_after_all_that_was_right(commands: list[Command], text: str) -> None:
    side = FilterSide()
    data = b"".join(map(render_command, commands))
    if len(commands) > 1:
        assert side.feed(data) == commands[:-1]
        data = b""
    with pytest.raises(ProtocolError, match=f"^{text}$"):
        side.feed(data)
    assert side.closed


def test_a_frame_too_long_is_a_fault_after_all_that_was_right() -> None:
    side = FilterSide(max_frame=100)
    assert side.feed(render_command(OFFER) + b"\xff\xff\xff\xffB") == [OFFER]
    assert side.fault is not None
    assert side.fault.kind == "limit"


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (render_command(OFFER)[:-1], "a command"),
        (render_command(OFFER) + render_command(Mail(b"<>")), "a message"),
    ],
)
def test_an_end_in_the_middle_is_told(data: bytes, where: str) -> None:
    side = FilterSide()
    side.feed(data)
    assert side.is_partial == (where == "a command")
    with pytest.raises(ProtocolError, match=f"the connection ended in the middle of {where}") as caught:
        side.feed(b"")
    assert caught.value.kind == "closed"


def test_an_end_between_two_messages_is_the_end() -> None:
    side = FilterSide()
    side.feed(render_command(OFFER))
    assert side.feed(b"") == []
    assert side.closed


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_random_bytes_raise_only_protocol_errors(pieces: list[bytes]) -> None:
    side, mta = FilterSide(max_frame=200), MtaSide(max_frame=200)
    side.feed(render_command(OFFER))
    for piece in pieces:
        with contextlib.suppress(ProtocolError):
            side.feed(piece)
        with contextlib.suppress(ProtocolError):
            mta.feed(piece)


@given(st.lists(st.sampled_from(TALK), max_size=12))
def test_commands_in_any_order_raise_only_protocol_errors(commands: list[Command]) -> None:
    side = FilterSide()
    try:
        found = side.feed(b"".join(map(render_command, commands)))
    except ProtocolError:
        found = []
    assert found == commands[: len(found)]


def test_the_mta_reads_replies_cut_anywhere() -> None:
    replies: list[Reply] = [AddHeader(b"X-A", b" 1"), Accept(), Continue()]
    data = b"".join(map(render_reply, replies))
    for cut in range(len(data)):
        mta = MtaSide()
        assert mta.feed(data[:cut]) + mta.feed(data[cut:]) == replies


def test_the_mta_gets_what_was_right_before_a_fault() -> None:
    mta = MtaSide()
    assert mta.feed(render_reply(Accept()) + b"\0\0\0\0") == [Accept()]
    with pytest.raises(ProtocolError, match="a frame without a command"):
        mta.feed(b"")


def test_another_filter_reads_our_mta_and_finds_our_answers_legal() -> None:
    """Kilter's state machine in our place: it reads the same commands, and lets what we answer pass."""
    commands = [command for command in TALK if not isinstance(command, QuitNewConnection | Unknown)]
    ours, theirs = FilterSide(), FilterProtocol()
    theirs_out = SimpleBuffer(10_000)
    buffer = SimpleBuffer(10_000)
    buffer[:] = b"".join(map(render_command, commands))
    found = ours.feed(buffer[:].tobytes())
    seen = []
    for event, command in zip(theirs.read_from(buffer), found, strict=True):
        seen.append(type(event).ident)
        if not ours.owes_reply(command):
            assert not theirs.needs_response(event)
            continue
        assert ours.terms is not None
        answer: Reply = ours.terms.answer if isinstance(command, Negotiate) else Accept()
        one = SimpleBuffer(2000)
        one[:] = render_reply(answer)
        message, _ = kilter.Message.unpack(one)
        theirs.write_to(theirs_out, message)  # type: ignore[arg-type]  # which of its messages it is, is what is tested
        message.release()
    assert seen == [render_command(command)[4] for command in found]
    assert MtaSide().feed(theirs_out[:].tobytes()) == [ours.terms.answer if ours.terms else None, Accept()]
