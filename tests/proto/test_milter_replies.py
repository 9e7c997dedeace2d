"""Replies and their bytes, both ways, and as another implementation reads them; texts that are legal whatever they say."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kilter.protocol import messages as kilter
from kilter.protocol.buffer import SimpleBuffer

from filterd.proto.milter_frames import Frames, ProtocolError
from filterd.proto.milter_replies import (
    Accept,
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Continue,
    DeleteRecipient,
    Discard,
    HangUp,
    InsertHeader,
    Negotiate,
    Progress,
    Quarantine,
    Reject,
    ReplaceBody,
    Reply,
    ReplyCode,
    Shutdown,
    Skip,
    TempFail,
    parse_reply,
    render_reply,
    reply_code,
)

PAIRS: list[tuple[Reply, bytes]] = [
    (Negotiate(6, 0x3F, 0xFF080), b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x3f\0\x0f\xf0\x80"),
    (Continue(), b"\0\0\0\x01c"),
    (Accept(), b"\0\0\0\x01a"),
    (Reject(), b"\0\0\0\x01r"),
    (Discard(), b"\0\0\0\x01d"),
    (TempFail(), b"\0\0\0\x01t"),
    (Skip(), b"\0\0\0\x01s"),
    (Progress(), b"\0\0\0\x01p"),
    (Shutdown(), b"\0\0\0\x014"),
    (HangUp(), b"\0\0\0\x01f"),
    (ReplyCode("554", "5.7.1", ("no",)), b"\0\0\0\x0ey554 5.7.1 no\0"),
    (ReplyCode("451", "4.7.1", ("50%", "off")), b"\0\0\0\x1fy451-4.7.1 50%%\r\n451 4.7.1 off\0"),
    (AddHeader(b"X-A", b" 1"), b"\0\0\0\x08hX-A\0 1\0"),
    (InsertHeader(2, b"X-A", b"1"), b"\0\0\0\x0bi\0\0\0\x02X-A\x001\0"),
    (ChangeHeader(1, b"X-A", b""), b"\0\0\0\x0am\0\0\0\x01X-A\0\0"),
    (ChangeSender(b"<>"), b"\0\0\0\x04e<>\0"),
    (ChangeSender(b"<a@b>", b"RET=HDRS"), b"\0\0\0\x10e<a@b>\0RET=HDRS\0"),
    (AddRecipient(b"<a@b>"), b"\0\0\0\x07+<a@b>\0"),
    (AddRecipient(b"<a@b>", b"NOTIFY=NEVER"), b"\0\0\0\x142<a@b>\0NOTIFY=NEVER\0"),
    (DeleteRecipient(b"<a@b>"), b"\0\0\0\x07-<a@b>\0"),
    (ReplaceBody(b"a\0b"), b"\0\0\0\x04ba\0b"),
    (Quarantine(b"spam"), b"\0\0\0\x06qspam\0"),
]


@pytest.mark.parametrize(("reply", "data"), PAIRS, ids=repr)
def test_a_reply_and_its_bytes(reply: Reply, data: bytes) -> None:
    assert render_reply(reply) == data
    ((code, payload),) = Frames().feed(data)
    assert parse_reply(code, payload) == reply


KILTER: list[tuple[Reply, kilter.Message]] = [
    (Negotiate(6, 0x3F, 0xFF080), kilter.Negotiate(6, kilter.ActionFlags(0x3F), kilter.ProtocolFlags(0xFF080))),
    (Continue(), kilter.Continue()),
    (Accept(), kilter.Accept()),
    (Reject(), kilter.Reject()),
    (Discard(), kilter.Discard()),
    (TempFail(), kilter.TemporaryFailure()),
    (Skip(), kilter.Skip()),
    (Progress(), kilter.Progress()),
    (AddHeader(b"X-A", b" 1"), kilter.AddHeader("X-A", b" 1")),
    (InsertHeader(2, b"X-A", b"1"), kilter.InsertHeader(2, "X-A", b"1")),
    (ChangeHeader(1, b"X-A", b""), kilter.ChangeHeader(1, "X-A", b"")),
    (ChangeSender(b"<a@b>", b"RET=HDRS"), kilter.ChangeSender("<a@b>", "RET=HDRS")),
    (AddRecipient(b"<a@b>"), kilter.AddRecipient("<a@b>")),
    (AddRecipient(b"<a@b>", b"NOTIFY=NEVER"), kilter.AddRecipientPar("<a@b>", "NOTIFY=NEVER")),
    (DeleteRecipient(b"<a@b>"), kilter.RemoveRecipient("<a@b>")),
    (ReplaceBody(b"a\0b"), kilter.ReplaceBody(b"a\0b")),
    (Quarantine(b"spam"), kilter.Quarantine("spam")),
    (ReplyCode("554", "5.7.1", ("no",)), kilter.ReplyCode(b"554 5.7.1 no\0")),
]


@pytest.mark.parametrize(("reply", "theirs"), KILTER, ids=repr)
def test_others_write_the_same_bytes_and_read_ours(reply: Reply, theirs: kilter.Message) -> None:
    buffer = SimpleBuffer(4096)
    theirs.pack(buffer)
    assert buffer[:].tobytes() == render_reply(reply)
    message, _ = kilter.Message.unpack(buffer)
    message.freeze()
    assert repr(message) == repr(theirs)


def test_lines_of_a_text_are_lines_of_the_reply() -> None:
    made = reply_code("554", "5.7.1", "No.\r\nSee https://example.org/%41\n\n  Bye  \n")
    assert made.lines == ("No.", "See https://example.org/%41", "", "  Bye")
    assert render_reply(made)[5:] == (
        b"554-5.7.1 No.\r\n554-5.7.1 See https://example.org/%%41\r\n554-5.7.1 \r\n554 5.7.1   Bye\0"
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ("",)),
        ("tab\there\0", ("tab here",)),
        ("Grüße, 世界", ("Gr??e, ??",)),
        ("a\x0bb\x85c", ("a", "b", "c")),
        ("x" * 1000, ("x" * 470, "x" * 470, "x" * 60)),
        ("%" * 300, ("%" * 240, "%" * 60)),
        ("\n" * 40, ("",) * 31 + ("...",)),
    ],
)
def test_what_smtp_cannot_say_is_made_legal(text: str, lines: tuple[str, ...]) -> None:
    assert reply_code("554", "5.7.1", text).lines == lines


@given(st.text(max_size=2000))
def test_any_text_makes_a_legal_reply(text: str) -> None:
    made = reply_code("451", "4.7.1", text)
    ((code, payload),) = Frames().feed(render_reply(made))
    assert parse_reply(code, payload) == made
    sent = payload[:-1].replace(b"%%", b"%").split(b"\r\n")
    assert len(sent) <= 32
    assert all(re.fullmatch(rb"451[ -]4\.7\.1 [ -~]{0,500}", line) for line in sent)
    assert [line[3:4] for line in sent] == [b"-"] * (len(sent) - 1) + [b" "]
    assert max(map(len, payload.split(b"\r\n"))) <= 510


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (b"x", b""),
        (b"O", b"\0"),
        (b"y", b""),
        (b"y", b"250 2.0.0 fine\0"),
        (b"y", b"5x4 5.0.0 no\0"),
        (b"y", b"554-5.7.1 no\r\n451 4.7.1 no\0"),
        (b"h", b"X-A\0"),
        (b"i", b"\0\0\0\x01X-A\0"),
        (b"m", b"\0"),
        (b"e", b""),
        (b"+", b"a\0b\0"),
        (b"2", b"a\0b\0c\0"),
        (b"-", b""),
        (b"q", b""),
    ],
)
def test_what_is_no_reply_is_a_fault(code: bytes, payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_reply(code, payload)


@given(st.sampled_from([bytes([letter]) for letter in b"Ocardtsp4fyhime+2-bqx"]), st.binary(max_size=60))
def test_random_payloads_are_replies_or_faults(code: bytes, payload: bytes) -> None:
    try:
        reply = parse_reply(code, payload)
    except ProtocolError:
        return
    assert render_reply(reply)
