"""Structured header values: Content-Type and Content-Disposition with their parameters (RFC 2045 5.1, RFC 2183, RFC 2231)."""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from filterd.mail.charset import decode
from filterd.mail.words import decode_words

__all__ = ["Structured", "parse_parameters"]

_LIMIT = 8 * 1024  # characters of a value
_COUNT = 64  # parameters, each segment of a continued one counted
_NAMES = ("filename", "name")
_CACHED = 64  # characters: most values are short and come again with the next message

# Possessive throughout: every match attempt is linear, and each goes on where the one before ended.
_VALUE = re.compile(r"\s*+([^\s;=/\"]++(?>(?:\s*+/\s*+[^\s;=/\"]++)?))(?!\s*+=)")
_PARAMETER = re.compile(
    r"""[;\s]*+([^\s=;"]++)\s*+=\s*+             # the name
        (?:"([^"\\]*+(?>(?:\\.[^"\\]*+)*))"?+|([^;"]*+))  # a quoted value, its end may be missing, or a bare one
        [^;]*+""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SEGMENT = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?", re.ASCII)


class Structured(NamedTuple):
    """A value in lower case ("text/plain", "attachment", "" if there is none), its parameters by name in lower case.

    The parameters are decoded (RFC 2231, and RFC 2047 where senders use it against the standard); of two with one name the
    first counts.
    """

    value: str
    parameters: Mapping[str, str]


def parse_parameters(text: str) -> Structured:
    """`text` is the header's value, unfolded and not decoded. Whatever cannot be understood is left out."""
    return _parse_cached(text) if len(text) <= _CACHED else _parse(text[:_LIMIT])


def _parse(text: str) -> Structured:
    head = _VALUE.match(text)
    value, at = ("", 0) if head is None else ("".join(head[1].split()).lower(), head.end())
    plain: dict[str, str] = {}
    segments: dict[str, list[tuple[int, str, bool]]] = {}
    for _ in range(_COUNT):
        found = _PARAMETER.match(text, at)
        if found is None:
            at = text.find(";", at) + 1
            if at == 0:
                break
            continue
        at = found.end()
        name, content = found[1].lower(), _content(found)
        segment = _SEGMENT.fullmatch(name) if "*" in name else None
        if segment is None:
            # RFC 2047 in a parameter is against the standard, and common in names; a boundary may look like it by chance.
            plain.setdefault(name, decode_words(content) if name in _NAMES else content)
        else:
            segments.setdefault(segment[1], []).append((int(segment[2] or 0), content, segment[3] is not None))
    for name, parts in segments.items():
        plain[name] = _joined(parts)  # RFC 2231 wins over the plain form, which is there for old readers
    return Structured(value, MappingProxyType(plain))


_parse_cached = lru_cache(maxsize=1024)(_parse)


def _content(found: re.Match[str]) -> str:
    quoted, bare = found[2], found[3]
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted) if "\\" in quoted else quoted
    content = bare.strip()
    # A comment may follow; file names, which come unquoted too, have brackets of their own: `report (1).pdf`.
    return content if found[1].lower().startswith(_NAMES) else content.partition(" (")[0]


def _joined(parts: list[tuple[int, str, bool]]) -> str:
    """The segments of one parameter in the order of their numbers; the first extended one names the character set."""
    label, data = "", b""
    for at, (_, content, is_extended) in enumerate(sorted(parts, key=lambda part: part[0])):
        if is_extended:
            if at == 0 and content.count("'") >= 2:
                label, _, content = content.split("'", 2)
            data += unquote_to_bytes(content)
        else:
            data += content.encode()
    return decode(data, label)[0]
