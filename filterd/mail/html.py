"""HTML to the text a reader sees.

Promises:

* Nothing raises, and the time is bounded: the tree builder, quadratic on hostile input, only gets what is far from it, the
  rest goes through expressions that read everything once.
* One contract for both ways: scripts, styles, comments and the document's head are no text; block elements stand on lines of
  their own; blanks and line ends of the source are single blanks; no line is empty.
* What inline styles hide is left out, except where the second way had to be taken (flag `html_cap`): that shows more, never
  less.
"""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser

__all__ = ["HtmlText", "visible_text"]

# What the tree builder gets. Ordinary newsletters have some 1000 tags; a place without any tag for that long means a tag with
# thousands of attributes, or a very long paragraph.
_TAGS: Final = 6000
_WINDOW: Final = 4096
_PLAIN_TAGS: Final = 50_000

_ENTITIES: Final = 20_000

_BLOCKS = (
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hr html legend li main menu nav ol optgroup option p pre section summary table tbody td "
    "tfoot th thead tr ul"
).split()
_LINES = frozenset(_BLOCKS)


def _any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word)


# Grouped by their first letters, and spelt in both cases: this is four times faster than one alternation with IGNORECASE.
_BLOCK = re.compile(
    "<(?=/?(?:{})[\\s/>])".format(
        "|".join(
            f"{_any_case(first)}(?:{'|'.join(_any_case(name[1:]) for name in names)})"
            for first, names in groupby(_BLOCKS, key=itemgetter(0))
        )
    ).encode()
)

# What ends a comment for a browser (WHATWG HTML 13.2.5.43 on), and elements whose content is no text.
_DROPPED = re.compile(
    r"<(?:!--(?:-?>|.*?(?:--!?>|\Z))|(script|style|template|title)\b[^<>]*+>.*?(?:</\1\b[^<>]*+>?|\Z))",
    re.IGNORECASE | re.DOTALL,
)
# Quoted values count only after "=", and no "<" is let into them: every attempt ends at the next tag.
_TAG = re.compile(
    r"""<(?:/?([a-z][^\s<>/]*+)(?:[^<>="']++|=\s*+(?:"[^"<]*+"|'[^'<]*+')?+|["'])*+|[!?/][^<>]*+)>""", re.IGNORECASE
)
_ENTITY = re.compile(r"&(?:#(?:\d{1,7}|x[0-9a-f]{1,6})|[a-z][a-z0-9]{1,31});?", re.IGNORECASE)

# How inline style hides text: a literal to look for, what must stand there, and the selector of the elements to look at.
_ZERO = rb"(?:0++(?:\.0*+)?+|\.0++)(?:px|pt|em|rem|%)?+\s*+(?:[;!\"']|\Z)"
_HIDING = (
    (b"display", re.compile(rb"display\s*+:\s*+none"), "[style*=none i]"),
    (b"hidden", re.compile(rb"hidden"), "[hidden],[style*=hidden i]"),
    (b"font-size", re.compile(rb"font-size\s*+:\s*+" + _ZERO), "[style*=font-size i]"),
    (b"opacity", re.compile(rb"opacity\s*+:\s*+" + _ZERO), "[style*=opacity i]"),
)
_HIDES = re.compile(
    rb"(?<![\w-])(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden|(?:font-size|opacity)\s*+:\s*+" + _ZERO + rb")"
)


class HtmlText(NamedTuple):
    """The visible text, and what was remarkable: `html_cap`, `hidden_text`."""

    text: str
    flags: frozenset[str]


def visible_text(html: str) -> HtmlText:
    """The text a reader of `html` sees, one line for each block."""
    if html.count("<") <= _TAGS and all(">" in html[at : at + _WINDOW] for at in range(0, len(html) - _WINDOW, _WINDOW)):
        return _by_tree(html.encode("utf-8", "replace"))
    return _by_expressions(html)


def _by_tree(html: bytes) -> HtmlText:
    tree = LexborHTMLParser(_BLOCK.sub(b"\n<", html.replace(b"\n", b" ").replace(b"\r", b" ")))
    is_hidden = False
    for selector in _selectors(html.lower()):
        for node in tree.css(selector):
            if node.tag != "html" and _is_hidden(node.attributes):
                node.decompose()
                is_hidden = True
    tree.strip_tags(["script", "style", "title"])
    shown = tree.body or tree.root
    return HtmlText(_lines("" if shown is None else shown.text()), frozenset({"hidden_text"} if is_hidden else ()))


def _selectors(html: bytes) -> Iterator[str]:
    """What may be hidden in this document: found by literal searches, as most documents hide nothing."""
    for word, pattern, selector in _HIDING:
        at = html.find(word)
        while at >= 0:
            if pattern.match(html, at):
                yield selector
                break
            at = html.find(word, at + 1)


def _is_hidden(attributes: Mapping[str, str | None]) -> bool:
    return "hidden" in attributes or _HIDES.search((attributes.get("style") or "").lower().encode()) is not None


def _by_expressions(html: str) -> HtmlText:
    pieces = _TAG.split(_DROPPED.sub(" ", html.replace("\n", " ").replace("\r", " ")), _PLAIN_TAGS)
    pieces[1::2] = ["\n" if name and name.lower() in _LINES else "" for name in pieces[1::2]]
    text = "".join(pieces)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: unescape(entity[0]), text, count=_ENTITIES)
    return HtmlText(_lines(text), frozenset({"html_cap"}))


def _lines(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
