"""A task to evaluate expressions on, without a scan around it."""

from collections.abc import Iterable, Mapping
from typing import Any

from filterd.engine.expressions import Compiler
from filterd.engine.registry import Rule
from filterd.engine.scan import Scan
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from tests.support.engine import engine_of

__all__ = ["ENVELOPE", "LETTER", "task_of", "value_of"]

LETTER = (
    b"Received: from client.example.com (real.example.com [192.0.2.7])\r\n"
    b"\tby mx.example.net with ESMTPS; Thu, 01 Jan 2026 10:00:02 +0000\r\n"
    b"Received: from inner by client.example.com; Thu, 01 Jan 2026 10:00:01 +0000\r\n"
    b"Date: Thu, 01 Jan 2026 10:00:00 +0000\r\n"
    b"From: Ann <ann@sub.example.co.uk>\r\n"
    b"To: Bob <Bob@Example.NET>, carl@example.net\r\n"
    b"Cc: dora@example.org\r\n"
    b"Subject: Buy NOW\r\n"
    b"X-Tag: one\r\nx-tag: two\r\n"
    b"Message-ID: <7@example.com>\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n'
    b"\r\n--b\r\n\r\n"
    b"See http://www.example.com/a?x=1 and https://shop.example.com/ or write to help@example.com\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=bill.pdf\r\n\r\nPDF\r\n"
    b"--b--\r\n"
)

ENVELOPE = Envelope.of(
    ip="192.0.2.77",
    mail_from="Ann@Sender.example",
    rcpts=["bob@example.net", "carl@example.net"],
    helo="mail.sender.example",
    user="Test@User.com",
    queue_id="Q1",
    headers=[("X-Own", "yes"), ("Settings-ID", "")],
)


def task_of(
    raw: bytes = LETTER,
    envelope: Envelope = ENVELOPE,
    *,
    symbols: Mapping[str, float] | None = None,
    rules: Iterable[Rule] = (),
    **keywords: Any,
) -> Scan:
    """A task of an engine with these rules, none of which runs, and with these symbols inserted by weight."""
    engine = engine_of(*rules, **keywords)
    request = ScanRequest(Message(raw), envelope)
    task = Scan(request, engine.environment, engine, engine.variants.usual)
    for name, weight in (symbols or {}).items():
        task.insert_result(name, weight)
    return task


def value_of(text: str, **keywords: Any) -> Any:
    """What a selector gives for the letter."""
    return Compiler(**keywords).compile(text)(task_of())
