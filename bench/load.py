"""Load on loopback: messages over HTTP, so many at a time, on a connection each or on kept ones."""

import os
import socket
import time
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT, epoll

__all__ = [
    "ALL_CORES", "CLIENT_CORE", "PATIENCE", "SERVER_CORE", "Client", "Result", "Wrong",
    "exchange", "free_port", "holding", "ping", "posted", "run",
]  # fmt: skip

ALL_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = {ALL_CORES[0]}, {ALL_CORES[-1]}
"""What is measured has a core of its own; the load and the servers that rules ask share another."""

PATIENCE = 30.0
"""Seconds without any answer after which there is none."""


class Wrong(Exception):
    """A measurement that is none: the text says what was missing."""


class Result:
    """What one round took: seconds for each message, sorted, and for all."""

    def __init__(self, seconds: list[float], elapsed: float) -> None:
        self.seconds = sorted(seconds)
        self.elapsed = elapsed

    def percentile(self, share: float) -> float:
        """The seconds that this share of the messages needed at most."""
        return self.seconds[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ping(port: int) -> bool:
    """Does a daemon answer there?"""
    try:
        return b"pong" in exchange(port, b"GET /ping HTTP/1.0\r\n\r\n")
    except OSError:
        return False


def exchange(port: int, request: bytes) -> bytes:
    """What a server of loopback sends until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(request)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    return data


def holding(expected: bytes) -> Callable[[bytes], None]:
    """A check that a reply's body has these bytes in it."""

    def check(body: bytes) -> None:
        if expected not in body:
            raise Wrong(f"a reply lacks {expected!r}: {body[:300]!r}")

    return check


class Client:
    """One message on its way; on a kept connection, one after the other."""

    __slots__ = ("began", "data", "length", "sock", "unsent")

    def __init__(self, port: int) -> None:
        # It is loopback: who listens has accepted before this returns.
        self.began = time.perf_counter()
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.setblocking(False)
        self.unsent = memoryview(b"")
        self.data = b""
        self.length = 0

    def send(self, request: memoryview) -> bool:
        """As much as goes; is that all?"""
        try:
            sent = self.sock.send(request)
        except BlockingIOError:
            sent = 0
        self.unsent = request[sent:]
        return not self.unsent

    @property
    def body(self) -> bytes:
        """Of the reply, once it is complete."""
        return self.data[self.data.index(b"\r\n\r\n") + 4 :]

    def receive(self) -> bool:
        """What has come; is the reply complete?"""
        piece = self.sock.recv(262144)
        if not piece:
            raise Wrong(f"a connection was closed after {self.data[:300]!r}")
        self.data += piece
        if not self.length:
            head, end, _ = self.data.partition(b"\r\n\r\n")
            if not end:
                return False
            _, found, rest = head.lower().partition(b"\r\ncontent-length:")
            if not found or b" 200 " not in head[:13]:
                raise Wrong(f"not a verdict: {self.data[:300]!r}")
            self.length = len(head) + len(end) + int(rest.split(b"\r\n", 1)[0])
        return len(self.data) >= self.length


def posted(raw: bytes, *, keepalive: bool = False) -> memoryview:
    """The request that has a message scanned."""
    connection = "keep-alive" if keepalive else "close"
    head = f"POST /checkv2 HTTP/1.1\r\nHost: bench\r\nConnection: {connection}\r\nContent-Length: {len(raw)}\r\n\r\n"
    return memoryview(head.encode() + raw)


def run(
    port: int, raw: bytes, messages: int, connections: int, check: Callable[[bytes], None], *, keepalive: bool = False
) -> Result:
    """Send the message so many times, so many at once; `check` gets the body of every reply.

    One loop over raw sockets, so that little of what is measured is waiting for the load. Raises Wrong.
    """
    request = posted(raw, keepalive=keepalive)
    seconds: list[float] = []
    clients: dict[int, Client] = {}
    unsent = messages
    began = time.perf_counter()
    with epoll() as poll:

        def start(client: Client) -> None:
            if not client.send(request):
                poll.modify(client.sock, EPOLLIN | EPOLLOUT)

        def connect() -> None:
            client = Client(port)
            clients[client.sock.fileno()] = client
            poll.register(client.sock, EPOLLIN)
            start(client)

        try:
            for _ in range(min(connections, messages)):
                connect()
                unsent -= 1
            while clients:
                events = poll.poll(PATIENCE)
                if not events:
                    raise Wrong(f"{len(clients)} of {messages} messages were not answered in {PATIENCE:g} s")
                for descriptor, event in events:
                    client = clients[descriptor]
                    if event & EPOLLOUT and client.send(client.unsent):
                        poll.modify(client.sock, EPOLLIN)
                    if not event & ~EPOLLOUT or not client.receive():
                        continue
                    now = time.perf_counter()
                    seconds.append(now - client.began)
                    check(client.body)
                    if keepalive and unsent:
                        unsent -= 1
                        client.began, client.data, client.length = now, b"", 0
                        start(client)
                        continue
                    client.sock.close()
                    del clients[descriptor]
                    if unsent:
                        unsent -= 1
                        connect()
        finally:
            for client in clients.values():
                client.sock.close()
    return Result(seconds, time.perf_counter() - began)
