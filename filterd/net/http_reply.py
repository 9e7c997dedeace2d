"""What an HTTP server answered: code, headers, content, and where the time went."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

__all__ = ["Elapsed", "Headers", "Response"]


class Headers(Mapping[str, str]):
    """Headers by name, which is case-insensitive; a name that came several times gives its first value.

    Values are read as UTF-8, and as Latin-1 where they are not.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self.pairs = pairs
        """As they came: lower-case names and values, in order."""

    def __getitem__(self, name: str) -> str:
        wanted = name.lower().encode("utf-8", "replace")
        for key, value in self.pairs:
            if key == wanted:
                return _text(value)
        raise KeyError(name)

    def get_all(self, name: str) -> list[str]:
        """Every value of that name, in order."""
        wanted = name.lower().encode("utf-8", "replace")
        return [_text(value) for key, value in self.pairs if key == wanted]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1") for key, _ in self.pairs))

    def __len__(self) -> int:
        return len({key for key, _ in self.pairs})

    def __repr__(self) -> str:
        return f"Headers({[(key.decode('latin-1'), _text(value)) for key, value in self.pairs]})"


class Elapsed(NamedTuple):
    """Seconds spent in each phase; a kept-alive connection has spent none on `dns`, `connect` and `tls`."""

    dns: float
    connect: float
    tls: float
    write: float
    read: float
    total: float


class Response:
    """A whole answer, whatever its status. `content` is b"" where there is none."""

    __slots__ = ("code", "content", "elapsed", "headers", "reason")

    def __init__(self, code: int, reason: str, headers: Headers, content: bytes, elapsed: Elapsed) -> None:
        self.code = code
        self.reason = reason
        self.headers = headers
        self.content = content
        self.elapsed = elapsed

    @property
    def is_success(self) -> bool:
        """The status is 2xx."""
        return 200 <= self.code < 300

    @property
    def text(self) -> str:
        """The content in the charset its Content-Type names, else UTF-8; what does not decode is replaced."""
        _, _, charset = self.headers.get("content-type", "").lower().partition("charset=")
        charset = charset.split(";", 1)[0].strip(" \t\"'")
        try:
            return self.content.decode(charset or "utf-8", "replace")
        except (LookupError, ValueError):
            return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The content as JSON; raises ValueError where it is none."""
        return orjson.loads(self.content)

    def __repr__(self) -> str:
        return f"Response({self.code} {self.reason}, {len(self.content)} bytes)"


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
