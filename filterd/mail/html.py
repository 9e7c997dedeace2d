"""HTML to the text a reader sees, and to its links.

Promises:

* Nothing raises, and the time is bounded: the tree builder, quadratic on hostile input, only gets what is far from it, the
  rest goes through expressions that read everything once.
* One contract for both ways: scripts, styles, comments and the document's head are no text; block elements stand on lines of
  their own; blanks and line ends of the source are single blanks; no line is empty.
* What inline styles hide is left out, except where the second way had to be taken (flag `html_cap`): that shows more, never
  less. Links are found wherever they stand.
"""

import re
from collections import Counter
from contextlib import suppress
from html import unescape
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from filterd.mail.html_plain import SHOWN, Link, read_plain

__all__ = ["HtmlText", "Link", "visible_text"]

# What the tree builder gets: it is quadratic in the depth of the tree and in the attributes of one tag. Ordinary newsletters
# have some 1000 tags, and none where 64 separators follow each other within a KiB of one tag (inline images are one value).
# Nothing of 8 KiB takes it longer than 6 ms.
_SMALL: Final = 8 * 1024
_TAGS: Final = 5000
_WINDOW: Final = 1024
_SEPARATORS: Final = 64
# A quoted value with ">" in it. Without any, every tag ends at the next ">", and what is between two can be measured.
_QUOTED_END = re.compile(r"""=\s*+(?:"[^">]*+|'[^'>]*+)>""")
_PLAIN_TAGS: Final = 50_000

_ENTITIES: Final = 20_000
# Newlines are wanted for blocks alone; tabs are blanks like them, and within links they are dropped like them.
_TABS: Final = bytes.maketrans(b"\r\n", b"\t\t")

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
    r"""<(?:/?([a-z][^\s<>/]*+)((?>(?:[^<>="']++|=\s*+(?>(?:"[^"<]*+"|'[^'<]*+')?)|["'])*))|[!?/][^<>]*+)>""", re.IGNORECASE
)
_BLANKS: Final = ("  ", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f")
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


_ZERO = r"(?:0++(?>(?:\.0*+)?)|\.0++)(?![\d.])"
_WAYS = (
    _way("display", r"none", word="none", can_be_undone=False),
    _way("opacity", _ZERO, word="opacity", can_be_undone=False),
    _way("font-size", _ZERO, word="font-size", can_be_undone=True),
    _way("visibility", r"hidden", word="visibility", can_be_undone=True),
)
_DISPLAY = _WAYS[0].declared
_HIDDEN: Final = 2500  # elements that may be looked at for each way
_CLIMB: Final = 50  # levels


# Where links stand. An element has one of them, mostly; the first in this order counts.
_LINKING = ("href", "src", "action", "background", "data", "formaction")
_LINKED: Final = ",".join(f"[{name}]" for name in _LINKING) + ",meta[content]"
# Where none of these is written, links have an `href`.
_OTHER_LINKS: Final = (b"src", b"action", b"background", b"data", b"content")
_ATTRIBUTE = re.compile(
    rf"""(?<![\w-])({"|".join(_LINKING)}|content)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"']++))""", re.IGNORECASE
)
_REFRESH = re.compile(
    r"\s*+[\d.]++\s*+[;,]?+\s*+(?>(?:url\s*+=\s*+)?)[\"']?+(.*+)", re.IGNORECASE | re.DOTALL
)  # WHATWG HTML 4.2.5.3
_LINKS: Final = 2000
# Links within links, which HTML forbids and SVG does not, repeat their text: this much of it is read.
_SHOWN_ALL: Final = 512 * 1024


class HtmlText(NamedTuple):
    """The visible text, what was remarkable (`html_cap`, `hidden_text`), and all links in order.

    The target of a link with the tag `base` is where relative ones start from.
    """

    text: str
    flags: frozenset[str]
    links: tuple[Link, ...] = ()


class _TooMany(Exception):
    """More elements may be hidden than can be looked at."""


def visible_text(html: str) -> HtmlText:
    """The text a reader of `html` sees, one line for each block."""
    if _is_tame(html):
        plain = read_plain(html.replace("\n", "\t").replace("\r", "\t"))
        if plain is not None:
            return HtmlText(_lines(plain.text), frozenset(), tuple(plain.links))
        with suppress(_TooMany):
            return _by_tree(html.encode("utf-8", "replace"))
    return _by_expressions(html)


def _is_tame(html: str) -> bool:
    if len(html) <= _SMALL:
        return True
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
    tree, lowered = LexborHTMLParser(_BLOCK.sub(b"\n<", html.translate(_TABS))), html.lower()
    before = _tree_links(tree, lowered)
    hidden = _remove_hidden(tree, lowered)
    links = before
    if hidden is not None and before:
        # A removed element must not be touched any more. What is missing now was in one.
        links = _tree_links(tree, lowered)
        lost = Counter((link.target, link.tag) for link in before)
        lost.subtract((link.target, link.tag) for link in links)
        links += [Link(target, tag, is_hidden=True) for (target, tag), count in lost.items() if count > 0]
    tree.strip_tags(["script", "style", "title"])
    shown = tree.body or tree.root
    text = "" if shown is None else _lines(shown.text())
    return HtmlText(text, frozenset({"hidden_text"} if hidden else ()), tuple(links))


def _tree_links(tree: LexborHTMLParser, lowered: bytes) -> list[Link]:
    links: list[Link] = []
    room = _SHOWN_ALL
    # Looking for a name costs a tenth of looking for attributes, and most mails link in no other way.
    found = [(node, node.attributes) for node in tree.tags("a")[: _LINKS + 1]]
    is_all = lowered.count(b"href") == sum(["href" in attributes for _, attributes in found])
    if not is_all or any(map(lowered.__contains__, _OTHER_LINKS)):
        # An element that fits twice is given twice.
        nodes = {node.mem_id: node for node in tree.css(_LINKED)[:_LINKS]}
        found = [(node, node.attributes) for node in nodes.values()]
    for node, attributes in found[:_LINKS]:
        tag, text = node.tag or "", ""
        target = attributes.get("href")
        if tag == "a":
            if target and room > 0:
                text = node.text()
                room -= len(text)
                text = " ".join(text[:SHOWN].split())
        elif tag == "meta":
            target = _refreshed(attributes.get("content") or "")
        elif target is None:
            target = next((attributes[name] for name in _LINKING if name in attributes), None)
        if target:
            links.append(Link(target, tag, text))
    return links


def _refreshed(content: str) -> str:
    """The target of a `<meta http-equiv=refresh>`; other meta elements have contents that look different."""
    found = _REFRESH.match(content)
    return found[1].rstrip("\"' ") if found else ""


def _remove_hidden(tree: LexborHTMLParser, lowered: bytes) -> bool | None:
    """Take what is not shown out of the tree, and tell whether there was any text in it; None if nothing was taken out.

    Most documents hide nothing: literal searches tell that at next to no cost.
    """
    has_text: bool | None = None
    for way in _WAYS:
        at = lowered.find(way.literal)
        while at >= 0 and not way.hint.match(lowered, at):
            at = lowered.find(way.literal, at + 1)
        if at >= 0:
            nodes = tree.css(way.selector)
            if len(nodes) > _HIDDEN:
                raise _TooMany
            following: LexborNode | None = None
            # From the last to the first: what is within others is gone before they are, and what is left follows them.
            for node in reversed(nodes):
                if _is_hidden(node, following, way):
                    has_text = bool(has_text or node.text(strip=True))
                    node.decompose()
                else:
                    following = node
    if b" hidden" in lowered:
        for node in tree.css("[hidden]")[:_HIDDEN][::-1]:
            if node.tag != "html" and not _DISPLAY.search(_style_of(node)):
                has_text = bool(has_text or node.text(strip=True))
                node.decompose()
    return has_text


def _is_hidden(node: LexborNode, following: LexborNode | None, way: _Way) -> bool:
    """Is `node` hidden in this way? `following` is the next element that says something about it, and is not hidden itself."""
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
        # Not `==`: that compares the source of both, all that is in them included.
        if inner is not None and inner.mem_id == outer.mem_id:
            return True
    return True


def _style_of(node: LexborNode) -> str:
    return (node.attributes.get("style") or "").lower()


def _by_expressions(html: str) -> HtmlText:
    # A mark stays where something was dropped, or what is left and right of it might become a tag: `<<!-- -->p not shown>`.
    pieces = _TAG.split(_DROPPED.sub("\0", html.replace("\n", "\t").replace("\r", "\t")), _PLAIN_TAGS)
    links = _piece_links(pieces)
    names = ["\n" if name and name.lower() in _LINES else "" for name in pieces[1::3]]
    pieces[1::3] = names
    pieces[2::3] = [""] * len(names)
    return HtmlText(_lines(_unescaped("".join(pieces).replace("\0", ""))), frozenset({"html_cap"}), tuple(links))


def _piece_links(pieces: list[str | Any]) -> list[Link]:
    """The links in text, name, attributes, text, name, attributes, text, …"""
    links: list[Link] = []
    for at, attributes in enumerate(pieces[2::3]):
        if not attributes or "=" not in attributes:
            continue
        tag = pieces[3 * at + 1].lower()
        found = {name.lower(): double or single or bare for name, double, single, bare in _ATTRIBUTE.findall(attributes)}
        target = next((found[name] for name in _LINKING if name in found), "")
        if tag == "meta":
            target = _refreshed(found.get("content", ""))
        if not target:
            continue
        links.append(Link(_unescaped(target), tag, _text_until_end(pieces, 3 * at + 3) if tag == "a" else ""))
        if len(links) == _LINKS:
            break
    return links


def _text_until_end(pieces: list[str | Any], at: int) -> str:
    """The text of a link that begins with the text at `at`: to the next begin or end of a link, or as much as is shown."""
    texts, room = [pieces[at]], SHOWN - len(pieces[at])
    # The room shrinks with every tag, or many links that do not end would each be read to the end of the document.
    while room > 0 and at + 1 < len(pieces) and (pieces[at + 1] or "").lower() != "a":
        at += 3
        texts.append(pieces[at])
        room -= 1 + len(pieces[at])
    return " ".join(_unescaped("".join(texts).replace("\0", "")[:SHOWN]).split())


def _unescaped(text: str) -> str:
    return _ENTITY.sub(lambda entity: unescape(entity[0]), text, count=_ENTITIES) if "&" in text else text


def _lines(text: str) -> str:
    # Mostly there are only single blanks of the usual kind, and taking each line apart takes three times as long as looking.
    text = text.replace("\t", " ")
    if text.isascii() and not any(blank in text for blank in _BLANKS):
        return "\n".join(filter(None, map(str.strip, text.split("\n"))))
    return "\n".join([" ".join(words) for line in text.split("\n") if (words := line.split())])
