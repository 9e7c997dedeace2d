"""Listening sockets, and the connections accepted from them, each served by a reused greenlet.

Promises:

* One connection is accepted per turn of the loop, so that several processes share one socket fairly.
* At `max_connections` accepting pauses: callers wait in the kernel's queue, nobody is refused.
* `drain` stops accepting, ends connections that are between two requests and lets the others finish.
* With `proxies` a connection from one of them is that of the client it is forwarded for, before anything is served.
* What fails while serving one connection closes that connection and is reported; nothing else notices.
"""

import os
from _socket import socket as Socket  # noqa: N812 - it is a class
from collections.abc import Callable
from errno import EADDRINUSE, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from logging import INFO, WARNING, getLogger
from pathlib import Path
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_TCP,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from stat import S_ISSOCK
from time import monotonic
from typing import Any

from filterd.net.greenlets import Batch, Crew, Stop
from filterd.net.proxies import FirstBytes, Proxies, client_of
from filterd.net.stream import READ_SIZE, Address, Stream, peer_name
from filterd.outcome import RequestFailed
from filterd.proto.proxy import Header

__all__ = ["BindError", "Connection", "Listener", "open_socket"]

log = getLogger("filterd.listen")

BACKLOG = 1024
PAUSE = 0.1
"""Seconds without accepting when the process is out of descriptors or memory: trying at once would only burn the CPU."""

_EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


class BindError(OSError):
    """A listening address cannot be used; `strerror` names it."""


def open_socket(address: Address, *, mode: int | None = None, backlog: int = BACKLOG) -> Socket:
    """A listening socket. A unix socket nobody listens on any more is replaced, nothing else is. Raises BindError."""
    family = AF_UNIX if isinstance(address, str) else AF_INET6 if ":" in address[0] else AF_INET
    sock = Socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    try:
        if isinstance(address, str):
            _clear_stale(address)
            before = os.umask(0o777 & ~(0o600 if mode is None else mode))
            try:
                sock.bind(address)
            finally:
                os.umask(before)
        else:
            sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            sock.bind(address)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise BindError(error.errno, f"cannot listen on {peer_name(address)}: {error.strerror or error}") from None
    return sock


def _clear_stale(path: str) -> None:
    try:
        if not S_ISSOCK(Path(path).stat().st_mode):
            raise OSError(EADDRINUSE, "there is a file at that path, and it is no socket")
    except FileNotFoundError:
        return
    probe = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        if probe.connect_ex(path) == 0:
            raise OSError(EADDRINUSE, "somebody is listening there")
    finally:
        probe.close()
    Path(path).unlink(missing_ok=True)


class Connection(Stream):
    """An accepted connection. `busy` while a request is being read or answered: a drain leaves it alone then.

    `client` is who is at its other end: an address, "" or the path of a unix socket; None when a proxy forwards it without
    telling. `is_local`: a process on this machine that has opened our unix socket itself. `header` is what a proxy has sent.
    Whoever decides whom to trust asks these, and not the socket: that one ends at the proxy.
    """

    __slots__ = ("busy", "client", "header", "is_local", "listener")

    def __init__(self, sock: Socket, peer: str, listener: "Listener", client: Address | None = None) -> None:
        super().__init__(sock, peer)
        self.listener = listener
        self.busy = False
        self.client = client
        self.is_local = isinstance(client, str)
        self.header: Header | None = None

    @property
    def draining(self) -> bool:
        """No further request should be read from this connection."""
        return self.listener.draining

    def ends(self) -> tuple[Address, Address] | None:
        """The address that was connected to and the client's; None when that is not known, or no longer."""
        header = self.header
        if header is None or header.is_local:
            return super().ends()
        return None if self.client is None or header.destination is None else (header.destination, self.client)

    def forwarded(self, header: Header) -> None:
        """A proxy has said for whom this connection is."""
        self.header = header
        if header.is_local:
            return
        self.is_local = False
        self.client = client_of(header)
        if self.client is None:
            self.peer = f"unknown client behind {self.peer}"
        else:
            self.peer = "".join([sign if sign.isprintable() else "?" for sign in peer_name(self.client)])


class _Direct(Connection):
    """A connection from an address that may not send a header, on a listener where others may."""

    __slots__ = ("first",)

    def __init__(self, sock: Socket, peer: str, listener: "Listener", client: Address | None = None) -> None:
        super().__init__(sock, peer, listener, client)
        self.first = FirstBytes()

    def read(self, size: int = READ_SIZE, *, until: float | None = None, expect_wait: bool = False) -> bytes:
        data = super().read(size, until=until, expect_wait=expect_wait)
        self.first.look(data, self)
        return data


class _Connections(Batch[Connection]):
    __slots__ = ("listener",)

    def __init__(self, listener: "Listener") -> None:
        super().__init__(listener.crew)
        self.listener = listener

    def perform(self, job: Connection) -> None:
        proxies = self.listener.proxies
        try:
            if proxies is not None and type(job) is Connection:
                header = proxies.receive(job)
                if header is None:
                    return
                job.forwarded(header)
            self.listener.serve(job)
        finally:
            job.close()
            self.listener.ended()

    def failed(self, job: Connection, error: BaseException) -> None:
        if isinstance(error, Stop):
            return
        if isinstance(error, RequestFailed):
            # The peer went away or was too slow: its affair, told for those who look for it. But who sends a wrong PROXY
            # header, or none, is a proxy that is not configured as we are.
            level = WARNING if error.failure.phase == "proxy" else INFO
            log.log(level, "%s: connection from %s ended: %s", self.listener.name, job.peer, error.failure.detail)
            return
        log.error("%s: serving %s failed", self.listener.name, job.peer, exc_info=error)


class Listener:
    """One listening socket of this process and its connections. `serve(connection)` runs in a greenlet for each."""

    def __init__(
        self,
        sock: Socket,
        serve: Callable[[Connection], None],
        *,
        crew: Crew,
        name: str = "listen",
        max_connections: int = 1000,
        proxies: Proxies | None = None,
    ) -> None:
        self.sock = sock
        self.serve = serve
        self.crew = crew
        self.name = name
        self.max_connections = max_connections
        self.proxies = proxies
        self._family = sock.family
        bound = sock.getsockname()
        self.address: Address = bound if isinstance(bound, str) else (str(bound[0]), int(bound[1]))
        """Where it listens; with port 0 asked for, the port that was given."""
        self.open = 0
        self.accepted = 0
        self.draining = False
        self._watcher: Any = None
        self._pause: Any = None
        self._accepting = False
        self._batch = _Connections(self)

    def start(self) -> None:
        """Begin to accept."""
        self._watcher = self.crew.hub.loop.io(self.sock.fileno(), 1)
        self._resume()

    def _resume(self) -> None:
        if not self._accepting and not self.draining and self.open < self.max_connections:
            self._accepting = True
            self._watcher.start(self._accept)

    def _hold(self) -> None:
        if self._accepting:
            self._accepting = False
            self._watcher.stop()

    def _accept(self) -> None:
        # In the hub.
        try:
            descriptor, peer = self.sock._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls, without its wrapper
        except BlockingIOError:
            return  # another process was faster
        except OSError as error:
            if error.errno in _EXHAUSTED:
                log.error("%s: cannot accept: %s; trying again in %g s", self.name, error.strerror, PAUSE)
                self._hold()
                self._pause = self.crew.hub.loop.timer(PAUSE)
                self._pause.start(self._resume, update=True)
            elif error.errno != ECONNABORTED:
                log.error("%s: cannot accept: %s", self.name, error.strerror)
            return
        # Told, not found out: without these Python asks the kernel three times.
        sock = Socket(self._family, SOCK_STREAM, 0, fileno=descriptor)
        sock.setblocking(False)
        if isinstance(peer, tuple):
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            client: Address = (peer[0], peer[1])
            name = peer_name(client)
        else:
            client, name = os.fsdecode(peer), self.name
        self.open += 1
        self.accepted += 1
        if self.open >= self.max_connections:
            log.warning("%s: %d connections open, further ones wait (max_connections)", self.name, self.open)
            self._hold()
        kind = Connection if self.proxies is None or self.proxies.trusts(client) else _Direct
        self._batch.add(kind(sock, name, self, client))

    def ended(self) -> None:
        """One connection is over."""
        self.open -= 1
        if self._watcher is not None:
            self._resume()

    def stop_accepting(self) -> None:
        """Accept no more; the socket is closed in this process."""
        self.draining = True
        if self._watcher is not None:
            self._hold()
            self._watcher.close()
            self._watcher = None
        if self._pause is not None:
            self._pause.close()
            self._pause = None
        self.sock.close()

    def drain(self, seconds: float) -> int:
        """Stop accepting, end idle connections, give the others so many seconds, then cut them. Returns how many were cut."""
        self.stop_accepting()
        end = monotonic() + seconds
        loop = self.crew.hub.loop
        loop.run_callback(self._end_idle)
        timer = loop.timer(max(end - monotonic(), 0.0))
        cut = 0

        def overdue() -> None:
            nonlocal cut
            cut = len(self._batch.waiting)
            self._batch.stop(Stop("the worker ends", "cancelled"))

        timer.start(overdue, update=True)
        try:
            self._batch.join()
        finally:
            timer.close()
        return cut

    def _end_idle(self) -> None:
        for runner in tuple(self._batch.waiting):
            if runner.job is not None and not runner.job.busy:
                self.crew.stop(runner, Stop("the worker ends", "cancelled"))
        self._batch._wake()
