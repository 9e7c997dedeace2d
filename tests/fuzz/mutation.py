"""Inputs made from others: cut, spliced, repeated, swollen, with words of the format put in."""

import random
import re
from collections.abc import Sequence

__all__ = ["Mutator"]

_NUMBER = re.compile(rb"\d+")
_ODD_NUMBERS = b"0 00 1 -1 127 128 255 256 65535 65536 2147483648 4294967296 18446744073709551616 1e999 0x7f".split()
_ODD_NUMBERS.append(b"9" * 40)
_ODD_BYTES = b"\0\t\n\r \"'%&()+,-./:;<=>?@[\\]{}\x7f\x80\xc3\xed\xff"
_ODD_TEXTS = ("\ud800", "\u202e", "\u3002", "ß", "İ", "ﬁ", "é", "\u200d", "\U0001f600", "\u0130", "\u00ad")


class Mutator:
    """Makes inputs of at most `largest` bytes; the same `dice` make the same ones."""

    def __init__(self, dice: random.Random, words: Sequence[bytes], largest: int) -> None:
        self.dice = dice
        self.words = [*words, *(text.encode("utf-8", "surrogatepass") for text in _ODD_TEXTS)]
        self.largest = largest
        self._ways = (
            self._flip,
            self._byte,
            self._word,
            self._word,
            self._drop,
            self._double,
            self._swell,
            self._number,
            self._cut,
            self._swap,
            self._field,
        )

    def mutate(self, data: bytes, other: bytes) -> bytes:
        """`data` changed in one to six places, or spliced with `other`."""
        dice = self.dice
        if dice.random() < 0.15:
            at, there = dice.randint(0, len(data)), dice.randint(0, len(other))
            data = data[:at] + other[there:]
        for _ in range(dice.choice((1, 1, 2, 3, 6))):
            data = dice.choice(self._ways)(data)
        return data[: self.largest]

    def _range(self, data: bytes) -> tuple[int, int]:
        start = self.dice.randint(0, len(data))
        return start, min(len(data), start + int(2 ** self.dice.uniform(0, 9)))

    def _flip(self, data: bytes) -> bytes:
        if not data:
            return b"\0"
        at = self.dice.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self.dice.randrange(8))]) + data[at + 1 :]

    def _byte(self, data: bytes) -> bytes:
        at = self.dice.randint(0, len(data))
        new = bytes([self.dice.choice(_ODD_BYTES) if self.dice.random() < 0.7 else self.dice.randrange(256)])
        return data[:at] + new + data[at + self.dice.randint(0, 1) :]

    def _word(self, data: bytes) -> bytes:
        start, end = self._range(data)
        if self.dice.random() < 0.7:
            end = start
        return data[:start] + self.dice.choice(self.words) + data[end:]

    def _drop(self, data: bytes) -> bytes:
        start, end = self._range(data)
        return data[:start] + data[end:]

    def _double(self, data: bytes) -> bytes:
        start, end = self._range(data)
        at = self.dice.randint(0, len(data))
        return data[:at] + data[start:end] + data[at:]

    def _swell(self, data: bytes) -> bytes:
        """What is quadratic shows when something small comes very often."""
        start, end = self._range(data)
        piece = self.dice.choice(self.words) if self.dice.random() < 0.5 else data[start:end]
        room = max(0, self.largest - len(data)) // max(1, len(piece))
        return data[:start] + piece * int(2 ** self.dice.uniform(0, max(1, room).bit_length())) + data[start:]

    def _number(self, data: bytes) -> bytes:
        found = list(_NUMBER.finditer(data[: 64 * 1024]))
        if not found:
            return self._byte(data)
        chosen = self.dice.choice(found)
        return data[: chosen.start()] + self.dice.choice(_ODD_NUMBERS) + data[chosen.end() :]

    def _cut(self, data: bytes) -> bytes:
        return data[: self.dice.randint(0, len(data))]

    def _swap(self, data: bytes) -> bytes:
        start, middle = self._range(data)
        end = min(len(data), middle + (middle - start))
        return data[:start] + data[middle:end] + data[start:middle] + data[end:]

    def _field(self, data: bytes) -> bytes:
        """A binary number: one to eight bytes, of the kinds that lengths and offsets are."""
        at, size = self.dice.randint(0, len(data)), self.dice.choice((1, 2, 4, 8))
        value: int = self.dice.choice(
            (0, 1, len(data), len(data) - at, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), self.dice.getrandbits(8 * size))
        )
        new = (value % 2 ** (8 * size)).to_bytes(size, self.dice.choice(("big", "little")))
        changed: bytes = data[:at] + new + data[at + size :]
        return changed
