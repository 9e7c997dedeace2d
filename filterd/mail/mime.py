"""The parts of a message (RFC 2045, RFC 2046): a tree of offsets into its bytes, decoded when somebody asks.

Promises:

* Nothing raises, and nothing is hidden: a multipart whose parts cannot be found is given one text part with all of its
  body, a message within the message is taken apart too, encoded or not.
* Splitting is linear and bounded: 24 levels (2 of a message of 16 MiB and more), 1000 parts, 10,000 lines that nearly
  are delimiters. Each bound sets a flag.
"""

import hashlib
import re
import weakref
from typing import Final

from filterd.mail.archive import Archive
from filterd.mail.archives import list_archive
from filterd.mail.headers import HeaderEnd, Headers, find_header_end
from filterd.mail.lazy import lazy
from filterd.mail.magic import HEAD, detect_type
from filterd.mail.parameters import Structured, parse_parameters
from filterd.mail.transfer import PLAIN_ENCODINGS, decode_transfer

__all__ = ["Part", "split_parts"]

_DEPTH: Final = 24
_PARTS: Final = 1000
# How often the whole message may be searched, once a level; small messages are free.
_SCANS: Final = 2
_FREE_SCANS: Final = 16 * 1024 * 1024
_MISSES: Final = 10_000
_PREAMBLE: Final = 64 * 1024  # bytes in which the first delimiter is looked for, where it is not the one that was said
_TAIL: Final = 256  # bytes of blanks after a delimiter
_ENCODED_HEAD: Final = 700  # enough for HEAD bytes in base64

_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_LOOKS_LIKE_DELIMITER = re.compile(rb"\n--([^\s-][!-~]{0,69}+)[ \t]*+\r?\nContent-", re.IGNORECASE)
_MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})
_HTML = frozenset({"text/html", "application/xhtml+xml"})


class Part:
    """One part: the message itself, a multipart, or a leaf.

    `headers` are its own; those of the topmost part are the message's. `children` are in order, empty for a leaf.
    """

    def __init__(
        self, data: bytes, head: HeaderEnd, start: int, end: int, *, parent: "Part | None" = None, default: str = "text/plain"
    ) -> None:
        """The part is `data[start:end]`; `head` says where in it the fields end; `default` is its type without a header."""
        self._data = data
        self._body = head.body
        self._end = end
        self._default = default
        # The parent holds its children: a strong reference back would keep a whole message until the next garbage collection.
        self._parent = None if parent is None else weakref.ref(parent)
        self._flags: set[str] = set() if head.is_found else {"no_header_end"}
        self.headers = Headers(data[start : head.fields])
        self.children: list[Part] = []

    def __repr__(self) -> str:
        return f"<Part {self.type} of {self._end - self._body} bytes>"

    @property
    def parent(self) -> "Part | None":
        """The part this one stands in; None for the topmost one."""
        return None if self._parent is None else self._parent()

    # ------------------------------------------------------------------------------------------------------ what it says it is

    @lazy
    def content_type(self) -> Structured:
        """Content-Type as it is, with its parameters."""
        return parse_parameters(self.headers.value("content-type") or "")

    @lazy
    def disposition(self) -> Structured:
        """Content-Disposition ("attachment", "inline", "") with its parameters."""
        return parse_parameters(self.headers.value("content-disposition") or "")

    @lazy
    def type(self) -> str:
        """The media type in lower case, as "text/html"; where none is declared or it is no type, the default one."""
        declared = self.content_type.value
        if _TYPE.fullmatch(declared):
            return declared
        if declared or self.headers.has("content-type"):
            self._flags.add("bad_content_type")
            return "text/plain"  # RFC 2045 5.2
        return self._default

    @lazy
    def encoding(self) -> str:
        """The transfer encoding in lower case, "" where none is declared."""
        return parse_parameters(self.headers.value("content-transfer-encoding") or "").value

    @lazy
    def filename(self) -> str | None:
        """The decoded name a mail program would save it under, or None."""
        name = self.disposition.parameters.get("filename")
        return self.content_type.parameters.get("name") if name is None else name

    @lazy
    def is_multipart(self) -> bool:
        """Does it consist of parts?"""
        return self.type.startswith("multipart/")

    @property
    def is_html(self) -> bool:
        """Is it HTML?"""
        return self.type in _HTML

    @lazy
    def is_text(self) -> bool:
        """Is it text of any kind, HTML included?"""
        return self.type.startswith("text/") or self.is_html

    @property
    def is_attachment(self) -> bool:
        """Would a mail program offer it for saving, and not show it as part of the text?

        So are leaves that are no text, and whatever has the disposition `attachment`; but text that is the whole message is
        shown.
        """
        if self.is_text:
            return self.disposition.value == "attachment" and self._parent is not None
        return self.disposition.value == "attachment" or not (self.children or self.is_multipart)

    # --------------------------------------------------------------------------------------------------------- what is in it

    @property
    def raw(self) -> bytes:
        """The body as it stands in the message, not decoded."""
        return self._data[self._body : self._end]

    @property
    def raw_size(self) -> int:
        """Bytes of `raw`, without copying them."""
        return self._end - self._body

    @property
    def content(self) -> bytes:
        """The body with its transfer encoding removed; of a multipart nothing, its parts have it."""
        return b"" if self.is_multipart else self._decoded[0]

    @property
    def _decoded(self) -> tuple[bytes, str]:
        # Kept only if it cost something: a copy of the bytes is soon made, and nested messages would be kept once a level.
        return (self.raw, "") if self.encoding in PLAIN_ENCODINGS else self._decoded_once

    @lazy
    def _decoded_once(self) -> tuple[bytes, str]:
        return decode_transfer(self.raw, self.encoding)

    @property
    def size(self) -> int:
        """Bytes of `content`."""
        return self.raw_size if self.encoding in PLAIN_ENCODINGS and not self.is_multipart else len(self.content)

    @lazy
    def digest(self) -> str:
        """SHA-256 of `content`, in hexadecimal: the same file has it in every message, however encoded."""
        return hashlib.sha256(self.content).hexdigest()

    @lazy
    def archive(self) -> Archive | None:
        """What is packed in it, should it be a zip, gzip, tar, rar or 7z archive; documents of office programs are zip."""
        return None if self.is_multipart or self.children else list_archive(self.content, self.filename)

    def beginning(self, size: int) -> bytes:
        """The decoded bytes of the first `size` encoded ones; the rest of a long part is not decoded for it."""
        if "_decoded_once" in self.__dict__ or self.raw_size <= size:
            return self.content[:size]
        if self.is_multipart:
            return b""
        data = self._data[self._body : self._body + size]
        if self.encoding == "quoted-printable":
            escape = data.rfind(b"=", size - 2)  # cut in two
            data = data[:escape] if escape >= 0 else data
        return decode_transfer(data, self.encoding)[0]

    @lazy
    def detected_type(self) -> str | None:
        """The media type its first bytes tell, or None."""
        return detect_type(self.beginning(_ENCODED_HEAD)[:HEAD])

    @property
    def flags(self) -> frozenset[str]:
        """What is broken about it; the part is decoded to tell.

        `header_cap` `bad_header` of its fields, `no_header_end` (no empty line after them), `bad_content_type`,
        `bad_base64` `base64_cap` `bad_uuencode` `uuencode_cap` `unknown_encoding`; of a multipart `no_boundary`, `no_parts`,
        `wrong_boundary` (another one is used than was said), `not_closed`, `boundary_cap`, `part_cap`, `depth_cap`; of a
        message within the message `encoded_message`.
        """
        self.type  # noqa: B018 - looking at it sets the flag
        trouble = "" if self.children or self.is_multipart else self._decoded[1]
        return self.headers.flags | self._flags | ({trouble} if trouble else set())

    # --------------------------------------------------------------------------------------------------------- what it holds

    def _split(self, room: int, *, is_deep: bool) -> None:
        """Find the children, `room` at most; with `is_deep` none are looked for, and the body is kept as one text."""
        if room <= 0:
            self._flags.add("part_cap")
            return
        data, ranges = self._data, [(self._body, self._end)]
        default = "text/plain"
        if is_deep:
            self._flags.add("depth_cap")
            ranges = []
        elif self.is_multipart:
            ranges = self._ranges(room)
            if self.type == "multipart/digest":
                default = "message/rfc822"
        elif self.encoding in {"base64", "quoted-printable"}:  # against RFC 2046 5.2.1, and shown by mail programs
            self._flags.add("encoded_message")
            data = self.content
            ranges = [(0, len(data))]
        if ranges:
            heads = [(find_head(data, start, end), start, end) for start, end in ranges]
        else:
            heads = [(HeaderEnd(self._body, self._body, is_found=True), self._body, self._end)]
        self.children = [Part(data, head, start, end, parent=self, default=default) for head, start, end in heads]

    def _ranges(self, room: int) -> list[tuple[int, int]]:
        """Where the parts of a multipart begin and end (RFC 2046 5.1.1)."""
        data, end = self._data, self._end
        delimiter = _delimiter(self.content_type, data, self._body, end)
        if delimiter is None:
            self._flags.add("no_boundary")
            return []
        found = self._between(delimiter, room)
        if not found and (used := _delimiter_used(data, max(self._body - 1, 0), end)) is not None:
            # Whoever made it has mixed up two messages, or wants a filter to see less than some readers do.
            found = self._between(used, room)
            self._flags.add("wrong_boundary")
        if not found:
            self._flags.add("no_parts")
        return found

    def _between(self, delimiter: bytes, room: int) -> list[tuple[int, int]]:
        """What stands between the lines that are `delimiter`; empty if there is none but the last."""
        data, end = self._data, self._end
        ranges: list[tuple[int, int]] = []
        begun = -1  # where the current part begins
        misses = 0
        # The newline before the first delimiter may be that of the empty line.
        at = data.find(delimiter, max(self._body - 1, 0), end)
        while at >= 0:
            tail = at + len(delimiter)
            is_last = data.startswith(b"--", tail, end)
            if is_last:
                tail += 2
            line_end = data.find(b"\n", tail, min(tail + _TAIL, end))
            stop = min(tail + _TAIL, end) if line_end < 0 else line_end
            if (line_end < 0 and stop < end) or data[tail:stop].strip(b" \t\r"):
                misses += 1
                if misses > _MISSES:
                    self._flags.add("boundary_cap")
                    break
            else:
                if begun >= 0:
                    ranges.append((begun, max(begun, at - data.endswith(b"\r", begun, at))))
                if is_last:
                    return ranges
                begun = stop + 1
                if len(ranges) >= room:
                    self._flags.add("part_cap")
                    return ranges
            at = data.find(delimiter, stop, end)
        if begun >= 0:
            self._flags.add("not_closed")
            if begun < end or not ranges:
                ranges.append((begun, max(begun, end)))
        return ranges


def find_head(data: bytes, start: int, end: int) -> HeaderEnd:
    """Where the fields of a part end: at the empty line, or at the part's own first delimiter when that comes before it."""
    head = find_header_end(data, start, end)
    if data.find(b"\n--", start, head.fields) >= 0:
        content_type = parse_parameters(Headers(data[start : head.fields]).value("content-type") or "")
        delimiter = _delimiter(content_type, data, start, head.fields)
        at = -1 if delimiter is None else data.find(delimiter, start, head.fields)
        if at >= 0:
            return HeaderEnd(at + 1, at + 1, is_found=False)
    return head


def _delimiter(content_type: Structured, data: bytes, start: int, end: int) -> bytes | None:
    boundary = content_type.parameters.get("boundary", "").rstrip()
    if not boundary or not content_type.value.startswith("multipart/"):
        return None
    delimiter = b"\n--" + boundary.encode()
    if not boundary.isascii() and data.find(delimiter, start, end) < 0:
        return b"\n--" + boundary.encode("latin-1", "replace")  # how `text_of` reads what is no UTF-8
    return delimiter


def _delimiter_used(data: bytes, start: int, end: int) -> bytes | None:
    """The first line that looks like a delimiter: two dashes, some more letters, and a header field behind it."""
    found = _LOOKS_LIKE_DELIMITER.search(data, start, min(start + _PREAMBLE, end))
    return None if found is None else b"\n--" + found[1]


def split_parts(root: Part) -> list[Part]:
    """`root` and everything in it, in the order in which it stands there; `children` are filled in."""
    parts: list[Part] = []
    waiting = [(root, 0)]
    scanned, most = 0, _SCANS * root.raw_size + _FREE_SCANS
    while waiting:
        part, depth = waiting.pop()
        parts.append(part)
        if part.is_multipart or part.type in _MESSAGES:
            scanned += part.raw_size if part.is_multipart else 0
            part._split(_PARTS - len(parts) - len(waiting), is_deep=depth >= _DEPTH or scanned > most)
            waiting.extend((child, depth + 1) for child in reversed(part.children))
    return parts
