"""A message put together again: its bytes as they were, its envelope, and nothing left of it for the next."""

import pytest

from filterd.mail.envelope import Envelope
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
)
from filterd.proto.milter_message import Conversation

CLIENT: list[Command] = [
    Macros(b"C", ((b"j", b"mx.example.net"), (b"v", b"Postfix 3.7.11"), (b"{daemon_name}", b"mx.example.net"))),
    Connect(b"client.example.org", b"4", 4711, b"192.0.2.1"),
    Macros(b"H", ((b"{tls_version}", b"TLSv1.3"), (b"{cipher}", b"AES256"), (b"{cert_issuer}", b"CN=ca"))),
    Helo(b"helo.example.org"),
]
MESSAGE: list[Command] = [
    Macros(b"M", ((b"i", b"4X"), (b"{auth_authen}", b"ann"), (b"{mail_addr}", b"a@example.org"))),
    Mail(b"<a@example.org>", (b"SIZE=100", b"BODY=8BITMIME")),
    Macros(b"R", ((b"{rcpt_addr}", b"b@example.net"), (b"{rcpt_mailer}", b"local"))),
    Rcpt(b"<b@example.net>"),
    Rcpt(b"<c@example.net>", (b"NOTIFY=NEVER",)),
    Data(),
    Header(b"Subject", b" one\n\ttwo"),
    Header(b"X-Tight", b"x"),
    EndOfHeaders(),
    Body(b"Hi\r\n"),
    EndOfMessage(b"Bye\r\n"),
]


def told(*commands: Command, keeps_space: bool = True, limits: dict[str, int] | None = None) -> Conversation:
    talk = Conversation(**{"max_message": 100_000, **(limits or {})})
    talk.keeps_space = keeps_space
    for command in commands:
        talk.take(command)
    return talk


def test_the_message_is_written_as_it_was() -> None:
    talk = told(*CLIENT, *MESSAGE)
    assert talk.raw == b"Subject: one\r\n\ttwo\r\nX-Tight:x\r\n\r\nHi\r\nBye\r\n"
    assert talk.names == [b"subject", b"x-tight"]


def test_an_mta_that_eats_the_blank_behind_the_colon_gets_it_back() -> None:
    assert told(Mail(b"<>"), Header(b"Subject", b"one"), keeps_space=False).raw == b"Subject: one\r\n\r\n"


def test_all_that_is_known_is_said_in_the_headers_of_a_scan_request() -> None:
    assert told(*CLIENT, *MESSAGE).headers == {
        "ip": ["192.0.2.1"],
        "hostname": ["client.example.org"],
        "helo": ["helo.example.org"],
        "user": ["ann"],
        "queue-id": ["4X"],
        "user-agent": ["Postfix 3.7.11"],
        "tls-cipher": ["AES256"],
        "tls-version": ["TLSv1.3"],
        "tls-cert-issuer": ["CN=ca"],
        "mailer": ["local"],
        "mta-name": ["mx.example.net"],
        "from": ["<a@example.org>"],
        "x-rspamd-mail-esmtp-args": ["SIZE=100", "BODY=8BITMIME"],
        "rcpt": ["<b@example.net>", "<c@example.net>"],
        "x-rspamd-rcpt-esmtp-args": ["1:NOTIFY=NEVER"],
        "flags": ["milter,body_block"],
    }


def test_what_is_not_known_is_not_said() -> None:
    assert told().headers == {"flags": ["milter,body_block"]}


def test_an_envelope_reads_it() -> None:
    envelope = Envelope(told(*CLIENT, *MESSAGE).headers)
    assert (envelope.ip, envelope.user, envelope.mail_from, envelope.rcpts, envelope.tls) == (
        "192.0.2.1",
        "ann",
        "a@example.org",
        ["b@example.net", "c@example.net"],
        True,
    )
    assert envelope.broken == frozenset()


@pytest.mark.parametrize(
    ("connect", "macro", "ip"),
    [
        (Connect(b"x", b"4", 1, b"192.0.2.1"), b"192.0.2.9", "192.0.2.1"),
        (Connect(b"x", b"6", 1, b"2001:db8::1"), b"", "2001:db8::1"),
        (Connect(b"x", b"6", 1, b"IPv6:2001:db8::1"), b"", "2001:db8::1"),
        (Connect(b"x", b"L", 0, b"/run/x"), b"192.0.2.9", "192.0.2.9"),
        (Connect(b"x"), b"IPv6:2001:db8::9", "2001:db8::9"),
        (Connect(b"x"), b"unknown", None),
        (Connect(b"x", b"4", 1, b"unknown"), b"192.0.2.9", None),
    ],
)
def test_the_address_is_that_of_the_connect_else_that_of_the_macro(connect: Connect, macro: bytes, ip: str | None) -> None:
    talk = told(Macros(b"C", ((b"{client_addr}", macro),)), connect)
    assert talk.headers.get("ip", [None])[0] == ip


def test_without_a_connect_the_macro_has_the_address() -> None:
    assert told(Macros(b"M", ((b"{client_addr}", b"192.0.2.9"),)), Mail(b"<>")).headers["ip"] == ["192.0.2.9"]


@pytest.mark.parametrize(
    ("connect", "macro", "hostname"),
    [
        (b"client.example.org", b"other.example.org", "client.example.org"),
        (b"[192.0.2.1]", b"other.example.org", "other.example.org"),
        (b"unknown", b"unknown", None),
        (b"", b"", None),
    ],
)
def test_a_hostname_is_one_that_was_resolved(connect: bytes, macro: bytes, hostname: str | None) -> None:
    talk = told(Macros(b"C", ((b"{client_name}", macro),)), Connect(connect))
    assert talk.headers.get("hostname", [None])[0] == hostname


@pytest.mark.parametrize(
    ("daemon", "host", "name"),
    [
        (b"mx.example.net", b"other.example.net", "mx.example.net"),
        (b"MTA", b"mx.example.net", "mx.example.net"),
        (b"MTA", b"", "MTA"),
    ],
)
def test_the_mta_is_named_as_a_host(daemon: bytes, host: bytes, name: str) -> None:
    talk = told(Macros(b"C", ((b"{daemon_name}", daemon), (b"j", host))))
    assert talk.headers["mta-name"] == [name]


@pytest.mark.parametrize(
    ("path", "said", "read"),
    [
        (b"<a@example.org>", "<a@example.org>", "a@example.org"),
        (b"a@example.org", "<a@example.org>", "a@example.org"),
        (b'<"a,b"@example.org>', '<"a,b"@example.org>', '"a,b"@example.org'),
        (b"<@h1,@h2:a@example.org>", "<a@example.org>", "a@example.org"),
        ("<grün@example.org>".encode(), "<grün@example.org>", "grün@example.org"),
        (b"<gr\xfcn@example.org>", "<grün@example.org>", "grün@example.org"),
    ],
)
def test_a_recipient_stays_one(path: bytes, said: str, read: str) -> None:
    headers = told(Mail(b"<>"), Rcpt(path)).headers
    assert headers["rcpt"] == [said]
    assert Envelope(headers).rcpts == [read]


def test_a_comma_where_none_may_be_does_not_make_two_recipients() -> None:
    envelope = Envelope(told(Mail(b"<>"), Rcpt(b"<a,b@example.org>")).headers)
    assert (envelope.rcpts, envelope.broken) == ([], frozenset({"rcpt"}))


# -- one message after the other


def test_nothing_of_a_message_is_left_for_the_next() -> None:
    talk = told(*CLIENT, *MESSAGE)
    talk.reset()
    assert (talk.raw, talk.names, talk.has_content, talk.refusal, talk.queue_id) == (b"", [], False, "", "")
    again = talk.headers
    assert not again.keys() & {"from", "rcpt", "user", "queue-id", "mailer", "x-rspamd-mail-esmtp-args"}
    assert (again["ip"], again["helo"], again["tls-version"]) == (["192.0.2.1"], ["helo.example.org"], ["TLSv1.3"])


@pytest.mark.parametrize("forgetting", [QuitNewConnection(), Negotiate(6, 0, 0)])
def test_nothing_of_a_client_is_left_for_the_next(forgetting: Command) -> None:
    talk = told(*CLIENT, *MESSAGE, forgetting)
    assert (talk.raw, talk.headers) == (b"", {"flags": ["milter,body_block"]})


def test_an_abort_takes_the_message_back_and_not_the_client() -> None:
    talk = told(*CLIENT, *MESSAGE, Abort())
    assert (talk.raw, talk.has_content) == (b"", False)
    assert talk.headers["helo"] == ["helo.example.org"]


def test_a_second_sender_without_an_abort_begins_anew_and_keeps_its_own_macros() -> None:
    talk = told(*CLIENT, *MESSAGE, Macros(b"M", ((b"i", b"5Y"),)), Mail(b"<d@example.org>"))
    assert (talk.raw, talk.headers["from"], talk.queue_id) == (b"", ["<d@example.org>"], "5Y")
    assert not talk.headers.keys() & {"rcpt", "user", "mailer"}
    assert told(*CLIENT, *MESSAGE[1:], Mail(b"<d@example.org>")).headers["from"] == ["<d@example.org>"]


def test_a_queue_id_that_comes_late_counts() -> None:
    talk = told(Macros(b"M"), Mail(b"<>"), Macros(b"E", ((b"{i}", b"4X"),)), EndOfMessage())
    assert (talk.queue_id, talk.headers["queue-id"]) == ("4X", ["4X"])


def test_macros_of_commands_that_mean_nothing_are_left_alone() -> None:
    talk = told(*CLIENT, Macros(b"x", ((b"j", b"other"),)))
    assert talk.macro("j") == "mx.example.net"


def test_names_of_macros_come_with_or_without_braces_and_long_ones_in_any_case() -> None:
    talk = told(Macros(b"C", ((b"{Client_Name}", b"a"), (b"J", b"b"), (b"{j}", b"c"))))
    assert (talk.macro("client_name"), talk.macro("J"), talk.macro("j")) == ("a", "b", "c")


def test_content_begins_with_the_first_header_or_body() -> None:
    assert not told(Mail(b"<>"), Rcpt(b"<>"), Data()).has_content
    assert told(Mail(b"<>"), Header(b"A", b"b")).has_content
    assert told(Mail(b"<>"), Body(b"")).has_content


# -- hostile headers and odd messages


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b" a\nX-Evil: b", b"A: a\r\n X-Evil: b\r\n"),
        (b" a\n\nbody", b"A: a\r\n \r\n body\r\n"),
        (b" a\r\n\tb\r\n", b"A: a\r\n\tb\r\n"),
        (b"\n", b"A:\r\n"),
        (b"", b"A:\r\n"),
    ],
)
def test_no_value_can_end_its_header(value: bytes, line: bytes) -> None:
    assert told(Mail(b"<>"), Header(b"A", value)).raw == line + b"\r\n"


def test_no_name_can_begin_another_line() -> None:
    assert told(Mail(b"<>"), Header(b"A\r\n\r\nB", b" c")).raw == b"AB: c\r\n\r\n"


def test_a_message_without_anything_is_empty() -> None:
    assert told(Mail(b"<>"), EndOfHeaders(), EndOfMessage()).raw == b""


def test_a_message_without_headers_begins_with_the_empty_line() -> None:
    assert told(Mail(b"<>"), EndOfHeaders(), Body(b"x")).raw == b"\r\nx"


def test_headers_that_are_repeated_before_the_body_are_dropped() -> None:
    """Stalwart up to 0.13 hands over the whole message as the body."""
    headers: list[Command] = [Mail(b"<>"), Header(b"Subject", b"one\n two"), Header(b"To", b"x")]
    for head in (b"subject:one\r\n two\r\nTO: x", b"Subject: one\r\n two\r\nTo:  x"):
        talk = told(*headers, Body(head + b"\r\n\r\nHi\r\n"), keeps_space=False)
        assert talk.raw == b"Subject: one\r\n two\r\nTo: x\r\n\r\nHi\r\n"


def test_a_header_is_not_looked_for_in_the_body_when_it_is_very_long() -> None:
    header = Header(b"Subject", b" x" * 300_000)
    talk = told(Mail(b"<>"), header, Body(b"Subject:" + b" x" * 300_000 + b"\r\n\r\nHi"), limits={"max_message": 10**7})
    assert talk.raw.count(b"Subject:") == 2


@pytest.mark.parametrize("body", [b"Subject: another\r\n\r\nHi\r\n", b"Subject: one", b"Hi\r\n\r\n"])
def test_a_body_that_only_looks_like_headers_stays(body: bytes) -> None:
    talk = told(Mail(b"<>"), Header(b"Subject", b"one"), Body(body), keeps_space=False)
    assert talk.raw == b"Subject: one\r\n\r\n" + body


def test_commands_that_tell_nothing_change_nothing() -> None:
    talk = told(*CLIENT, *MESSAGE)
    before = talk.raw, talk.headers
    talk.take(Quit())
    assert (talk.raw, talk.headers) == before


# -- limits


@pytest.mark.parametrize(
    ("limits", "commands", "refusal"),
    [
        ({"max_message": 10}, [Body(b"x" * 11)], "more than 10 bytes"),
        ({"max_message": 10}, [Header(b"A", b" " * 8)], "more than 10 bytes"),
        ({"max_message": 10}, [Header(b"A", b" b"), Body(b"x" * 5)], "more than 10 bytes"),
        ({"max_fields": 2}, [Header(b"A", b"")] * 3, "more than 2 header fields"),
        ({"max_recipients": 2}, [Rcpt(b"<b>")] * 3, "more than 2 recipients"),
        ({"max_envelope": 10}, [Rcpt(b"<b>", (b"12345678",))], "an envelope of more than 10 bytes"),
    ],
)
def test_a_message_above_a_limit_is_dropped_and_the_limit_named(
    limits: dict[str, int], commands: list[Command], refusal: str
) -> None:
    talk = told(Mail(b"<>"), *commands, limits=limits)
    assert talk.refusal == refusal
    assert (talk.raw, talk.names, "rcpt" in talk.headers) == (b"", [], False)
    for command in (*MESSAGE[2:], Body(b"x" * 1000)):
        talk.take(command)
    assert (talk.raw, talk.names, talk.refusal) == (b"", [], refusal)
    talk.take(Abort())
    assert talk.refusal == ""


def test_a_sender_may_be_too_long_as_well() -> None:
    assert told(Mail(b"<" + b"a" * 100 + b">"), limits={"max_envelope": 50}).refusal == "an envelope of more than 50 bytes"


def test_a_message_of_just_the_limit_is_taken() -> None:
    talk = told(Mail(b"<>"), Header(b"A", b" b"), Body(b"x" * 4), limits={"max_message": 10})
    assert (talk.refusal, talk.raw) == ("", b"A: b\r\n\r\nxxxx")
