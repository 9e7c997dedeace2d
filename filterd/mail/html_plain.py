"""HTML in which nothing can be misread, to text and links without building a tree.

Promises:

* What it gives is what the tree gives, to the letter. It takes documents whose elements stay where they are written, and leaves
  the rest alone: tags are in small letters, values in double quotes, elements of few kinds; links hold text, pictures and
  emphasis; tables are rows and cells; there are no comments or scripts, and nothing is hidden.
* Linear: everything is read a fixed number of times.

Building the tree and asking it takes twice as long.
"""

import re
from collections.abc import Sequence
from html import unescape
from typing import Final, NamedTuple

__all__ = ["SHOWN", "Link", "Plain", "read_plain"]

SHOWN: Final = 1024  # characters of a link's text
_LONGEST: Final = 256 * 1024  # characters
_LINKS: Final = 1000
_INNER: Final = 50  # tags within one link

_EMPHASIS: Final = frozenset("b big em font i small span strong sub sup u".split())
_BLOCKS: Final = frozenset("blockquote center dd div dl dt h1 h2 h3 h4 h5 h6 li ol p table tbody td th thead tr ul".split())
_PAIRED: Final = _EMPHASIS | _BLOCKS | {"a"}
_NAMES: Final = _PAIRED | {f"/{name}" for name in _PAIRED} | {"br", "hr", "img", "/body", "/html"}
# What a tag leaves in the text.
_LEFT: Final = dict.fromkeys(_NAMES, "") | dict.fromkeys(
    [*_BLOCKS, *(f"/{name}" for name in _BLOCKS), "br", "hr", "/body", "/html"], "\n"
)
_INSIDE: Final = {"br": "\n", "img": ""}
_LINKED: Final = frozenset({"a", "/a", "img"})
# What must follow on a tag of a table, with nothing but blanks between: all else would be moved to before the table.
_NEXT: Final = {
    "table": {"tr", "tbody", "thead", "/table"},
    "thead": {"tr", "/thead"},
    "/thead": {"tr", "tbody", "/table"},
    "tbody": {"tr", "/tbody"},
    "/tbody": {"tr", "tbody", "/table"},
    "tr": {"td", "th", "/tr"},
    "/td": {"td", "th", "/tr"},
    "/th": {"td", "th", "/tr"},
    "/tr": {"tr", "/thead", "/tbody", "/table"},
}

_ATTRIBUTES: Final = r'(?>(?:[ \t]++[a-z][a-z-]*+="[^"<>]*+")*)'
_TAG: Final = re.compile(rf"<(/?[a-z][a-z0-9]*+)({_ATTRIBUTES})[ \t]*+/?>")
_BEGIN: Final = re.compile(
    rf"[ \t]*+(?>(?:<![Dd][Oo][Cc][Tt][Yy][Pp][Ee] [^<>]*+>)?)[ \t]*+(?>(?:<html({_ATTRIBUTES})>)?)[ \t]*+"
    rf'(?>(?:<head>(?>(?:[ \t]++|<meta{_ATTRIBUTES}[ \t]*+/?>|<(style|title)(?>(?: type="[a-z/]*+")?)>[^<]*+</\2>)*)</head>)?)'
    rf"[ \t]*+(?>(?:<body({_ATTRIBUTES})>)?)"
)
_PAIR: Final = re.compile(r'([a-z-]++)="([^"]*+)"')
_OF_IMAGES: Final = ("href", "src", "action", "background", "data", "formaction")
# On other elements these are rare; of a `content` only a number can begin what leads elsewhere.
_LINKING: Final = re.compile(r'(?:href|src|action|background|data)=|content="(?![A-Za-z])')
# The usual link, and no other tag in its text.
_SIMPLE: Final = re.compile(rf'<a href="([^"<>]++)"{_ATTRIBUTES}[ \t]*+>([^<]*+)</a[ \t]*+>')
_MAY_HIDE: Final = ("hidden", "opacity", "display", "font-size")
_HIDING: Final = re.compile(r"hidden|opacity|display\s*+:\s*+none|font-size\s*+:\s*+[.0]")
# Of other references, and of those without their end, every reader makes something else. In values none is read before a "=".
_ODD: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|nbsp|copy|reg|euro|[nm]dash|hellip|bull|middot|[lr][sd]quo|#39);|[ \t])")
_ODD_VALUE: Final = re.compile(r"&(?!amp;|[A-Za-z0-9]++=)")


class Link(NamedTuple):
    """What an element of the name `tag` points to, as written, and the text a reader sees instead ("" if not of an `a`)."""

    target: str
    tag: str
    text: str = ""
    is_hidden: bool = False


_new = tuple.__new__


class Plain(NamedTuple):
    """The text with a newline before each block, and the links in order."""

    text: str
    links: list[Link]


def read_plain(html: str) -> Plain | None:
    """The text and links of `html`, in which blanks stand for line ends; None when that needs a tree."""
    # Most of what needs one is found before anything is taken apart.
    if len(html) > _LONGEST or "<!--" in html or "='" in html or "\0" in html or html.startswith("\ufeff"):
        return None
    begin = _BEGIN.match(html)
    assert begin is not None  # it matches nothing as well
    head, (of_html, _, of_body) = begin[0], begin.groups("")
    pieces = _TAG.split(html[begin.end() :])
    texts, names, attributes = pieces[::3], pieces[1::3], pieces[2::3]
    # Every "<" must have been that of a tag.
    if html.count("<", begin.end()) != len(names) or not _NAMES.issuperset(names):
        return None
    # A reference ends where its text ends: `&<b>amp;` is none.
    if "&" in html and _ODD.search("<".join(texts)):
        return None
    kinds = set(zip(names, attributes, strict=True))
    others = head + "".join([written for name, written in kinds if name not in _LINKED])
    written = "".join([written for _, written in kinds])
    if _LINKING.search(others) or _ODD_VALUE.search(head + written) or _may_hide((of_html + of_body + written).lower()):
        return None
    if not _NEXT.keys().isdisjoint(names) and not _is_in_place(texts, names):
        return None
    links = _links(html, texts, names, attributes)
    if links is None:
        return None
    pieces[1::3] = map(_LEFT.__getitem__, names)
    pieces[2::3] = [""] * len(names)
    text = "".join(pieces)
    return Plain(_unescaped(text), links)


def _is_in_place(texts: Sequence[str], names: Sequence[str]) -> bool:
    """Does nothing stand in a table but outside its cells?"""
    for at, name in enumerate(names, 1):
        following = _NEXT.get(name)
        if following is not None and (texts[at].strip(" \t") or (at < len(names) and names[at] not in following)):
            return False
    return True


def _may_hide(lowered: str) -> bool:
    # Literals first: they take a tenth of the expression's time, and mostly none is there.
    return any(map(lowered.__contains__, _MAY_HIDE)) and _HIDING.search(lowered) is not None


def _links(html: str, texts: Sequence[str], names: Sequence[str], attributes: Sequence[str]) -> list[Link] | None:
    """The links, or None when one of them may not be where it is written, or they are many."""
    count = names.count("a")
    if count > _LINKS:
        return None
    if "img" not in names and names.count("/a") == count:
        # In half of all mail every link is simple: taken together they cost a third.
        simple = _SIMPLE.findall(html)
        if len(simple) == count and "&" not in html:
            # `Link(…)` is a function in Python: without it they cost a quarter less.
            return [_new(Link, (target, "a", " ".join(text[:SHOWN].split()), False)) for target, text in simple]
        if len(simple) == count:
            return [Link(_value(target), "a", _shown(text)) for target, text in simple]
    links: list[Link] = []
    end = -1  # of the last `a`
    for at in [at for at, name in enumerate(names) if name in _LINKED]:
        name, values = names[at], dict(_PAIR.findall(attributes[at])[::-1])  # of two with one name the first counts
        if name == "img":
            target, text = next((values[name] for name in _OF_IMAGES if name in values), ""), ""
        elif name == "/a":
            if at != end:
                return None
            continue
        else:
            inside = _inside(texts, names, at + 1)
            if at < end or inside is None:
                return None
            end, text = inside
            target = values.get("href", "")
        if target:
            links.append(Link(_value(target), name, _shown(text)))
    return links if len(links) <= _LINKS else None


def _inside(texts: Sequence[str], names: Sequence[str], at: int) -> tuple[int, str] | None:
    """Where the link ends whose first text is at `at`, and its text; None where it holds more than text and whole elements."""
    text = texts[at]
    open_: list[str] = []
    for end in range(at, min(at + _INNER, len(names))):
        name = names[end]
        if name == "/a":
            return None if open_ else (end, text)
        if name in _EMPHASIS:
            open_.append(f"/{name}")
        elif name not in _INSIDE and (not open_ or open_.pop() != name):
            return None
        text += _INSIDE.get(name, "") + texts[end + 1]
    return None


def _value(written: str) -> str:
    return written.replace("&amp;", "&") if "&" in written else written


def _shown(text: str) -> str:
    return " ".join(_unescaped(text)[:SHOWN].split())


def _unescaped(text: str) -> str:
    return unescape(text) if "&" in text else text
