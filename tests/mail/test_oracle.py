"""On well-formed messages the standard library's parser is the oracle: the same parts, types, names and contents."""

import base64
import email
import quopri
from email.message import Message as Oracle
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.message import Message

TOKENS = st.text("abcXYZ019-_.", min_size=1, max_size=12)
TEXTS = st.text("ab =-.;\"'()<>[]{}?ü€漢\n", max_size=40)
NAMES = st.text("ab c.;=()ü漢'%*", min_size=1, max_size=20).filter(lambda name: name == name.strip())
BLANKS = st.sampled_from([" ", "", "\t", "\n ", "\n\t ", "  "])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def parameters(draw: st.DrawFn, name: str, value: str) -> str:
    """`; name=value` in one of the ways there are."""
    blank, written = draw(BLANKS), draw(st.sampled_from([name, name.upper(), name.capitalize()]))
    if value.isascii() and draw(st.booleans()):
        return f";{blank}{written}={quoted(value)}"
    escaped = quote(value, safe="")
    if draw(st.booleans()):
        return f";{blank}{written}*=utf-8''{escaped}"
    # RFC 2231 3: in pieces, here of whole characters, in any order.
    at = draw(st.integers(0, len(value)))
    pieces = [f"{written}*0*=utf-8''{quote(value[:at], safe='')}", f"{written}*1*={quote(value[at:], safe='')}"]
    return "".join(f";{blank}{piece}" for piece in draw(st.permutations(pieces)))


@st.composite
def leaves(draw: st.DrawFn) -> str:
    """The fields and body of a part that is no multipart; lines end in a newline."""
    kind = draw(
        st.sampled_from(["text/plain", "text/html", "TEXT/Plain", "application/pdf", "image/png", "application/x-a+b", ""])
    )
    lines = []
    if kind:
        line = f"Content-Type:{draw(BLANKS)}{kind}"
        if kind.lower().startswith("text/"):
            line += draw(parameters("charset", "utf-8"))
        if draw(st.booleans()):
            line += draw(parameters("name", draw(NAMES)))
        lines.append(line)
    if draw(st.booleans()):
        line = f"Content-Disposition: {draw(st.sampled_from(['attachment', 'inline']))}"
        if draw(st.booleans()):
            line += draw(parameters("filename", draw(NAMES)))
        lines.append(line)
    if draw(st.booleans()):
        lines.append(f"Content-ID: <{draw(TOKENS)}@{draw(TOKENS)}>")
    encoding = draw(st.sampled_from(["base64", "quoted-printable", "8bit", "BASE64", ""]))
    if encoding:
        lines.append(f"Content-Transfer-Encoding: {encoding}")
    content = draw(TEXTS).encode() if encoding != "base64" else draw(st.binary(max_size=200))
    if encoding.lower() == "base64":
        body = base64.encodebytes(content).decode().rstrip("\n")
    elif encoding == "quoted-printable":
        body = quopri.encodestring(content).decode()
    else:
        body = content.decode()
    return "".join(f"{line}\n" for line in draw(st.permutations(lines))) + "\n" + body


@st.composite
def entities(draw: st.DrawFn, depth: int = 3) -> str:
    """A part of any kind."""
    shape = draw(st.sampled_from(["leaf", "leaf", "multipart", "multipart", "message"])) if depth else "leaf"
    if shape == "leaf":
        return draw(leaves())
    if shape == "message":
        inner = f"Subject: {draw(TOKENS)}\n" + draw(entities(depth=depth - 1))
        return f"Content-Type: message/rfc822\n\n{inner}"
    # A boundary that begins like that of the part around it; the level in it keeps it from being the same.
    boundary = f"b{'=' * (4 - depth)}_{draw(TOKENS)}{depth}"
    kind = draw(st.sampled_from(["mixed", "alternative", "related", "x-own"]))
    header = f"Content-Type: multipart/{kind};{draw(BLANKS)}boundary={quoted(boundary)}\n\n"
    parts = draw(st.lists(entities(depth=depth - 1), min_size=1, max_size=3))
    preamble, epilogue = (draw(st.sampled_from(["", "read this\n", "\n"])) for _ in range(2))
    return header + preamble + "".join(f"--{boundary}\n{part}\n" for part in parts) + f"--{boundary}--\n" + epilogue


def tree(oracle: Oracle) -> list[tuple[str, str | None, bytes | None]]:
    found = []
    for part in oracle.walk():
        content = None if part.is_multipart() else part.get_payload(decode=True)
        assert content is None or isinstance(content, bytes)
        found.append((part.get_content_type(), part.get_filename(), content))
    return found


@given(entities(), st.sampled_from(["\n", "\r\n"]))
def test_the_same_parts_types_names_and_contents(entity: str, newline: str) -> None:
    raw = f"Subject: test\nMIME-Version: 1.0\n{entity}".replace("\n", newline).encode()
    message = Message(raw)
    ours = [(part.type, part.filename, None if part.children else part.content) for part in message.parts]
    assert ours == tree(email.message_from_bytes(raw))
    assert message.flags == set()


@given(st.lists(st.tuples(TOKENS, st.text('ab ,:;=?<>@"', max_size=30)), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_the_same_header_fields(fields: list[tuple[str, str]], newline: str) -> None:
    raw = ("".join(f"X{name}: {value}\n" for name, value in fields) + "\nbody").replace("\n", newline).encode()
    message, oracle = Message(raw), email.message_from_bytes(raw)
    assert [(field.name, field.value) for field in message.fields] == [(name, value.strip()) for name, value in oracle.items()]
    for name, _ in fields:
        assert message.header_raw(f"x{name}".upper()) == oracle[f"X{name}"].strip()
