"""The bytes of one direction of a stream: input, which has arrived and is undecided, and output, which goes out.

This is HAProxy's buffer as its Lua documents it (class Channel), with what turned out to be meant where the two differ.

Promises:

* Neither part grows above `limit`: what does not fit is refused whole (`Overflow`), and nothing has changed then.
* No byte is lost or doubled: it is input, or output, or was taken.
* "nothing yet" is `b""`, "nothing any more" is None.
"""

from typing import Final

__all__ = ["LIMIT", "ChannelBuffer", "Overflow", "Sendable", "as_bytes"]

LIMIT: Final = 65536

Sendable = bytes | bytearray | memoryview | str


class Overflow(ValueError):
    """More than the buffer may hold."""


def as_bytes(data: Sendable) -> bytes:
    """What an action gives; str goes out as UTF-8. Raises TypeError for anything else, a number above all."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a channel takes bytes or str, not {type(data).__name__}")


class ChannelBuffer:
    """Both parts; `eof` is set when the sender has ended its side."""

    __slots__ = ("_input", "_output", "_searched", "eof", "limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.eof = False
        self._input = bytearray()
        self._output = bytearray()
        self._searched = 0
        """So many bytes of the input have no line end among them."""

    @property
    def in_len(self) -> int:
        return len(self._input)

    @property
    def out_len(self) -> int:
        return len(self._output)

    @property
    def room(self) -> int:
        """How many bytes may still arrive."""
        return self.limit - len(self._input)

    @property
    def full(self) -> bool:
        return self.room <= 0

    @property
    def at_end(self) -> bool:
        """The sender has ended and nothing undecided is left."""
        return self.eof and not self._input

    # -- the sender

    def receive(self, data: bytes) -> None:
        """Bytes that have arrived, at most `room`."""
        self._admit(len(self._input) + len(data), "input")
        self._input += data

    def end(self) -> None:
        """Nothing more will arrive."""
        self.eof = True

    # -- reading

    def dup(self, count: int | None = None) -> bytes | None:
        """A copy of the input, of its first `count` bytes; None when there is none and will be none."""
        if self.at_end:
            return None
        return bytes(self._input if count is None else self._input[:count])

    def get(self, count: int | None = None) -> bytes | None:
        """As `dup`, and the bytes are taken."""
        data = self.dup(count)
        if data:
            self._drop(0, len(data))
        return data

    def get_line(self, limit: int | None = None) -> bytes | None:
        """The first line with its line end, taken; at the end what is left is the last line.

        None where no whole line has arrived, or none will (`at_end`). Raises Overflow when `limit` bytes are there and no line
        end is among them; they stay.
        """
        most = self.limit if limit is None else min(limit, self.limit)
        place = self._input.find(b"\n", self._searched, most)
        if place >= 0:
            return self.get(place + 1)
        if len(self._input) >= most:
            raise Overflow(f"no line end within {most} bytes")
        self._searched = len(self._input)
        return self.get() if self.eof else None

    # -- changing the input

    def set(self, data: Sendable) -> int:
        """Replace the input; how many bytes it is now."""
        new = as_bytes(data)
        self._admit(len(new), "input")
        self._input[:] = new
        self._searched = 0
        return len(new)

    def append(self, data: Sendable) -> int:
        """Put bytes behind the input; how many."""
        return self.insert(len(self._input), data)

    def prepend(self, data: Sendable) -> int:
        """Put bytes before the input; how many."""
        return self.insert(0, data)

    def insert(self, offset: int, data: Sendable) -> int:
        """Put bytes into the input, before its byte number `offset`; how many. Raises IndexError beyond its end."""
        new = as_bytes(data)
        self._within(offset)
        self._admit(len(self._input) + len(new), "input")
        self._input[offset:offset] = new
        self._searched = min(self._searched, offset)
        return len(new)

    def remove(self, offset: int = 0, count: int | None = None) -> int:
        """Take bytes out of the input, all from `offset` on by default; how many were there."""
        self._within(offset)
        before = len(self._input)
        self._drop(offset, before - offset if count is None else max(count, 0))
        return before - len(self._input)

    # -- the output

    def forward(self, count: int | None = None) -> int:
        """Decide on the first `count` bytes, all by default: they go out unchanged. How many there were, and fit."""
        wanted = len(self._input) if count is None else max(count, 0)
        moved = min(wanted, len(self._input), self.limit - len(self._output))
        self._output += self._input[:moved]
        self._drop(0, moved)
        return moved

    def send(self, data: Sendable) -> int:
        """Put bytes at the end of the output, that is before the input; how many."""
        new = as_bytes(data)
        self._admit(len(self._output) + len(new), "output")
        self._output += new
        return len(new)

    def take_output(self) -> bytes:
        """All of the output, taken: it is about to be written."""
        data = bytes(self._output)
        self._output.clear()
        return data

    # -- inside

    def _drop(self, offset: int, count: int) -> None:
        del self._input[offset : offset + count]
        self._searched = 0

    def _within(self, offset: int) -> None:
        if not 0 <= offset <= len(self._input):
            raise IndexError(f"offset {offset} is not within the {len(self._input)} bytes of input")

    def _admit(self, size: int, part: str) -> None:
        if size > self.limit:
            raise Overflow(f"{size} bytes of {part}, and a channel holds {self.limit}")
