"""The header fields of a message or part (RFC 5322 2.2), looked up in the bytes as they came.

Promises:

* Names are case-insensitive. Nothing raises on a broken field, and everything is linear in the size of the block.
* One look-up costs one search in the bytes. Only a caller who wants all fields, or the seventh different one, pays for an
  index.
* There are three faces of a value. `raw` is bytes, exactly what stands between the colon and the end of the last line, folds
  included. The *value* is text: unfolded (each fold is one blank), blanks around it removed, encoded words as they came,
  8-bit characters as UTF-8 or else latin-1. *Decoded* is the value with its encoded words (RFC 2047) decoded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from filterd.mail.charset import text_of
from filterd.mail.lazy import lazy
from filterd.mail.words import decode_words

__all__ = ["MBOX_LINE", "Header", "HeaderEnd", "Headers", "find_header_end"]

_LIMIT = 512 * 1024  # bytes of a block; one hundred times what mail has
_COUNT = 5000  # fields
_SEARCHES = 6  # different names looked for before an index is cheaper
# A block below this cannot have more than _COUNT fields: a search in it and the index never disagree.
_SEARCHABLE = 3 * _COUNT
_FIRST_WINDOW = 4096
_FARTHEST = 4 * 1024 * 1024  # bytes in which the end of the fields is looked for

_TOKEN = bytes(range(33, 58)) + bytes(range(59, 127))  # RFC 5322 3.6.8
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LONG_FOLD = re.compile(rb"\n[ \t]+")
_MANY_FOLDS = 32 * 1024  # bytes of one field that may hold too many of them
_SHORT_FOLD = 4  # blanks
MBOX_LINE = re.compile(rb"From (?![ \t]*:)")
"""How the line in front of a message in an mbox begins; else it is a field with a blank before its colon (RFC 5322 4.5)."""

_FIELD_END = re.compile(rb"\n(?![ \t])")
_BLANK = (b" ", b"\t")


class HeaderEnd(NamedTuple):
    """Where a block of fields ends and where the body begins, as offsets; `is_found` is False when no empty line came."""

    fields: int
    body: int
    is_found: bool


def find_header_end(data: bytes, start: int, end: int) -> HeaderEnd:
    """Look for the empty line after the fields in `data[start:end]`. Lines may end in CRLF or LF.

    Where there is none in the first 4 MiB what follows them is taken for the body.
    """
    if start == end:
        return HeaderEnd(end, end, is_found=True)
    if data.startswith((b"\n", b"\r\n"), start, end):
        return HeaderEnd(start, data.index(b"\n", start) + 1, is_found=True)
    # The first line tells how lines end, mostly. Where lines of both kinds are mixed the other one is seen as well, but only
    # looked for as far as it may come first.
    is_crlf = data.endswith(b"\r", start, max(start, data.find(b"\n", start, end)))
    likely, other = (b"\n\r\n", b"\n\n") if is_crlf else (b"\n\n", b"\n\r\n")
    # In growing windows, or a message would be searched to its end for what it does not have.
    size = _FIRST_WINDOW
    end = min(end, start + _FARTHEST)
    while True:
        stop = min(start + size, end)
        found = data.find(likely, start, stop)
        earlier = data.find(other, start, stop if found < 0 else found + 1)
        if earlier >= 0:
            return HeaderEnd(earlier + 1, earlier + len(other), is_found=True)
        if found >= 0:
            return HeaderEnd(found + 1, found + len(likely), is_found=True)
        if stop == end:
            return HeaderEnd(end, end, is_found=False)
        start, size = stop - 2, size * 4


@dataclass(frozen=True, slots=True)
class Header:
    """One field: `name` as written, `raw` bytes, `order` (0 is the topmost)."""

    name: str
    raw: bytes
    order: int

    @property
    def value(self) -> str:
        """The text of the field, unfolded and not decoded."""
        return _value_of(self.raw)

    @property
    def decoded(self) -> str:
        """The text of the field, unfolded and decoded."""
        return decode_words(_value_of(self.raw))


def _value_of(raw: bytes) -> str:
    return text_of(_unfolded(raw) if b"\n" in raw else raw).strip()


def _unfolded(raw: bytes) -> bytes:
    if len(raw) < _MANY_FOLDS:
        return _FOLD.sub(b" ", raw)
    # For 500 KB of folds the expression takes 20 ms and more. Replacing takes 1 ms for each blank that begins a line, and lines
    # that begin with many are few.
    raw = raw.replace(b"\r\n", b"\n")
    for _ in range(_SHORT_FOLD):
        raw = raw.replace(b"\n ", b"\n").replace(b"\n\t", b"\n")
        if b"\n " not in raw and b"\n\t" not in raw:
            break
    else:
        raw = _LONG_FOLD.sub(b"\n", raw)
    return raw.replace(b"\n", b" ")


class Headers:
    """All fields of one block, in order.

    `flags` tells what was broken: `header_cap` (the block was longer than 512 KiB or had more than 5000 fields, the rest is
    not looked at) and `bad_header` (a line without a colon, or a name with a blank, control or 8-bit character in it).
    """

    def __init__(self, block: bytes) -> None:
        """`block`: the bytes of all fields, without the empty line after them."""
        self.block = block if len(block) <= _LIMIT else block[:_LIMIT]
        self._flags = frozenset() if len(block) <= _LIMIT else frozenset({"header_cap"})
        self._decoded: dict[str, str | None] = {}
        self._searches = 0 if len(block) <= _SEARCHABLE else _SEARCHES

    def get(self, name: str) -> str | None:
        """The decoded value of the first field of this name, or None."""
        try:
            return self._decoded[name]
        except KeyError:
            raw = self.raw(name)
            decoded = self._decoded[name] = None if raw is None else decode_words(_value_of(raw))
            return decoded

    def value(self, name: str) -> str | None:
        """The value, unfolded and not decoded, of the first field of this name, or None."""
        raw = self.raw(name)
        return None if raw is None else _value_of(raw)

    def raw(self, name: str) -> bytes | None:
        """The bytes of the first field of this name, or None."""
        if self._searches < _SEARCHES:
            self._searches += 1
            return self._search(_sought(name))
        orders = self._index.get(_key(name))
        return self._fields[orders[0]][1].removesuffix(b"\r") if orders else None

    def all(self, name: str) -> list[Header]:
        """Every field of this name, topmost first."""
        return [self._header(order) for order in self._index.get(_key(name), ())]

    def has(self, name: str) -> bool:
        """Is there a field of this name?"""
        return self.raw(name) is not None

    def count(self, name: str) -> int:
        """How many fields of this name there are."""
        return len(self._index.get(_key(name), ()))

    def __iter__(self) -> Iterator[Header]:
        return map(self._header, range(len(self._fields)))

    def __len__(self) -> int:
        return len(self._fields)

    @property
    def flags(self) -> frozenset[str]:
        """What was broken."""
        return self._parsed[1]

    def _header(self, order: int) -> Header:
        name, raw = self._fields[order]
        return Header(text_of(name), raw.removesuffix(b"\r"), order)

    @lazy
    def _lowered(self) -> bytes:
        return b"\n" + self.block.lower()

    def _search(self, key: bytes) -> bytes | None:
        lowered = self._lowered
        at = lowered.find(key)
        while at >= 0:
            colon = at + len(key)
            while lowered.startswith(_BLANK, colon):  # obsolete, yet read by everyone: RFC 5322 4.5
                colon += 1
            if lowered.startswith(b":", colon):
                # Offsets into `lowered` are one ahead of those into the block.
                end = lowered.find(b"\n", colon)
                while lowered.startswith(_BLANK, end + 1) and end >= 0:
                    end = lowered.find(b"\n", end + 1)
                return self.block[colon : end - 1 if end >= 0 else None].removesuffix(b"\r")
            at = lowered.find(key, colon)
        return None

    @lazy
    def _parsed(self) -> tuple[list[tuple[bytes, bytes]], frozenset[str]]:
        fields: list[tuple[bytes, bytes]] = []
        flags = set(self._flags)
        lines = _FIELD_END.split(self.block, _COUNT)
        if len(lines) > _COUNT:
            del lines[_COUNT:]
            flags.add("header_cap")
        for line in lines:
            name, colon, raw = line.partition(b":")
            if colon and name and not name.translate(None, _TOKEN):
                fields.append((name, raw))
                continue
            name = name.rstrip(b" \t")
            if colon and name and name[0] > 32 and b"\n" not in name:
                fields.append((name, raw))
                if name.translate(None, _TOKEN):
                    flags.add("bad_header")
            elif line.strip():
                flags.add("bad_header")
        return fields, frozenset(flags)

    @lazy
    def _fields(self) -> list[tuple[bytes, bytes]]:
        return self._parsed[0]

    @lazy
    def _index(self) -> dict[bytes, list[int]]:
        self._searches = _SEARCHES
        index: dict[bytes, list[int]] = {}
        for order, (name, _) in enumerate(self._fields):
            index.setdefault(name.lower(), []).append(order)
        return index


def _key(name: str) -> bytes:
    return name.lower().encode()


@lru_cache(maxsize=256)
def _sought(name: str) -> bytes:
    """What stands before the colon of a field of this name in a block of small letters that begins with a newline."""
    return b"\n" + _key(name)
