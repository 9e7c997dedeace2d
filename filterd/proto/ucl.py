r"""UCL, the configuration language of Rspamd, as far as its `Settings` request header needs it; JSON is a part of it.

Defined by libucl's README; where that is silent, by what Rspamd 3.4 reads. Read are nested objects and arrays, quoted and bare
strings, numbers with suffixes, booleans, comments, named sections and repeated keys. Not read, and errors, are macros
(`.include`), heredocs (`<<EOD`) and variables (`$NAME` in a bare string; Rspamd defines none for this header).

Promises:

* Every JSON object has the value that `json.loads` gives it; only repeated keys are UCL's, one array of all their values, and
  numbers beyond a double and halves of `\u` pairs are errors.
* Whatever the text holds, the only exception is `UclError`, which says where and what was expected there.
* Time is linear in the length of the text, which is limited, as are its depth and its number of values.

Bare strings end at `,` `;` `#` `/*`, a line's end or a closing bracket they did not open, so they may hold blanks: in
`a = 1 b = 2` the value of `a` is "1 b = 2". What Rspamd takes and this does not: text behind the outer brace, and the words nan
and inf as numbers (here they are strings).
"""

import re
from math import isfinite
from typing import Any

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "MAX_VALUES", "UclError", "parse"]

# Characters; the names of a thousand symbols take a third of it.
MAX_LENGTH = 64 * 1024
# Levels; settings have three. The reader calls itself for each.
MAX_DEPTH = 32
# Of all levels together. Settings that name every symbol of an installation have a thousand or two.
MAX_VALUES = 10_000

# Possessive throughout: nothing is read twice, but for _SECTION's look ahead.
_SPACE = re.compile(r"[ \t\r\n]*+(?>(?:#[^\n]*+[ \t\r\n]*+)*)")
_BLANKS = re.compile(r"[ \t]*+")
_COMMENT_MARK = re.compile(r"/\*|\*/")
# Letters, digits, _ / . - and what is not ASCII; written as what it is not, which is compiled in a tenth of the time.
_NAME = re.compile(r"[^\x00-.:-@\[-^`{-\x7F][^\x00-,:-@\[-^`{-\x7F]*+")
_ESCAPED = r"\\(?:u[0-9A-Fa-f]{4}|[^u\x00-\x1F])"
_QUOTED = re.compile(rf'(?>(?:[^"\\\x00-\x1F]++|{_ESCAPED})*)')
_SINGLE = re.compile(r"'((?>(?:[^'\\]++|\\.)*))'", re.DOTALL)
_BARE = re.compile(rf"(?>(?:[^,;#/{{}}\[\]\\\x00-\x08\x0A-\x1F\x7F]++|/(?!\*)|{_ESCAPED})*)")
# A bracket in the rest of the line makes names of the words before it. No backslash outside quotes: with one, texts could be
# made in which many looks ahead, each from its own line, run to the end.
_SECTION = re.compile(rf'(?>(?:[^,;#/{{}}\[\]\\"\r\n]++|"{_QUOTED.pattern}"|/(?!\*))*)[{{\[]')
_NUMBER = re.compile(r"(-?(?:0[xX][0-9A-Fa-f]++|[0-9]++(\.[0-9]*+)?([eE][+-]?[0-9]++)?))([A-Za-z]*+)")
_VARIABLE = re.compile(r"\$[A-Za-z_{]")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_SINGLE_ESCAPE = re.compile(r"\\('|\r?\n|.)", re.DOTALL)

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SINGLE_ESCAPES = {"'": "'", "\n": "", "\r\n": ""}
_CLOSING = {"{": "}", "[": "]"}
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_SIZES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_TIMES = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_FACTORS = _SIZES | _TIMES


class UclError(ValueError):
    """The text cannot be read at `line` and `column`, characters counted from 1; `expected` is what could have stood there."""

    def __init__(self, expected: str, text: str, position: int) -> None:
        self.expected = expected
        self.line = text.count("\n", 0, position) + 1
        self.column = position - text.rfind("\n", 0, position)
        found = repr(text[position]) if position < len(text) else "the end"
        super().__init__(f"line {self.line}, column {self.column}: expected {expected}, found {found}")


def parse(text: str, *, max_length: int = MAX_LENGTH) -> dict[str, Any]:
    """The object that `text` describes, its outer braces being optional: of dict, list, str, int, float, bool and None.

    Times (`10s`, `5min`) are floats, in seconds; `10k` is 10 000, `10kb` 10 240. A repeated key has one list of all its values,
    the elements of lists among them; `name "key" { … }` is an object in an object. Text without a value is an empty object.
    Raises UclError, also for an array and for more than `max_length` characters.
    """
    if len(text) > max_length:
        raise UclError(f"no more than {max_length} characters", text, max_length)
    return _Reader(text).document()


class _Reader:
    """Reads one text from `at` on; each method leaves `at` behind what it has read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.values = 0

    def document(self) -> dict[str, Any]:
        self.skip()
        if self.char() == "{":
            found = self.object(1)
            self.separate()
        else:
            found = self.members(1, "")
        if self.char():
            raise self.error("the end")
        return found

    def object(self, depth: int) -> dict[str, Any]:
        self.enter(depth)
        found = self.members(depth, "}")
        self.at += 1
        return found

    def array(self, depth: int) -> list[Any]:
        self.enter(depth)
        items: list[Any] = []
        self.skip()
        while self.char() != "]":
            items.append(self.value(depth, "a value or ']'"))
            self.separate()
        self.at += 1
        return items

    def members(self, depth: int, end: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        expected = "a key or '}'" if end else "a key"
        self.skip()
        while self.char() != end:
            name, *inner = self.names(expected)
            value = self.value(depth + len(inner), "a value")
            for key in reversed(inner):
                value = {key: value}
            if name in found:
                _repeat(found, name, value)
            else:
                found[name] = value
            self.separate()
        return found

    def names(self, expected: str) -> list[str]:
        """The key of the next member, and the names of the section that it may be; `at` is then before the value."""
        names = [self.name(expected)]
        end = self.at
        self.skip()
        if self.char() in ("=", ":"):
            self.at += 1
            self.skip()
            if self.char() in ("=", ":"):
                raise self.error("a value")
        elif self.char() not in _CLOSING:
            # Without a sign between them, key and value are on one line.
            if "\n" in (between := self.text[end : self.at]) or not between:
                raise self.error("'=', ':' or '{'")
            if _SECTION.match(self.text, self.at):
                while self.char() not in _CLOSING:
                    names.append(self.name("a name or '{'"))
                    self.past(_BLANKS)
        return names

    def name(self, expected: str) -> str:
        if self.char() == '"':
            return self.quoted()
        if not _NAME.match(self.text, self.at):
            raise self.error(expected)
        return self.past(_NAME)

    def value(self, depth: int, expected: str) -> Any:
        """The value at `at`, an element of a container at `depth`."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise self.error(f"no more than {MAX_VALUES} values")
        char = self.char()
        if char == "{":
            return self.object(depth + 1)
        if char == "[":
            return self.array(depth + 1)
        if char == '"':
            return self.quoted()
        if char == "'":
            return self.single()
        if self.text.startswith("<<", self.at):
            raise self.error("a value in one line")
        return self.bare(expected)

    def quoted(self) -> str:
        start = self.at
        self.at += 1
        raw = self.past(_QUOTED)
        if self.char() != '"':
            raise self.error("an escape sequence" if self.char() == "\\" else "'\"'")
        self.at += 1
        return self.unescaped(raw, start)

    def single(self) -> str:
        if not (found := _SINGLE.match(self.text, self.at)):
            raise self.error('a string with a "\'" at its end')
        self.at = found.end()
        return _SINGLE_ESCAPE.sub(lambda escape: _SINGLE_ESCAPES.get(escape[1], escape[0]), found[1])

    def bare(self, expected: str) -> Any:
        start = self.at
        opened = {"}": 0, "]": 0}
        while True:
            self.past(_BARE)
            char = self.char()
            if char in _CLOSING:
                opened[_CLOSING[char]] += 1
            elif opened.get(char):
                opened[char] -= 1
            else:
                break
            self.at += 1
        raw = self.text[start : self.at].rstrip(" \t")
        if not raw:
            raise self.error(expected, start)
        number = _NUMBER.fullmatch(raw)
        if number and (factor := _FACTORS.get(number[4].lower())):
            return self.number(number, factor, start)
        if raw == "null":
            return None
        boolean = _BOOLEANS.get(raw.lower())
        if boolean is not None:
            return boolean
        if variable := _VARIABLE.search(raw):
            raise self.error("a value without variables", start + variable.start())
        return self.unescaped(raw, start)

    def number(self, found: re.Match[str], factor: float, start: int) -> int | float:
        literal, fraction, exponent, _ = found.groups()
        number: int | float
        try:
            number = float(literal) if fraction or exponent else int(literal, 16 if "x" in literal.lower() else 10)
            number *= factor
            if isfinite(number):
                return number
        except (OverflowError, ValueError):  # beyond a double; more digits than int() reads
            pass
        raise self.error("a number that is not so large", start)

    def unescaped(self, raw: str, start: int) -> str:
        if "\\" not in raw:
            return raw
        text = _ESCAPE.sub(_unescape, raw)
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")  # joins pairs
        except UnicodeDecodeError:
            raise self.error("a string of whole \\u pairs", start) from None

    def separate(self) -> None:
        """From the end of a value to the next one, or to the bracket or the end that is there instead."""
        start = self.at
        self.skip()
        while self.char() in (",", ";"):
            self.at += 1
            self.skip()
        if self.char() in ("", "}", "]") or self.text[start - 1] in "}]":
            return
        if not self.text[start : self.at].strip(" \t"):
            raise self.error("',', ';' or a new line")

    def skip(self) -> None:
        self.past(_SPACE)
        while self.text.startswith("/*", self.at):
            self.comment()
            self.past(_SPACE)

    def comment(self) -> None:
        level = 0
        for mark in _COMMENT_MARK.finditer(self.text, self.at):
            level += 1 if mark[0] == "/*" else -1
            if not level:
                self.at = mark.end()
                return
        raise self.error("'*/'", len(self.text))

    def enter(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self.error(f"no more than {MAX_DEPTH} levels")
        self.at += 1

    def char(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.at : self.at + 1]

    def past(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return found[0]

    def error(self, expected: str, position: int | None = None) -> UclError:
        return UclError(expected, self.text, self.at if position is None else position)


def _repeat(found: dict[str, Any], name: str, value: Any) -> None:
    values = found[name]
    if not isinstance(values, list):
        values = found[name] = [values]
    if isinstance(value, list):
        values.extend(value)
    else:
        values.append(value)


def _unescape(escape: re.Match[str]) -> str:
    char = escape[1]
    return chr(int(char[1:], 16)) if len(char) == 5 else _ESCAPES.get(char, char)
