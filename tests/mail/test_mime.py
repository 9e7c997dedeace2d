"""The parts of a message: the same ones that mail programs see, and more where something is wrong."""

import base64
import email
import gc
import gzip
import hashlib
import weakref
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.message import Message
from filterd.mail.mime import Part

MIXED = b"Content-Type: multipart/mixed; boundary=b\n\n"
RFC822 = b"Content-Type: message/rfc822\n"


def tree(raw: bytes) -> list[tuple[int, str, bytes]]:
    """Depth, type and, of leaves, the content."""

    def depth(part: Part) -> int:
        return 0 if part.parent is None else depth(part.parent) + 1

    return [(depth(part), part.type, b"" if part.children else part.content) for part in Message(raw).parts]


def nested(depth: int, leaf: bytes) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth)) + leaf


@pytest.mark.parametrize(
    ("raw", "parts", "flags"),
    [
        (b"", [(0, "text/plain", b"")], set()),
        (b"A: x\n\nbody", [(0, "text/plain", b"body")], set()),
        (b"A: x\n", [(0, "text/plain", b"")], {"no_header_end"}),
        (
            MIXED + b"preamble\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n--b--\nepilogue",
            [(0, "multipart/mixed", b""), (1, "text/plain", b"one"), (1, "text/html", b"two")],
            set(),
        ),
        (
            MIXED.replace(b"\n", b"\r\n") + b"--b \t\r\n\r\none\r\n\r\n--b\r\n\r\n--b--\r\n",
            [(0, "multipart/mixed", b""), (1, "text/plain", b"one\r\n"), (1, "text/plain", b"")],
            set(),
        ),
        (MIXED + b"--b\n\none\n--b--", [(0, "multipart/mixed", b""), (1, "text/plain", b"one")], set()),
        (MIXED + b"--b\n\none", [(0, "multipart/mixed", b""), (1, "text/plain", b"one")], {"not_closed"}),
        (MIXED + b"--b\n\none\n--b", [(0, "multipart/mixed", b""), (1, "text/plain", b"one")], {"not_closed"}),
        (
            MIXED + b"--b\n\none\n--bx\n--b-\n--b--x\n--b--",
            [(0, "multipart/mixed", b""), (1, "text/plain", b"one\n--bx\n--b-\n--b--x")],
            set(),
        ),
        (
            MIXED + b"--b\n--b\n\none\n--b--",
            [(0, "multipart/mixed", b""), (1, "text/plain", b""), (1, "text/plain", b"one")],
            set(),
        ),
        (MIXED + b"text only", [(0, "multipart/mixed", b""), (1, "text/plain", b"text only")], {"no_parts"}),
        (MIXED + b"text\n--b--", [(0, "multipart/mixed", b""), (1, "text/plain", b"text\n--b--")], {"no_parts"}),
        (
            MIXED + b"before\n--other\nContent-Type: text/html\n\none\n--other\n\ntwo\n--other--\n--b--",
            [(0, "multipart/mixed", b""), (1, "text/html", b"one"), (1, "text/plain", b"two")],
            {"wrong_boundary"},
        ),
        (
            MIXED + b"-- \nContent-Type: text/html\n\nAnn",  # a signature
            [(0, "multipart/mixed", b""), (1, "text/plain", b"-- \nContent-Type: text/html\n\nAnn")],
            {"no_parts"},
        ),
        (MIXED, [(0, "multipart/mixed", b""), (1, "text/plain", b"")], {"no_parts"}),
        (b"Content-Type: multipart/mixed\n\nx", [(0, "multipart/mixed", b""), (1, "text/plain", b"x")], {"no_boundary"}),
        (
            b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b--",
            [(0, "multipart/digest", b""), (1, "message/rfc822", b""), (2, "text/plain", b"y")],
            set(),
        ),
        (RFC822 + b"\nSubject: x\n\ny", [(0, "message/rfc822", b""), (1, "text/plain", b"y")], set()),
        (
            RFC822 + b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(MIXED + b"--b\n\none\n--b--"),
            [(0, "message/rfc822", b""), (1, "multipart/mixed", b""), (2, "text/plain", b"one")],
            {"encoded_message"},
        ),
        (
            # No empty line: the parts begin where the first delimiter is.
            b"Content-Type: multipart/mixed; boundary=b\n \n--b\nContent-Type: text/html\n\none\n--b--",
            [(0, "multipart/mixed", b""), (1, "text/html", b"one")],
            {"no_header_end"},
        ),
        (b"--b: x\nA: y\n--c: z\n\nbody", [(0, "text/plain", b"body")], set()),
        (
            b"Content-Type: multipart/mixed; boundary=b\n--c: z\n\n--b\n\none\n--b--",
            [(0, "multipart/mixed", b""), (1, "text/plain", b"one")],
            set(),
        ),
        (
            b'Content-Type: multipart/mixed; boundary="\xc3\xbc "\n\n--\xc3\xbc\n\none\n--\xc3\xbc--',
            [(0, "multipart/mixed", b""), (1, "text/plain", b"one")],
            set(),
        ),
        (
            b"Content-Type: multipart/mixed; boundary=\xfc\n\n--\xfc\n\none\n--\xfc--",
            [(0, "multipart/mixed", b""), (1, "text/plain", b"one")],
            set(),
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\none\n--b--",
            [(0, "multipart/mixed", b""), (1, "text/plain", b"one")],
            set(),
        ),
    ],
)
def test_trees(raw: bytes, parts: list[tuple[int, str, bytes]], flags: set[str]) -> None:
    assert tree(raw) == parts
    assert Message(raw).flags == flags


@pytest.mark.parametrize(
    ("headers", "kind", "flags"),
    [
        (b"Content-Type: TEXT/Html", "text/html", set()),
        (b"Content-Type: text", "text/plain", {"bad_content_type"}),
        (b"Content-Type: text/", "text/plain", {"bad_content_type"}),
        (b"Content-Type:", "text/plain", {"bad_content_type"}),
        (b"Content-Type: te(x)t/plain", "text/plain", {"bad_content_type"}),
        (b"Content-Type: application/vnd.x+json; a=b", "application/vnd.x+json", set()),
    ],
)
def test_types(headers: bytes, kind: str, flags: set[str]) -> None:
    (part,) = Message(headers + b"\n\nx").parts
    assert (set(part.flags), part.type) == (flags, kind)


@pytest.mark.parametrize(
    ("headers", "filename"),
    [
        (b"A: x", None),
        (b"Content-Type: text/plain; name=a.txt", "a.txt"),
        (b"Content-Disposition: attachment; filename=b.txt", "b.txt"),
        (b"Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename*=utf-8''%c3%bc", "ü"),
    ],
)
def test_file_names(headers: bytes, filename: str | None) -> None:
    assert Message(headers + b"\n\nx").parts[0].filename == filename


@pytest.mark.parametrize(
    ("encoding", "body", "content", "flag"),
    [
        (b"base64", b"YWJj\n", b"abc", ""),
        (b" BASE64 (really)", b"YWJj\n", b"abc", ""),
        (b"base64", b"YWJjZ", b"abc", "bad_base64"),
        (b"8bit", b"\xfc", b"\xfc", ""),
        (b"own", b"x", b"x", "unknown_encoding"),
    ],
)
def test_content_is_decoded_and_raw_is_not(encoding: bytes, body: bytes, content: bytes, flag: str) -> None:
    (part,) = Message(b"Content-Transfer-Encoding: " + encoding + b"\n\n" + body).parts
    assert (part.content, part.raw, part.raw_size) == (content, body, len(body))
    assert part.flags == ({flag} if flag else set())


def test_what_was_decoded_is_kept() -> None:
    (part,) = Message(b"Content-Transfer-Encoding: base64\n\nYWJjZGVm").parts
    first = part.content
    assert part.content is first


def test_a_multipart_has_no_content_of_its_own() -> None:
    (part, _) = Message(MIXED + b"--b\n\n" + b"x" * 2000 + b"\n--b--").parts
    assert (part.content, part.beginning(10), part.detected_type) == (b"", b"", None)
    assert part.raw.startswith(b"--b\n\n")


@pytest.mark.parametrize(
    ("encoding", "body", "beginning"),
    [
        (b"", b"a" * 100, b"a" * 10),
        (b"base64", base64.b64encode(b"a" * 100), b"a" * 7),
        (b"quoted-printable", b"a" * 9 + b"=61" * 100, b"a" * 9),
        (b"quoted-printable", b"a" * 100, b"a" * 10),
    ],
)
def test_the_beginning_is_decoded_without_the_rest(encoding: bytes, body: bytes, beginning: bytes) -> None:
    (part,) = Message(b"Content-Transfer-Encoding: " + encoding + b"\n\n" + body).parts
    assert part.beginning(10) == beginning
    assert part.content[:7] == b"a" * 7
    assert part.beginning(10)[:7] == b"a" * 7
    assert part.beginning(1000) == part.content


def test_size_and_digest_are_those_of_the_content() -> None:
    digest = hashlib.sha256(b"abc").hexdigest()
    for encoding, body in ((b"base64", b"YWJj\n"), (b"7bit", b"abc"), (b"quoted-printable", b"=61bc")):
        (part,) = Message(b"Content-Transfer-Encoding: " + encoding + b"\n\n" + body).parts
        assert (part.size, part.digest) == (3, digest)
    root = Message(MIXED + b"--b\n\none\n--b--").parts[0]
    assert (root.size, root.raw_size, root.digest) == (0, 14, hashlib.sha256(b"").hexdigest())


def test_archives_are_listed() -> None:
    body = base64.encodebytes(gzip.compress(b"one"))
    header = b"Content-Type: application/pdf; name=a.txt.gz\nContent-Transfer-Encoding: base64\n\n"
    (part,) = Message(header + body).parts
    assert part.archive is not None
    assert (part.archive.kind, part.archive.names) == ("gzip", ["a.txt"])
    assert part.archive is part.archive
    assert [part.archive for part in Message(MIXED + b"--b\n\none\n--b\n" + RFC822 + b"\nA: x\n\ny\n--b--").parts] == [None] * 4


def test_the_detected_type_is_that_of_the_bytes() -> None:
    body = base64.encodebytes(b"%PDF-1.7\n" + b"x" * 2000)
    (part,) = Message(b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n" + body).parts
    assert (part.type, part.detected_type) == ("image/png", "application/pdf")


KINDS = {
    b"Content-Type: text/plain": ("is_text",),
    b"Content-Type: text/html": ("is_text", "is_html"),
    b"Content-Type: text/html; name=x.html": ("is_text", "is_html"),
    b"Content-Type: text/plain\nContent-Disposition: attachment": ("is_text", "is_attachment"),
    b"Content-Type: application/pdf": ("is_attachment",),
    b"Content-Type: image/png\nContent-Disposition: inline": ("is_attachment",),
    b"Content-Type: multipart/mixed": ("is_multipart",),
    b"Content-Type: message/rfc822": (),
    b"Content-Type: message/rfc822\nContent-Disposition: attachment": ("is_attachment",),
}


@pytest.mark.parametrize(("headers", "kinds"), KINDS.items(), ids=[headers.decode() for headers in KINDS])
def test_kinds(headers: bytes, kinds: tuple[str, ...]) -> None:
    part = Message(MIXED + b"--b\n" + headers + b"\n\nx\n--b--").parts[1]
    assert tuple(name for name in ("is_text", "is_html", "is_multipart", "is_attachment") if getattr(part, name)) == kinds


def test_text_that_is_the_whole_message_is_shown() -> None:
    assert not Message(b"Content-Disposition: attachment\n\nx").parts[0].is_attachment


def test_children_and_parents() -> None:
    message = Message(MIXED + b"--b\n" + RFC822 + b"\nSubject: inner\n\none\n--b\n\ntwo\n--b--")
    root, inner, one, two = message.parts
    assert (root.children, inner.children, one.children) == ([inner, two], [one], [])
    assert (root.parent, inner.parent, one.parent, two.parent) == (None, root, inner, root)
    assert one.headers.get("subject") == "inner"
    assert repr(two) == "<Part text/plain of 3 bytes>"


def test_a_message_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        message = Message(nested(3, b"\nx"))
        part = weakref.ref(message.parts[-1])
        del message
        assert part() is None
    finally:
        gc.enable()


def test_depth_is_limited_and_what_is_deeper_is_text() -> None:
    message = Message(nested(30, b"\nx"))
    assert (len(message.parts), message.parts[-1].type) == (26, "text/plain")
    assert b"b29" in message.parts[-1].content
    assert {"depth_cap", "not_closed"} == message.flags


def test_the_levels_of_a_large_message_are_fewer() -> None:
    message = Message(nested(20, b"\n" + b"x" * 4 * 1024 * 1024))
    assert (len(message.parts), "depth_cap" in message.flags) == (7, True)
    # Messages within messages are not searched themselves.
    forwarded = Message(RFC822 * 1 + b"\n" + (RFC822 + b"\n") * 20 + nested(3, b"\n" + b"x" * 4 * 1024 * 1024))
    assert "depth_cap" not in forwarded.flags


def test_parts_are_counted() -> None:
    message = Message(MIXED + b"--b\n\nx\n" * 2000)
    assert (len(message.parts), set(message.flags)) == (1000, {"part_cap"})
    many = Message(MIXED + (b"--b\n" + RFC822 + b"\nx\n") * 2000)
    assert (len(many.parts), set(many.flags)) == (1000, {"part_cap"})


def test_lines_that_nearly_are_delimiters_are_counted() -> None:
    message = Message(MIXED + b"--b\n\nx\n" + b"--bx\n" * 10_001 + b"--b\n\ny\n--b--")
    assert ([part.type for part in message.parts], set(message.flags)) == (
        ["multipart/mixed", "text/plain"],
        {"boundary_cap", "not_closed"},
    )
    few = Message(MIXED + b"--b\n\nx\n" + b"--bx\n" * 9_999 + b"--b" + b" " * 300 + b"\n--b\n\ny\n--b--")
    assert (len(few.parts), few.flags) == (3, frozenset())


@given(
    st.recursive(
        st.tuples(
            st.sampled_from(["plain", "html"]),
            st.sampled_from(["7bit", "base64", "quoted-printable"]),
            st.text("ab-=\n é", max_size=30),
        ),
        lambda parts: st.lists(parts, min_size=1, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_what_the_standard_library_builds_is_taken_apart_again(parts: object, newline: bytes) -> None:
    def build(part: object) -> EmailMessage:
        message = EmailMessage()
        if isinstance(part, list):
            message.make_mixed(boundary="-".join("b" for _ in str(part)))
            for child in part:
                message.attach(build(child))
        else:
            assert isinstance(part, tuple)
            kind, encoding, text = part
            charset = "utf-8" if encoding != "7bit" or not text.isascii() else "us-ascii"
            message.set_content(text, subtype=kind, charset=charset, cte=encoding if text.isascii() else "base64")
        return message

    raw = build(parts).as_bytes().replace(b"\n", newline)
    expected = [
        (part.get_content_type(), b"" if part.is_multipart() else part.get_payload(decode=True))
        for part in email.message_from_bytes(raw).walk()
    ]
    message = Message(raw)
    assert [(part.type, part.content) for part in message.parts] == expected
    assert message.flags == set()


PIECES = [
    b"Content-Type: multipart/mixed; boundary=b\n",
    b"Content-Type: message/rfc822\n",
    b"Content-Transfer-Encoding: base64\n",
]
PIECES += [
    b"--b\n",
    b"--b--\n",
    b"\n",
    b"\r\n",
    b"--b",
    b"x",
    b" ",
    b"YQ==",
    b"Content-Type: text/html; charset=utf-7\n",
    b"\xff",
]


BROKEN = set("bad_header no_header_end bad_base64 no_boundary no_parts not_closed wrong_boundary encoded_message".split())


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_anything_is_taken_apart_somehow(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    for part in Message(raw).parts:
        assert part.raw in raw or part.parent is not None
        assert all(child.parent is part for child in part.children)
        assert len(part.content) <= part.raw_size
        assert part.flags <= BROKEN
