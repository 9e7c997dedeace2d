"""One datagram and its answer.

Promises:

* Only what the address asked answers is taken: the socket is connected and used once, and what arrived before the question
  left is no answer to it.
* An answer that comes too late is nobody's. The port of a question that may still be answered is kept for HELD_FOR seconds: the
  next question could get it from the kernel, and a datagram does not say what it answers. (A service that answers one datagram
  twice, the second time much later, is beyond that: what it says must name its question.)
* No answer within `timeout` means that the datagram is sent again, `retransmits` times. A refusal is no answer: the
  service may be about to come back.
* A request ends after `timeout` × (`retransmits` + 1) at most.
"""

import _socket
from collections import deque
from socket import AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK
from time import monotonic
from typing import Any

from gevent import get_hub

from filterd.net.counters import Counters
from filterd.net.resolver import Resolver
from filterd.net.stream import failed, peer_name, wait
from filterd.outcome import Kind, RequestFailed

__all__ = ["UdpClient"]

MAX_SIZE = 65535
"""Bytes a datagram can have."""

HELD_FOR, MOST_HELD = 5.0, 64
"""Seconds that the port of a question without its answer is kept, and how many; beyond that the oldest goes."""

MOST_STRAY = 64
"""Datagrams that are thrown away before a question; only the service itself could send more."""


class UdpClient:
    """Sends datagrams. `stats` counts them; one that asks for no answer is answered when it is sent."""

    def __init__(self, *, resolver: Resolver) -> None:
        self.resolver = resolver
        self.stats = Counters()
        self._held: deque[tuple[_socket.socket, Any]] = deque()

    def ask(self, host: str, port: int, data: bytes, *, timeout: float, retransmits: int = 0, answer: bool = True) -> bytes:
        """Send it and wait for one datagram; b"" at once with `answer=False`. `host` is a name or an address.

        Failures: `dns`; `timeout` with the text `read timeout`; `connect` with the system's text.
        """
        self.stats.requests += 1
        try:
            question = self._open(host, port, monotonic() + timeout)
            try:
                for _ in range(retransmits + 1):
                    end = monotonic() + timeout
                    question.send(data)
                    got = question.receive(end) if answer else b""
                    if got is not None:
                        question.unanswered -= 1
                        self.stats.replies += 1
                        return got
                raise question.failed("read timeout", "timeout", phase="read")
            finally:
                question.watcher.close()
                if answer and question.unanswered:
                    self._hold(question.sock)
                else:
                    question.sock.close()
        except BaseException as error:
            self.stats.failed(error)
            raise

    def close(self) -> None:
        """Let go of every port that is kept."""
        while self._held:
            self._let_go()

    def _hold(self, sock: _socket.socket) -> None:
        if len(self._held) >= MOST_HELD:
            self._let_go()
        timer = get_hub().loop.timer(HELD_FOR, ref=False)
        self._held.append((sock, timer))
        timer.start(self._let_go, update=True)

    def _let_go(self) -> None:
        # All are kept for the same time, so the oldest is the one.
        sock, timer = self._held.popleft()
        timer.close()
        sock.close()

    def _open(self, host: str, port: int, until: float) -> "_Question":
        began = monotonic()
        peer = peer_name((host.strip("[]"), port))
        try:
            address = self.resolver.addresses(host, until=until)[0]
        except RequestFailed as error:
            text = f"unable to resolve host: {host}: {error.failure}"
            raise failed(text, error.failure.kind, peer=peer, phase="dns", since=began) from None
        try:
            sock = _socket.socket(AF_INET6 if ":" in address else AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        except OSError as error:
            raise failed(error.strerror or str(error), "connect", peer=peer, phase="connect", since=began) from None
        question = _Question(sock, peer, began)
        try:
            sock.connect((address, port))
        except OSError as error:
            question.close()
            raise question.failed(error.strerror or str(error), "connect", phase="connect") from None
        return question


class _Question:
    """A connected socket for as long as one question is open. `unanswered` counts the datagrams sent, less the answer."""

    __slots__ = ("began", "peer", "sock", "unanswered", "watcher")

    def __init__(self, sock: _socket.socket, peer: str, began: float) -> None:
        self.sock = sock
        self.peer = peer
        self.began = began
        self.unanswered = 0
        self.watcher = get_hub().loop.io(sock.fileno(), 1)

    def send(self, data: bytes) -> None:
        if not self.unanswered:
            self._forget_what_is_there()
        self.unanswered += 1
        try:
            self.sock.send(data)
        except OSError:
            # That may be the network's word on the datagram before.
            try:
                self.sock.send(data)
            except OSError as error:
                raise self.failed(error.strerror or str(error), "connect", phase="write") from None

    def receive(self, end: float) -> bytes | None:
        """None when nothing has come until the end."""
        ready = True
        while ready:
            ready = wait(self.watcher, end, phase="read", peer=self.peer)
            try:
                return self.sock.recv(MAX_SIZE)
            except OSError:
                pass  # nothing yet, or the network says that nobody is there
        return None

    def _forget_what_is_there(self) -> None:
        """A socket has its port a moment before it is connected, and hears everybody until then."""
        try:
            for _ in range(MOST_STRAY):
                self.sock.recv(1)
        except OSError:
            pass

    def close(self) -> None:
        self.watcher.close()
        self.sock.close()

    def failed(self, text: str, kind: Kind, *, phase: str) -> RequestFailed:
        return failed(text, kind, peer=self.peer, phase=phase, since=self.began)
