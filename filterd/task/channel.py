"""One direction of a stream as an action sees it: reads wait for bytes, `send` waits until all is written.

Promises:

* A read gives what has arrived, or waits for it; when the time is over it raises, and no byte is lost.
* Reading the direction that is not this stage's raises PhaseError. Sending to it is allowed: that is how an action answers.
* A failed wait is `RequestFailed`, as in every other call: `timeout`, `closed`, `limit`.
"""

from time import monotonic

from filterd.net.exchange import Direction
from filterd.net.stream import failed
from filterd.outcome import RequestFailed
from filterd.proto.channel import ChannelBuffer, Overflow, Sendable, as_bytes
from filterd.task.scope import Deadline

__all__ = ["Channel", "PhaseError"]


class PhaseError(RuntimeError):
    """A channel was read in a stage that it does not belong to."""


class Channel:
    """`txn.req` or `txn.res` of a stage. `is_response`: it leads from the server to the client."""

    __slots__ = ("_deadline", "_direction", "_stage", "is_response", "readable")

    def __init__(self, stage: str, deadline: Deadline, direction: Direction, *, is_response: bool, readable: bool) -> None:
        # Not the txn: a circle would be left to the garbage collector, with the connection and its buffers.
        self._stage = stage
        self._deadline = deadline
        self._direction = direction
        self.is_response = is_response
        self.readable = readable
        """Whether this stage may read and change it."""

    # -- reading

    def peek(self, count: int | None = None, timeout: float | None = None) -> bytes | None:
        """What has arrived, left where it is: without `count` what is there, without waiting, or the first bytes that come
        within `timeout` seconds; with it the first `count` bytes, fewer at the end. None at the end.
        """
        if count is not None or timeout is not None:
            self._wait(1 if count is None else count, timeout)
        return self._input("peek").dup(count)

    def dup(self) -> bytes | None:
        """A copy of what has arrived, b"" for nothing yet; None at the end. It does not wait."""
        return self._input("dup").dup()

    def get(self, count: int | None = None, timeout: float | None = None) -> bytes | None:
        """As `peek`, and the bytes are taken: they do not go on to the other side."""
        if count is not None or timeout is not None:
            self._wait(1 if count is None else count, timeout)
        return self._input("get").get(count)

    def get_line(self, limit: int | None = None, timeout: float | None = None) -> bytes | None:
        """The next line with its line end, waiting for it; the last one may lack it; None at the end.

        Raises RequestFailed: `timeout`, and the bytes of the unfinished line stay; `limit` for a line that is longer.
        """
        buffer = self._input("readline")
        until = self._until(timeout)
        while True:
            try:
                line = buffer.get_line(limit)
            except Overflow as error:
                raise self._failed(str(error)) from None
            if line is not None or buffer.at_end:
                return line
            self._direction.fill(until)

    readline = get_line

    @property
    def in_len(self) -> int:
        """Bytes that have arrived and wait for a decision."""
        return self._direction.buffer.in_len

    @property
    def out_len(self) -> int:
        """Bytes that are decided and not yet written."""
        return self._direction.buffer.out_len

    def get_in_length(self) -> int:
        """`in_len`, as HAProxy calls it."""
        return self.in_len

    def get_out_length(self) -> int:
        """`out_len`, as HAProxy calls it."""
        return self.out_len

    @property
    def eof(self) -> bool:
        """The sender has ended its side; what it had sent before may still be there."""
        return self._direction.buffer.eof

    @property
    def full(self) -> bool:
        """No more can arrive before something is taken or forwarded."""
        return self._direction.buffer.full

    # -- changing what goes on

    def set(self, data: Sendable) -> int:
        """Replace what has arrived; it goes on when the actions have ended. Raises ValueError where it does not fit."""
        return self._input("set").set(data)

    def append(self, data: Sendable) -> int:
        """Put bytes behind what has arrived. Raises ValueError where they do not fit."""
        return self._input("append").append(data)

    def prepend(self, data: Sendable) -> int:
        """Put bytes before what has arrived. Raises ValueError where they do not fit."""
        return self._input("prepend").prepend(data)

    def insert(self, offset: int, data: Sendable) -> int:
        """Put bytes before byte number `offset` of what has arrived."""
        return self._input("insert").insert(offset, data)

    def remove(self, offset: int = 0, count: int | None = None) -> int:
        """Take bytes out of what has arrived; how many there were."""
        return self._input("remove").remove(offset, count)

    def forward(self, count: int | None = None) -> int:
        """Let the first `count` bytes go on unchanged, waiting for them; all that is there by default. How many went, which is
        fewer at the end only. They are written with the next `send`, when the actions have ended, or when the buffer is full.
        """
        buffer = self._input("forward")
        count = buffer.in_len if count is None else max(count, 0)
        until = self._until(None)
        left = count
        while left > 0:
            moved = buffer.forward(left)
            left -= moved
            if not left or buffer.at_end:
                break
            if buffer.in_len:
                self._direction.flush(until)
            else:
                self._direction.fill(until)
        return count - left

    def send(self, data: Sendable) -> int:
        """Write now, before what waits for a decision; returns when all is written.

        Raises RequestFailed: `closed`, `timeout`, and what connecting to the server may raise.
        """
        new = as_bytes(data)
        until = self._until(None)
        if self.readable:
            self._direction.flush(until)
        self._direction.write(new, until)
        return len(new)

    # -- inside

    def _input(self, verb: str) -> ChannelBuffer:
        if not self.readable:
            name, whole, where = (
                ("res", "response", "tcp.response") if self.is_response else ("req", "request", "tcp.request and in services")
            )
            raise PhaseError(f"txn.{name}.{verb}() in stage {self._stage}: the {whole} can be read in {where} only")
        return self._direction.buffer

    def _wait(self, count: int, timeout: float | None) -> None:
        buffer = self._input("peek")
        if count > buffer.limit:
            raise ValueError(f"{count} bytes are more than a channel holds, which is {buffer.limit}")
        until = self._until(timeout)
        while buffer.in_len < count and self._direction.fill(until):
            pass

    def _until(self, timeout: float | None) -> float:
        end = self._deadline.end
        return end if timeout is None else min(end, monotonic() + timeout)

    def _failed(self, text: str) -> RequestFailed:
        exchange = self._direction.exchange
        source = self._direction.source
        peer = exchange.name if source is None else source.peer
        return failed(text, "limit", peer=peer, phase="read", since=exchange.began)
