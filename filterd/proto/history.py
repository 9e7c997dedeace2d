"""A row of Rspamd's history (version 2) out of a verdict: what `/history` shows of one message.

Promises: nothing of a message's body is in it, every text has an end, and a row always renders, whatever the header holds.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import orjson

from filterd.mail.address import Address
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.verdict import Hit, RuleFailure

__all__ = ["HEAD_BYTES", "Judged", "head_of", "render_row", "render_rows"]

HEAD_BYTES = 32 * 1024
"""So much of a message's header is looked at."""
_TEXT = 512
_LISTED = 32
_SYMBOLS = 512
_TIMINGS = 64


class Judged(NamedTuple):
    """What a row is made of, kept cheaply when a message has been judged. `head` are its header fields, `when` is Unix time."""

    when: float
    head: bytes
    size: int
    envelope: Envelope
    door: str
    action: str
    score: float
    required_score: float | None
    is_skipped: bool
    timed_out: bool
    symbols: Mapping[str, Hit]
    failures: Sequence[RuleFailure]
    timings: Mapping[str, float]
    seconds: float
    task_id: str
    message_id: str | None


def head_of(message: Message) -> bytes:
    """The first `HEAD_BYTES` of a message's header fields. Whoever made a verdict has looked for them: this is cheap."""
    block = message.fields.block
    return block if len(block) <= HEAD_BYTES else block[:HEAD_BYTES]


def render_row(one: Judged) -> bytes:
    """The row as JSON. Unknown is the string "unknown", as the web interface has it."""
    envelope = one.envelope
    message = Message(one.head)
    slowest = sorted(one.timings.items(), key=lambda pair: -pair[1])[:_TIMINGS]
    row: dict[str, Any] = {
        "unix_time": int(one.when),
        "message-id": _text(one.message_id or "unknown"),
        "task_id": one.task_id,
        "queue_id": _text(envelope.queue_id or "unknown"),
        "door": one.door,
        "ip": envelope.ip or "unknown",
        "action": _text(one.action),
        "score": _number(one.score),
        "required_score": None if one.required_score is None else _number(one.required_score),
        "is_skipped": one.is_skipped,
        "size": one.size,
        "time_real": _number(one.seconds),
        "user": _text(envelope.user or "unknown"),
        "subject": _text(message.subject or "unknown"),
        "sender_smtp": _address(envelope.mail_from),
        "sender_mime": _address(next(iter(message.from_), None)),
        "rcpt_smtp": _addresses(envelope.rcpts),
        "rcpt_mime": _addresses([*message.to, *message.cc]),
        "symbols": {_text(name): _symbol(hit) for name, hit in list(one.symbols.items())[:_SYMBOLS]},
        "timings": {rule: _number(seconds * 1000.0) for rule, seconds in slowest},
        "failures": [_text(str(failure)) for failure in one.failures[:_LISTED]],
    }
    if one.timed_out:
        row["timed_out"] = True
    return orjson.dumps(row)


def render_rows(rows: Sequence[bytes]) -> bytes:
    """The reply of /history made of rendered rows."""
    return b'{"version":2,"rows":[%b]}' % b",".join(rows)


def _symbol(hit: Hit) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": _text(hit.name),
        "score": _number(hit.score),
        "metric_score": _number(hit.metric_score),
    }
    if hit.description is not None:
        told["description"] = _text(hit.description)
    if hit.options:
        told["options"] = [_text(option) for option in hit.options[:_LISTED]]
    return told


def _address(address: Address | None) -> str:
    return "unknown" if address is None else _text(address)


def _addresses(addresses: Sequence[Address]) -> list[str]:
    return [_text(address) for address in addresses[:_LISTED]]


def _text(text: str) -> str:
    text = text if len(text) <= _TEXT else f"{text[:_TEXT]}…"
    return text.encode("utf-8", "replace").decode()


def _number(value: float) -> float:
    return round(value, 6) if isfinite(value) else 0.0
