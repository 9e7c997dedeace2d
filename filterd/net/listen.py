"""Listening sockets, and the connections accepted from them, each served by a reused greenlet.

Promises:

* One connection is accepted per turn of the loop, so that several processes share one socket fairly.
* At `max_connections` accepting pauses: callers wait in the kernel's queue, nobody is refused.
* `drain` stops accepting, ends connections that are between two requests and lets the others finish. One that has not asked
   yet is given a moment to: it was accepted, so it has a right to an answer.
* With `proxies` a connection from one of them is that of the client it is forwarded for, before anything is served.
* What fails while serving one connection closes that connection and is reported; nothing else notices.
"""

import os
from _socket import socket as Socket  # noqa: N812 - it is a class
from collections.abc import Callable
from errno import ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM
from logging import INFO, WARNING, getLogger
from socket import MSG_PEEK, SOCK_STREAM
from typing import Any

from filterd.net.greenlets import Batch, Crew, Stop
from filterd.net.plain import BindError, open_socket
from filterd.net.proxies import FirstBytes, Proxies, client_of
from filterd.net.stream import READ_SIZE, Address, Stream, peer_name
from filterd.outcome import RequestFailed
from filterd.proto.proxy import Header

__all__ = ["BindError", "Connection", "Listener", "open_socket"]

log = getLogger("filterd.listen")

FIRST_REQUEST = 2.0
"""Seconds in a drain for a connection that has been accepted and has not said anything yet."""

PAUSE = 0.1
"""Seconds without accepting when the process is out of descriptors or memory: trying at once would only burn the CPU."""

LONG_TURN, MOST_ACCEPTED = 0.001, 16
"""For each so many seconds that a turn of the loop took, one connection more is accepted in it, and at most so many."""

_EXHAUSTED = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


class Connection(Stream):
    """An accepted connection. `busy` while a request is being read or answered: a drain leaves it alone then.

    `client` is who is at its other end: an address, "" or the path of a unix socket; None when a proxy forwards it without
    telling. `is_local`: a process on this machine that has opened our unix socket itself. `header` is what a proxy has sent.
    Whoever decides whom to trust asks these, and not the socket: that one ends at the proxy.
    """

    __slots__ = ("_busy", "client", "header", "is_fresh", "is_local", "listener")

    def __init__(self, sock: Socket, peer: str, listener: "Listener", client: Address | None = None) -> None:
        super().__init__(sock, peer)
        self.listener = listener
        self.client = client
        self.is_local = isinstance(client, str)
        self.header: Header | None = None
        self._busy = False
        self.is_fresh = True
        """It has never been busy."""

    @property
    def busy(self) -> bool:
        return self._busy

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._busy = busy
        self.is_fresh = False

    @property
    def has_data(self) -> bool:
        """Something has arrived that nobody has read yet; the end of the stream is nothing."""
        try:
            return self.sock is not None and bool(self.sock.recv(1, MSG_PEEK))
        except OSError:
            return False

    @property
    def draining(self) -> bool:
        """No further request should be read from this connection."""
        return self.listener.draining

    def ends(self) -> tuple[Address, Address] | None:
        """The address that was connected to and the client's; None when that is not known, or no longer."""
        header = self.header
        if header is None or header.is_local:
            # The client's is the one that `accept` has told.
            ours = self.listener.own_address
            return super().ends() if ours is None or self.client is None or self.sock is None else (ours, self.client)
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
        self.own_address = None if isinstance(bound, str) or bound[0] in ("0.0.0.0", "::") else self.address  # noqa: S104 - compared
        """Of each of its connections; None where each must be asked for its own."""
        self.open = 0
        self.accepted = 0
        self.draining = False
        self._watcher: Any = None
        self._pause: Any = None
        self._accepting = False
        self._batch = _Connections(self)
        self._timers: list[Any] = []
        self._cut = 0
        self._turn = 0
        self._turn_began = 0.0

    def start(self) -> None:
        """Begin to accept."""
        self._watcher = self.crew.hub.loop.io(self.sock.fileno(), 1)
        self._resume()

    def _resume(self) -> None:
        if not self._accepting and not self.draining and self.open < self.max_connections:
            self._accepting = True
            self._watcher.start(self._ready)

    def _hold(self) -> None:
        if self._accepting:
            self._accepting = False
            self._watcher.stop()

    def _ready(self) -> None:
        # In the hub. Who waits here while those who are connected keep the loop busy would get one place in each of its turns.
        # A turn that was long is no other worker's chance lost: those who had time have accepted meanwhile.
        loop = self.crew.hub.loop
        turn, now = loop.iteration, loop.now()
        more = min(int((now - self._turn_began) / LONG_TURN), MOST_ACCEPTED) if turn == self._turn + 1 else 0
        self._turn, self._turn_began = turn, now
        self._accept()
        while more and self._accepting and self._accept():
            more -= 1

    def _accept(self) -> bool:
        """Take one connection, if there is one; is another look worth it?"""
        try:
            descriptor, peer = self.sock._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls, without its wrapper
        except BlockingIOError:
            return False  # another process was faster
        except OSError as error:
            if error.errno in _EXHAUSTED:
                log.error("%s: cannot accept: %s; trying again in %g s", self.name, error.strerror, PAUSE)
                self._hold()
                self._pause = self.crew.hub.loop.timer(PAUSE)
                self._pause.start(self._resume, update=True)
            elif error.errno != ECONNABORTED:
                log.error("%s: cannot accept: %s", self.name, error.strerror)
            return error.errno == ECONNABORTED  # it is gone, others may wait
        # Told, not found out: without these Python asks the kernel three times.
        sock = Socket(self._family, SOCK_STREAM, 0, fileno=descriptor)
        sock.setblocking(False)
        if isinstance(peer, tuple):
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
        return True

    def ended(self) -> None:
        """One connection is over."""
        self.open -= 1
        if self._watcher is not None:
            self._resume()

    def take_in(self) -> None:
        """Accept all who wait in the queue, as far as `max_connections` allows: the socket is about to close for good, and
        whoever was still in its queue then would be turned away.
        """
        while self._accepting and self._accept():
            pass

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
        loop = self.crew.hub.loop
        loop.run_callback(self._end_idle)
        self._later(min(FIRST_REQUEST, seconds), self._end_idle, 1)
        self.cut(seconds)
        try:
            self._batch.join()
        finally:
            for timer in self._timers:
                timer.close()
        return self._cut

    def cut(self, seconds: float) -> None:
        """During a drain: end what is left after so many seconds, if that is earlier than was said before."""
        self._later(seconds, self._overdue)

    def _later(self, seconds: float, callback: Callable[..., object], *words: Any) -> None:
        timer = self.crew.hub.loop.timer(max(seconds, 0.0))
        timer.start(callback, *words, update=True)
        self._timers.append(timer)

    def _overdue(self) -> None:
        self._cut += len(self._batch.waiting)
        self._batch.stop(Stop("the worker ends", "cancelled"))

    def _end_idle(self, fresh: int = 0) -> None:
        # What has arrived but was not read yet is a request like any other.
        for runner in tuple(self._batch.waiting):
            job = runner.job
            if job is not None and not job.busy and job.is_fresh <= fresh and not job.has_data:
                self.crew.stop(runner, Stop("the worker ends", "cancelled"))
        self._batch._wake()
