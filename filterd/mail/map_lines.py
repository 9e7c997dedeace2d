"""The text of a map, read piece by piece into a `Map`: lines of `key [value]`, with `#` before a remark.

    10.0.0.0/8
    "key with blanks"  value   # remark
    /regular.expression/i value

Promises:

* Whatever the pieces are cut into, the same map comes out; a piece of some 16 KB holds the loop for a few milliseconds.
* All lines that are wrong are told (the first `MAX_PROBLEMS` of them), with their numbers; then there is no map at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from filterd.mail.map_patterns import SLASHED, GlobMap, RegexpMap
from filterd.mail.maps import BadKey, DomainMap, IpMap, Map, MapType, SetMap, TextMap

__all__ = ["LineProblem", "MapBroken", "MapReader", "new_map"]

MAX_LINE = 8192
"""Bytes of a line."""
MAX_PROBLEMS = 20
MAX_ENTRIES = 1_000_000
"""Keys of a map: some 150 MB of memory."""
MAX_PATTERNS = 10_000
"""Keys of a map of globs or regular expressions: each 300 are another pass over the key that is looked up."""

_KINDS: Mapping[str, type[Map]] = {one.type: one for one in (SetMap, TextMap, GlobMap, RegexpMap, IpMap, DomainMap)}


def new_map(type: MapType) -> Map:
    """A map of that kind without a key."""
    return _KINDS[type]()


@dataclass(frozen=True, slots=True)
class LineProblem:
    """What is wrong with a line; lines count from 1."""

    line: int
    text: str


class MapBroken(ValueError):
    """A text that is no map of its kind."""

    def __init__(self, problems: tuple[LineProblem, ...]) -> None:
        super().__init__("; ".join(f"line {one.line}: {one.text}" for one in problems))
        self.problems = problems


class MapReader:
    """Takes the bytes of a map as they come; `close` gives the map or raises MapBroken.

    `check` looks at each value that is not True and returns what is wrong with it, None if it is well.
    """

    def __init__(self, type: MapType, *, check: Callable[[str], str | None] | None = None) -> None:
        self._map = new_map(type)
        self._check = check
        self._most = MAX_PATTERNS if isinstance(self._map, RegexpMap) else MAX_ENTRIES
        self._line = 0
        self._rest = b""
        self._problems: list[LineProblem] = []

    def feed(self, data: bytes) -> None:
        """The next piece."""
        if len(self._problems) >= MAX_PROBLEMS:
            return
        first, *others = data.split(b"\n")
        # Of a line that is too long no more is kept than shows that it is.
        self._rest += first[: MAX_LINE + 2]
        for piece in others:
            self._take(self._rest)
            self._rest = piece[: MAX_LINE + 2]
        self._rest = self._rest[: MAX_LINE + 2]

    def close(self) -> Map:
        """The end of the text: the map."""
        self._take(self._rest)
        if self._problems:
            raise MapBroken(tuple(self._problems[:MAX_PROBLEMS]))
        self._map.finish()
        return self._map

    def _take(self, data: bytes) -> None:
        self._line += 1
        try:
            if len(data.removesuffix(b"\r")) > MAX_LINE:
                raise BadKey(f"the line has more than {MAX_LINE} bytes")
            line = data.decode("utf-8-sig" if self._line == 1 else "utf-8").strip()
            if not line or line.startswith("#"):
                return
            key, value = split(line, self._map)
            if value and self._check is not None and (fault := self._check(value)) is not None:
                raise BadKey(fault)
            self._map.add(key, value or True)
            if len(self._map) > self._most:
                raise BadKey(f"more than {self._most} keys")
        except UnicodeDecodeError:
            self._problems.append(LineProblem(self._line, "is not UTF-8"))
        except BadKey as error:
            self._problems.append(LineProblem(self._line, str(error)))


def split(line: str, kind: Map) -> tuple[str, str]:
    """The key of a line and what follows it. A key with blanks stands in double quotes, or, a regular expression, in slashes.

    Raises BadKey.
    """
    if kind.takes_blanks and (match := SLASHED.match(line)):
        key, rest = match[0], line[match.end() :]
    elif line.startswith('"'):
        key, quote, rest = line[1:].partition('"')
        if not quote:
            raise BadKey("a quote is opened and not closed")
    else:
        key, *after = line.split(None, 1)
        return key, _without_remark(after[0]) if after else ""
    if rest and not rest[0].isspace():
        raise BadKey(f"{rest[:20]!r} right behind the key, without a blank")
    return key, _without_remark(rest.strip())


def _without_remark(text: str) -> str:
    """`#` begins a remark where a word could begin."""
    if text.startswith("#"):
        return ""
    cut = min((at for mark in (" #", "\t#") if (at := text.find(mark)) >= 0), default=len(text))
    return text[:cut].rstrip()
