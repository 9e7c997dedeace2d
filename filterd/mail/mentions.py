"""Links and mail addresses that stand in text, as a mail program would make them clickable.

Promises:

* Text without any costs three literal searches; nothing is quadratic, and of hostile text no more than 3000 mentions are
  given back, and no more is looked at than an `Effort` allows, which several texts may share.
* With a scheme everything counts. A bare host counts when its top-level domain is known, and is not one that words of ordinary
  text or names of files end in.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from filterd.mail.address import Address
from filterd.mail.hosts import has_known_suffix
from filterd.mail.urls import URL_LENGTH

__all__ = ["Effort", "Mention", "address_of", "find_mentions", "is_bare_host"]

_DEFANGED_DOTS: Final = 10_000
_FOUND: Final = 1000  # of each of the three kinds
_PLACE: Final = 50  # what looking at a place costs, in characters that are looked at
_ADDRESS: Final = 100  # more for what may be an address
_ROOM: Final = 300_000  # of such characters, for each of the three kinds: some ten milliseconds
_USER: Final = 64  # RFC 5321 4.5.3.1.1
_HOST: Final = 253
_TRAIL: Final = 256  # characters of punctuation

# Chinese and Japanese set no blanks between a bare host and the words around it.
_LABEL: Final = r"(?>(?:[^\W\u2e80-\U0003ffff]++|-++)+)"
# Read backwards from "://", ".", "@": matching a reversed slice is eight times faster than searching for what ends there.
_SCHEME_BACK = re.compile(r"s?p(?:tt|xx)h|ptf", re.IGNORECASE)
_HOST_BACK = re.compile(rf"{_LABEL}(?>(?:\.{_LABEL})*)")
_USER_BACK = re.compile(r"[\w+=&~!#$%*/^{}|`'?-]++(?>(?:\.[\w+=&~!#$%*/^{}|`'?-]++)*)")
_HOST_ON = _HOST_BACK
_AFTER_HOST = re.compile(r"(?>(?::\d{1,5})?)(?>(?:[/?#][^\s<>\"]*+)?)")
# Blanks, angles and quotes end a link, and so does East Asian punctuation; but not its full stops, which lead somewhere.
_LINK_ON = re.compile(rf"[^\s<>\"\x00-\x1f\u3000\u3001\u3003-\u303f\uff01-\uff0d\uff1a-\uff20]{{1,{URL_LENGTH}}}+")
_DOT = re.compile(r"\.(?=[^\W\d_])")
_TRAILING: Final = ".,;:!?'*_~|`\u2019\u201d\u00bb\u3002\uff0c\u3001"
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
# Dots in brackets, so that nothing becomes clickable.
_DEFANGED = re.compile(r"[\[({]\s?(?:\.|dot)\s?[\])}]", re.IGNORECASE)

# Generic top-level domains that a bare host may have. All others (`menu`, `directory`, `link`, `zip`) are words that stand
# behind a dot where a blank was forgotten, names of files, or members of objects: such hosts need `www.` or a path.
_PLAIN_GENERIC = frozenset(
    "com net org info biz edu gov mil int mobi name pro xyz icu top vip club shop online site website store".split()
)
# Top-level domains of countries that names of files end in as well.
_FILES = frozenset("ac ai as cc do gz la md ml mo ms pl pm ps py rs sh so st tf ts vb".split())


class Mention(NamedTuple):
    """Where in the text something clickable stands: a link, or an `address` and no link; `is_defanged`: made unclickable."""

    start: int
    text: str
    address: Address | None = None
    is_defanged: bool = False


_Place = tuple[int, Mention | None]  # what it cost to look there, and what was found


class Effort:
    """How much is still looked at of links, of addresses and of bare hosts: none of the three takes from the others."""

    __slots__ = ("left",)

    def __init__(self, room: int = _ROOM) -> None:
        self.left = [room, room, room]


def find_mentions(text: str, effort: Effort | None = None) -> tuple[list[Mention], bool]:
    """The links and addresses in `text` in order, and whether there was more than could be looked at."""
    effort = effort or Effort()
    dots: list[int] = []
    if "[" in text or "(" in text or "{" in text:
        text, dots = _refanged(text)
    is_cut = False
    mentions: list[Mention] = []
    for kind, find in enumerate((_links, _addresses, _hosts)):
        found, left = 0, effort.left[kind]
        mentions.sort(key=_start)
        for cost, mention in find(text, mentions):
            left -= cost
            if left < 0 or found >= _FOUND:
                is_cut = True
                break
            if mention is not None:
                mentions.append(mention)
                found += 1
        effort.left[kind] = left
    mentions.sort(key=_start)
    kept: list[Mention] = []
    end = 0
    for mention in mentions:
        if mention.start >= end:  # else it stands within the one before
            start, end = mention.start, mention.start + len(mention.text)
            is_defanged = bool(dots) and bisect_left(dots, start) < bisect_left(dots, end)
            kept.append(mention._replace(is_defanged=True) if is_defanged else mention)
    return kept, is_cut


def _refanged(text: str) -> tuple[str, list[int]]:
    """`text` with plain dots for those in brackets, and where they are."""
    pieces = _DEFANGED.split(text, _DEFANGED_DOTS)
    ends = accumulate(len(piece) + 1 for piece in pieces[:-1])
    return ".".join(pieces), [end - 1 for end in ends]


def _start(mention: Mention) -> tuple[int, int]:
    return mention.start, -len(mention.text)


def _links(text: str, _: list[Mention]) -> Iterator[_Place]:
    """Everything with a scheme; None for a place that looked like one."""
    at = text.find("://")
    while at >= 0:
        end = at + 3
        scheme = _SCHEME_BACK.match(text[max(0, at - 5) : at][::-1])
        found = None if scheme is None else _LINK_ON.match(text, end)
        if scheme is None or found is None:
            yield _PLACE, None
        else:
            start, end = at - scheme.end(), found.end()
            yield _PLACE, Mention(start, text[start : _trimmed(text, at + 3, end)])
        at = text.find("://", end)


def _addresses(text: str, _: list[Mention]) -> Iterator[_Place]:
    at = text.find("@")
    while at >= 0:
        user = _USER_BACK.match(text[max(0, at - _USER) : at][::-1])
        host = None if user is None else _HOST_ON.match(text, at + 1, at + 1 + _HOST)
        if user is None or host is None:
            yield _PLACE + _USER, None
        else:
            local = user[0][::-1].lstrip("'/`{|*_~-=")
            address = address_of(local, host[0].rstrip("-_"))
            cost = _PLACE + _ADDRESS + len(local) + len(host[0])
            yield cost, None if address is None else Mention(at - len(local), f"{local}@{host[0]}", address)
        at = text.find("@", at + 1)


def address_of(user: str, domain: str) -> Address | None:
    """The address `user`@`domain`, or None where the domain is not one of the net or the user is none."""
    domain = domain.lower()
    _, dot, last = domain.rpartition(".")
    if not dot or not _USER_BACK.fullmatch(user) or not _HOST_ON.fullmatch(domain) or not has_known_suffix(last):
        return None
    return Address(f"{user}@{domain}", user=user, domain=domain, flags=("valid",))


def _hosts(text: str, known: list[Mention]) -> Iterator[_Place]:
    """Hosts without a scheme, and not within what is `known` already."""
    end = 0
    taken = [(mention.start, mention.start + len(mention.text)) for mention in known]
    taken.append((len(text), len(text)))
    number = 0
    while (dot := _DOT.search(text, end)) is not None:
        at = dot.start()
        while taken[number][1] <= at:
            number += 1
        if taken[number][0] <= at:
            end = taken[number][1]
            continue
        left = _HOST_BACK.match(text[max(0, at - _HOST) : at][::-1])
        right = _HOST_ON.match(text, at + 1, at + 1 + _HOST)
        end = at + 1 if right is None else right.end()
        if left is None or right is None:
            yield _PLACE, None
            continue
        cost = _PLACE + left.end() + end - at
        start = at - len(left[0].rstrip("-_"))  # it is reversed: bullets and rules in front
        # An "@" on either side makes it part of an address, a slash or backslash in front part of a path.
        is_inside = text[start - 1 : start] in ("@", "/", "\\", "=", "%") if start else False
        if is_inside or text.startswith(("@", "("), end) or not is_bare_host(text[start:end], has_more=_goes_on(text, end)):
            yield cost, None
            continue
        after = _AFTER_HOST.match(text, end, end + URL_LENGTH)
        assert after is not None  # it matches nothing as well
        end = after.end()
        yield cost, Mention(start, text[start : _trimmed(text, right.end(), end)])


def _goes_on(text: str, end: int) -> bool:
    """Do a port or a path follow the host that ends there?"""
    next_ = text[end : end + 1]
    return next_ in ("/", "?", "#") if next_ != ":" else text[end + 1 : end + 2].isdecimal()


def is_bare_host(name: str, *, has_more: bool) -> bool:
    """Would `name` be taken for a host without a scheme before it? `has_more`: a port or path follows it."""
    head, _, last = name.rstrip("-_").rpartition(".")
    label = last.lower()
    # "the end.In the beginning": a capital after a dot begins a sentence.
    if not head[:1].isalnum() or (last[:1].isupper() and not last.isupper()) or not has_known_suffix(label):
        return False
    if has_more or head[:4].lower() == "www.":
        return True
    if len(label) == 2:
        return label not in _FILES
    return label in _PLAIN_GENERIC or not label.isascii() or label.startswith("xn--")


def _trimmed(text: str, start: int, end: int) -> int:
    """Where in `text[start:end]` the link ends: punctuation of the sentence around it is not part of it."""
    unopened: dict[str, int] = {}  # closing bracket -> how many of them have no opening one
    start = max(start, end - _TRAIL)
    while end > start:
        last = text[end - 1]
        opening = _BRACKETS.get(last)
        if opening is not None and last not in unopened:
            unopened[last] = text.count(last, start, end) - text.count(opening, start, end)
        if last not in _TRAILING and (opening is None or unopened[last] <= 0):
            break
        if opening is not None:
            unopened[last] -= 1
        end -= 1
    return end
