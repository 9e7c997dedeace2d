"""The words of an expression, one at a time, each with its place."""

import re
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from filterd.engine.expressions.errors import ExpressionError

__all__ = ["MAX_LENGTH", "Lexer", "OptionFilter", "Token"]

MAX_LENGTH: Final = 8192
"""Characters of an expression: a page is more than anyone can check."""

_DIGITS: Final = 100  # of a number, with its dot and unit

TokenKind = Literal["string", "number", "name", "group", "regex", "mark", "end"]

_TOKEN = re.compile(
    r"""(?P<string>'(?>(?:[^'\\]|\\.)*)' | "(?>(?:[^"\\]|\\.)*)")
      | (?P<number>-?\d++(?:\.\d++)?(?:[kmg](?:i?b)?)?(?!\w))
      | (?P<group>g[+-]?:\w++(?>(?:[.-]\w++)*))
      | (?P<name>[^\W\d]\w*+(?>(?:-\w++)*))
      | (?P<regex>/(?>(?:[^/\\\n]|\\.)+)/[A-Za-z]*+)
      | (?P<mark>==|!=|<=|>=|&&|\|\||[<>=!&|()\[\]{},.:;+~^-])""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_BLANKS = re.compile(r"\s*+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_OPTION = re.compile(
    r"\s*+(?:(?P<regex>/(?>(?:[^/\\\n]|\\.)+)/[A-Za-z]*+)|(?P<string>'(?>(?:[^'\\]|\\.)*)')|(?P<plain>[^,\]]*+))\s*+"
)
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
_MEANT = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Token:
    """`value` is what it means: the text in the quotes, the number, what is between slashes; else `text`."""

    kind: TokenKind
    text: str
    at: int
    value: str | int | float = ""
    flags: str = ""

    @property
    def end(self) -> int:
        return self.at + len(self.text)


@dataclass(frozen=True, slots=True)
class OptionFilter:
    """One of the options asked for in `SYMBOL[option, /pattern/i]`."""

    text: str
    is_pattern: bool
    flags: str
    at: int


class Lexer:
    """Reads `text` from `at` on; `next` is the token that comes next. Raises ExpressionError."""

    def __init__(self, text: str, at: int = 0) -> None:
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"an expression of more than {MAX_LENGTH} characters", text, MAX_LENGTH)
        self.text = text
        self.next = self._read(at)

    def take(self) -> Token:
        """The next token, and go on."""
        token = self.next
        self.next = self._read(token.end)
        return token

    def after_next(self) -> Token:
        """The token behind the next one."""
        return self._read(self.next.end)

    def takes(self, *marks: str) -> Token | None:
        """The next token if it is one of these marks or words, and go on; else None."""
        token = self.next
        if token.kind in ("mark", "name") and (token.text in marks or token.text.lower() in marks):
            return self.take()
        return None

    def needs(self, mark: str, purpose: str) -> Token:
        """The next token, which must be this mark."""
        return self.takes(mark) or self.fail(f"expected {mark!r} {purpose}, found {self.found}")

    @property
    def found(self) -> str:
        """The next token in words, for an error."""
        return "the end" if self.next.kind == "end" else repr(self.next.text)

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        """Raise ExpressionError for this place, else for the next token."""
        raise ExpressionError(problem, self.text, self.next.at if at is None else at)

    def option_filters(self) -> tuple[OptionFilter, ...]:
        """What stands in the brackets that begin right after the last token; the next token is the one after them."""
        opening = self.next.at
        position, found = opening + 1, []
        while True:
            match = _OPTION.match(self.text, position)
            assert match is not None  # each of its parts may be empty
            at = match.start(match.lastgroup or 0)
            written = match[match.lastgroup or 0].rstrip()
            if not written:
                self.fail("an option is missing", at)
            if match["regex"]:
                body, _, flags = written[1:].rpartition("/")
                found.append(OptionFilter(body, is_pattern=True, flags=flags, at=at))
            else:
                text = _unescaped(written[1:-1]) if match["string"] else written
                found.append(OptionFilter(text, is_pattern=False, flags="", at=at))
            position = match.end()
            closing = self.text[position : position + 1]
            if closing not in (",", "]"):
                self.fail("the list of options has no ']'", opening)
            position += 1
            if closing == "]":
                self.next = self._read(position)
                return tuple(found)

    def _read(self, at: int) -> Token:
        blanks = _BLANKS.match(self.text, at)
        at = blanks.end() if blanks else at
        if at >= len(self.text):
            return Token("end", "", len(self.text))
        match = _TOKEN.match(self.text, at)
        if match is None:
            character = self.text[at]
            problem = f"unexpected {character!r}"
            if character in "'\"":
                problem = f"the text that begins with {character} has no end"
            elif character == "/":
                problem = "the pattern that begins with / has no end"
            raise ExpressionError(problem, self.text, at)
        text = match[0]
        if match["string"]:
            return Token("string", text, at, _unescaped(text[1:-1]))
        if match["number"] and len(text) > _DIGITS:
            raise ExpressionError(f"a number of more than {_DIGITS} digits", self.text, at)
        if match["number"]:
            return Token("number", text, at, _number(text))
        if match["regex"]:
            body, _, flags = text[1:].rpartition("/")
            return Token("regex", text, at, body.replace("\\/", "/"), flags)
        kind: TokenKind = "group" if match["group"] else "name" if match["name"] else "mark"
        return Token(kind, text, at, text)


def _unescaped(text: str) -> str:
    # Any other escape is left alone: in '\d+' it is meant for the pattern that the text is.
    return _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1] if found[1] in "\\'\"" else found[0]), text)


def _number(text: str) -> int | float:
    digits = text.rstrip("bBiI")
    unit = _UNITS.get(digits[-1].lower())
    value = float(digits[:-1] if unit else digits) * (unit or 1)
    return value if "." in digits and not unit else int(value) if unit else int(digits)
