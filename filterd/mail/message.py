"""The message to be judged: bytes kept as they came, and everything that can be read from them when a rule asks.

Promises:

* Nothing raises and nothing is changed: what is broken is read as far as it goes and named in `flags`.
* A rule set pays for what it looks at, once. Looking at headers costs microseconds, at the parts tens, at the text hundreds.
"""

import hashlib
from datetime import datetime

from filterd.mail.address import MAX_ADDRESS_TEXT, MAX_ADDRESSES, Address, parse_addresses
from filterd.mail.dates import parse_date
from filterd.mail.headers import MBOX_LINE, Header, HeaderEnd, Headers
from filterd.mail.lazy import lazy
from filterd.mail.links import Links, collect_links
from filterd.mail.magic import HEAD, detect_type
from filterd.mail.mime import Part, find_head, split_parts
from filterd.mail.received import Received, parse_received
from filterd.mail.text import TextPart, attached_texts, text_parts
from filterd.mail.urls import Url

__all__ = ["Message"]

_HOPS = 200  # Received fields read; MTAs give up at 50 to 100


class Message:
    """One message of `raw` bytes, with CRLF or LF, possibly empty, possibly with an mbox `From ` line in front."""

    def __init__(self, raw: bytes, *, is_mime: bool = True) -> None:
        """Without `is_mime` all of `raw` is one body without headers, for clients that send something else than mail."""
        self.raw = raw
        self._is_mime = is_mime
        self._has_more_addresses = False

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.raw)

    @lazy
    def digest(self) -> str:
        """SHA-256 of `raw`, in hexadecimal.

        Of the fast hashes it is the one that others have too, so that digests can be compared across programs and years; and
        it cannot be collided on purpose, which a sender who is counted by digest would do.
        """
        return hashlib.sha256(self.raw).hexdigest()

    # -------------------------------------------------------------------------------------------------------------- headers

    @lazy
    def fields(self) -> Headers:
        """All header fields."""
        return self._root.headers

    def header(self, name: str) -> str | None:
        """The decoded text of the first field of this name, or None."""
        return self.fields.get(name)

    def header_raw(self, name: str) -> str | None:
        """The text of the first field of this name, unfolded but not decoded, or None; its bytes: `headers(name)[0].raw`."""
        return self.fields.value(name)

    def headers(self, name: str) -> list[Header]:
        """Every field of this name, topmost first."""
        return self.fields.all(name)

    def has_header(self, name: str) -> bool:
        """Is there a field of this name?"""
        return self.fields.has(name)

    @lazy
    def message_id(self) -> str | None:
        """The Message-ID without its angle brackets, or None."""
        value = self.fields.value("message-id")
        return None if value is None else value.removeprefix("<").removesuffix(">").strip()

    @lazy
    def subject(self) -> str | None:
        """The decoded subject, or None."""
        return self.fields.get("subject")

    @lazy
    def date(self) -> datetime | None:
        """When the sender says the message was written, with its time zone, or None."""
        value = self.fields.value("date")
        return None if value is None else parse_date(value)

    @lazy
    def from_(self) -> list[Address]:
        """The authors; those of all From fields should there be several."""
        return self._addresses("from")

    @lazy
    def to(self) -> list[Address]:
        """The addresses of all To fields."""
        return self._addresses("to")

    @lazy
    def cc(self) -> list[Address]:
        """The addresses of all Cc fields."""
        return self._addresses("cc")

    @lazy
    def reply_to(self) -> list[Address]:
        """Where answers shall go; empty for back to the authors."""
        return self._addresses("reply-to")

    @lazy
    def received(self) -> list[Received]:
        """The hops of the message, the newest first."""
        return [parse_received(header.value) for header in self.fields.all("received")[:_HOPS]]

    def _addresses(self, name: str) -> list[Address]:
        addresses: list[Address] = []
        size = 0
        for header in self.fields.all(name):
            addresses += parse_addresses(header.value)
            size += len(header.raw)
            is_cut = bool(addresses) and "cut" in addresses[-1].flags
            if is_cut or len(addresses) >= MAX_ADDRESSES or size > MAX_ADDRESS_TEXT:
                self._has_more_addresses = True
                break
        return addresses

    # ---------------------------------------------------------------------------------------------------------------- body

    @property
    def body(self) -> bytes:
        """Everything after the header fields and the empty line, not decoded."""
        return self._root.raw

    @lazy
    def _root(self) -> Part:
        raw = self.raw
        if not self._is_mime:
            kind = detect_type(raw[:HEAD]) or "text/plain"
            return Part(raw, HeaderEnd(0, 0, is_found=True), 0, len(raw), default=kind)
        start = raw.find(b"\n") + 1 or len(raw) if self._has_mbox_line else 0
        return Part(raw, find_head(raw, start, len(raw)), start, len(raw))

    @property
    def _has_mbox_line(self) -> bool:
        return self._is_mime and MBOX_LINE.match(self.raw) is not None

    @lazy
    def parts(self) -> list[Part]:
        """All parts in the order in which they stand there, multiparts and messages within the message included."""
        return split_parts(self._root)

    @lazy
    def text_parts(self) -> list[TextPart]:
        """The parts shown as text."""
        return text_parts(self.parts)

    @property
    def is_mime(self) -> bool:
        """Is it read as mail, with header fields and parts?"""
        return self._is_mime

    @lazy
    def attachments(self) -> list[Part]:
        """The parts a mail program offers for saving."""
        return [part for part in self.parts if part.is_attachment]

    @lazy
    def urls(self) -> list[Url]:
        """All links, each once: of the subject, the text, the HTML, texts that are attached, and List-Unsubscribe."""
        return self._links.urls

    @lazy
    def emails(self) -> list[Address]:
        """All addresses in the text and of `mailto:` links, each once. Those of header fields are not among them."""
        return self._links.emails

    @property
    def link_flags(self) -> frozenset[str]:
        """Which bounds the search for links has met: `url_cap` `email_cap` `mention_cap` `idn_cap` `nested_cap`."""
        return self._links.flags

    @lazy
    def _links(self) -> Links:
        shown = [(part, "html" if part.is_html else "text") for part in self.text_parts]
        attached = [(part, "attachment") for part in attached_texts(self.parts)]
        return collect_links(self.fields, shown + attached)

    @lazy
    def flags(self) -> frozenset[str]:
        """What is broken in its fields, its structure or its transfer encodings; every part is decoded to tell.

        Those of `Part.flags`, and `mbox_line` (a `From ` line in front), `address_cap`, `received_cap`. An empty message has
        none. What is wrong with a text is said by `TextPart.flags`, with links by `link_flags`.
        """
        flags = {"mbox_line"} if self._has_mbox_line else set()
        self.from_, self.to, self.cc, self.reply_to  # noqa: B018 - looking at them sets the mark
        if self._has_more_addresses:
            flags.add("address_cap")
        if self.fields.count("received") > _HOPS:
            flags.add("received_cap")
        return frozenset(flags).union(*(part.flags for part in self.parts))
