"""Messages made to take long, to take much memory, or to be read differently than they are shown."""

import base64
import gzip
import io
import random
import zipfile
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

__all__ = ["HOSTILE", "Hostile"]

MB = 1_000_000


class Hostile(NamedTuple):
    """How to make one, and flags that must be set on it, its parts, texts, links, addresses or archives."""

    make: Callable[[], bytes]
    flags: frozenset[str]


def _headed(type_: bytes, body: bytes, *, encoding: bytes = b"", more: bytes = b"") -> bytes:
    encoded = b"Content-Transfer-Encoding: " + encoding + b"\n" if encoding else b""
    return b"From: a@b.example\nSubject: x\n" + more + b"Content-Type: " + type_ + b"\n" + encoded + b"\n" + body


def _text(body: bytes, **keywords: bytes) -> bytes:
    return _headed(b"text/plain", body, **keywords)


def _html(body: bytes, **keywords: bytes) -> bytes:
    return _headed(b"text/html; charset=utf-8", body, **keywords)


def _nested(levels: int, body: bytes = b"\nx", *, is_same: bool = False) -> bytes:
    """Multiparts one within the other."""
    lines = []
    for level in range(levels):
        name = b"b" if is_same else b"b%d" % level
        lines.append(b"Content-Type: multipart/mixed; boundary=%b\n\n--%b\n" % (name, name))
    return b"".join(lines) + body


def _attached(data: bytes, name: bytes) -> bytes:
    return _headed(b"application/octet-stream; name=" + name, base64.encodebytes(data), encoding=b"base64")


def _zipped(names: int = 1, size: int = 10 * MB, *, depth: int = 0) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        content = _zipped(names, size, depth=depth - 1) if depth else bytes(size)
        for number in range(names):
            archive.writestr(f"{number}.{'zip' if depth else 'bin'}", content)
    return made.getvalue()


def _lying_zip() -> bytes:
    """A small file that says it has a terabyte."""
    data = _zipped(1, 100)
    at = data.rfind(b"PK\x01\x02") + 24
    return data[:at] + (2**31).to_bytes(4, "little") + data[at + 4 :]


def _random(size: int, type_: bytes) -> bytes:
    return _headed(type_, random.Random(size).randbytes(size))


def _broken_base64(size: int) -> bytes:
    line = b"QUJD" * 18 + b"*QQ==\n"
    return _text(line * (size // len(line)), encoding=b"base64")


def _urls(count: int) -> bytes:
    return _text(b"".join(b"http://host%d.example.com/%d\n" % (number, number) for number in range(count)))


def _names(size: int) -> bytes:
    return b"".join(b"x%d=1;" % number for number in range(size // 8))


def _segments(count: int) -> bytes:
    return b"".join(b" name*%d*=%%41;\n" % number for number in range(count))


_IDN = (
    "<a href='http://%65%78ample.com@evil.example/'>http://example.com</a> http://ｅｘａｍｐｌｅ.com/ http://exаmple.com/ "
    "http://xn--exmple-4nf.com/ http://example。com/ http://0x7f.1/ http://2130706433/ http://[::ffff:7f00:1]/ "
    "http://exam\u00adple.com/ http://ex\u200dample.com/ http:\\\\evil.example\\@example.com http://a%00b.example/ http://%ff.example/ "
    "http://%2565vil.example/ http://" + "ü" * 63 + ".example/ http://" + "xn--" * 60 + ".example/\n"
).encode()

# fmt: off
_TABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    # -- structure
    "10,000 multiparts one within the other": (lambda: _nested(10_000), "depth_cap"),
    "10,000 multiparts with one boundary": (lambda: _nested(10_000, is_same=True), "part_cap"),
    "60 multiparts around 30 MB": (lambda: _nested(60, b"\n" + b"x" * 30 * MB), "depth_cap"),
    "10,000 messages one within the other": (lambda: b"Content-Type: message/rfc822\n\n" * 10_000 + b"\nx", "depth_cap"),
    "10,000 encoded messages": (lambda: b"Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n" * 10_000, "depth_cap"),
    "100,000 parts": (lambda: _headed(b"multipart/mixed; boundary=b", b"--b\n\nx\n" * 100_000), "part_cap"),
    "100,000 messages": (lambda: _headed(b"multipart/digest; boundary=b", b"--b\n\nA: b\n\nx\n" * 100_000), "part_cap"),
    "50 MB of lines that nearly are boundaries": (lambda: _headed(b"multipart/mixed; boundary=b", b"--b\n\nx\n" + b"--bx\n" * (10 * MB)), "boundary_cap"),
    "boundaries that begin alike": (lambda: _headed(b"multipart/mixed; boundary=b", b"--b\nContent-Type: multipart/mixed; boundary=bb\n\n" + b"--bb\n\nx\n--b\n\ny\n" * 50_000), "part_cap"),
    "a boundary of blanks": (lambda: _headed(b'multipart/mixed; boundary="   "', b"--   \n\nx\n" * 1000), "no_boundary"),
    # -- header fields
    "100,000 fields": (lambda: b"".join(b"X-%d: y\n" % number for number in range(100_000)) + b"\nx", "header_cap"),
    "100,000 times one field": (lambda: b"Subject: y\n" * 100_000 + b"\nx", "header_cap"),
    "100,000 Received": (lambda: b"Received: from a (b [192.0.2.1]) by c; Tue, 1 Oct 2024 10:00:00 +0000\n" * 100_000 + b"\nx", "header_cap"),
    "100,000 lines of one subject": (lambda: b"Subject: a\n" + b" b\n" * 100_000 + b"\nx", ""),
    "10 MB of =? as subject": (lambda: b"Subject: " + b"=?" * (5 * MB) + b"\n\nx", "header_cap"),
    "10 MB of =?utf-8?q? as subject": (lambda: b"Subject: " + b"=?utf-8?q?" * MB + b"\n\nx", "header_cap"),
    "100,000 encoded words": (lambda: b"Subject: " + b"=?utf-8?q?a?= " * 100_000 + b"\n\nx", "header_cap"),
    "30 MB of fields and no end": (lambda: b"X-Y: z\n" * (30 * MB // 7), "no_header_end"),
    "9 MB of parameters": (lambda: _headed(b"text/plain; " + _names(9 * MB), b"x"), "header_cap"),
    "500,000 segments of a name": (lambda: _headed(b"application/pdf;\n" + _segments(500_000), b"x"), "header_cap"),
    "64 KB of addresses": (lambda: b"To: " + b"a@b.example," * 5400 + b"\n\nx", "address_cap"),
    "64 KB of marks for addresses": (lambda: b"To: " + b"@>" * 32_000 + b"\n\nx", "broken"),
    "64 KB of brackets for addresses": (lambda: b"From: " + b"((\\)" * 16_000 + b"\n\nx", "broken"),
    "four fields of quotes for addresses": (lambda: b"".join(name + b': "a" ' * 10_000 + b"\n" for name in (b"From", b"To", b"Cc", b"Reply-To")) + b"\nx", "broken"),
    # -- transfer encodings
    "50 MB of broken base64": (lambda: _broken_base64(50 * MB), "text_cap"),
    "10 MB of broken base64, attached": (lambda: _broken_base64(10 * MB).replace(b"text/plain", b"image/png"), "bad_base64"),
    "50 MB of broken base64, attached": (lambda: _broken_base64(50 * MB).replace(b"text/plain", b"image/png"), "base64_cap"),
    "100,000 pieces of base64": (lambda: _headed(b"image/png", b"QQ==" * 100_000, encoding=b"base64"), "bad_base64"),
    "50 MB of padding": (lambda: _headed(b"image/png", b"=" * (50 * MB), encoding=b"base64"), "base64_cap"),
    "10 MB of uuencode": (lambda: _headed(b"image/png", b"begin 644 x\n" + (b"M" + b"8" * 60 + b"\n") * (10 * MB // 62), encoding=b"uuencode"), "uuencode_cap"),
    "1 MB of uuencode that swells": (lambda: _headed(b"image/png", b"begin 644 x\n" + b"_\n" * (MB // 2), encoding=b"uuencode"), "uuencode_cap"),
    "30 MB of base64 text": (lambda: _text(base64.encodebytes(b"word " * (30 * MB // 7)), encoding=b"base64"), "text_cap"),
    "30 MB of quoted-printable text": (lambda: _text(b"=41=42=\n" * (30 * MB // 8), encoding=b"quoted-printable"), "text_cap"),
    # -- bytes
    "50 MB in one line": (lambda: _text(b"x" * (50 * MB)), "text_cap"),
    "30 MB of words": (lambda: _text(b"word " * (6 * MB)), "text_cap"),
    "30 MB in one line of HTML": (lambda: _html(b"<p>x</p>" * (30 * MB // 8)), "text_cap"),
    "10 MB of NULs": (lambda: _text(bytes(10 * MB)), "text_cap"),
    "10 MB of NULs in HTML": (lambda: _html(bytes(10 * MB)), "text_cap"),
    "NULs everywhere": (lambda: b"Sub\0ject: a\0b\nFrom\0: a\0@b\nContent-Type: text/html;\0charset=utf-8\n\n<a\0 href=h\0ttp://a.example>\0</a>" * 100, "bad_header"),
    "10 MB of any bytes": (lambda: _random(10 * MB, b"text/plain"), "text_cap"),
    "10 MB of any bytes in HTML": (lambda: _random(10 * MB, b"text/html"), "text_cap"),
    "lone surrogates in UTF-8": (lambda: b"Subject: \xed\xa0\x80\nFrom: =?utf-8?q?=ED=A0=80?= <a@b>\n" + _text(b"\xed\xa0\x80 http://\xed\xa0\x80.example " * 2000), "no_tld"),
    "lone surrogates in UTF-7": (lambda: _headed(b"text/plain; charset=utf-7", b"+2AA-x http://+2AA-.example " * 8000), "mention_cap"),
    "lone surrogates in HTML": (lambda: _html(b"&#xD800;<a href='http://&#xDFFF;.example'>x</a>" * 3000), "html_cap"),
    "lone surrogates in UTF-16": (lambda: _headed(b"text/plain; charset=utf-16le", b"\0\xd8" * 100_000), "bad_charset"),
    # -- HTML
    "40,000 divs one within the other": (lambda: _html(b"<div>" * 40_000 + b"x"), "html_cap"),
    "2,900 divs one within the other": (lambda: _html(b"<div>" * 2_900 + b"x"), ""),
    "30,000 attributes": (lambda: _html(b"<p " + b" ".join(b"a%d=1" % number for number in range(30_000)) + b">x"), "html_cap"),
    "1 MB of <a": (lambda: _html(b"<a " * (MB // 3)), "html_cap"),
    '1 MB of <a "': (lambda: _html(b'<a "' * (MB // 4)), "html_cap"),
    "1 MB of <style": (lambda: _html(b"<style " * (MB // 7)), "html_cap"),
    "1 MB of comments that do not end": (lambda: _html(b"<!--" * (MB // 4)), "html_cap"),
    "1 MB of scripts that do not end": (lambda: _html(b"<script>" * (MB // 8)), "html_cap"),
    "36,000 links that do not end": (lambda: _html(b"<a href='http://a.example/x'>y" * 36_000), "html_cap"),
    "1 MB of references to characters": (lambda: _html(b"&#x41;" * (MB // 6)), "text_cap"),
    "5,000 tables one within the other": (lambda: _html(b"<table><tr><td>" * 1660 + b"x"), ""),
    "5,000 forms, selects, formatting elements": (lambda: _html(b"<b><i><font><a href=x><p>" * 999 + b"x"), ""),
    "5,000 hidden elements": (lambda: _html(b"<span style='display:none'>x</span>" * 2400), "hidden_text"),
    "5,000 hidden elements one within the other": (lambda: _html(b"<div style='font-size:0'>" * 4900 + b"x"), "html_cap"),
    "2,400 hidden elements one within the other": (lambda: _html(b"<div style='font-size:0'>" * 2400 + b"x"), "hidden_text"),
    # -- links
    "100,000 links": (lambda: _urls(100_000), "text_cap"),
    "100,000 times one link": (lambda: _text(b"http://a.example/ " * 100_000), "text_cap"),
    "1 MB of ://": (lambda: _text(b"://" * (MB // 3)), "text_cap"),
    "1 MB of http://": (lambda: _text(b"http://" * (MB // 7)), "text_cap"),
    "1 MB of a@": (lambda: _text(b"a@" * (MB // 2)), "text_cap"),
    "1 MB of a.": (lambda: _text(b"a." * (MB // 2)), "text_cap"),
    "1 MB of @": (lambda: _text(b"@" * MB), "text_cap"),
    "256 KB of a.b/": (lambda: _text(b"a.b/" * 65_536), "mention_cap"),
    "20 parts of 256 KB of a.b/": (lambda: _headed(b"multipart/mixed; boundary=b", (b"--b\n\n" + b"a.b/" * 65_536 + b"\n") * 20), "mention_cap"),
    "512 KB of \xe9@\xe9.\xe9": (lambda: _headed(b"text/plain; charset=latin-1", b"\xe9@\xe9.\xe9" * 104_000), "mention_cap"),
    "512 KB of mailto:a@b.c": (lambda: _text(b"mailto:a@b.c " * 40_000), "mention_cap"),
    "2,000 links with hosts for a text": (lambda: _html(b"".join(b"<a href=http://a.example/%d>%b</a>" % (number, b"a.b " * 60) for number in range(2000))), "mention_cap"),
    "1 MB of www.": (lambda: _text(b"www." * (MB // 4)), "text_cap"),
    "1 MB of a.b": (lambda: _text(b"a.com " * (MB // 6)), "text_cap"),
    "links within a link": (lambda: _text(b"http://a.example/?u=" + b"http%3A%2F%2Fb.example%2F%3Fu=" * 8000), "query"),
    "escapes of escapes": (lambda: _html(b"<a href='http://a.example/?u=http" + b"%25" * 20_000 + b"3A//b.example'>x</a>" * 20), "truncated"),
    "names in other letters": (lambda: _text(b"".join(f"http://ü{number}é.example/ ".encode() for number in range(20_000))), "idn_cap"),
    "names, IP addresses and escapes that look like others": (lambda: _html(_IDN * 500), "obscured"),
    "250 KB of brackets around links": (lambda: _text(b"(http://a.example/" * 14_000), "truncated"),
    # -- archives
    "a zip of 100 times 10 MB": (lambda: _attached(_zipped(100), b"x.zip"), "bomb"),
    "zips within zips": (lambda: _attached(_zipped(10, MB, depth=4), b"x.zip"), "unpack_cap"),
    "a zip that lies about its size": (lambda: _attached(_lying_zip(), b"x.zip"), "bomb"),
    "a gzip in a gzip of 200 MB": (lambda: _attached(gzip.compress(gzip.compress(bytes(200 * MB), 1), 1), b"x.gz"), "bomb unpack_cap"),
    "a gzip of 200 MB": (lambda: _attached(gzip.compress(bytes(200 * MB), 1), b"x.gz"), "bomb"),
    "10,000 files in a zip": (lambda: _attached(_zipped(10_000, 0), b"x.zip"), "entry_cap"),
}
# fmt: on

HOSTILE: dict[str, Hostile] = {name: Hostile(partial(make), frozenset(flags.split())) for name, (make, flags) in _TABLE.items()}
