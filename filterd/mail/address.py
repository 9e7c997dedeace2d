"""Mail addresses: of the SMTP envelope (RFC 5321 4.1.2) and of header fields (RFC 5322 3.4).

Promises:

* Nothing raises and everything is linear: an address that cannot be understood is given back flagged, not dropped.
* An `Address` is the `str` user@domain with the domain in lower case, so `task.mail_from in blocked` works with a set of
  strings.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from filterd.mail.words import decode_words

__all__ = ["MAX_ADDRESSES", "MAX_ADDRESS_TEXT", "Address", "parse_addresses", "parse_path", "split_paths"]

MAX_ADDRESS_TEXT = 64 * 1024  # characters of a header value
MAX_ADDRESSES = 2000  # addresses of a header value
_TOKENS = 16_000  # words, blanks and marks of a header value; 1500 addresses with names have that many
_PATH_LENGTH = 1024  # characters of an envelope path; RFC 5321 4.5.3.1 allows 256, variable envelope senders use more

_DOT_ATOM = re.compile(r"[^\s\"(),:;<>@\[\\\]\x00-\x1f\x7f]+")
_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?")
_LITERAL = re.compile(r"\[(?:ipv6:)?[0-9a-f:.]+\]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PATH = re.compile(r'(?>(?:[^,"\\]++|\\.|"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"?+|\\)+)', re.DOTALL)

# One alternative matches at every position. Possessive: none gives anything back, so the whole value is read once.
_TOKEN = re.compile(
    r"""(?P<blank>\s++)
      | (?P<atom>=\?[^?\s]++\?[bBqQ]\?[^?\s]*+\?= | [^\s",:;<>()@\[\\]++ | \[[^\[\]<>,;"\s]*+\] | \\.)
      | "(?P<quoted>[^"\\]*+(?>(?:\\.[^"\\]*+)*))"
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
# What nearly all of them look like: nothing that could be read in two ways.
_PLAIN = re.compile(r'\s*+(?:"([^"\\]*+)"\s*+|([^"(),:;<>@\[\\\]]*+))<([^\s"(),:;<>@\[\\\]]++)@([^\s"(),:;<>@\[\\\]]++)>\s*+')
_BRACKET = re.compile(r"[()]|\\.", re.DOTALL)


class Address(str):
    """An address, as text `user@domain` (no domain: just the user; nothing at all: the null sender).

    `raw` is the text it was read from, `addr` the same as the string itself, `user` without quotes, `domain` in lower case,
    `name` the decoded display name. `flags` are those of `valid` `empty` `braced` `quoted` `backslash` `ip` (the domain is
    an address literal) `8bit` `broken` (could not be understood) `cut` (and more of the field was not read) that apply.
    """

    __slots__ = ("domain", "flags", "name", "raw", "user")

    raw: str
    user: str
    domain: str
    name: str
    flags: frozenset[str]

    def __new__(
        cls, addr: str, *, raw: str | None = None, user: str = "", domain: str = "", name: str = "", flags: Iterable[str] = ()
    ) -> "Address":
        address = super().__new__(cls, addr)
        address.raw = addr if raw is None else raw
        address.user = user
        address.domain = domain
        address.name = name
        address.flags = frozenset(flags)
        return address

    @property
    def addr(self) -> str:
        """The address as a plain string."""
        return str(self)


def _build(user: str, domain: str, *, raw: str, name: str = "", flags: set[str]) -> Address:
    domain = domain.lower()
    local = user
    is_escaped = not flags.isdisjoint(("quoted", "backslash"))
    if is_escaped and not _DOT_ATOM.fullmatch(user):
        local = '"' + user.replace("\\", "\\\\").replace('"', '\\"') + '"'
    addr = f"{local}@{domain}" if domain else local
    if not addr.isascii():
        flags.add("8bit")
    if not addr:
        flags.add("empty")
    elif _LITERAL.fullmatch(domain):
        flags.add("ip")
    if user and ("ip" in flags or _DOMAIN.fullmatch(domain)) and (is_escaped or _DOT_ATOM.fullmatch(user)):
        flags.add("valid")
    return Address(addr, raw=raw, user=user, domain=domain, name=name, flags=flags)


def parse_path(value: str) -> Address:
    """The address of an SMTP path: `<a@b>`, `a@b`, `<@relay:a@b>` (the route is dropped), `<>` or "" (flagged `empty`).

    ESMTP parameters after `>` are dropped. What is no path, such as text with blanks in it, is flagged `broken`.
    """
    text = value.strip()
    flags: set[str] = set()
    if text.startswith("<"):
        flags.add("braced")
        text = text[1:].rpartition(">")[0] if ">" in text else text[1:]
        text = text.strip()
    if text.startswith("@") and ":" in text:
        text = text.partition(":")[2]
    if not text:
        return _build("", "", raw=value, flags=flags)
    user, at, domain = text.rpartition("@")
    if not at or domain.endswith('"'):  # the only @ stands within quotes
        user, domain = text, ""
    if user.startswith('"') and user.endswith('"') and len(user) > 1:
        flags.add("quoted")
        user = user[1:-1]
        if "\\" in user:
            flags.add("backslash")
            user = _ESCAPED.sub(r"\1", user)
    elif not _DOT_ATOM.fullmatch(user) or (at and not domain):
        flags.add("broken")
    if len(text) > _PATH_LENGTH or any(character in domain for character in ' \t<>"(),;\\'):
        flags.add("broken")
    return _build(user, domain, raw=value, flags=flags)


def split_paths(value: str) -> list[str]:
    """The paths of a comma-separated list; commas within quotes or after a backslash separate nothing, blank paths are none."""
    return [path for path in map(str.strip, _PATH.findall(value)) if path]


def parse_addresses(value: str) -> list[Address]:
    """The addresses of a header field (its value unfolded, not decoded): 2000 at most, of its first 64 Ki characters.

    What stands behind 16,000 words, blanks and marks is one last address, empty and flagged `broken` and `cut`.

    Knows display names in any form, groups (only their members are given), comments, routes and encoded words. Forgives
    missing ends of quotes, comments and angles, blanks where none may be, and names without an address (these are given with
    an empty address flagged `broken`).
    """
    value = value[:MAX_ADDRESS_TEXT]
    plain = _PLAIN.fullmatch(value)
    if plain is not None:
        quoted, words, user, domain = plain.groups()
        name = " ".join(words.split()) if quoted is None else quoted.strip()
        return [_build(user, domain, raw=value.strip(), name=decode_words(name), flags={"braced"})]
    addresses: list[Address] = []
    entry = _Entry(0)
    at, end = 0, len(value)
    # A quote or bracket without its end is skipped, and then so are all later ones: nothing is searched twice.
    quotes_end = brackets_end = True
    left = _TOKENS
    while at < end and left and len(addresses) < MAX_ADDRESSES:
        left -= 1
        token = _TOKEN.match(value, at)
        assert token is not None
        kind, text = token.lastgroup, token[0]
        start, at = at, token.end()
        if kind == "blank":
            entry.is_apart = True
        elif kind == "atom":
            entry.add(text)
        elif kind == "quoted" and quotes_end:
            entry.add(token["quoted"], is_quoted=True)
        elif text == "(":
            close = _comment_end(value, at) if brackets_end else -1
            brackets_end = close >= 0
            if brackets_end:
                entry.comment = entry.comment or value[at : close - 1]
                at = close
            entry.is_apart = True
        elif text == "<":
            entry.open()
        elif text == ">":
            entry.close()
        elif text == ":":
            entry.drop(at)
        elif text in ",;" and not entry.is_route():
            entry.finish(value[entry.start : start], addresses)
            entry = _Entry(at)
        elif text[0] == '"':
            quotes_end, at = False, start + 1
        else:
            entry.add(text)
    if len(addresses) < MAX_ADDRESSES:
        entry.finish(value[entry.start :], addresses, is_whole=at >= end)
    return addresses


def _comment_end(value: str, at: int) -> int:
    """The offset after the bracket that closes the comment beginning before `at`, or -1."""
    depth = 1
    for bracket in _BRACKET.finditer(value, at):
        depth += {"(": 1, ")": -1}.get(bracket[0], 0)
        if depth == 0:
            return bracket.end()
    return -1


class _Piece(NamedTuple):
    text: str
    is_quoted: bool
    is_apart: bool  # blanks or a comment stand before it


class _Entry:
    """What has been read of one address."""

    __slots__ = ("angle", "comment", "is_apart", "is_open", "start", "words")

    def __init__(self, start: int) -> None:
        self.start = start
        self.words: list[_Piece] = []
        self.angle: list[_Piece] | None = None  # what stands within <>
        self.is_open = False
        self.is_apart = False
        self.comment = ""

    def add(self, text: str, *, is_quoted: bool = False) -> None:
        pieces = self.angle if self.is_open and self.angle is not None else self.words
        pieces.append(_Piece(text, is_quoted, self.is_apart))
        self.is_apart = False

    def open(self) -> None:
        self.is_apart = True
        if self.angle is None:  # of two addresses in one entry the first counts
            self.angle = []
            self.is_open = True

    def close(self) -> None:
        self.is_apart = True
        self.is_open = False

    def drop(self, at: int) -> None:
        """Forget what stands before a colon: the name of a group, or a route."""
        if self.is_open:
            self.angle = []
        else:
            self.words = []
            self.start = at

    def is_route(self) -> bool:
        return self.is_open and self.angle is not None and self.angle[:1] != [] and self.angle[0].text == "@"

    def finish(self, raw: str, addresses: list[Address], *, is_whole: bool = True) -> None:
        """Append the address read, unless nothing was; a broken one if it was not read to its end."""
        if not is_whole:
            addresses.append(_build("", "", raw=raw.strip(), flags={"broken", "cut"}))
            return
        if self.angle is None and not self.words:
            return
        user, domain, rest = _split(self.words, is_braced=False) if self.angle is None else _split(self.angle, is_braced=True)
        if self.angle is not None:
            rest = self.words
        flags = {"braced"} if self.angle is not None else set()
        if any(piece.is_quoted for piece in user):
            flags.add("quoted")
        local, host = "".join(piece.text for piece in user), "".join(piece.text for piece in domain)
        if "\\" in local:
            flags.add("backslash")
            local = _ESCAPED.sub(r"\1", local)
        name = "".join(" " + piece.text if piece.is_apart else piece.text for piece in rest).strip() or self.comment.strip()
        if "\\" in name:
            name = _ESCAPED.sub(r"\1", name)
        if self.angle is None and not (local and host):
            flags.add("broken")
        addresses.append(_build(local, host, raw=raw.strip(), name=decode_words(name), flags=flags))


def _split(pieces: list[_Piece], *, is_braced: bool) -> tuple[list[_Piece], list[_Piece], list[_Piece]]:
    """User, domain and whatever else there is: the words around the last @, or the only word, or nothing."""
    at = max((index for index, piece in enumerate(pieces) if piece.text == "@" and not piece.is_quoted), default=-1)
    if at < 0:
        is_user = is_braced or not any(piece.is_quoted or (number and piece.is_apart) for number, piece in enumerate(pieces))
        return (pieces, [], []) if is_user else ([], [], pieces)
    first, last = at, at + 2
    while first > 0 and (first == at or not pieces[first].is_apart):
        first -= 1
    while last < len(pieces) and not pieces[last].is_apart:
        last += 1
    return pieces[first:at], pieces[at + 1 : last], pieces[:first] + pieces[last:]
