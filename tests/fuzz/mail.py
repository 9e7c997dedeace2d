"""Targets: the message and everything in it but archives."""

import random
from email.utils import format_datetime

from filterd.mail import words
from filterd.mail.address import MAX_ADDRESSES, parse_addresses, parse_path, split_paths
from filterd.mail.charset import codec_for, decode, text_of
from filterd.mail.dates import parse_date
from filterd.mail.edits import edited, encode_words, rewritten_subject, with_body
from filterd.mail.headers import Headers, find_header_end
from filterd.mail.hosts import read_host, registrable
from filterd.mail.html import visible_text
from filterd.mail.html_plain import read_plain
from filterd.mail.ip import normalise_ip
from filterd.mail.magic import detect_type
from filterd.mail.mentions import find_mentions
from filterd.mail.message import Message
from filterd.mail.parameters import parse_parameters
from filterd.mail.received import parse_received
from filterd.mail.transfer import decode_transfer
from filterd.mail.urls import URL_LENGTH, absolute, nested_links, parse_url
from tests.fuzz.target import Target, dice_of, writable
from tests.support.reading import flags_of, read_all

__all__ = ["TARGETS"]


def _text(data: bytes) -> str:
    """As the parsers get it: never with a lone surrogate."""
    return text_of(data)


# ---------------------------------------------------------------------------------------------------------------- message

_MESSAGES = (
    b"From: a@b\r\nSubject: hi\r\n\r\nSee http://a.example/x?y=1 and www.b.example, write to c@d.example.\r\n",
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@b>\nTo: a, b@c;\nDate: Tue, 1 Oct 2024 10:00:00 +0000\nReceived: from a (b [192.0.2.1]) by c; "
    b'Tue, 1 Oct 2024 10:00:00 +0000\nContent-Type: multipart/alternative; boundary="=b"\n\n--=b\nContent-Type: text/plain; charset=latin-1\n'
    b"Content-Transfer-Encoding: quoted-printable\n\n=E9t=\n=E9\n--=b\nContent-Type: text/html\n\n<p>x<a href='http://c.example'>http://d.example</a>"
    b"<div style='display:none'>y</div>\n--=b--\n",
    b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=c\n\n"
    b"--c\n\nx\n--c--\n\n--b\nContent-Type: application/zip; name*=utf-8''%C3%A9.zip\nContent-Transfer-Encoding: base64\n\nUEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==\n--b--",
    b"From x@y Tue Oct  1 10:00:00 2024\nSubject: =?iso-2022-jp?B?GyRCJCIbKEI=?=\n\nbegin 644 a.txt\n#86)C\n`\nend\n",
    b"Content-Type: text/html; charset=utf-7\nContent-Transfer-Encoding: base64\n\nPGEgaHJlZj1qYXZhc2NyaXB0OmE+\n",
    b"Content-Type: multipart/digest; boundary=d\nList-Unsubscribe: <mailto:u@v.example>, <https://w.example/u>\n\n--d\n\nSubject: s\n\nt\n--d--\n",
)
_MESSAGE_WORDS = (
    b"\n\n", b"\r\n", b"\n ", b"\n--b\n", b"\n--b--\n", b"--b", b"Content-Type: multipart/mixed; boundary=b\n", b"Content-Type: message/rfc822\n",
    b"Content-Type: text/html; charset=", b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n",
    b"Content-Transfer-Encoding: x-uuencode\n", b"Content-Disposition: attachment; filename=", b"=?utf-8?q?=", b"=?utf-8?B?", b"?=", b"=0A",
    b"Received: from ", b"From: ", b"Subject: ", b"http://", b"https://", b"www.", b"mailto:", b"@", b".com", b"<a href=", b"<div>", b"</a>",
    b"<style>", b"<!--", b"-->", b"<script>", b"&#x41;", b"%2e", b"begin 644 x\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c",
)  # fmt: skip


def _message(data: bytes) -> object:
    message = Message(data)
    read_all(message)
    assert len(message.parts) <= 1000
    assert len(message.urls) <= 1000
    assert len(message.emails) <= 1000
    assert message.attachments == [part for part in message.parts if part.is_attachment]
    for part in message.parts:
        assert all(child.parent is part for child in part.children)
        assert len(part.content) == part.size
        assert part.beginning(100) == part.content[:100]
        writable([part.filename, part.type, part.detected_type, part.encoding, part.disposition.value])
    for text in message.text_parts:
        writable([text.source, text.content, *text.words, *(link.target for link in text.links)])
    for url in message.urls:
        writable([str(url), url.host, url.domain, url.user, url.shown, url.raw, url.phished])
        assert url.host
    for header in message.fields:
        writable([header.name, header.value, header.decoded])
        assert message.has_header(header.name) or not header.name.isascii()
    writable([message.subject, message.message_id, *message.from_, *message.to, *message.emails])
    return sorted(flags_of(message)), len(message.parts), [text.is_html for text in message.text_parts]


def _make_message(dice: random.Random) -> bytes:
    newline = dice.choice((b"\n", b"\r\n"))
    boundary = iter(range(100))

    def part(depth: int) -> list[bytes]:
        kind = dice.randrange(6 if depth < 5 else 3)
        if kind < 3:
            encoding = dice.choice((b"7bit", b"base64", b"quoted-printable", b"uuencode", b"x-unknown"))
            type_ = dice.choice((b"text/plain", b"text/html", b"application/zip", b"image/png", b"TEXT/Plain; charset=koi8-r"))
            body = dice.choice(
                (b"x", b"=41=", b"QUJD", b"<p>a</p>", b"http://a.example/", b"begin 6 a\n#86)C\nend", b"\xff\0\x80")
            )
            return [b"Content-Type: " + type_, b"Content-Transfer-Encoding: " + encoding, b"", body]
        if kind == 3:
            return [b"Content-Type: message/rfc822", b"", b"Subject: s", *part(depth + 1)]
        mark = b"b%d" % (next(boundary) if dice.random() < 0.8 else 1)
        lines = [b"Content-Type: multipart/mixed; boundary=" + mark, b""]
        for _ in range(dice.randrange(4)):
            lines += [b"--" + mark, *part(depth + 1)]
        return [*lines, b"--" + mark + (b"--" if dice.random() < 0.8 else b"")]

    return newline.join([b"From: a@b.example", b"Subject: =?utf-8?q?x?=", *part(0)])


def _headers(data: bytes) -> object:
    end = find_header_end(data, 0, len(data))
    assert 0 <= end.fields <= end.body <= len(data)
    headers = Headers(data[: end.fields])
    names = {header.name.lower() for header in headers if header.name.isascii()}
    for name in names:
        found = headers.all(name)
        assert headers.count(name) == len(found) > 0
        # Six names are searched for, the seventh makes an index: both must say the same.
        assert Headers(headers.block).raw(name) == found[0].raw == headers.raw(name), name
        writable([name, headers.get(name), *(header.decoded for header in found)])
    return sorted(headers.flags), end.is_found, min(len(headers), 20)


def _edits(data: bytes) -> object:
    """What is not changed stays; what is added is there; nothing breaks out of its header."""
    end = find_header_end(data, 0, len(data))
    if end.is_found and data:
        assert edited(data, {}) == data
        assert with_body(data, b"new").startswith(data[: end.body])
    dice = dice_of(data)
    value = data[-dice.randint(0, 80) :].decode("utf-8", "replace")
    changed = edited(
        data, {"add_headers": {"X-Fuzz": {"value": value, "order": dice.randint(-3, 3)}}, "remove_headers": {"Subject": 0}}
    )
    _, body, _ = find_header_end(changed, 0, len(changed))
    if end.is_found and data[: end.fields].strip():
        assert changed[body:] == data[end.body :]
        before, after = (
            Headers(data[: end.fields]),
            Headers(changed[: changed.find(data[end.fields :], len(changed) - len(data) + end.fields)]),
        )
        # A delimiter of parts that looks like a field is one to whoever adds fields, and for a message ends the header.
        is_whole = len(Message(data).fields) == len(before)
        if is_whole and before.flags == frozenset() and not data.startswith(b"From "):  # what is taken for the line of an mbox
            assert not Message(changed).has_header("subject")
            assert Message(changed).has_header("x-fuzz")
            # Not `before`: for a message a delimiter ends the header as well.
            kept = [header.name for header in Message(data).fields if header.name.lower() not in ("subject", "x-fuzz")]
            assert [header.name for header in Message(changed).fields if header.name.lower() != "x-fuzz"] == kept, after
    subject = rewritten_subject("[%d] %s %%", value, 1.5)
    assert subject.isascii()
    assert "\n" not in subject
    return end.is_found


# ----------------------------------------------------------------------------------------------------- pieces of a message


def _addresses(data: bytes) -> object:
    text = _text(data)
    found = parse_addresses(text)
    assert len(found) <= MAX_ADDRESSES
    for address in found:
        assert address.endswith(f"@{address.domain}") or not address.domain
        writable([address, address.name, address.raw])
    for path in split_paths(text):
        one = parse_path(path)
        writable([one, one.user, one.domain])
    return sorted({flag for address in found for flag in address.flags}), min(len(found), 5)


def _received(data: bytes) -> object:
    hop = parse_received(_text(data))
    writable([hop.from_hostname, hop.real_hostname, hop.by_hostname, hop.proto, hop.for_])
    for address in (hop.from_ip, hop.real_ip):
        assert address is None or normalise_ip(address) == address
    return sorted(hop.flags), hop.proto, hop.timestamp is None, hop.real_ip is None


def _date(data: bytes) -> object:
    moment = parse_date(_text(data))
    if moment is not None:
        moment.timestamp()
        moment.astimezone()
        assert parse_date(format_datetime(moment)) == moment.replace(microsecond=0)
    return moment is None


def _parameters(data: bytes) -> object:
    found = parse_parameters(_text(data))
    assert found.value == found.value.lower()
    writable([found.value, *found.parameters, *found.parameters.values()])
    assert len(found.parameters) <= 64
    return sorted(found.parameters)[:4]


def _words(data: bytes) -> object:
    text = _text(data)
    decoded = words.decode_words(text)
    writable([decoded])
    encoded = encode_words(text)
    assert encoded.isascii()
    if encoded != text:
        # Beyond what a reader decodes at all it stays encoded.
        assert len(encoded) > 60_000 or words.decode_words(encoded) == text
    return decoded == text


def _transfer(data: bytes) -> object:
    encoding, _, body = data.partition(b"\n")
    decoded, flag = decode_transfer(body, _text(encoding))
    assert len(decoded) <= max(len(body), 2**20 + 64)
    return flag, decoded == body


def _charset(data: bytes) -> object:
    label, _, body = data.partition(b"\n")
    name = _text(label)
    outcomes = []
    for is_cut in (False, True):
        text, flag = decode(body, name, is_cut=is_cut, may_guess=True)
        writable([text])
        outcomes.append(flag)
    return codec_for(name), outcomes


def _html(data: bytes) -> object:
    html = _text(data)
    found = visible_text(html)
    # What is read without a tree is what the tree says; a comment wants one.
    if html.count("<") < 5000 and read_plain(html) is not None:
        assert found == visible_text(html + "<!---->")
    writable([found.text, *(link.target for link in found.links), *(link.text for link in found.links)])
    return sorted(found.flags), min(len(found.links), 5), sorted({link.tag for link in found.links})[:10]


_HTML_SEEDS = (
    b"<html><head><title>t</title><base href='http://b.example/'></head><body><p>a<br>b<a href=\"c\">d</a><img src=//e.example/f></body></html>",
    b'<!DOCTYPE html><html><head><meta charset="utf-8"/><title>t</title></head><body class="c"><table><tr><td>x<b>y</b></td></tr></table>',
    b'<p>a &amp; b<br><a href="http://h.example/?x=1&y=2">c<img src="i.png"/></a><a class="d" href="e">f <i>g</i></a></p></body></html>',
    b"<div style='display: none'>x</div><span hidden>y</span><font color=white style=\"font-size:0\">z</font><p style=visibility:hidden>w",
    b"<meta http-equiv=refresh content='0; url=http://g.example/'><form action=h><area href=i><!-- c --><script>j</script><style>k</style>",
    b"<![CDATA[x]]><svg><a xlink:href=y></svg><table><tr><td background=z>&amp;&#0;&#xd800;&notit;<plaintext>",
)  # fmt: skip
_HTML_WORDS: tuple[bytes, ...] = (
    b"<",
    b">",
    b"</",
    b"/>",
    b"<!--",
    b"-->",
    b"<a href=",
    b"<div>",
    b"<p>",
    b"</a>",
    b"style=",
    b"display:none",
    b"hidden",
    b"&#",
    b"&amp",
)
_HTML_WORDS += (
    b"<script>",
    b"<style>",
    b"<template>",
    b"<svg>",
    b"<math>",
    b"<select>",
    b"<table>",
    b"<base href=",
    b"http://",
    b"\0",
    b"font-size:0",
    b"<b>",
)


def _urls(data: bytes) -> object:
    text = _text(data)
    url = parse_url(text)
    if url is None:
        return None
    if len(str(url)) > URL_LENGTH:
        return None
    again = parse_url(str(url))
    assert again is not None, str(url)
    assert (again.scheme, again.host, again.domain, again.port, again.user) == (
        url.scheme,
        url.host,
        url.domain,
        url.port,
        url.user,
    )
    writable([str(url), *nested_links(url), absolute(str(url), text[:200])])
    return url.scheme, sorted(url.flags), url.domain != url.host


_URL_SEEDS = (
    b"http://user:pass@www.Example.CO.UK:8080/a/b?c=d&e=http://f.example#g",
    b"https://xn--bcher-kva.example/", "https://bücher.example/ß".encode(), b"http://0x7f.1/", b"http://[::ffff:192.0.2.1]/", b"hxxp://a[.]b.example",
    b"http:\\\\a.example\\b", b"ftp://%65xample.org/%2e%2e", b"//a.example", b"a.example/x", b"javascript:alert(1)", b"http://3232235777/",
)  # fmt: skip
_URL_WORDS = (
    b"http://",
    b"https:",
    b"//",
    b"\\",
    b"@",
    b":",
    b"?",
    b"#",
    b"%",
    b"%2e",
    b"%00",
    b"[",
    b"]",
    b".",
    b"xn--",
    b"0x",
    "。".encode(),
    b"www.",
    b".com",
)


def _hosts(data: bytes) -> object:
    text = _text(data)
    host = read_host(text)
    if host is None:
        return None
    writable([host.name, registrable(host.name)])
    again = read_host(host.name)
    assert again is not None, host.name
    assert again.name == host.name
    assert read_host(text, may_encode=False) is not None
    return sorted(host.flags)


def _mentions(data: bytes) -> object:
    text = _text(data)
    mentions, is_cut = find_mentions(text)
    starts = [mention.start for mention in mentions]
    assert starts == sorted(starts)
    writable([mention.text for mention in mentions])
    has_brackets = bool({"[", "(", "{"} & set(text))
    for mention in mentions:
        # Where something was made unclickable the places are those of the text that was meant.
        assert has_brackets or text[mention.start :].startswith(mention.text), mention
    return min(len(mentions), 5), is_cut, [mention.is_defanged for mention in mentions[:3]]


_MENTION_SEEDS = (
    b"See (http://a.example/b_(c)), www.d.example. Or e@f.example; hxxp://g[.]example and h.com/i j.co",
    "“http://k.example” l@m.example。http://n.example/ö".encode(),
)
_MENTION_WORDS = (
    b"://",
    b"@",
    b".",
    b"www.",
    b"http://",
    b"hxxp",
    b"[.]",
    b"(dot)",
    b" at ",
    b".com",
    b".org/",
    b")",
    b"'",
    b'"',
    b">",
    b"mailto:",
    "。".encode(),
)


def _magic(data: bytes) -> object:
    return detect_type(data)


def _ip(data: bytes) -> object:
    found = normalise_ip(_text(data))
    assert found is None or normalise_ip(found) == found
    return found is None


# ------------------------------------------------------------------------------------------------------------------ the table
_DATES = (
    b"Tue, 1 Oct 2024 10:00:00 +0200 (CEST)",
    b"Oct  1 10:00:00 2024",
    b"1 Oct 24 1:00 pm EST",
    b"31 Dec 9998 23:59:59 -2359",
)
_RECEIVEDS = (
    b"from a.example (b.example [192.0.2.1]) by c with ESMTPS id 1 for <d@e>; Tue, 1 Oct 2024 10:00:00 +0000",
    b"from [IPv6:2001:db8::1] (helo=x) by y (Postfix, from userid 0)\r\n\tid z; Tue, 1 Oct 2024 10:00:00 +0000",
)  # fmt: skip
_ADDRESSES = (
    b'"Doe, J" <j@b.example>, group: a@b, c@d; (comment) e@f (g), <@r:h@i>, =?utf-8?q?=C3=A9?= <k@l>, undisclosed-recipients:;',
    b'a b c@d <e@f>> "g\\"h"@i j@[IPv6:::1]',
)
_PARAMETERS = (
    b'multipart/mixed; boundary="a;b\\"c"; charset=utf-8 (x); name="=?utf-8?q?=C3=A9?="',
    b"attachment; filename*0*=utf-8''%C3%A9; filename*1=b; filename*2*=%ff; filename=c; filename*=iso-8859-1'en'%e9",
)
_TRANSFERS = (
    b"base64\nQUJD\nRA==\nRUZH",
    b"quoted-printable\na=\nb=3D=0D=\r\n",
    b"uuencode\nbegin 644 x\n#86)C\n`\nend\n",
    b"x\ny",
)
_CHARSETS = (
    b"utf-8\n\xc3\xa9",
    b"utf-7\n+AGEAYg-+2AA-",
    b"utf-16\n\xff\xfea\0",
    b'iso-2022-jp\n\x1b$B$"\x1b(B',
    b"big5\n\xa4\xa4",
    b"hz\n~{VPND~}",
    b"x\n\xe9\xe8",
)

TARGETS = (
    Target("message", _message, _MESSAGES, _MESSAGE_WORDS, make=_make_message),
    Target("headers", _headers, _MESSAGES, (b"\n", b"\r\n", b"\n ", b":", b" :", b"\0", b"\n\t", b"Subject", b"\n\n", b"\r")),
    Target(
        "edits", _edits, _MESSAGES, (b"\n", b"\r\n", b"\n ", b"\r", b"Subject: x\n", b"X-Fuzz: y\n", b"\n\n", b"\x0b", b"\x85")
    ),
    Target(
        "addresses",
        _addresses,
        _ADDRESSES,
        (b"<", b">", b"@", b",", b";", b":", b'"', b"(", b")", b"\\", b"[", b"]", b"=?utf-8?q?", b"?="),
    ),
    Target(
        "received",
        _received,
        _RECEIVEDS,
        (b"from ", b" by ", b" with ", b" for ", b"; ", b"(", b")", b"[", b"]", b"\\", b"IPv6:", b"helo="),
    ),
    Target("dates", _date, _DATES, (b" ", b":", b"+", b"-", b"(", b")", b"Jan", b"pm", b"EST", b"0000", b"9999", b".", b",")),
    Target(
        "parameters",
        _parameters,
        _PARAMETERS,
        (b";", b"=", b'"', b"*", b"*0*=", b"*1=", b"''", b"%", b"\\", b"(", b"=?utf-8?b?", b"?=", b"name", b"filename"),
    ),
    Target(
        "words",
        _words,
        (b"=?utf-8?q?a=C3=A9_b?= =?utf-8?B?w6k=?=", b"=?iso-8859-1*en?q?=e9?=", b"=?utf-8?q?=C3?= =?utf-8?q?=A9?="),
        (b"=?", b"?=", b"?q?", b"?B?", b"utf-8", b"=", b"_", b" ", b"utf-7"),
    ),
    Target(
        "transfer",
        _transfer,
        _TRANSFERS,
        (
            b"=",
            b"==",
            b"\n",
            b"\r\n",
            b"=\n",
            b"A",
            b"begin 644 x\n",
            b"end\n",
            b"base64\n",
            b"quoted-printable\n",
            b"uuencode\n",
        ),
        largest=256 * 1024,
    ),
    Target(
        "charset",
        _charset,
        _CHARSETS,
        (
            b"\xff",
            b"\x1b$B",
            b"\x1b(B",
            b"+",
            b"-",
            b"~{",
            b"~}",
            b"utf-7\n",
            b"gb18030\n",
            b"idna\n",
            b"hex\n",
            b"windows-1251\n",
            b"\x80",
        ),
    ),
    Target("html", _html, _HTML_SEEDS, _HTML_WORDS, largest=128 * 1024),
    Target("urls", _urls, _URL_SEEDS, _URL_WORDS, largest=8 * 1024),
    Target(
        "hosts",
        _hosts,
        (b"www.example.co.uk", "bücher.example".encode(), b"0x7f.0.0.1", b"[::1]", b"%65x.org", b"xn--bcher-kva.example"),
        _URL_WORDS,
        largest=2 * 1024,
    ),
    Target("mentions", _mentions, _MENTION_SEEDS, _MENTION_WORDS, largest=128 * 1024),
    Target(
        "magic",
        _magic,
        (b"%PDF-1.7", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"MZ", b"<html>", b"PK\x05\x06" + bytes(18)),
        (b"word/", b"xl/", b"ppt/", b"mimetype"),
        largest=1024,
    ),
    Target(
        "ip",
        _ip,
        (b"[IPv6:2001:db8::1]", b"192.0.2.1", b"::ffff:192.0.2.1", b"fe80::1%eth0"),
        (b":", b".", b"[", b"]", b"%", b"IPv6:"),
        largest=1024,
    ),
)
