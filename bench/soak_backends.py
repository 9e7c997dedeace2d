"""The other side of the soak: servers that answer slowly, reset, half-close and vanish, as the question asks for.

A question is `FAULT-NUMBER-FORM`, and its answer is the question itself: what comes back says whose it is. Redis is a real one,
behind a relay that cuts connections in the middle of a reply. Every server here can vanish with all its connections and come
back on its port.
"""

import random
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.server import DatagramServer

from tests.support.http_server import Asked, answer, read_request
from tests.support.peers import LOOPBACK, reset, silent
from tests.support.redis_servers import RestartedRedis

__all__ = [
    "Backend",
    "EchoServer",
    "Forgetful",
    "LineServer",
    "RedisRelay",
    "Streams",
    "WebServer",
    "answered",
    "datagrams",
    "pause",
]

SLOW = (0.005, 0.05)
"""Seconds that a slow answer takes, from and to."""

RELAY_CUTS = 1500
"""Of so many pieces that the relay carries to a client one is its last."""


class Backend(Protocol):
    """What can vanish and come back."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def pause() -> None:
    """Be slow."""
    gevent.sleep(random.uniform(*SLOW))


def bound(kind: int, port: int) -> Any:
    sock = gevent.socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((LOOPBACK, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(512)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    return sock


def datagrams(port: int, serve: Callable[[bytes, Any], None]) -> Any:
    """A UDP server, not started, that calls `serve(data, client)`."""
    server: Any = DatagramServer
    return server(bound(socket.SOCK_DGRAM, port), serve)


class Streams:
    """A TCP server on one port. A subclass says in `talk` what it does with a connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._listening: Any = None
        self._talking = Pool()
        self._open: set[Any] = set()

    def start(self) -> None:
        self._listening = bound(socket.SOCK_STREAM, self.port)
        self._talking.spawn(self._accept, self._listening)

    def stop(self) -> None:
        """At once; a second call does nothing."""
        self._talking.kill()
        self._listening.close()
        # One that was killed before it began has closed nothing.
        while self._open:
            self._open.pop().close()

    def talk(self, sock: Any) -> None:
        raise NotImplementedError

    def _accept(self, listening: Any) -> None:
        while True:
            sock, _ = listening.accept()
            self._open.add(sock)
            self._talking.spawn(self._serve, sock)

    def _serve(self, sock: Any) -> None:
        try:
            self.talk(sock)
        except OSError:
            pass  # the client has gone: its affair
        finally:
            sock.close()
            self._open.discard(sock)


def _dripped(sock: Any, data: bytes) -> None:
    for start in range(0, len(data), 16):
        sock.sendall(data[start : start + 16])
        gevent.sleep(0.001)


class WebServer(Streams):
    """HTTP, or HTTPS with `tls`: the question is the path, or the body."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port)
        self._tls = tls

    def talk(self, sock: Any) -> None:
        if self._tls is None:
            self._serve_requests(sock)
        else:
            with self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as safe:
                safe.do_handshake()
                self._serve_requests(safe)

    def _serve_requests(self, sock: Any) -> None:
        buffer = bytearray()
        while (asked := read_request(sock, buffer)) is not None and self._answer(sock, asked):
            pass

    def _answer(self, sock: Any, asked: Asked) -> bool:
        text = asked.body or asked.target.removeprefix("/").encode()
        fault = text.split(b"-")[0].decode()
        whole = answer(text)
        match fault:
            case "slow":
                pause()
            case "chunked":
                pieces = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (text[:5], text[5:]))
                whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
            case "half":
                whole = whole[:-3]
            case "garbage":
                whole = b"\x00\xff\r\n\r\n" * 20
            case "reset":
                reset(sock)
                return False
            case "vanish":
                return False
            case "silent":
                silent(sock)
                return False
        if fault == "drip":
            _dripped(sock, whole)
        else:
            sock.sendall(whole)
        if fault == "halfclose":
            sock.shutdown(socket.SHUT_WR)
            silent(sock)
        # "unannounced": it has not said that it will close.
        return fault not in ("half", "garbage", "halfclose", "unannounced")


class LineServer(Streams):
    """Says each line again, and closes when the other side has."""

    def talk(self, sock: Any) -> None:
        buffer = b""
        while data := sock.recv(65536):
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                if not self._answer(sock, line + b"\n"):
                    return

    def _answer(self, sock: Any, line: bytes) -> bool:
        fault = line.split(b"-")[0].decode()
        match fault:
            case "slow":
                pause()
            case "drip":
                _dripped(sock, line)
                return True
            case "half":
                sock.sendall(line[: len(line) // 2])
                return False
            case "reset":
                reset(sock)
                return False
            case "vanish":
                return False
            case "silent":
                silent(sock)
                return False
        sock.sendall(line)
        if fault == "halfclose":
            sock.shutdown(socket.SHUT_WR)
            silent(sock)
        return fault != "halfclose"


class Forgetful:
    """Has each question asked twice before it is answered."""

    def __init__(self) -> None:
        self._heard: set[bytes] = set()

    def lost(self, question: bytes) -> bool:
        if question in self._heard:
            self._heard.remove(question)
            return False
        self._heard.add(question)
        return True


class EchoServer:
    """Sends each datagram back."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._server: Any = None
        self._forgetful = Forgetful()

    def start(self) -> None:
        self._server = datagrams(self.port, self._serve)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, data: bytes, client: Any) -> None:
        fault = data.split(b"-")[0].decode()
        if fault == "silent" or (fault == "lost" and self._forgetful.lost(data)):
            return
        if fault == "slow":
            pause()
        for _ in range(2 if fault == "twice" else 1):
            answered(self._server, data, client)


def answered(server: Any, data: bytes, client: Any) -> None:
    """Send a datagram, unless the server was stopped meanwhile."""
    try:
        server.sendto(data, client)
    except (OSError, AttributeError):
        pass


class RedisRelay(Streams):
    """Stands before a redis-server and loses its patience now and then. `cut()` is called with each connection it cuts."""

    def __init__(self, port: int, redis: RestartedRedis, cut: Callable[[], object]) -> None:
        super().__init__(port)
        self.redis = redis
        self._cut = cut

    def talk(self, sock: Any) -> None:
        with gevent.socket.socket() as onward:
            onward.connect((LOOPBACK, self.redis.port))
            back = gevent.spawn(self._back, onward, sock)
            try:
                while data := sock.recv(65536):
                    onward.sendall(data)
            finally:
                back.kill(block=False)

    def _back(self, onward: Any, sock: Any) -> None:
        try:
            while data := onward.recv(65536):
                if not random.randrange(RELAY_CUTS):
                    self._cut()
                    sock.sendall(data[: len(data) // 2])
                    # By turns as one that died, as one that ends in good order, and as one that only says no more.
                    match random.randrange(3):
                        case 0:
                            reset(sock)
                            return
                        case 1:
                            return
                    sock.shutdown(socket.SHUT_WR)
                    silent(onward)
                else:
                    sock.sendall(data)
        except OSError:
            pass  # one of both has gone
        finally:
            try:
                sock.shutdown(socket.SHUT_RD)  # `talk` wakes, and closes
            except OSError:
                pass
