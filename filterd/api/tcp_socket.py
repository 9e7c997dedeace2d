"""`tcp.Socket`: the client part of LuaSocket's TCP class, as HAProxy offers it to Lua.

Promises:

* A success is the value alone; a failure is `(None, err)`, `(None, err, partial)` of `receive` and `(None, err, index)` of
  `send`. `err` reads `closed` or `timeout`, and as the system says it where a connection did not come about.
* `settimeout` is about silence: seconds in which not one byte moves. The task's budget bounds everything.
* What a failed `receive` had got is in its third value and is not there to be read again: pass it on as `prefix`.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any

from filterd.api._callback import scope_of
from filterd.api.tcp_sync import LINE_LIMIT, STREAM_LIMIT, Budget, open_conversation
from filterd.net.stream import Buffer, gather
from filterd.net.tcp import Conversation
from filterd.outcome import Failure, RequestFailed
from filterd.task import Scope

__all__ = ["Socket"]

CHUNK = 65536
"""Bytes sent with one patience."""

NOT_CONNECTED = Failure("closed", kind="closed")


class Socket:
    """A client that is connected by `connect` or `connect_ssl`, once. It is closed at the end of the task."""

    def __init__(self, *, task: Scope | None = None) -> None:
        self._scope = scope_of(task, "tcp.Socket", waits=False)
        self._seconds: float | None = None
        self._conversation: Conversation | None = None
        self._closed = False

    def settimeout(self, value: float | None, mode: str | None = None) -> int:
        """Give up when nothing moved for so many seconds; None or a negative number: only the task's budget counts."""
        self._seconds = None if value is None or value < 0 else value
        if self._conversation is not None:
            self._conversation.idle = self._seconds
        return 1

    def setoption(self, option: str, value: Any = None) -> int:
        """For compatibility; does nothing."""
        return 1

    def connect(self, address: str, port: int | None = None) -> int | tuple[None, Failure]:
        """1 when connected to a name, an address, or `unix:/path` without port."""
        return self._connect(address, port, tls=False)

    def connect_ssl(self, address: str, port: int | None = None) -> int | tuple[None, Failure]:
        """The same over TLS; certificate and name are verified."""
        return self._connect(address, port, tls=True)

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        self._closed = True
        self._scope.release(self)
        if self._conversation is not None:
            self._conversation.close()

    def getpeername(self) -> tuple[str, int] | None:
        """Address and port of the peer (the path and 0 of a unix socket), None when not connected."""
        return self._end(1)

    def getsockname(self) -> tuple[str, int] | None:
        """Address and port of our side, None when not connected."""
        return self._end(0)

    def receive(self, pattern: str | int = "*l", prefix: str | bytes = b"") -> bytes | tuple[None, Failure, bytes]:
        """A line without its end and without any CR (`*l`), all until the peer closes (`*a`), or so many bytes.

        `prefix` comes before what is read, and counts as part of a number of bytes.
        """
        head = gather(prefix)
        read = _reading(pattern, len(head))
        conversation = self._conversation
        if conversation is None:
            return None, NOT_CONNECTED, head
        try:
            return head + _without_cr(pattern, read(conversation))
        except RequestFailed as error:
            return None, _said(error.failure), head + _without_cr(pattern, conversation.take_buffered())

    def send(self, data: Buffer | str, i: int = 1, j: int = -1) -> int | tuple[None, Failure, int]:
        """Send the bytes from the `i`th to the `j`th, both counted from 1, negative ones from the end.

        Gives the index of the last byte sent, that before the first where none was.
        """
        whole = gather(data)
        first = max(i if i >= 0 else len(whole) + i + 1, 1)
        last = min(j if j >= 0 else len(whole) + j + 1, len(whole))
        conversation = self._conversation
        if conversation is None:
            return None, NOT_CONNECTED, first - 1
        before = conversation.stream.written
        try:
            for start in range(first - 1, last, CHUNK):
                until = None if self._seconds is None else monotonic() + self._seconds
                conversation.write(whole[start : min(start + CHUNK, last)], until=until)
        except RequestFailed as error:
            return None, _said(error.failure), first - 1 + conversation.stream.written - before
        return max(last, first - 1)

    def _connect(self, address: str, port: int | None, *, tls: bool) -> int | tuple[None, Failure]:
        if self._conversation is not None or self._closed:
            return None, Failure("the socket was connected before: make a new one", kind="closed", phase="connect")
        budget = Budget(self._scope, self._seconds, connect=None, read=None, write=None)
        try:
            self._conversation = open_conversation(self._scope, address, port, budget=budget, tls=tls, tls_verify=True)
        except RequestFailed as error:
            return None, _said(error.failure)
        self._conversation.idle = self._seconds
        self._scope.adopt(self)
        return 1

    def _end(self, which: int) -> tuple[str, int] | None:
        ends = None if self._conversation is None else self._conversation.stream.ends()
        if ends is None:
            return None
        end = ends[which]
        return (end, 0) if isinstance(end, str) else end


def _reading(pattern: str | int, before: int) -> Callable[[Conversation], bytes]:
    if pattern == "*l":
        return lambda conversation: conversation.read_until(b"\n", LINE_LIMIT, until=None)
    if pattern == "*a":
        return lambda conversation: conversation.read_until_eof(STREAM_LIMIT, until=None)
    if isinstance(pattern, int) and pattern >= 0:
        lacking = max(pattern - before, 0)
        return lambda conversation: conversation.read_bytes(lacking, until=None)
    raise ValueError(f'receive takes "*l", "*a" or a number of bytes, not {pattern!r}')


def _without_cr(pattern: str | int, data: bytes) -> bytes:
    return data.replace(b"\r", b"") if pattern == "*l" else data


def _said(failure: Failure) -> Failure:
    text = failure.kind if failure.kind in ("closed", "timeout") else str(failure)
    return Failure(
        text, kind=failure.kind, peer=failure.peer, phase=failure.phase, elapsed=failure.elapsed, partial=failure.partial
    )
