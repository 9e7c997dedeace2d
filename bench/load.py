"""Load on loopback: messages over HTTP, one connection each, so many at a time."""

import os
import time

import gevent
from gevent import socket

__all__ = ["Result", "free_port", "ping", "post", "run"]

CLIENT_CORE = {1} if (os.cpu_count() or 1) > 1 else {0}


class Result:
    """What one round took: seconds for each message, sorted."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = sorted(seconds)

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
        return b"pong" in _exchange(port, b"GET /ping HTTP/1.0\r\n\r\n")
    except OSError:
        return False


def post(port: int, raw: bytes, headers: str = "") -> bytes:
    """Have one message scanned; the body of the reply."""
    head = f"POST /checkv2 HTTP/1.0\r\n{headers}Content-Length: {len(raw)}\r\n\r\n".encode()
    status, _, body = _exchange(port, head + raw).partition(b"\r\n\r\n")
    if b" 200 " not in status[:20]:
        raise SystemExit(f"a scan failed: {status[:200]!r}")
    return body


def run(port: int, raw: bytes, messages: int, connections: int, expect: bytes = b'"action"') -> Result:
    """Send the message so many times over so many connections at once; every reply must hold `expect`."""
    os.sched_setaffinity(0, CLIENT_CORE)
    seconds: list[float] = []

    def client(share: int) -> None:
        for _ in range(share):
            began = time.perf_counter()
            reply = post(port, raw)
            seconds.append(time.perf_counter() - began)
            if expect not in reply:
                raise SystemExit(f"a reply is not what it should be: {reply[:300]!r}")

    gevent.joinall([gevent.spawn(client, messages // connections) for _ in range(connections)], raise_error=True)
    return Result(seconds)


def _exchange(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(request)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    return data
