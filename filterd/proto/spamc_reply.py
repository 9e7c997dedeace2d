"""Replies of SpamAssassin's protocol SPAMD/1.5, as spamc, Exim, Postal and python-slimta read them.

The document is SpamAssassin's spamd/PROTOCOL and what spamd does. What a client can read depends on the version it sent:
before 1.3 an answer to CHECK and its like has no Content-length (Exim takes one for an error), from 1.3 on all but CHECK have
one (spamc takes a missing one for an error).

Promises:

* Spam is said by the word True, and the two numbers always agree with it: some clients look at these only.
* A failure has a code other than 0, in every version: no client takes it for a verdict.
* No text of a rule can make a line of its own in the head or in a header.
"""

from collections.abc import Iterator

from filterd.mail.edits import delivered, edited
from filterd.mail.headers import find_header_end
from filterd.mail.verdict import Verdict
from filterd.proto.rspamc_reply import NEVER, bounded, one_line
from filterd.proto.spamc import Version

__all__ = ["measure", "processed", "render_failure", "render_pong", "render_verdict", "report"]

_MULTIPLE_HEADERS: Version = (1, 3)
_CONTENT_LENGTH: Version = (1, 2)
_MOST_STARS = 50  # as SpamAssassin
_WIDTH = 76  # of a line of tests in a header
_MARKS = ("X-Spam-Flag", "X-Spam-Level", "X-Spam-Status", "X-Spam-Score", "X-Spam-Action")


def measure(verdict: Verdict) -> tuple[float, float]:
    """Score and threshold, with two decimals: the one reaches the other exactly if the verdict is spam.

    The score is the verdict's. Where the action was not chosen by it, or rounding would lift it to the threshold, the
    threshold gives way.
    """
    score = bounded(verdict.score)
    threshold = NEVER if verdict.spam_threshold is None else bounded(verdict.spam_threshold)
    if verdict.is_spam:
        return score, min(score, threshold)
    return score, threshold if score < threshold else score + 0.01


def render_pong() -> bytes:
    """The answer to PING."""
    return b"SPAMD/1.5 0 PONG\r\n"


def render_failure(code: int, text: str) -> bytes:
    """Nothing was done; `code` is one of sysexits.h.

    No empty line follows, as none does from spamd: spamc would take the reply for a whole one, and nothing for the message.
    """
    return f"SPAMD/1.0 {code} {one_line(text)}\r\n".encode()


def render_verdict(verb: str, version: Version, verdict: Verdict, message: bytes) -> bytes:
    """The whole reply to a verb that judges; the connection is to be closed behind it. `message` is as it was sent."""
    score, threshold = measure(verdict)
    # Also for REPORT_IFSPAM, where spamd says Yes and No: spamc knows one word, and prints the score only after that.
    spam = f"Spam: {verdict.is_spam} ; {score:.2f} / {threshold:.2f}\r\n"
    if verb in ("PROCESS", "HEADERS"):
        body = processed(message, verdict, headers_only=verb == "HEADERS")
        has_spam, has_length = version >= _MULTIPLE_HEADERS, version >= _CONTENT_LENGTH
    else:
        body = _found(verb, verdict)
        if verb == "SYMBOLS" and version < _MULTIPLE_HEADERS:
            body += b"\r\n"
        has_spam, has_length = True, version >= _MULTIPLE_HEADERS and verb != "CHECK"
    head = f"SPAMD/{'1.1' if has_length or has_spam else '1.0'} 0 EX_OK\r\n"
    if has_length:
        head += f"Content-length: {len(body)}\r\n"
    if has_spam:
        head += spam
    return head.encode() + b"\r\n" + body


def _found(verb: str, verdict: Verdict) -> bytes:
    if verb == "SYMBOLS":
        return ",".join(map(one_line, verdict.symbols)).encode("utf-8", "replace")
    if verb == "REPORT" or (verb == "REPORT_IFSPAM" and verdict.is_spam):
        return report(verdict).encode("utf-8", "replace")
    return b""


def report(verdict: Verdict) -> str:
    """What was found, for people. Lines end in LF; the table has SpamAssassin's form, which some programs read."""
    score, threshold = measure(verdict)
    lines = [f"filterd: {one_line(verdict.action)}, {score:.2f} points, {threshold:.2f} required for spam."]
    lines += [f"Not checked: {one_line(str(failure))}" for failure in verdict.failures]
    lines += [one_line(text) for text in verdict.messages.values()]
    lines += [
        "",
        " pts rule name              description",
        "---- ---------------------- --------------------------------------------------",
    ]
    for name, hit in verdict.symbols.items():
        options = f" [{', '.join(hit.options)}]" if hit.options else ""
        # Never without a word: who reads the table looks for three columns.
        told = one_line(f"{hit.description or name}{options}")
        lines.append(f"{bounded(hit.score):5.2f} {one_line(name):22} {told}")
    return "\n".join([*lines, "", ""])


def processed(message: bytes, verdict: Verdict, *, headers_only: bool = False) -> bytes:
    """The message as it is delivered, with SpamAssassin's marks on top; such marks that it came with are gone."""
    score, threshold = measure(verdict)
    marks = {}
    if verdict.is_spam:
        marks["X-Spam-Flag"] = "YES"
    if score >= 1:
        marks["X-Spam-Level"] = "*" * min(int(score), _MOST_STARS)
    status = f"{'Yes' if verdict.is_spam else 'No'}, score={score:.2f} required={threshold:.2f}"
    marks["X-Spam-Status"] = "\n".join([status, *_tests(verdict)])
    marks["X-Spam-Action"] = one_line(verdict.action)
    adding = {name: {"value": value, "order": place} for place, (name, value) in enumerate(marks.items())}
    # The body may be megabytes, and is copied once.
    end = find_header_end(message, 0, len(message)).body
    head = edited(message[:end], {"remove_headers": dict.fromkeys(_MARKS, 0), "add_headers": adding})
    head = delivered(head, verdict)
    if headers_only:
        return head[: find_header_end(head, 0, len(head)).body]
    return head if verdict.body is not None else b"".join([head, memoryview(message)[end:]])


def _tests(verdict: Verdict) -> Iterator[str]:
    """The symbols in lines that fit into a header."""
    line = "tests="
    for place, name in enumerate(verdict.symbols):
        word = one_line(name) + ("," if place < len(verdict.symbols) - 1 else "")
        if len(line) + len(word) > _WIDTH and line != "tests=":
            yield line
            line = ""
        line += word
    yield line if verdict.symbols else "tests=none"
