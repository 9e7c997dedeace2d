"""A message can be read whatever it is, and what is broken about it is named."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import MAX_ADDRESSES
from filterd.mail.message import Message

RAW = (
    b"Received: from a (b.example [192.0.2.2]) by mx\r\n"
    b"Received: from c (d.example [192.0.2.3]) by a\r\n"
    b'From: "Doe, J" <j@B.example>\r\n'
    b"To: a@b, c@d\r\n"
    b"To: e@f\r\n"
    b"Cc: g@h\r\n"
    b"Reply-To: i@j\r\n"
    b"Subject: =?utf-8?Q?M=C3=BCde?=\r\n"
    b"Message-ID: <m1@example>\r\n"
    b"Date: Tue, 1 Oct 2024 10:00:00 +0000\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n"
    b"\r\n"
    b"--b\r\n\r\none two\r\n"
    b"--b\r\nContent-Type: application/pdf; name=x.pdf\r\n\r\n%PDF-\r\n"
    b"--b--\r\n"
)


def test_what_a_rule_reads() -> None:
    message = Message(RAW)
    assert (message.raw, message.size, message.digest) == (RAW, len(RAW), hashlib.sha256(RAW).hexdigest())
    assert (message.subject, message.message_id) == ("Müde", "m1@example")
    assert message.date == datetime(2024, 10, 1, 10, tzinfo=UTC)
    assert ([address.name for address in message.from_], message.from_) == (["Doe, J"], ["j@b.example"])
    assert (message.to, message.cc, message.reply_to) == (["a@b", "c@d", "e@f"], ["g@h"], ["i@j"])
    assert [hop.real_ip for hop in message.received] == ["192.0.2.2", "192.0.2.3"]
    assert [part.type for part in message.parts] == ["multipart/mixed", "text/plain", "application/pdf"]
    assert [part.content for part in message.text_parts] == ["one two"]
    assert [part.filename for part in message.attachments] == ["x.pdf"]
    assert message.body == RAW.partition(b"\r\n\r\n")[2]
    assert message.flags == frozenset()


def test_links_and_addresses() -> None:
    attached = b"--b\nContent-Type: text/html\nContent-Disposition: attachment\n\n<a href=http://c.com>x</a>\n"
    html = b"--b\nContent-Type: text/html\n\n<a href=mailto:me@b.com>x</a><img src=http://b.com/y>\n"
    message = Message(
        b"Subject: see a.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhttp://a.com/x\n"
        + html
        + attached
        + b"--b--\n"
    )
    assert [(str(url), url.source) for url in message.urls] == [
        ("http://a.com/", "subject"),
        ("http://a.com/x", "text"),
        ("http://b.com/y", "html"),
        ("http://c.com/", "attachment"),
    ]
    assert message.emails == ["me@b.com"]
    assert message.link_flags == set()
    assert message.urls is message.urls
    assert Message(b"\n" + b"".join(b"a%d.com " % number for number in range(1100))).link_flags == {"mention_cap"}


def test_header_look_ups() -> None:
    message = Message(RAW)
    assert (message.header("subject"), message.header_raw("SUBJECT")) == ("Müde", "=?utf-8?Q?M=C3=BCde?=")
    assert [(header.name, header.order) for header in message.headers("to")] == [("To", 3), ("To", 4)]
    assert (message.has_header("To"), message.has_header("X")) == (True, False)
    assert (message.header("X"), message.header_raw("X"), message.headers("X")) == (None, None, [])
    assert len(message.fields) == 11


def test_nothing_is_read_before_it_is_asked_for() -> None:
    message = Message(RAW)
    assert set(vars(message)) == {"raw", "_is_mime", "_has_more_addresses"}
    assert message.subject == "Müde"
    assert "parts" not in vars(message)


@pytest.mark.parametrize("raw", [b"", b"\n", b"\r\n", b"\n\n"])
def test_an_empty_message_has_nothing_and_nothing_is_broken(raw: bytes) -> None:
    message = Message(raw)
    assert (message.subject, message.message_id, message.date, message.from_) == (None, None, None, [])
    assert (message.received, message.attachments, len(message.parts), message.flags) == ([], [], 1, frozenset())


@pytest.mark.parametrize(
    ("value", "message_id"), [(b"<a@b>", "a@b"), (b"a@b", "a@b"), (b" < a@b >", "a@b"), (b"", ""), (b"<>", "")]
)
def test_the_message_id_has_no_brackets(value: bytes, message_id: str) -> None:
    assert Message(b"Message-ID: " + value + b"\n\n").message_id == message_id


def test_a_date_that_cannot_be_read_is_none() -> None:
    assert Message(b"Date: yesterday\n\n").date is None


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_an_mbox_line_in_front_is_passed_over_and_flagged(newline: bytes) -> None:
    raw = b"From a@b Tue Oct  1 10:00:00 2024" + newline + b"Subject: x" + newline + newline + b"y"
    message = Message(raw)
    assert (message.subject, message.raw, message.body, set(message.flags)) == ("x", raw, b"y", {"mbox_line"})


def test_nothing_but_an_mbox_line() -> None:
    message = Message(b"From a@b")
    assert (message.subject, message.body, set(message.flags)) == (None, b"", {"mbox_line"})


def test_what_is_no_mail_is_one_body() -> None:
    message = Message(b"From x\nSubject: y\n\nz", is_mime=False)
    assert (message.subject, message.body, message.flags) == (None, message.raw, frozenset())
    assert [part.type for part in message.parts] == ["text/plain"]
    assert [part.content for part in message.text_parts] == [message.raw.decode()]
    assert [part.type for part in Message(b"%PDF-1.7", is_mime=False).attachments] == ["application/pdf"]


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        (b"no colon\nA: x\n\n", {"bad_header"}),
        (b"A: x", {"no_header_end"}),
        (b"A: x\n" * 6000 + b"\n", {"header_cap"}),
        (b"Content-Type: x\nContent-Transfer-Encoding: base64\n\n!", {"bad_content_type", "bad_base64"}),
        (b"To: " + b"a@b," * 3000 + b"\n\n", {"address_cap"}),
        (b"To: " + b'"a" ' * 8100 + b"\n\n", {"address_cap"}),
        (b"Cc: a@b\n" * 3000 + b"\n", {"address_cap"}),
        (b"Reply-To: a@b" + b" " * 70_000 + b"\n\n", {"address_cap"}),
        (b"Received: x\n" * 201 + b"\n", {"received_cap"}),
        (b"Content-Type: multipart/mixed; boundary=b\n\n--b\nA x\n\n", {"bad_header", "not_closed"}),
    ],
)
def test_what_is_broken_is_named(raw: bytes, flags: set[str]) -> None:
    assert Message(raw).flags == flags


def test_hops_and_addresses_are_counted() -> None:
    assert len(Message(b"Received: x\n" * 300 + b"\n").received) == 200
    assert len(Message(b"To: a@b\n" * 3000 + b"\n").to) == MAX_ADDRESSES


FLAGS = set(
    "header_cap bad_header no_header_end bad_content_type bad_base64 bad_uuencode uuencode_cap unknown_encoding no_boundary "
    "no_parts not_closed wrong_boundary boundary_cap part_cap depth_cap encoded_message mbox_line address_cap received_cap "
    "unknown_charset bad_charset text_cap html_cap hidden_text base64_cap".split()
)


def flags_of_everything(message: Message) -> set[str]:
    """Read every attribute a rule may read, and collect the flags."""
    for thing in (message, message.fields, *message.fields, *message.parts, *message.text_parts, *message.received):
        for name in [name for name in dir(thing) if not name.startswith("_")]:
            getattr(thing, name)
    return set(message.flags).union(*(part.flags for part in message.text_parts))


@given(st.data())
def test_a_damaged_message_is_read_like_any_other(data: st.DataObject) -> None:
    raw = bytearray(RAW)
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=10)):
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"\n", b"--b", b'"', b"=?"])
        )
    assert flags_of_everything(Message(bytes(raw))) <= FLAGS


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_like_a_message(raw: bytes, is_mime: bool) -> None:
    assert flags_of_everything(Message(raw, is_mime=is_mime)) <= FLAGS


@pytest.mark.parametrize("at", range(0, len(RAW), 7))
def test_a_message_cut_anywhere_is_read(at: int) -> None:
    message = Message(RAW[:at])
    assert flags_of_everything(message) <= {
        "bad_header",
        "no_header_end",
        "not_closed",
        "no_parts",
        "no_boundary",
        "bad_content_type",
    }
    assert message.body in RAW


def test_a_blank_before_the_colon_makes_no_line_of_an_mbox() -> None:
    message = Message(b"From : ann@example.org\nSubject: x\n\nHi")
    assert message.from_ == ["ann@example.org"]
    assert message.flags == set()


def test_whether_it_is_read_as_mail() -> None:
    assert Message(b"X: y\n\n").is_mime
    assert not Message(b"X: y\n\n", is_mime=False).is_mime
