"""Targets: the milter protocol, both sides of it, and what becomes of the commands and of a verdict."""

import random
from functools import partial

from filterd.mail.headers import find_header_end
from filterd.mail.verdict import Verdict
from filterd.proto import milter_replies
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
    code_of,
    parse_command,
)
from filterd.proto.milter_frames import frame
from filterd.proto.milter_message import Conversation
from filterd.proto.milter_options import Actions, Steps, Terms
from filterd.proto.milter_replies import parse_reply, reply_code
from filterd.proto.milter_verdict import Texts, answer
from filterd.proto.ucl import UclError, parse
from tests.fuzz.target import Target, in_pieces, pieces

__all__ = ["TARGETS"]

_OFFER = Negotiate(6, 0x1FF, 0x1FFFFF)
_CONVERSATION: tuple[Command, ...] = (
    _OFFER,
    Macros(b"C", ((b"j", b"mx.example"), (b"{daemon_name}", b"smtpd"))),
    Connect(b"client.example", b"4", 25, b"192.0.2.1"),
    Helo(b"client.example"),
    Macros(b"M", ((b"i", b"4FZ"), (b"{auth_authen}", b"doe"))),
    Mail(b"<a@b.example>", (b"SIZE=100", b"BODY=8BITMIME")),
    Rcpt(b"<c@d.example>", (b"NOTIFY=NEVER",)),
    Rcpt(b"<@r:e,f@g>"),
    Data(),
    Header(b"Subject", b" a\n b"),
    Header(b"X", b""),
    EndOfHeaders(),
    Body(b"hello\r\n"),
    EndOfMessage(b"more"),
    Mail(b"<>"),
    Abort(),
    QuitNewConnection(),
    Connect(b"[::1]", b"6", 0, b"IPv6:::1"),
    Connect(b"localhost", b"L", 0, b"/run/x"),
    Unknown(b"XYZ"),
    Quit(),
)
_REPLIES: tuple[milter_replies.Reply, ...] = (
    _OFFER,
    milter_replies.Negotiate(6, 1, 0, ((0, b"j {daemon_name}"), (5, b"i"))),
    milter_replies.Continue(),
    milter_replies.Progress(),
    reply_code("554", "5.7.1", "no\n100% é"),
    milter_replies.AddHeader(b"X", b"y"),
    milter_replies.InsertHeader(1, b"X", b"y\n z"),
    milter_replies.ChangeHeader(2, b"X", b""),
    milter_replies.ChangeSender(b"<a@b>", b"SIZE=1"),
    milter_replies.AddRecipient(b"<a@b>", b"NOTIFY=NEVER"),
    milter_replies.AddRecipient(b"<a@b>"),
    milter_replies.DeleteRecipient(b"<a@b>"),
    milter_replies.ReplaceBody(b"body"),
    milter_replies.Quarantine(b"why"),
    milter_replies.Accept(),
)
_WORDS = (
    *(render_command(command) for command in _CONVERSATION),
    *(b"\0\0\0\1", b"\0\0\0\5", b"\0", b"\xff\xff\xff\xff", b"\r\n", b"\n", b"GET ", b"<", b">", b",", b"4", b"6", b"{i}"),
)
_MAX_FRAME = 8192
_OF_PIECES = in_pieces(partial(FilterSide, max_frame=_MAX_FRAME), ProtocolError)


def _filter_side(data: bytes) -> object:
    outcome = _OF_PIECES(data)
    side = FilterSide(max_frame=_MAX_FRAME)
    told = Conversation(max_message=20_000, max_envelope=4000, max_fields=100, max_recipients=50)
    seen = 0
    try:
        for part in [*pieces(data), b""]:
            for command in side.feed(part):
                side.owes_reply(command)
                again = parse_command(code_of(command), render_command(command)[5:])
                assert again == command, (command, again)
                told.keeps_space = side.terms is not None and side.terms.keeps_space
                told.take(command)
                if isinstance(command, EndOfMessage):
                    seen += 1
                    _message(told)
                    told.reset()
    except ProtocolError as error:
        assert error.kind in ("protocol", "limit", "closed")
    _message(told)
    return outcome, min(seen, 3), told.refusal


def _message(told: Conversation) -> None:
    for name, values in told.headers.items():
        assert name == name.lower()
        for value in values:
            value.encode()
    told.queue_id.encode()
    raw = told.raw
    assert not (told.refusal and (raw or told.names))
    assert len(raw) <= told.max_message + 2
    assert len(told.names) <= told.max_fields
    if raw and told.names:
        end = find_header_end(raw, 0, len(raw))
        assert raw[end.body - 2 : end.body] == b"\r\n"
        assert end.is_found


def _made(dice: random.Random) -> bytes:
    """A conversation whose frames are whole, with something odd in the texts."""
    commands = [dice.choice(_CONVERSATION) if dice.random() < 0.3 else command for command in _CONVERSATION]
    odd = (b"\n", b"\r\n", b" ", b"\r", b":", b"\n\n", b"\xff", b"<", b",", b'"', b"\t", b"@a:")
    made = []
    for command in commands:
        payload = bytearray(render_command(command)[5:])
        if payload and dice.random() < 0.4 and not isinstance(command, Negotiate):
            at = dice.randrange(len(payload))
            payload[at:at] = dice.choice(odd) * dice.choice((1, 1, 2, 500))
        made.append(frame(code_of(command), bytes(payload)))
    return b"".join(made)


def _reply_parser(data: bytes) -> object:
    """The MTA's side, and that a reply that was read is written and read as the same."""
    outcome = in_pieces(partial(MtaSide, max_frame=_MAX_FRAME), ProtocolError)(data)
    try:
        for reply in MtaSide(max_frame=_MAX_FRAME).feed(data):
            if not isinstance(reply, milter_replies.ReplyCode):  # which a peer may write in more ways than we do
                rendered = render_reply(reply)
                again = parse_reply(rendered[4:5], rendered[5:])
                assert again == reply, (reply, again)
    except ProtocolError:
        pass
    return outcome


def _texts(data: bytes) -> object:
    """Any text as a reply is legal SMTP."""
    reply = reply_code("554", "5.7.1", data.decode("utf-8", "surrogateescape"))
    rendered = render_reply(reply)
    lines = rendered[5:-1].split(b"\r\n")
    assert 1 <= len(lines) <= 32
    for line in lines:
        assert len(line) <= 512
        assert line[:3] == b"554"
        assert line.decode("ascii").isprintable()
    read = parse_reply(rendered[4:5], rendered[5:])
    assert read == reply
    return len(lines)


_ACTIONS = ("add header", "no action", "rewrite subject", "reject", "soft reject", "quarantine", "discard", "greylist", "x")


def _verdict(data: bytes) -> object:
    """A reply object in UCL, NUL, then the names of the message's header fields in lines."""
    told, _, listed = data.partition(b"\0")
    table = parse(told.decode("utf-8", "surrogateescape"))
    names = [name.lower() for name in listed.split(b"\n")]
    subject = table.get("subject")
    verdict = Verdict(
        str(table.get("action", _ACTIONS[len(data) % len(_ACTIONS)])),
        1.0,
        None,
        milter=table,
        subject=subject if isinstance(subject, str) else None,
        messages={"smtp_message": listed.decode("utf-8", "replace")} if len(listed) % 2 else {},
        body=listed if len(data) % 3 == 0 else None,
    )
    granted = Actions(len(listed) * 37 % 512 if len(told) % 2 else 511)
    terms = Terms(6, granted, Steps.LEADING_SPACE if len(data) % 2 else Steps(0))
    made = answer(verdict, names, terms, Texts(quarantine_rejected=len(data) % 5 == 0))
    assert made.replies
    for undone in made.undone:
        undone.encode("utf-8", "replace")
    here = list(names)
    for reply in made.replies:
        rendered = render_reply(reply)
        assert len(rendered) <= 65536 + 5, (type(reply).__name__, len(rendered))
        (read,) = MtaSide().feed(rendered)
        assert read == reply
        if isinstance(reply, milter_replies.AddHeader | milter_replies.InsertHeader | milter_replies.ChangeHeader):
            assert reply.name
            assert not set(reply.name) & set(b"\r\n\0: ")
            assert not set(reply.value) & set(b"\r\0")
            assert all(line.startswith(b" ") for line in reply.value.split(b"\n")[1:])
        if len(names) > 200:
            continue  # looking for each place would take longer than what is tried here
        if isinstance(reply, milter_replies.ChangeHeader):
            # It meets the field that it means: an MTA would add what it does not find.
            places = [at for at, name in enumerate(here) if name == reply.name.lower()]
            assert 0 < reply.index <= max(len(places), 1)
            if not reply.value:
                del here[places[reply.index - 1]]
        elif isinstance(reply, milter_replies.InsertHeader | milter_replies.AddHeader):
            here.append(reply.name.lower())
    return [type(reply).__name__ for reply in made.replies[-3:]], len(made.undone)


TARGETS = (
    Target(
        "milter",
        _filter_side,
        (
            b"".join(map(render_command, _CONVERSATION)),
            b"".join(map(render_command, _CONVERSATION[:13])),
            render_command(Negotiate(2, 0x3F, 0x7F)) + render_command(Mail(b"a@b")) + render_command(EndOfMessage()),
        ),
        _WORDS,
        make=_made,
    ),
    Target(
        "milter-replies",
        _reply_parser,
        (b"".join(map(render_reply, _REPLIES)),),
        (*map(render_reply, _REPLIES), b"\0\0\0\1", b"\0", b"%%", b"\r\n", b"554-5.7.1 "),
    ),
    Target(
        "milter-texts",
        _texts,
        (b"no\nnever", b"100% \xc3\xa9\r\n"),
        (b"\n", b"%", b"\r", b"\0", b"\xff", b" "),
        largest=16 * 1024,
    ),
    Target(
        "milter-verdict",
        _verdict,
        (
            b'{"add_headers": {"X": "y", "Z": {"value": "a", "order": 1}, "W": ["a", "b"]}, "remove_headers": {"X": 0, "Y": [1, -1]},'
            b'"action": "add header"}\0x\ny\ny\nz',
            b'{"change_from": "a@b", "add_rcpt": ["c@d", "<e> NOTIFY=NEVER"], "del_rcpt": ["<f>"], "spam_header": {"X-S": "1"}, '
            b'"subject": "new", "action": "rewrite subject"}\0subject\nx',
            b'{"reject": "quarantine", "action": "reject"}\0x',
            b'{"no_action": true, "action": "greylist"}\0',
        ),
        (
            *(b'"remove_headers": {', b'"add_headers": {', b'"order": ', b'"value": ', b'"X"', b"-1", b"0", b"\\n", b"\\u0000"),
            *(b"\\r", b"1e300", b"{}", b"[]", b",", b":", b'"', b"\0", b"\n", b"x\n", b"\\ud800"),
        ),
        (UclError,),
        largest=128 * 1024,
    ),
)
