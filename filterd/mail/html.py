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
from html import unescape
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

__all__ = ["HtmlText", "visible_text"]

# What the tree builder gets: it is quadratic in the depth of the tree and in the attributes of one tag. Ordinary newsletters
# have some 1000 tags, and none where 64 separators follow each other within a KiB of one tag (inline images are one value).
_TAGS: Final = 6000
_WINDOW: Final = 1024
_SEPARATORS: Final = 64
# A quoted value with ">" in it. Without any, every tag ends at the next ">", and what is between two can be measured.
_QUOTED_END = re.compile(r"""=\s*+(?:"[^">]*+|'[^'>]*+)>""")
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


class _Way(NamedTuple):
    """One way to hide an element by inline style."""

    literal: bytes  # in every document that does it …
    hint: re.Pattern[bytes]  # … with this at the same place
    selector: str  # of the elements to look at
    declared: re.Pattern[str]  # finds the values in a style
    hiding: re.Pattern[str]  # the values that hide
    can_be_undone: bool  # by an element within: what is only inherited


def _way(name: str, value: str, *, word: str, can_be_undone: bool) -> _Way:
    return _Way(
        literal=name.encode(),
        hint=re.compile(rf"{name}\s*+:\s*+{value}".encode()),
        selector=f"[style*={word} i]",
        declared=re.compile(rf"(?<![\w-]){name}\s*+:\s*+([^;]*+)"),
        hiding=re.compile(value),
        can_be_undone=can_be_undone,
    )


_ZERO = r"(?:0++(?:\.0*+)?+|\.0++)(?![\d.])"
_WAYS = (
    _way("display", r"none", word="none", can_be_undone=False),
    _way("opacity", _ZERO, word="opacity", can_be_undone=False),
    _way("font-size", _ZERO, word="font-size", can_be_undone=True),
    _way("visibility", r"hidden", word="visibility", can_be_undone=True),
)
_DISPLAY = _WAYS[0].declared
_HIDDEN: Final = 500  # elements looked at for each way
_CLIMB: Final = 50  # levels


class HtmlText(NamedTuple):
    """The visible text, and what was remarkable: `html_cap`, `hidden_text`."""

    text: str
    flags: frozenset[str]


def visible_text(html: str) -> HtmlText:
    """The text a reader of `html` sees, one line for each block."""
    return _by_tree(html.encode("utf-8", "replace")) if _is_tame(html) else _by_expressions(html)


def _is_tame(html: str) -> bool:
    if html.count("<") > _TAGS or _QUOTED_END.search(html):
        return False
    is_inside = False  # a tag
    for at in range(0, len(html), _WINDOW):
        window = html[at : at + _WINDOW]
        opened, closed = window.rfind("<"), window.rfind(">")
        is_inside = opened > closed or (is_inside and closed < 0)
        if is_inside and closed < 0 and sum(map(window.count, " \t\n\r\f/\"'")) > _SEPARATORS:
            return False
    return True


def _by_tree(html: bytes) -> HtmlText:
    tree = LexborHTMLParser(_BLOCK.sub(b"\n<", html.replace(b"\n", b" ").replace(b"\r", b" ")))
    flags = frozenset({"hidden_text"}) if _remove_hidden(tree, html.lower()) else frozenset[str]()
    tree.strip_tags(["script", "style", "title"])
    shown = tree.body or tree.root
    return HtmlText("" if shown is None else _lines(shown.text()), flags)


def _remove_hidden(tree: LexborHTMLParser, lowered: bytes) -> bool:
    """Take what is not shown out of the tree, and tell whether there was any text in it.

    Most documents hide nothing: literal searches tell that at next to no cost.
    """
    has_text = False
    for way in _WAYS:
        at = lowered.find(way.literal)
        while at >= 0 and not way.hint.match(lowered, at):
            at = lowered.find(way.literal, at + 1)
        if at >= 0:
            nodes = tree.css(way.selector)[: _HIDDEN + 1]
            for node, following in zip(nodes[:_HIDDEN], [*nodes[1:], None], strict=False):
                if _is_hidden(node, following, way):
                    has_text = has_text or bool(node.text(strip=True))
                    node.decompose()
    if b" hidden" in lowered:
        for node in tree.css("[hidden]")[:_HIDDEN]:
            if node.tag != "html" and not _DISPLAY.search(_style_of(node)):
                has_text = has_text or bool(node.text(strip=True))
                node.decompose()
    return has_text


def _is_hidden(node: LexborNode, following: LexborNode | None, way: _Way) -> bool:
    """Is `node` hidden in this way? `following` is the next element in the document that says something about it."""
    # The root cannot be taken out. Of several declarations any may win: only if all of them hide the element is it hidden.
    values = way.declared.findall(_style_of(node))
    if not values or node.tag == "html" or not all(map(way.hiding.match, values)):
        return False
    # Layout programs set `font-size: 0` on nearly everything, and the real size on what has text.
    return not (way.can_be_undone and _may_be_within(following, node))


def _may_be_within(inner: LexborNode | None, outer: LexborNode) -> bool:
    for _ in range(_CLIMB):
        if inner is None:
            return False
        inner = inner.parent
        if inner == outer:
            return True
    return True


def _style_of(node: LexborNode) -> str:
    return (node.attributes.get("style") or "").lower()


def _by_expressions(html: str) -> HtmlText:
    # A mark stays where something was dropped, or what is left and right of it might become a tag: `<<!-- -->p not shown>`.
    pieces = _TAG.split(_DROPPED.sub("\0", html.replace("\n", " ").replace("\r", " ")), _PLAIN_TAGS)
    pieces[1::2] = ["\n" if name and name.lower() in _LINES else "" for name in pieces[1::2]]
    text = "".join(pieces).replace("\0", "")
    if "&" in text:
        text = _ENTITY.sub(lambda entity: unescape(entity[0]), text, count=_ENTITIES)
    return HtmlText(_lines(text), frozenset({"html_cap"}))


def _lines(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
