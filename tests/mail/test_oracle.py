"""On well-formed messages the standard library's parser is the oracle: the same parts, types, names and contents.

Left out is where it goes ways of its own: it takes `message/delivery-status` apart into blocks of fields, and does not decode
encoded words in file names.
"""

import base64
import email
import quopri
import re
from email.header import Header, decode_header, make_header
from email.message import Message as Oracle
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.message import Message

TOKENS = st.text("abcXYZ019-_.", min_size=1, max_size=12)
TEXTS = st.text("ab =-.;\"'()<>[]{}?ü€漢\n", max_size=40)
NAMES = st.text("ab c.;=()ü漢'%*", min_size=1, max_size=20).filter(lambda name: name == name.strip())
BLANKS = st.sampled_from([" ", "", "\t", "\n ", "\n\t ", "  "])
BEFORE = (" ", "", "\t", "  ")
PADDING = st.sampled_from(["", "", "", " ", "\t", "  \t"])
# RFC 2046 5.1.1: what a boundary may have in it; a blank not at its end.
BOUNDARIES = st.text("abcXYZ019'()+_,-./:=? ", max_size=20).map(lambda text: f"{text}.")
ENCODINGS = ["base64", "BASE64", "quoted-printable", "Quoted-Printable", "7bit", "8bit", "binary", ""]

CHARSETS = {
    "us-ascii": "abc Z-09",
    "utf-8": "ab ü€漢😀",
    "iso-8859-1": "ab üÿé",
    "iso-8859-15": "ab €éÿ",
    "windows-1252": "ab €“”ü",
    "koi8-r": "ab ЖяИ",
    "windows-1251": "ab ЖяИ№",
    "iso-8859-7": "ab αΩέ",
    "gb2312": "ab 汉字中",
    "gbk": "ab 漢字中",
    "big5": "ab 漢字中",
    "shift_jis": "ab 漢字かカ",
    "euc-jp": "ab 漢字かカ",
    "iso-2022-jp": "ab 漢字かカ",
    "euc-kr": "ab 한글",
}


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
    if draw(st.integers(0, 9)) == 0:
        # Nothing says what it is: a part without a field.
        return "\n" + draw(TEXTS)
    if draw(st.booleans()):
        lines.append(f"Content-ID: <{draw(TOKENS)}@{draw(TOKENS)}>")
    encoding = draw(st.sampled_from(ENCODINGS))
    if encoding:
        # The oracle compares what stands there with each encoding, blanks included.
        lines.append(f"Content-Transfer-Encoding:{draw(st.sampled_from(BEFORE))}{encoding}")
    content = draw(TEXTS).encode() if encoding.lower() != "base64" else draw(st.binary(max_size=200))
    if encoding.lower() == "base64":
        body = base64.encodebytes(content).decode().rstrip("\n")
    elif encoding.lower() == "quoted-printable":
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
    boundary = f"b{'=' * (4 - depth)}_{draw(BOUNDARIES)}{depth}"
    kind = draw(st.sampled_from(["mixed", "alternative", "related", "x-own", "digest", "MIXED", "report", "signed"]))
    name = draw(st.sampled_from(["boundary", "Boundary", "BOUNDARY"]))
    written = boundary if re.fullmatch(r"[\w.-]+", boundary) and draw(st.booleans()) else quoted(boundary)
    more = draw(st.sampled_from(["", "; charset=utf-8", '; type="text/html"', "; protocol=x"]))
    header = f"Content-Type: multipart/{kind};{draw(BLANKS)}{name}={written}{more}\n"
    header += draw(st.sampled_from(["", "", "Content-Transfer-Encoding: 8bit\n", "Content-Disposition: inline\n"])) + "\n"
    parts = draw(st.lists(entities(depth=depth - 1), min_size=1, max_size=3))
    if kind == "digest":
        # Its parts are messages where they do not say what they are (RFC 2046 5.1.5).
        parts = [f"\nSubject: {draw(TOKENS)}\n{part}" for part in parts]
    preamble, epilogue = (draw(st.sampled_from(["", "read this\n", "\n", f"--{boundary[:-1]}\n"])) for _ in range(2))
    inner = "".join(f"--{boundary}{draw(PADDING)}\n{part}\n" for part in parts)
    return f"{header}{preamble}{inner}--{boundary}--{draw(PADDING)}\n{epilogue}"


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


@st.composite
def written_texts(draw: st.DrawFn) -> tuple[str, str]:
    """A charset and a text that can be written in it."""
    charset = draw(st.sampled_from(sorted(CHARSETS)))
    return charset, draw(st.text(CHARSETS[charset], min_size=1, max_size=60))


@given(written_texts(), st.sampled_from(["base64", "quoted-printable", "8bit"]), st.sampled_from(["plain", "html"]))
def test_the_same_text_in_every_charset(written: tuple[str, str], encoding: str, subtype: str) -> None:
    charset, text = written
    data = text.encode(charset)
    body = base64.encodebytes(data) if encoding == "base64" else quopri.encodestring(data) if encoding != "8bit" else data
    fields = f"Content-Type: text/{subtype}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"
    raw = b"MIME-Version: 1.0\n" + fields.encode() + body
    (ours,) = Message(raw).text_parts
    oracle = email.message_from_bytes(raw).get_payload(decode=True)
    assert isinstance(oracle, bytes)
    assert ours.source.rstrip("\n") == oracle.decode(charset).rstrip("\n")
    assert ours.is_html is (subtype == "html")


@given(written_texts(), st.integers(30, 76), st.sampled_from(["\n", "\r\n"]))
def test_the_same_subject_in_every_charset(written: tuple[str, str], width: int, newline: str) -> None:
    charset, text = written
    encoded = Header(text, charset, header_name="Subject", maxlinelen=width).encode(linesep="\n")
    raw = f"Subject: {encoded}\n\n".replace("\n", newline).encode("ascii")
    oracle = str(make_header(decode_header(email.message_from_bytes(raw)["Subject"])))
    assert (Message(raw).subject or "").split() == oracle.replace(newline, "").split()
