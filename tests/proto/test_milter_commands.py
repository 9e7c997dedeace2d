"""Commands and their bytes, both ways, and as another implementation reads them."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kilter.protocol import messages as kilter
from kilter.protocol.buffer import SimpleBuffer

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
    render_command,
)
from filterd.proto.milter_frames import Frames, ProtocolError

PAIRS: list[tuple[Command, bytes]] = [
    (Negotiate(6, 0x1FF, 0x1FFFFF), b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff"),
    (Macros(b"C", ((b"j", b"mx.example.org"), (b"{if_addr}", b""))), b"\0\0\0\x1eDCj\0mx.example.org\0{if_addr}\0\0"),
    (Macros(b"M"), b"\0\0\0\x02DM"),
    (Connect(b"a.example.org", b"4", 25, b"192.0.2.1"), b"\0\0\0\x1cCa.example.org\x004\0\x19192.0.2.1\0"),
    (Connect(b"a.example.org", b"6", 25, b"2001:db8::1"), b"\0\0\0\x1eCa.example.org\x006\0\x192001:db8::1\0"),
    (Connect(b"localhost", b"L", 0, b"/run/x.sock"), b"\0\0\0\x1aClocalhost\0L\0\0/run/x.sock\0"),
    (Connect(b"localhost"), b"\0\0\0\x0cClocalhost\0U"),
    (Helo(b"mx.example.org"), b"\0\0\0\x10Hmx.example.org\0"),
    (Mail(b"<a@example.org>", (b"SIZE=10", b"BODY=8BITMIME")), b"\0\0\0\x27M<a@example.org>\0SIZE=10\0BODY=8BITMIME\0"),
    (Mail(b"<>"), b"\0\0\0\x04M<>\0"),
    (Rcpt(b"<b@example.net>"), b"\0\0\0\x11R<b@example.net>\0"),
    (Data(), b"\0\0\0\x01T"),
    (Unknown(b"XYZZY"), b"\0\0\0\x07UXYZZY\0"),
    (Header(b"Subject", b" one\n two"), b"\0\0\0\x13LSubject\0 one\n two\0"),
    (Header(b"X-Empty", b""), b"\0\0\0\x0aLX-Empty\0\0"),
    (EndOfHeaders(), b"\0\0\0\x01N"),
    (Body(b"a\0b\r\n"), b"\0\0\0\x06Ba\0b\r\n"),
    (EndOfMessage(), b"\0\0\0\x01E"),
    (EndOfMessage(b"rest\r\n"), b"\0\0\0\x07Erest\r\n"),
    (Abort(), b"\0\0\0\x01A"),
    (Quit(), b"\0\0\0\x01Q"),
    (QuitNewConnection(), b"\0\0\0\x01K"),
]


@pytest.mark.parametrize(("command", "data"), PAIRS, ids=repr)
def test_a_command_and_its_bytes(command: Command, data: bytes) -> None:
    assert render_command(command) == data
    ((code, payload),) = Frames().feed(data)
    assert parse_command(code, payload) == command
    assert code_of(command) == code


KILTER: list[tuple[Command, kilter.Message]] = [
    (
        Negotiate(6, 0x1FF, 0x1FFFFF, ((0, b"j v"), (2, b"i"))),
        kilter.Negotiate(
            6,
            kilter.ActionFlags(0x1FF),
            kilter.ProtocolFlags(0x1FFFFF),
            {kilter.Stage.CONNECT: ["j", "v"], kilter.Stage.ENVELOPE_FROM: ["i"]},
        ),
    ),
    (Macros(b"M", ((b"i", b"4X"), (b"{auth_authen}", b"ann"))), kilter.Macro(ord("M"), {"i": "4X", "{auth_authen}": "ann"})),
    (Connect(b"a.example.org", b"4", 25, b"192.0.2.1"), kilter.Connect("a.example.org", ip_address("192.0.2.1"), 25)),
    (Connect(b"a.example.org", b"6", 25, b"2001:db8::1"), kilter.Connect("a.example.org", ip_address("2001:db8::1"), 25)),
    (Connect(b"localhost", b"L", 0, b"/run/x.sock"), kilter.Connect("localhost", Path("/run/x.sock"))),
    (Connect(b"localhost"), kilter.Connect("localhost")),
    (Helo(b"mx.example.org"), kilter.Helo("mx.example.org")),
    (Mail(b"<a@example.org>", (b"SIZE=10",)), kilter.EnvelopeFrom(b"<a@example.org>", [b"SIZE=10"])),
    (Rcpt(b"<b@example.net>"), kilter.EnvelopeRecipient(b"<b@example.net>")),
    (Data(), kilter.Data()),
    (Header(b"Subject", b" one\n two"), kilter.Header("Subject", b" one\n two")),
    (EndOfHeaders(), kilter.EndOfHeaders()),
    (Body(b"a\0b\r\n"), kilter.Body(b"a\0b\r\n")),
    (EndOfMessage(b"rest"), kilter.EndOfMessage(b"rest")),
    (Abort(), kilter.Abort()),
    (Quit(), kilter.Close()),
]


@pytest.mark.parametrize(("command", "theirs"), KILTER, ids=repr)
def test_others_write_the_same_bytes(command: Command, theirs: kilter.Message) -> None:
    buffer = SimpleBuffer(4096)
    theirs.pack(buffer)
    assert buffer[:].tobytes() == render_command(command)


@pytest.mark.parametrize(("command", "theirs"), KILTER, ids=repr)
def test_others_read_what_we_write(command: Command, theirs: kilter.Message) -> None:
    buffer = SimpleBuffer(4096)
    buffer[:] = render_command(command)
    message, _ = kilter.Message.unpack(buffer)
    message.freeze()
    assert repr(message) == repr(theirs)


@pytest.mark.parametrize(
    ("code", "payload", "command"),
    [
        (b"H", b"mx", Helo(b"mx")),
        (b"L", b"Subject\0x", Header(b"Subject", b"x")),
        (b"L", b"Subject\0", Header(b"Subject", b"")),
        (b"C", b"unknown\0U\0\0\0", Connect(b"unknown")),
        (b"C", b"a\x004\0\x19", Connect(b"a", b"4", 25, b"")),
        (b"D", b"Ci\0x", Macros(b"C", ((b"i", b"x"),))),
        (b"N", b"\0", EndOfHeaders()),
    ],
)
def test_what_mtas_write_carelessly_is_read(code: bytes, payload: bytes, command: Command) -> None:
    assert parse_command(code, payload) == command


@pytest.mark.parametrize(
    ("code", "payload", "text"),
    [
        (b"x", b"", "a command that is not known: b'x'"),
        (b"D", b"", "macros without the command they are for"),
        (b"D", b"Ci\0", "a macro without a value"),
        (b"D", b"C" + b"a\0b\0" * 1001, "1001 macros at once, 1000 are allowed"),
        (b"C", b"host", "a connect without an address family"),
        (b"C", b"host\0", "a connect without an address family"),
        (b"C", b"host\x005\0\x19x\0", "a connect with address family b'5' and 4 bytes of address"),
        (b"C", b"host\x004\0", "a connect with address family b'4' and 1 bytes of address"),
        (b"C", b"host\x004\0\x19a\0b\0", "a connect with 2 strings"),
        (b"M", b"", "a sender with 0 strings"),
        (b"R", b"", "a recipient with 0 strings"),
        (b"L", b"Subject", "a header without a name, or not of a name and a value"),
        (b"L", b"\0x\0", "a header without a name, or not of a name and a value"),
        (b"L", b"Subject\0a\0b\0", "a header without a name, or not of a name and a value"),
    ],
)
def test_what_cannot_be_understood_is_a_fault_that_says_what(code: bytes, payload: bytes, text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_command(code, payload)
    assert str(caught.value) == text


word = st.binary(max_size=20).map(lambda text: text.replace(b"\0", b"-"))
named = word.filter(bool)
commands = st.one_of(
    st.builds(Negotiate, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(Macros, st.sampled_from([b"C", b"M", b"x"]), st.lists(st.tuples(named, word), max_size=4).map(tuple)),
    st.builds(Connect, word, st.sampled_from([b"4", b"6", b"L"]), st.integers(0, 65535), word),
    st.builds(Connect, word),
    st.builds(Helo, word),
    st.builds(Mail, word, st.lists(word, max_size=3).map(tuple)),
    st.builds(Rcpt, word, st.lists(word, max_size=3).map(tuple)),
    st.builds(Unknown, word),
    st.builds(Header, named, word),
    st.builds(Body, st.binary(max_size=50)),
    st.builds(EndOfMessage, st.binary(max_size=50)),
)


@given(commands)
def test_every_command_survives_its_bytes(command: Command) -> None:
    ((code, payload),) = Frames().feed(render_command(command))
    assert parse_command(code, payload) == command


@given(st.sampled_from([bytes([letter]) for letter in b"ODCHMRTULNBEAQKx"]), st.binary(max_size=60))
def test_random_payloads_are_commands_or_faults(code: bytes, payload: bytes) -> None:
    try:
        command = parse_command(code, payload)
    except ProtocolError:
        return
    assert code_of(command) == code
