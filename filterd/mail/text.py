"""The text parts of a message: what a reader reads, as `str`.

Promises:

* Nothing raises, whatever character set or markup is claimed.
* Work is bounded: of one part the first 256 KiB are read, ten times what a long newsletter has; of all parts of a message
  together 512. What is left out is flagged.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from filterd.mail.charset import decode
from filterd.mail.html import HtmlText, Link, visible_text
from filterd.mail.lazy import lazy
from filterd.mail.mime import Part

__all__ = ["TextPart", "attached_texts", "text_parts"]

_PART: Final = 256 * 1024  # decoded bytes
_MESSAGE: Final = 512 * 1024
_ATTACHED: Final = 128 * 1024
_WORDS: Final = 50_000
_GUESSES: Final = 20  # text parts of a message whose character set may be guessed

_WORD = re.compile(r"\w+")
# In ASCII text everything but letters, digits and "_" separates: one pass over bytes is four times faster than `_WORD`.
_SEPARATED = bytes(byte if chr(byte).isalnum() or byte == 0x5F else 0x20 for byte in range(128)) + bytes(128)


class TextPart:
    """The text of `part`."""

    def __init__(self, part: Part, limit: int = _PART, *, may_guess: bool = True) -> None:
        """`limit`: how many decoded bytes are read at most; `may_guess`: an undeclared character set is looked for."""
        self.part = part
        self._limit = limit
        self._may_guess = may_guess

    @property
    def is_html(self) -> bool:
        """Is it HTML?"""
        return self.part.is_html

    @lazy
    def source(self) -> str:
        """The text as it was sent, in HTML with its markup; lines end in a newline."""
        return self._read[0]

    @lazy
    def content(self) -> str:
        """The text as a reader sees it: of HTML what is visible, one line for each block."""
        return self._visible.text if self.is_html else self.source

    @lazy
    def words(self) -> list[str]:
        """The words of the content, in order, as written; the first 50,000."""
        text = self.content
        if text.isascii():
            words = text.encode().translate(_SEPARATED).decode().split(None, _WORDS)
            return words if len(words) <= _WORDS else words[:_WORDS]
        return _WORD.findall(text)[:_WORDS]

    @property
    def links(self) -> tuple[Link, ...]:
        """What elements of HTML point to, as written and in order; see `Message.urls` for where that leads."""
        return self._visible.links if self.is_html else ()

    @property
    def flags(self) -> frozenset[str]:
        """What is remarkable: `unknown_charset` `bad_charset` `text_cap`, of HTML also `html_cap` and `hidden_text`."""
        return self._read[1] | (self._visible.flags if self.is_html else frozenset())

    @lazy
    def _read(self) -> tuple[str, frozenset[str]]:
        # Only as much is decoded as is needed: an encoded byte yields at most one.
        data = self.part.beginning(2 * self._limit)
        is_cut = len(data) > self._limit or self.part.raw_size > 2 * self._limit
        charset = self.part.content_type.parameters.get("charset")
        text, trouble = decode(data[: self._limit], charset, is_cut=is_cut, may_guess=self._may_guess)
        flags = {trouble, "text_cap" if is_cut else ""} - {""}
        return text.replace("\r\n", "\n"), frozenset(flags)

    @lazy
    def _visible(self) -> HtmlText:
        return visible_text(self.source)


def text_parts(parts: Iterable[Part]) -> list[TextPart]:
    """Those of `parts` that are shown as text; the room there is for all of them is given out in order."""
    shown = (part for part in parts if part.is_text and not part.is_attachment)
    return list(_with_room(shown, _MESSAGE))


def attached_texts(parts: Iterable[Part]) -> list[TextPart]:
    """Those of `parts` that are texts offered for saving, as pages that shall be opened in a browser are; 128 KiB of all."""
    attached = (part for part in parts if part.is_text and part.is_attachment)
    return list(_with_room(attached, _ATTACHED))


def _with_room(parts: Iterable[Part], room: int) -> Iterator[TextPart]:
    for number, part in enumerate(parts):
        yield TextPart(part, min(_PART, room), may_guess=number < _GUESSES)
        room -= min(_PART, room, part.raw_size)
