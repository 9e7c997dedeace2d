"""Maps of patterns: regular expressions and globs, by RE2 (https://github.com/google/re2/wiki/Syntax).

Promises: a lookup is linear in the key, and one pass for each few hundred patterns; a pattern that RE2 does not take, or that
is too large, is refused when it is added.
"""

import re
from typing import Any, ClassVar

import re2  # type: ignore[import-untyped]  # it comes without types

from filterd.mail.maps import BadKey, Map, MapType, Value

__all__ = ["MAX_PROGRAM", "SLASHED", "GlobMap", "RegexpMap"]

MAX_PROGRAM = 8000
"""RE2 instructions in one set, some 300 patterns: a larger one takes long to build, and one that does not fit into MAX_MEMORY
finds nothing and says nothing."""
MAX_MEMORY = 16 * 2**20

SLASHED = re.compile(r"/((?:[^/\\]|\\.)*)/(\w*)", re.DOTALL)
"""A regular expression as a map has it: between slashes, with its flags behind."""
_FLAGS = frozenset("imsu")


class RegexpMap(Map):
    """Regular expressions, found anywhere in the key: `/re/flags` with the flags i, m, s; without slashes up to a blank."""

    __slots__ = ("_filling", "_options", "_program", "_sets", "_values")
    type: ClassVar[MapType] = "regexp"
    takes_blanks = True

    def __init__(self) -> None:
        super().__init__()
        self._options = re2.Options()
        self._options.log_errors = False
        self._options.max_mem = MAX_MEMORY
        self._values: list[Value] = []
        self._sets: list[tuple[int, Any]] = []
        self._filling: Any = None
        self._program = 0

    def add(self, key: str, value: Value) -> None:
        self.add_pattern(_pattern(key), value)

    def add_pattern(self, pattern: str, value: Value) -> None:
        """One pattern as RE2 has it. Raises BadKey."""
        try:
            size = re2._Regexp(pattern, self._options).programsize
        except (re2.error, UnicodeEncodeError) as error:
            raise BadKey(f"RE2 does not take it: {_told(error)}") from None
        if size > MAX_PROGRAM:
            raise BadKey(f"this regular expression is too large ({size} instructions, {MAX_PROGRAM} are possible)")
        if self._program + size > MAX_PROGRAM:
            self.finish()
        if self._filling is None:
            self._filling = re2.Set.SearchSet(self._options)
            self._sets.append((self.size, self._filling))
        self._filling.Add(pattern)
        self._program += size
        self._values.append(value)
        self.size += 1

    def finish(self) -> None:
        if self._filling is not None:
            self._filling.Compile()
        self._filling, self._program = None, 0

    def find(self, key: str) -> Value | None:
        text = key.encode("utf-8", "replace")
        for first, patterns in self._sets:
            found = patterns.Match(text)
            if found:
                value: Value = self._values[first + min(found)]
                return value
        return None


class GlobMap(RegexpMap):
    """Patterns for the whole key with `*`, `?` and `[abc]`, `[!abc]`."""

    __slots__ = ()
    type: ClassVar[MapType] = "glob"
    takes_blanks = False

    def add(self, key: str, value: Value) -> None:
        self.add_pattern(f"(?is)\\A{_translated(key)}\\z", value)


def _pattern(key: str) -> str:
    match = SLASHED.fullmatch(key)
    if match is None:
        return key
    flags = set(match[2])
    if flags - _FLAGS:
        raise BadKey(
            f"unknown flag {min(flags - _FLAGS)!r} of a regular expression; there are i, m, s (and u, which is always on)"
        )
    flags.discard("u")
    return f"(?{''.join(sorted(flags))}){match[1]}" if flags else match[1]


def _told(error: Exception) -> str:
    what = error.args[0] if error.args else error
    return what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)


def _translated(glob: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(glob):
        char = glob[at]
        at += 1
        # A bracket right after the opening one (or its `!`) is a member: [][] and [!]] are sets.
        end = glob.find("]", at + 1 + glob.startswith("!", at)) if char == "[" else -1
        if end > 0:
            inside = glob[at:end]
            negated = inside.startswith("!")
            members = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[negated:])
            parts.append(f"[{'^' if negated else ''}{members}]")
            at = end + 1
        else:
            parts.append({"*": ".*", "?": "."}.get(char) or re2.escape(char))
    return "".join(parts)
