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
from collections.abc import Iterator
from html import unescape
from typing import Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser

__all__ = ["HtmlText", "visible_text"]

# Ordinary newsletters have some 1000 tags, and no attribute above 2 KB.
_TAGS: Final = 6000
_TAG_LENGTH: Final = 8 * 1024
_PLAIN_TAGS: Final = 50_000

_ENTITIES: Final = 20_000

_BLOCKS = (
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hr html legend li main menu nav ol optgroup option p pre section summary table tbody td "
    "tfoot th thead tr ul"
).split()
_LINES = frozenset(_BLOCKS)
_BLOCK = re.compile(rf"<(?:/?(?:{'|'.join(_BLOCKS)})\b)", re.IGNORECASE)

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

# How inline style hides text, and the selector of the elements to look at.
_ZERO = r"(?:0++(?:\.0*+)?+|\.0++)(?:px|pt|em|rem|%)?+\s*+(?:[;!\"']|$)"
_HIDING = {
    "display": (re.compile(r"display\s*+:\s*+none"), "[style*=none i]"),
    "visibility": (re.compile(r"visibility\s*+:\s*+hidden"), "[style*=hidden i]"),
    "font-size": (re.compile(rf"font-size\s*+:\s*+{_ZERO}"), "[style*=font-size i]"),
    "opacity": (re.compile(rf"opacity\s*+:\s*+{_ZERO}"), "[style*=opacity i]"),
}


class HtmlText(NamedTuple):
    """The visible text, and what was remarkable: `html_cap`, `hidden_text`."""

    text: str
    flags: frozenset[str]


def visible_text(html: str) -> HtmlText:
    """The text a reader of `html` sees, one line for each block."""
    if html.count("<") <= _TAGS and max(map(len, html.split(">"))) <= _TAG_LENGTH:
        return _by_tree(html)
    return _by_expressions(html)


def _by_tree(html: str) -> HtmlText:
    tree = LexborHTMLParser(_BLOCK.sub(r"\n\g<0>", _one_line(html)))
    is_hidden = False
    for pattern, selector in _hints(html.lower()):
        for node in tree.css(selector):
            if node.tag != "html" and (pattern is None or pattern.search((node.attributes.get("style") or "").lower())):
                node.decompose()
                is_hidden = True
    tree.strip_tags(["script", "style", "title"])
    shown = tree.body or tree.root
    return HtmlText(_lines("" if shown is None else shown.text()), frozenset({"hidden_text"} if is_hidden else ()))


def _hints(lowered: str) -> Iterator[tuple[re.Pattern[str] | None, str]]:
    """What may hide text in this document: found by literal searches, as nearly all documents have none of it."""
    for word, (pattern, selector) in _HIDING.items():
        at = lowered.find(word)
        while at >= 0:
            if pattern.match(lowered, at):
                yield pattern, selector
                break
            at = lowered.find(word, at + 1)
    if " hidden" in lowered:
        yield None, "[hidden]"


def _by_expressions(html: str) -> HtmlText:
    pieces = _TAG.split(_DROPPED.sub(" ", _one_line(html)), _PLAIN_TAGS)
    pieces[1::2] = ["\n" if name and name.lower() in _LINES else "" for name in pieces[1::2]]
    text = "".join(pieces)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: unescape(entity[0]), text, count=_ENTITIES)
    return HtmlText(_lines(text), frozenset({"html_cap"}))


def _one_line(html: str) -> str:
    return html.replace("\n", " ").replace("\r", " ")


def _lines(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
