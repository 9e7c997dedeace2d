"""One connection to a Redis server: opened, logged in, and replies read off it.

Promises: what a wire gives are whole replies in the order they came; a server that closes, sends garbage or more than
`MAX_REPLY` bytes for one reply ends the wire with a `RequestFailed` (`closed`, `protocol`, `limit`).
"""

from dataclasses import dataclass, field
from socket import MSG_PEEK
from time import monotonic
from typing import Any, Protocol

from hiredis import ProtocolError, Reader, ReplyError

from filterd.net.redis_commands import Command
from filterd.net.stream import Address, Stream, failed, peer_name
from filterd.net.tls import TlsSettings, TlsStream
from filterd.outcome import RequestFailed

__all__ = ["MAX_REPLY", "UNKNOWN", "Addresses", "Login", "Wire", "dial"]

MAX_REPLY = 64 * 2**20
"""Bytes of one reply. A rule that asks for more has a fault, and the worker's memory is not its own."""

UNKNOWN = "; whether the command was carried out is unknown"
"""Added to the failure of what may change something, was sent, and got no reply."""

_NOTHING = object()


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

    __slots__ = ("_reader", "_unfinished", "peer", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.peer = stream.peer
        self._reader = Reader(notEnoughData=_NOTHING)
        self._unfinished = 0

    def receive(self, *, until: float | None) -> list[Any]:
        """The replies that became whole with the next bytes, maybe none. Error replies are `hiredis.ReplyError` values."""
        data = self.stream.read(until=until, expect_wait=True)
        if not data:
            raise self._failed(f"connection closed by {self.peer}", "closed")
        reader = self._reader
        reader.feed(data)
        replies: list[Any] = []
        try:
            while (reply := reader.gets()) is not _NOTHING:
                replies.append(reply)
        except (ProtocolError, TypeError) as error:  # the latter for a map with a key that Python cannot hash
            raise self._failed(f"{self.peer} does not speak Redis: {error}", "protocol") from None
        except MemoryError:  # the room for an array is taken when its length is read
            raise self._failed(f"a reply of {self.peer} has more elements than there is memory for", "limit") from None
        self._unfinished = 0 if replies else self._unfinished + len(data)
        if self._unfinished > MAX_REPLY:
            raise self._failed(f"a reply of {self.peer} is longer than {MAX_REPLY} bytes", "limit")
        return replies

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
