"""One connected socket: reading and writing, each with an end in time, on the loop's own watchers.

Promises:

* Nothing here blocks the loop, and no call outlives the `until` it was given (a moment of `time.monotonic()`).
* What fails raises `RequestFailed` with a `Failure` that names kind, peer, phase and seconds spent.
* A peer that answered in time is not reported as late because something else held the loop: before a wait is called a
  timeout the socket is looked at once more.
* After `close` nobody waits on the descriptor: who did is woken and told. A second greenlet that reads (or writes) while one
  is at it gets a RuntimeError instead of a part of the other's data.
"""

import _socket
import os
from collections.abc import Iterable
from errno import EAGAIN, EINPROGRESS, EINTR, EISCONN, ETIMEDOUT, EWOULDBLOCK
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_TCP,
    MSG_PEEK,
    SHUT_WR,
    SO_ERROR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from time import monotonic
from typing import Any

from gevent import get_hub, getcurrent, sleep

from filterd.net.greenlets import Stop
from filterd.net.plain import Address, peer_name
from filterd.outcome import Failure, Kind, RequestFailed

__all__ = ["Address", "Buffer", "Data", "Stream", "failed", "gather", "peer_name", "wait"]

# The C socket: never replaced by monkey patching, so this module is the same in a patched process and in a plain one.
Socket = _socket.socket

Buffer = bytes | bytearray | memoryview
Data = Buffer | str | Iterable[Buffer | str]
"""What rules send: str goes out as UTF-8."""

READ_SIZE = 65536
FULL_QUEUE_PAUSE = 0.005
"""Seconds between two tries to connect to a unix socket whose queue is full."""

_AGAIN = (EAGAIN, EWOULDBLOCK, EINTR)
_READ, _WRITE = 1, 2
_STEPS = {"connect": "connect to", "tls": "TLS handshake with", "read": "read from", "write": "write to"}


def failed(text: str, kind: Kind, *, peer: str, phase: str, since: float, partial: bytes = b"") -> RequestFailed:
    """The exception for a step that did not work; `since` is the moment its request began."""
    return RequestFailed(Failure(text, kind=kind, peer=peer, phase=phase, elapsed=monotonic() - since, partial=partial))


def wait(watcher: Any, until: float | None, *, phase: str, peer: str) -> bool:
    """Wait in this greenlet until the watcher fires; False when `until` comes first.

    Both events resume the greenlet by themselves, and stopping a watcher takes back an event that is already queued: so no
    wake-up can come late, and a Stop thrown in between leaves nothing behind.
    """
    current = getcurrent()
    hub = get_hub()
    timer = None
    if until is not None:
        timer = hub.loop.timer(max(until - monotonic(), 0.0))
        timer.start(current.switch, False, update=True)
    watcher.start(current.switch, True)
    try:
        return bool(hub.switch())
    except Stop as stop:
        stop.phase, stop.peer = phase, peer
        raise
    finally:
        watcher.stop()
        if timer is not None:
            timer.close()


class Stream:
    """A connected, non-blocking stream socket. `peer` is its name in texts, `began` when its request began."""

    __slots__ = ("_reader", "_writer", "began", "eof", "peer", "sock", "written")

    def __init__(self, sock: Socket, peer: str, *, began: float | None = None) -> None:
        self.sock: Socket | None = sock
        self.peer = peer
        self.began = monotonic() if began is None else began
        self.eof = False
        self.written = 0
        """Bytes that were sent: after a write that failed they tell how far it had come."""
        self._reader: Any = None
        self._writer: Any = None

    @classmethod
    def connect(cls, address: Address, *, until: float | None, peer: str | None = None, source: str | None = None) -> "Stream":
        """A new connection; `peer` overrides its name in texts. Failures: `connect` (refused, unreachable), `timeout`."""
        began = monotonic()
        name = peer_name(address) if peer is None else peer
        family = AF_UNIX if isinstance(address, str) else AF_INET6 if ":" in address[0] else AF_INET
        stream: Stream | None = None
        try:
            stream = cls(Socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC), name, began=began)
            stream._connect(address, until, source)
        except OSError as error:
            if stream is not None:
                stream.close()
            kind: Kind = "timeout" if error.errno == ETIMEDOUT else "connect"
            raise failed(error.strerror or str(error), kind, peer=name, phase="connect", since=began) from None
        except BaseException:
            if stream is not None:
                stream.close()
            raise
        return stream

    def _connect(self, address: Address, until: float | None, source: str | None) -> None:
        sock = self._open("connect")
        if not isinstance(address, str):
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            if source is not None:
                sock.bind((source, 0))
        error = sock.connect_ex(address)
        while error == EAGAIN and (until is None or monotonic() < until):
            # A unix socket whose queue is full, and nothing to watch that would tell when it is not.
            sleep(FULL_QUEUE_PAUSE)
            error = sock.connect_ex(address)
        if error == EINPROGRESS:
            ready = self._ready(_WRITE, until, "connect")
            error = sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if not ready and not error and sock.connect_ex(address) not in (0, EISCONN):
                raise self._late("connect")
        if error == EAGAIN:
            raise self._late("connect")
        if error:
            raise OSError(error, os.strerror(error))

    # -- reading

    def read(self, size: int = READ_SIZE, *, until: float | None = None, expect_wait: bool = False) -> bytes:
        """What has arrived, at most `size` bytes, at least one; b"" at the end of the stream.

        `expect_wait=True` waits before it looks: after a request was sent that spares the look that finds nothing.
        """
        if expect_wait and not self._ready(_READ, until, "read") and not self._last_look():
            raise self._late("read")
        while True:
            try:
                data = self._open("read").recv(size)
            except OSError as error:
                if error.errno not in _AGAIN:
                    raise self._broken(error, "read") from None
            else:
                if not data:
                    self.eof = True
                return data
            if not self._ready(_READ, until, "read") and not self._last_look():
                raise self._late("read")

    def peek(self, size: int = READ_SIZE, *, until: float | None = None) -> bytes:
        """As `read`, and what was given stays to be read. To be called again only when it has been."""
        while True:
            try:
                return self._open("read").recv(size, MSG_PEEK)
            except OSError as error:
                if error.errno not in _AGAIN:
                    raise self._broken(error, "read") from None
            if not self._ready(_READ, until, "read") and not self._last_look():
                raise self._late("read")

    def drop_received(self) -> None:
        """Throw away what has arrived until now, up to 1 MiB: no peer may keep us busy with it."""
        sock = self._open("read")
        try:
            for _ in range(16):
                sock.recv(READ_SIZE)
        except OSError as error:
            if error.errno not in _AGAIN:
                raise self._broken(error, "read") from None

    def _last_look(self) -> bool:
        # The timer and the data may both have become due while something held the loop; the data wins.
        try:
            self._open("read").recv(1, MSG_PEEK)
        except OSError as error:
            return error.errno not in _AGAIN
        return True

    # -- writing

    def write(self, data: Buffer, *, until: float | None = None) -> None:
        """Send all of it."""
        try:
            sent = self._open("write").send(data)
        except OSError as error:
            if error.errno not in _AGAIN:
                raise self._broken(error, "write") from None
            sent = 0
        self.written += sent
        if sent < len(data):
            self._write_rest(memoryview(data)[sent:], until)

    def _write_rest(self, rest: memoryview, until: float | None) -> None:
        while rest:
            ready = self._ready(_WRITE, until, "write")
            try:
                sent = self._open("write").send(rest)
            except OSError as error:
                if error.errno not in _AGAIN:
                    raise self._broken(error, "write") from None
                sent = 0
            self.written += sent
            rest = rest[sent:]
            if rest and not ready:
                raise self._late("write")

    def shutdown(self) -> None:
        """Say that nothing more will be sent; reading goes on."""
        sock = self._open("write")
        try:
            sock.shutdown(SHUT_WR)
        except OSError as error:
            raise self._broken(error, "write") from None

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        sock, self.sock = self.sock, None
        if sock is None:
            return
        if self._reader is None and self._writer is None:
            sock.close()
            return
        watchers = [watcher for watcher in (self._reader, self._writer) if watcher is not None]
        self._reader = self._writer = None
        if any(watcher.active for watcher in watchers):
            get_hub().loop.run_callback(_close_under, sock, watchers)
        else:
            _close_under(sock, watchers)

    def wake(self) -> None:
        """End the waits of this moment as if their time were over; the connection stays open."""
        for watcher in (self._reader, self._writer):
            if watcher is not None and watcher.active:
                get_hub().loop.run_callback(_wake, watcher)

    def ends(self) -> tuple[Address, Address] | None:
        """Our address and the peer's; None when they are no longer connected."""
        if self.sock is None:
            return None
        try:
            ours, theirs = self.sock.getsockname(), self.sock.getpeername()
        except OSError:
            return None
        # Addresses of IPv6 have two more fields.
        return (ours, theirs) if isinstance(ours, str) else (ours[:2], theirs[:2])

    # -- waiting

    def _ready(self, event: int, until: float | None, phase: str) -> bool:
        sock = self._open(phase)
        if event == _READ:
            watcher = self._reader
            if watcher is None:
                watcher = self._reader = get_hub().loop.io(sock.fileno(), _READ)
        else:
            watcher = self._writer
            if watcher is None:
                watcher = self._writer = get_hub().loop.io(sock.fileno(), _WRITE)
        return wait(watcher, until, phase=phase, peer=self.peer)

    def _open(self, phase: str) -> Socket:
        if self.sock is None:
            raise failed("the connection is closed on our side", "closed", peer=self.peer, phase=phase, since=self.began)
        watcher = self._reader if phase == "read" else self._writer
        if watcher is not None and watcher.active:
            raise RuntimeError(f"two greenlets {phase} at once on one connection to {self.peer}")
        return self.sock

    def _late(self, phase: str) -> RequestFailed:
        spent = monotonic() - self.began
        return failed(
            f"timeout: {_STEPS.get(phase, phase)} {self.peer} after {spent:.2f} s",
            "timeout",
            peer=self.peer,
            phase=phase,
            since=self.began,
        )

    def _broken(self, error: OSError, phase: str) -> RequestFailed:
        return failed(error.strerror or str(error), "closed", peer=self.peer, phase=phase, since=self.began)


def _wake(watcher: Any) -> None:
    # In the hub. It may have fired meanwhile.
    if watcher.active:
        watcher.callback(False)


def _close_under(sock: Socket, watchers: list[Any]) -> None:
    # With waiters only in the hub, and only those that wait still: a wake-up must not hit what they do next.
    for watcher in watchers:
        if watcher.active:
            watcher.callback(False)
        # The watcher goes before the descriptor, or the loop would poll a number that is somebody else's soon.
        watcher.close()
    sock.close()


def gather(parts: Data) -> bytes:
    """Data as rules give it in one piece. Raises TypeError for what is not `Data`."""
    if isinstance(parts, str):
        return parts.encode()
    if isinstance(parts, (bytes, bytearray, memoryview)):
        return bytes(parts)
    return b"".join([part.encode() if isinstance(part, str) else part for part in parts])
