"""Changes to a message as its MTA would make them: headers added and removed, a new subject, a new body.

The reply of a scan *tells* the client what to change (the `milter` object of the Rspamd protocol); this module does it to the
bytes, for those who want the changed message itself.

Promises:

* What is not changed stays as it was, byte for byte; new lines end as the message's own do. An mbox `From ` line stays first.
* Removals come first, from the last occurrence to the first, then additions in their order.
* A value can not break out of its header: CR and LF in it become folds.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from filterd.mail.headers import MBOX_LINE, find_header_end
from filterd.mail.verdict import Verdict

__all__ = ["delivered", "edited", "encode_words", "rewritten_subject", "with_body"]

# Not `splitlines`: a CR alone ends no line, here as in `Headers`.
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_WORD = 42
"""Bytes of text in one encoded word: as base64 and with its frame it stays below the 75 characters of RFC 2047 2."""


def encode_words(text: str) -> str:
    """The text as it may stand in a header: itself if it is printable ASCII, else encoded words (RFC 2047), a blank between."""
    if text.isascii() and text.isprintable():
        return text
    words, piece = [], b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > _WORD:
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return " ".join(f"=?UTF-8?B?{b64encode(word).decode()}?=" for word in words)


def rewritten_subject(template: str, subject: str | None, score: float) -> str:
    """The template with `%s` as the old subject, `%d` as the score with two decimals and `%%` as a percent sign, encoded."""
    made = {"s": subject or "", "d": f"{score:.2f}", "%": "%"}
    first, *rest = template.split("%")
    text, skip = first, False
    for place, piece in enumerate(rest):
        if skip:  # the second half of a %%
            text, skip = text + piece, False
        elif piece:
            text += made.get(piece[0], "%" + piece[0]) + piece[1:]
        else:
            skip = place + 1 < len(rest)
            text += "%"
    return encode_words(text)


def with_body(raw: bytes, body: bytes) -> bytes:
    """The message with its header as it was and another body; line ends of the body are made those of the message."""
    newline = _newline(raw)
    end = find_header_end(raw, 0, len(raw))
    head = raw[: end.body] if end.is_found and raw else raw + newline * (1 if raw.endswith(newline) or not raw else 2)
    return head + body.replace(b"\r\n", b"\n").replace(b"\n", newline)


def edited(raw: bytes, reply: Mapping[str, Any], *, subject: str | None = None) -> bytes:
    """The message with the header changes of a reply's `milter` object, and with `subject` (encoded already) if one is given.

    `remove_headers` maps a name to an occurrence from 1, negative from the end, 0 for all, or to a list of these;
    `add_headers` a name to a value, to `{value, order}` or to a list of these: order 0 is the top, 1 below it, -1 or none the
    end, -2 and below counted from the end.
    """
    newline = _newline(raw)
    start = raw.find(b"\n") + 1 if MBOX_LINE.match(raw) else 0  # the line of an mbox stays the first
    end = find_header_end(raw, start, len(raw))
    fields = _fields(raw[start : end.fields], newline)
    for name, places in reply.get("remove_headers", {}).items():
        _remove(fields, name, places if isinstance(places, list | tuple) else [places])
    for name, values in reply.get("add_headers", {}).items():
        for value in values if isinstance(values, list | tuple) else [values]:
            _add(fields, name, value, newline)
    if subject is not None:
        _replace(fields, "Subject", subject, newline)
    return b"".join([raw[:start], *fields, b"" if end.is_found else newline, memoryview(raw)[end.fields :]])


def delivered(raw: bytes, verdict: Verdict) -> bytes:
    """The message as an MTA would deliver it after this verdict: body, headers, subject, and the mark for "add header".

    The mark is `X-Spam: Yes`, or what the reply's `spam_header` says; one that came with the message is replaced.
    """
    reply: dict[str, Any] = dict(verdict.milter)
    if verdict.action == "add header":
        mark = reply.get("spam_header", "Yes")
        marks = mark if isinstance(mark, Mapping) else {"X-Spam": mark}
        reply["remove_headers"] = {**reply.get("remove_headers", {}), **dict.fromkeys(marks, 0)}
        reply["add_headers"] = {**reply.get("add_headers", {}), **marks}
    if verdict.body is not None:
        raw = with_body(raw, verdict.body)
    return edited(raw, reply, subject=verdict.subject)


def _newline(raw: bytes) -> bytes:
    first = raw.find(b"\n")
    return b"\n" if first >= 0 and raw[max(first - 1, 0) : first] != b"\r" else b"\r\n"


def _fields(block: bytes, newline: bytes) -> list[bytes]:
    """Each field with its continuation lines and its last line end."""
    fields: list[bytes] = []
    for line in _LINE.findall(block):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += line
        else:
            fields.append(line)
    if fields and not fields[-1].endswith(b"\n"):
        fields[-1] += newline
    return fields


def _named(fields: list[bytes], name: str) -> list[int]:
    wanted = name.lower().encode("utf-8", "replace")
    return [place for place, field in enumerate(fields) if field.partition(b":")[0].rstrip(b" \t").lower() == wanted]


def _remove(fields: list[bytes], name: str, occurrences: Iterable[int]) -> None:
    found = _named(fields, name)
    gone: set[int] = set()
    for number in occurrences:
        if number == 0:
            gone.update(found)
        elif -len(found) <= number <= len(found):
            gone.add(found[number - 1 if number > 0 else number])
    for place in sorted(gone, reverse=True):
        del fields[place]


def _add(fields: list[bytes], name: str, value: object, newline: bytes) -> None:
    order = -1
    if isinstance(value, Mapping):
        order = int(value.get("order", -1))
        value = value.get("value", "")
    line = _line(name, str(value), newline)
    if order >= 0:
        fields.insert(order, line)
    elif order == -1:
        fields.append(line)
    else:
        fields.insert(max(len(fields) + order + 1, 0), line)


def _replace(fields: list[bytes], name: str, value: str, newline: bytes) -> None:
    found = _named(fields, name)
    line = _line(name, value, newline)
    if found:
        fields[found[0]] = line
    else:
        fields.append(line)


def _line(name: str, value: str, newline: bytes) -> bytes:
    folded = (newline + b" ").join(line.strip().encode("utf-8", "replace") for line in value.splitlines() if line.strip())
    clean = "".join(c for c in name if c.isprintable() and c not in ": ")
    return clean.encode("utf-8", "replace") + b": " + folded + newline
