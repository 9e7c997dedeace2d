"""One connection to a Redis server: opened, logged in, and replies read off it.

Promises: what a wire gives are whole replies in the order they came; a server that closes, sends garbage, or more than
`MAX_REPLY` bytes or `MAX_ELEMENTS` elements for one reply ends the wire with a `RequestFailed` (`closed`, `protocol`, `limit`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from socket import MSG_PEEK
from time import monotonic
from typing import Any, Protocol

from hiredis import ProtocolError, Reader, ReplyError

from filterd.net.redis_commands import Command
from filterd.net.stream import Address, Stream, failed, peer_name
from filterd.net.tls import TlsSettings, TlsStream
from filterd.outcome import RequestFailed

__all__ = ["MAX_ELEMENTS", "MAX_REPLY", "UNKNOWN", "Addresses", "Login", "Wire", "dial"]

MAX_REPLY = 64 * 2**20
"""Bytes of one reply. A rule that asks for more has a fault, and the worker's memory is not its own."""

MAX_ELEMENTS = 2**20
"""Elements of one reply, those of all its arrays, sets and maps together."""

UNKNOWN = "; whether the command was carried out is unknown"
"""Added to the failure of what may change something, was sent, and got no reply."""

_NOTHING = object()
# The line before ten thousand elements or more. hiredis takes the room for as many as it says at once, and gives it back one
# by one: half a minute for a line of twelve bytes. It lets nine of them stand one within the other.
_HEAD = re.compile(rb"[*%~>|](?<![^\n].)(\d{5,})\r\n", re.DOTALL)
_OPEN_HEAD = re.compile(rb"[*%~>|]\d*\r?")
_LONGEST_HEAD = 24  # bytes; of a longer number hiredis makes an error


class Addresses(Protocol):
    """What is asked for the addresses of a host."""

    def addresses(self, host: str, *, until: float | None) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Login:
    """What a new connection begins with; `tls` None is a plain connection."""

    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None


class Wire:
    """An open connection. One greenlet may read from it while another writes."""

    __slots__ = ("_announced", "_begun", "_is_new_line", "_reader", "_unfinished", "peer", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.peer = stream.peer
        self._reader = Reader(notEnoughData=_NOTHING)
        self._unfinished = 0
        self._announced = 0
        self._begun = b""
        self._is_new_line = True

    def receive(self, *, until: float | None) -> list[Any]:
        """The replies that became whole with the next bytes, maybe none. Error replies are `hiredis.ReplyError` values."""
        data = self.stream.read(until=until, expect_wait=True)
        if not data:
            raise self._failed(f"connection closed by {self.peer}", "closed")
        replies: list[Any] = []
        try:
            for piece in self._pieces(data):
                self._reader.feed(piece)
                while (reply := self._reader.gets()) is not _NOTHING:
                    replies.append(reply)
                    self._announced = 0
        except (ProtocolError, TypeError) as error:  # the latter for a map with a key that Python cannot hash
            raise self._failed(f"{self.peer} does not speak Redis: {error}", "protocol") from None
        except MemoryError:  # the memory of a worker may be limited
            raise self._failed(f"a reply of {self.peer} has more elements than there is memory for", "limit") from None
        self._unfinished = 0 if replies else self._unfinished + len(data)
        if self._unfinished > MAX_REPLY:
            raise self._failed(f"a reply of {self.peer} is longer than {MAX_REPLY} bytes", "limit")
        return replies

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """The bytes, with a stop before each line that seems to announce elements; raises at the one that is too much."""
        data, self._begun = self._begun + data, b""
        line = data.rfind(b"\n") + 1
        rest = b""
        if len(data) - line < _LONGEST_HEAD and _OPEN_HEAD.fullmatch(data, line):
            data, rest = data[:line], data[line:]
        at = 0
        for head in _HEAD.finditer(data):
            if not (head.start() or self._is_new_line):
                continue
            yield data[at : head.start()]
            at = head.start()
            # hiredis leaves the beginning of a string in its buffer, and nothing where the next thing begins.
            if not self._reader.has_data():
                self._announced += int(head[1][:_LONGEST_HEAD])
                if self._announced > MAX_ELEMENTS:
                    raise self._failed(f"a reply of {self.peer} has more than {MAX_ELEMENTS} elements", "limit")
        if data:
            yield data[at:]
            self._is_new_line = data.endswith(b"\n")
        if rest and self._is_new_line and not self._reader.has_data():
            self._begun = rest
        elif rest:
            self._is_new_line = False
            yield rest

    def exchange(self, payload: bytes, count: int, *, until: float | None, is_read: bool = True) -> list[Any]:
        """Send, and wait for `count` replies. For a wire that nobody else uses; after a failure it is of no use any more."""
        self.stream.began = monotonic()
        replies: list[Any] = []
        try:
            self.stream.write(payload, until=until)
            while len(replies) < count:
                replies += self.receive(until=until)
        except RequestFailed as error:
            if is_read or error.failure.kind == "timeout":
                raise
            raise self._failed(f"{error.failure}{UNKNOWN}", error.failure.kind) from None
        if len(replies) > count:
            raise self._failed(f"{self.peer} sent more replies than it was asked for", "protocol")
        return replies

    def is_quiet(self) -> bool:
        """Nothing has come in since the last reply, not even the end: it may be used again."""
        sock = self.stream.sock
        if sock is None:
            return False
        try:
            sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        self.stream.close()

    def log_in(self, login: Login, *, until: float | None) -> None:
        """AUTH and SELECT as far as needed; a refusal is a failure of kind `server` with the server's words."""
        commands: list[Command] = []
        if login.password is not None:
            names = (login.username,) if login.username else ()
            commands.append(Command(["AUTH", *names, login.password]))
        if login.db:
            commands.append(Command(["SELECT", login.db]))
        if not commands:
            return
        for reply in self.exchange(b"".join(one.packed for one in commands), len(commands), until=until):
            if isinstance(reply, ReplyError):
                raise failed(str(reply), "server", peer=self.peer, phase="auth", since=self.stream.began)

    def _failed(self, text: str, kind: Any) -> RequestFailed:
        return failed(text, kind, peer=self.peer, phase="read", since=self.stream.began)


def dial(address: Address, login: Login, *, resolver: Addresses | None, until: float | None) -> Wire:
    """A new connection, logged in. Without a resolver the host of an address must be an IP address."""
    stream = _reach(address, resolver, until)
    try:
        if login.tls is not None:
            host = "localhost" if isinstance(address, str) else address[0]
            stream = TlsStream(stream, login.tls.context(), host, until=until)
        wire = Wire(stream)
        wire.log_in(login, until=until)
    except BaseException:
        stream.close()
        raise
    return wire


def _reach(address: Address, resolver: Addresses | None, until: float | None) -> Stream:
    if isinstance(address, str):
        return Stream.connect(address, until=until)
    host, port = address
    peer = peer_name(address)
    addresses = resolver.addresses(host, until=until) if resolver is not None else [host]
    if not addresses:
        raise failed("no records with this name", "dns", peer=peer, phase="dns", since=monotonic())
    for others in range(len(addresses) - 1, 0, -1):
        # A silent address leaves time for the next.
        end = None if until is None else monotonic() + (until - monotonic()) / (others + 1)
        try:
            return Stream.connect((addresses[-1 - others], port), until=end, peer=peer)
        except RequestFailed:
            continue
    return Stream.connect((addresses[-1], port), until=until, peer=peer)
