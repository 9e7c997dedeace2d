"""What is fuzzed: a name, a function that is given bytes, and what may come out of it.

A target's function checks more than "does not raise": that pieces give what the whole gives, that what was rendered is read
back. It raises AssertionError where that does not hold. What it returns tells outcomes apart: an input with a new one is kept.
"""

import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

__all__ = ["CASES", "SEEDS", "Codec", "Target", "dice_of", "in_pieces", "pieces", "writable"]

HERE = Path(__file__).parent
CASES = HERE / "cases"
SEEDS = HERE / "seeds"


@dataclass(frozen=True, slots=True)
class Target:
    """`run` may raise only `raises`. `seeds` are what is mutated (with the files of seeds/NAME), `words` what is put into it.

    `make` makes an input that is nearly well-formed. `largest` is the size of an input in bytes. `cpu` is the seconds of CPU
    allowed beside one a megabyte, `memory` the bytes allowed beside ten times the input.
    """

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    raises: tuple[type[Exception], ...] = ()
    make: Callable[[random.Random], bytes] | None = None
    largest: int = 64 * 1024
    cpu: float = 0.25
    memory: int = field(default=32 * 1024 * 1024)

    def corpus(self) -> list[bytes]:
        """The seeds, and the cases that once broke something."""
        return [*self.seeds, *(file.read_bytes() for file in self.files())]

    def files(self) -> list[Path]:
        """The files with seeds, and those with inputs that once broke something."""
        return [*sorted((SEEDS / self.name).glob("*")), *sorted((CASES / self.name).glob("*"))]


class Codec(Protocol):
    """A protocol without a socket: bytes in, events out, a list of them, or one or None; b"" is the end."""

    def feed(self, data: bytes, /) -> Any: ...


def in_pieces(make: Callable[[], Codec], *raises: type[Exception]) -> Callable[[bytes], object]:
    """The check of a codec: however its bytes are cut, it gives the same events, or ends in one of `raises`."""

    def fed(parts: list[bytes]) -> tuple[list[Any], str]:
        codec, events = make(), list[Any]()
        try:
            for part in [*parts, b""]:
                found = codec.feed(part)
                events += found if isinstance(found, list) else [] if found is None else [found]
        except raises as error:
            return events, type(error).__name__
        return events, ""

    def run(data: bytes) -> object:
        whole, cut = fed([data] if data else []), fed(list(pieces(data)))
        assert cut[1] == whole[1], (whole, cut)
        # What comes before a fault may be lost with it.
        assert whole[1] or repr(cut[0]) == repr(whole[0]), (whole, cut)
        return [type(event).__name__ for event in whole[0][:5]], whole[1]

    return run


def dice_of(data: bytes) -> random.Random:
    """Chance that is the same for the same input, so that a finding can be repeated."""
    return random.Random(zlib.crc32(data))


def pieces(data: bytes) -> Iterator[bytes]:
    """The input as a connection might deliver it: now in single bytes, now in large pieces; some thousand of them at most."""
    dice = dice_of(data)
    longest = dice.choice((1, 2, 7, 64, 4096))
    at = 0
    while at < len(data):
        size = dice.randint(1, max(longest, at // 250))
        yield data[at : at + size]
        at += size


def writable(texts: Iterable[str | None]) -> None:
    """A reply, a log line and a client can hold these."""
    for text in texts:
        if text:
            text.encode()
