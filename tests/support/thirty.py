"""Thirty-odd messages that are read in as many ways: whole and broken, small and large, and rules that see any difference.

`RULES` make of what they read of a message a score and symbols: two readings that differ in a part, a header or a link differ
in these.
"""

import base64
import zipfile
from io import BytesIO

__all__ = ["ENVELOPE", "MESSAGES", "RULES", "TOML"]

ENVELOPE = {
    "IP": "192.0.2.77",
    "From": "sender@example.org",
    "Rcpt": ["one@example.net", "two@example.net"],
    "Helo": "client.example.com",
}

TOML = """
[actions]
reject = 11
"rewrite subject" = 9
"add header" = 6
greylist = 3
"""

RULES = '''
    from hashlib import sha256

    from filterd import Task, rule


    @rule("FINGERPRINT", score=1.0)
    def fingerprint(task: Task) -> tuple[object, ...]:
        """A weight from 0 to 12 that another subject, text, part, address or link would change."""
        message = task.message
        read = [message.subject, message.message_id, task.ip, task.mail_from, task.helo, *task.rcpts]
        read += [address for address in (*message.from_, *message.to)]
        read += [(part.type, part.filename, sha256(part.content).hexdigest()) for part in message.parts]
        read += [str(url) for url in message.urls]
        digest = sha256(repr(read).encode("utf-8", "replace")).hexdigest()
        return int(digest[:8], 16) % 1200 / 100, digest[:8]


    @rule("HAS_ATTACHMENT", score=0.1)
    def has_attachment(task: Task) -> tuple[object, ...] | None:
        found = task.message.attachments
        return (len(found), *(part.filename or "?" for part in found)) if found else None


    @rule("HAS_LINK", score=0.1)
    def has_link(task: Task) -> tuple[object, ...] | None:
        found = task.message.urls
        return (True, *(url.host for url in found)) if found else None


    @rule("BROKEN", score=0.1)
    def broken(task: Task) -> tuple[object, ...] | None:
        found = sorted(task.message.flags - {"mbox_line"})
        return (True, *found) if found else None


    @rule("EMPTY", score=0.1, flags={"empty"})
    def empty(task: Task) -> bool:
        return not task.message.size


    @rule("DECIDED", score=0.0)
    def decided(task: Task) -> bool:
        is_it = (task.message.subject or "").startswith("decide ")
        if is_it:
            task.set_pre_result(task.message.subject.removeprefix("decide "), "as told")
        return is_it
'''

_HEAD = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: {}\r\nMessage-ID: <{}@example.org>\r\n"
_LINE = "The quick brown fox jumps over the lazy dog. http://www.example.org/a?b=c\r\n"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def _mail(subject: str, body: str | bytes, *more: str) -> bytes:
    head = _HEAD.format(subject, "-".join(subject.split()).encode("ascii", "replace").decode())
    head += "".join(f"{line}\r\n" for line in more)
    return head.encode() + b"\r\n" + (body.encode() if isinstance(body, str) else body)


def _parts(kind: str, *parts: str, end: str = "--b--\r\n") -> tuple[str, str]:
    return "".join(f"--b\r\n{part}\r\n" for part in parts) + end, f"Content-Type: multipart/{kind}; boundary=b"


def _zip() -> str:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("invoice.exe", b"MZ" + b"\0" * 100)
    return base64.encodebytes(buffer.getvalue()).decode().replace("\n", "\r\n")


def _attached(name: str, kind: str, content: str) -> str:
    return (
        f'Content-Type: {kind}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{content}"
    )


_TEXT, _HTML = (
    f"Content-Type: text/plain\r\n\r\n{_LINE}",
    f'Content-Type: text/html\r\n\r\n<a href="http://a.example">{_LINE}</a>',
)
_MIXED, _MIXED_TYPE = _parts("mixed", _TEXT, _attached("invoice.zip", "application/zip", _zip()))

MESSAGES: dict[str, bytes] = {
    "plain": _mail("plain", _LINE),
    "LF": _mail("LF", _LINE * 3).replace(b"\r\n", b"\n"),
    "alternative": _mail("alternative", *_parts("alternative", _TEXT, _HTML)),
    "attachment": _mail("attachment", _MIXED, _MIXED_TYPE),
    "several attachments": _mail(
        "several",
        *_parts(
            "mixed", _TEXT, _attached("a.exe", "application/x-dosexec", "TVqQAAMA"), _attached("b.txt", "text/plain", "aGk=")
        ),
    ),
    "nested": _mail("nested", *_parts("mixed", _TEXT, "Content-Type: message/rfc822\r\n\r\n" + _mail("inner", _LINE).decode())),
    "HTML": _mail("HTML", '<p>Pay <a href="http://evil.example.net/">www.bank.example.org</a></p>', "Content-Type: text/html"),
    "quoted-printable": _mail(
        "qp", "caf=C3=A9 =3D http://www.example.org/=\r\nlong\r\n", "Content-Transfer-Encoding: quoted-printable"
    ),
    "base64": _mail("b64", base64.encodebytes(_LINE.encode()).decode(), "Content-Transfer-Encoding: base64"),
    "latin-1 in the header": _mail("Sm\udcf6rg\udce5s".encode("utf-8", "surrogateescape").decode("latin-1"), _LINE),
    "UTF-8 in the header": _mail("Smörgåsbord", _LINE),
    "encoded words": _mail("=?UTF-8?Q?Sm=C3=B6rg=C3=A5s?= =?ISO-8859-1?B?Ym9yZA==?=", _LINE),
    "8-bit body": _mail("8-bit", "naïve ☃\r\n", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"),
    "wrong charset": _mail("wrong charset", b"\xff\xfe\x80 text\r\n", "Content-Type: text/plain; charset=utf-8"),
    "a folded subject": _mail("folded\r\n\t and\r\n again", _LINE),
    "two subjects": _mail("first", _LINE, "Subject: second"),
    "many recipients": _mail("many", _LINE, "To: " + ",\r\n ".join(f"r{number}@example.net" for number in range(200))),
    "a chain of hops": _mail(
        "hops", _LINE, *[f"Received: from h{n}.example by h{n + 1}.example; Sun, 29 Nov 2026 00:00:00 +0000" for n in range(30)]
    ),
    "a huge header": _mail("huge header", _LINE, "X-Huge: " + "x" * 200_000),
    "a thousand headers": _mail("thousand", _LINE, *[f"X-{number}: {number}" for number in range(1000)]),
    "a long line": _mail("long line", "x" * 300_000 + "\r\n"),
    "a large body": _mail("large body", _LINE * 20_000),
    "dots": _mail("dots", ".\r\n..\r\n.leading\r\n\r\n.\r\n"),
    "no end of line": _mail("no end", "the last line"),
    "NULs": _mail("NULs", b"a\0b\r\n\0\0\r\n"),
    "bare CRs": _mail("bare CRs", b"one\rtwo\r\nthree\r\r\n"),
    "no end of the parts": _mail("no end of parts", *_parts("mixed", _TEXT, _HTML, end="")),
    "no boundary": _mail("no boundary", _MIXED, "Content-Type: multipart/mixed"),
    "broken base64": _mail("broken b64", "!!!=aGVsbG8===\r\n*\r\n", "Content-Transfer-Encoding: base64"),
    "no header": b"\r\n" + _LINE.encode(),
    "header only": _mail("header only", "").removesuffix(b"\r\n"),
    "lines that are no header": b"Subject: odd\r\nthis is no header\r\n: nor this\r\nX-A: b\r\n\r\n" + _LINE.encode(),
    "an mbox line": b"From ann@example.org Sun Nov 29 00:00:00 2026\n" + _mail("mbox", _LINE).replace(b"\r\n", b"\n"),
    "one byte": b"x",
    "empty": b"",
    "GTUBE": _mail("GTUBE", f"{GTUBE}\r\n"),
    "decided: reject": _mail("decide reject", _LINE),
    "decided: no action": _mail("decide no action", _LINE),
    "decided: add header": _mail("decide add header", _LINE),
    "decided: rewrite subject": _mail("decide rewrite subject", _LINE),
}
