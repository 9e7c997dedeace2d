"""Load on loopback: messages, so many at a time, on a connection each or on kept ones; `dialogues.py` has what is said."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from select import EPOLLIN, EPOLLOUT, epoll

__all__ = [
    "ALL_CORES",
    "CLIENT_CORE",
    "PATIENCE",
    "SERVER_CORE",
    "Client",
    "Dialogue",
    "Reader",
    "Result",
    "Wrong",
    "exchange",
    "holding",
    "ping",
    "run",
]

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


Reader = Callable[[bytes], bytes | None]
"""Gets what has come: the reply's part that is looked at, or None where the reply is not complete. Raises Wrong."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What a client says to have one message judged: each piece when the reply to the one before is complete."""

    steps: tuple[tuple[bytes, Reader], ...]
    keepalive: bool = False
    """Does the next message go over the same connection?"""


class Client:
    """One message on its way; on a kept connection, one after the other."""

    __slots__ = ("began", "data", "dialogue", "replies", "sock", "step", "unsent")

    def __init__(self, port: int, dialogue: Dialogue) -> None:
        # It is loopback: who listens has accepted before this returns.
        self.began = time.perf_counter()
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.setblocking(False)
        self.dialogue = dialogue
        self.begin()

    def begin(self) -> None:
        """A message."""
        self.replies = b""
        self.say(0)

    def say(self, step: int) -> None:
        """The piece that `send` sends next."""
        self.step = step
        self.data = b""
        self.unsent = memoryview(self.dialogue.steps[step][0])

    def send(self) -> bool:
        """As much as goes; is that all?"""
        try:
            sent = self.sock.send(self.unsent) if self.unsent else 0
        except BlockingIOError:
            sent = 0
        self.unsent = self.unsent[sent:]
        return not self.unsent

    def receive(self) -> bool:
        """What has come; is the reply complete?"""
        piece = self.sock.recv(262144)
        if not piece:
            raise Wrong(f"a connection was closed after {self.data[:300]!r}")
        self.data += piece
        reply = self.dialogue.steps[self.step][1](self.data)
        if reply is None:
            return False
        self.replies += reply
        return True


def run(port: int, dialogue: Dialogue, messages: int, connections: int, check: Callable[[bytes], None]) -> Result:
    """Send the message so many times, so many at once; `check` gets what is to be looked at of the replies to each.

    One loop over raw sockets, so that little of what is measured is waiting for the load. Raises Wrong.
    """
    seconds: list[float] = []
    clients: dict[int, Client] = {}
    unsent = messages
    began = time.perf_counter()
    with epoll() as poll:

        def start(client: Client) -> None:
            if not client.send():
                poll.modify(client.sock, EPOLLIN | EPOLLOUT)

        def connect() -> None:
            client = Client(port, dialogue)
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
                    if event & EPOLLOUT and client.send():
                        poll.modify(client.sock, EPOLLIN)
                    if not event & ~EPOLLOUT or not client.receive():
                        continue
                    if client.step + 1 < len(dialogue.steps):
                        client.say(client.step + 1)
                        start(client)
                        continue
                    now = time.perf_counter()
                    seconds.append(now - client.began)
                    check(client.replies)
                    if dialogue.keepalive and unsent:
                        unsent -= 1
                        client.began = now
                        client.begin()
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
