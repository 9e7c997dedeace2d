"""Replies in Rspamd's text protocol RSPAMC/1.3, as Exim's `variant=rspamd` reads them.

Promises:

* The first two lines are, to the byte, what Exim's sscanf asks for, and `Action: ` follows them: no empty line in between.
* No text of a rule can make a line of its own.
* A failure has another first line: Exim defers the message.
"""

import re
from math import isfinite

from filterd.mail.verdict import Verdict

__all__ = ["LARGEST", "NEVER", "one_line", "render_failure", "render_pong", "render_verdict"]

LARGEST = 999_999.0
"""The largest number that is told: clients read numbers into fields of some width."""

NEVER = LARGEST
"""The threshold where no score has a consequence: these protocols have no word for none."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def one_line(text: str) -> str:
    """The text without anything that could end its line."""
    return _UNPRINTABLE.sub(" ", text).strip()


def bounded(score: float) -> float:
    """The score as it may be told: finite, with two decimals, and not too long."""
    return round(max(-LARGEST, min(LARGEST, score)), 2) + 0.0 if isfinite(score) else 0.0


def render_pong() -> bytes:
    """The answer to PING."""
    return b"RSPAMD/1.3 0 PONG\r\n"


def render_failure(code: int, text: str) -> bytes:
    """The message was not judged; `code` is one of sysexits.h."""
    return f"RSPAMD/1.3 {code} {one_line(text)}\r\n".encode()


def render_verdict(verdict: Verdict) -> bytes:
    """The whole reply; the connection is to be closed behind it.

    As from Rspamd the score stands beside the threshold of "reject", and a third number that means nothing.
    """
    required = NEVER if verdict.required_score is None else bounded(verdict.required_score)
    is_spam = verdict.is_spam or verdict.action == "soft reject"
    lines = [
        "RSPAMD/1.3 0 EX_OK",
        f"Metric: default; {is_spam}; {bounded(verdict.score):.2f} / {required:.2f} / 0.0",
        f"Action: {one_line(verdict.action)}",
    ]
    if verdict.subject is not None:
        lines.append(f"Subject: {one_line(verdict.subject)}")
    lines += [f"Symbol: {one_line(name)}({bounded(hit.score):.2f})" for name, hit in verdict.symbols.items()]
    lines += [f"Message: {one_line(text)}" for text in verdict.messages.values()]
    lines += [f"Message: {one_line(str(failure))}" for failure in verdict.failures]
    if verdict.message_id is not None:
        lines.append(f"Message-ID: {one_line(verdict.message_id)}")
    return "\r\n".join([*lines, ""]).encode("utf-8", "replace")
