"""Text parts are `str`, whatever they were, and never more than can be afforded."""

import base64

import pytest

from filterd.mail.message import Message
from filterd.mail.text import TextPart, attached_texts

PART = 256 * 1024


def text_of(headers: bytes, body: bytes) -> TextPart:
    (part,) = Message(headers + b"\n\n" + body).text_parts
    return part


@pytest.mark.parametrize(
    ("headers", "body", "content", "flags"),
    [
        (b"A: x", b"one\r\ntwo\n", "one\ntwo\n", set()),
        (b"Content-Type: text/plain; charset=koi8-r", "да".encode("koi8-r"), "да", set()),
        (b"Content-Type: text/plain; charset=hex", b"6161", "6161", {"unknown_charset"}),
        (b"Content-Type: text/plain; charset=utf-8", b"a" * 99 + b"\xff", "a" * 99 + "\ufffd", {"bad_charset"}),
        (b"Content-Transfer-Encoding: base64", b"YWJj", "abc", set()),
        (b"Content-Transfer-Encoding: quoted-printable", b"=C3=BC", "ü", set()),
        (b"Content-Type: text/html", b"<p>a<p>b", "a\nb", set()),
        (b"Content-Type: text/html", b"<p hidden>a<p>b", "b", {"hidden_text"}),
        (b"Content-Type: application/xhtml+xml", b"<p>a</p>", "a", set()),
        (b"Content-Type: text/html; charset=hex", b"<i></i>" * 4000, "", {"html_cap", "unknown_charset"}),
    ],
)
def test_content_is_what_a_reader_sees(headers: bytes, body: bytes, content: str, flags: set[str]) -> None:
    part = text_of(headers, body)
    assert (part.content, set(part.flags)) == (content, flags)


def test_the_source_has_its_markup() -> None:
    part = text_of(b"Content-Type: text/html", b"<p>a\r\n")
    assert (part.source, part.content, part.is_html) == ("<p>a\n", "a", True)
    assert part.links == ()
    assert [link.target for link in text_of(b"Content-Type: text/html", b"<a href=x>").links] == ["x"]
    plain = text_of(b"A: x", b"a")
    assert (plain.source, plain.content, plain.is_html, plain.part.type) == ("a", "a", False, "text/plain")
    assert plain.links == ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", []),
        (b"One, two_2; (three)\n\tit's", ["One", "two_2", "three", "it", "s"]),
        ("Ünï, zwei–drei".encode(), ["Ünï", "zwei", "drei"]),
    ],
)
def test_words(body: bytes, words: list[str]) -> None:
    assert text_of(b"A: x", body).words == words


@pytest.mark.parametrize("word", ["a ", "ä "])
def test_words_are_counted(word: str) -> None:
    assert len(text_of(b"A: x", word.encode() * 60_000).words) == 50_000


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"A: x", b"a" * (PART + 1)),
        (b"A: x", b"a" * 3 * PART),
        (b"Content-Transfer-Encoding: base64", base64.encodebytes(b"a" * 3 * PART)),
        (b"Content-Transfer-Encoding: quoted-printable", b"=61" * 3 * PART),
    ],
)
def test_of_one_part_256_kib_are_read(headers: bytes, body: bytes) -> None:
    part = text_of(headers, body)
    assert part.flags == {"text_cap"}
    assert set(part.content) == {"a"}
    assert 0.6 * PART < len(part.content) <= PART


def test_256_kib_are_no_cap() -> None:
    part = text_of(b"A: x", b"a" * PART)
    assert (len(part.content), part.flags) == (PART, frozenset())


def test_a_character_cut_in_two_by_the_limit_is_dropped() -> None:
    part = text_of(b"Content-Type: text/plain; charset=utf-8", b"a" + "ü".encode() * PART)
    assert (part.content[-1], set(part.flags)) == ("ü", {"text_cap"})


def multipart(*bodies: bytes) -> Message:
    parts = b"".join(b"--b\n\n" + body + b"\n" for body in bodies)
    return Message(b"Content-Type: multipart/mixed; boundary=b\n\n" + parts + b"--b--\n")


def test_of_all_parts_together_512_kib_are_read_in_order_of_the_message() -> None:
    message = multipart(b"a" * PART, b"b" * (PART - 2), b"c" * 5, b"d")
    last, third, second, first = (part.content for part in reversed(message.text_parts))
    assert (len(first), len(second), third, last) == (PART, PART - 2, "cc", "")
    assert [bool(part.flags) for part in message.text_parts] == [False, False, True, True]


def test_the_character_set_of_the_first_twenty_is_guessed() -> None:
    russian = "Привет, как дела? Сегодня хорошая погода, приезжайте к нам."
    parts = multipart(*[russian.encode("cp1251")] * 21).text_parts
    assert [part.content == russian for part in parts] == [True] * 20 + [False]


@pytest.mark.parametrize(
    ("headers", "is_shown"),
    [
        (b"", True),
        (b"Content-Type: text/calendar", True),
        (b"Content-Disposition: inline; filename=a.txt", True),
        (b"Content-Disposition: attachment", False),
        (b"Content-Type: application/pdf", False),
    ],
)
def test_text_parts_are_those_shown(headers: bytes, is_shown: bool) -> None:
    message = Message(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + headers + b"\n\nx\n--b--\n")
    assert bool(message.text_parts) is is_shown
    assert bool(message.attachments) is not is_shown


def test_texts_that_are_attached_have_room_of_their_own() -> None:
    attached = b"--b\nContent-Type: text/html\nContent-Disposition: attachment\n\n"
    message = Message(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nshown\n"
        + (attached + b"a" * (PART // 2 - 1) + b"\n") * 2
        + b"--b\nContent-Type: application/pdf\n\nx\n--b--\n"
    )
    assert [part.content for part in message.text_parts] == ["shown"]
    assert [(len(part.content), set(part.flags)) for part in attached_texts(message.parts)] == [
        (PART // 2 - 1, set()),
        (1, {"text_cap"}),
    ]
