"""The other side of the soak: servers that answer slowly, reset, half-close and vanish, as the question asks for.

A question is `FAULT-NUMBER-FORM`, and its answer is the question itself (or the address made of it): what comes back says whose
it is. Redis is a real one, behind a relay that cuts connections in the middle of a reply. Every server here can vanish with all
its connections and come back on its port.
"""

import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import gevent
import gevent.socket
from gevent.pool import Pool
from gevent.server import DatagramServer, StreamServer

from tests.support.http_server import Asked, answer, read_request
from tests.support.peers import LOOPBACK, reset, silent
from tests.support.redis_servers import RestartedRedis

__all__ = ["Backend", "DnsServer", "EchoServer", "LineServer", "RedisRelay", "WebServer", "quiet_ports"]

SLOW = (0.005, 0.05)
"""Seconds that a slow answer takes, from and to."""

RELAY_CUTS = 1500
"""Of so many pieces that the relay carries to a client one is its last."""


def quiet_ports(count: int) -> list[int]:
    """Ports that no outgoing connection gets. On others, a server that is away for a moment may find its port taken, and a
    client that calls it then may even be connected to itself, which would look like an echo.
    """  # fmt: skip
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: list[int] = []
    for port in random.sample(range(max(first - 12_000, 1024), first), 2000):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((LOOPBACK, port))
                udp.bind((LOOPBACK, port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            break
    return ports


class Backend(Protocol):
    """What can vanish and come back."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def _pause() -> None:
    gevent.sleep(random.uniform(*SLOW))


def _bound(kind: int, port: int) -> Any:
    sock = gevent.socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((LOOPBACK, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(512)
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    return sock


class _Streams:
    """A TCP server on one port. A subclass says in `talk` what it does with a connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._server: Any = None

    def start(self) -> None:
        self._server = StreamServer(_bound(socket.SOCK_STREAM, self.port), self._serve, spawn=Pool())
        self._server.start()

    def stop(self) -> None:
        """At once: connections are reset or closed as the kernel sees fit."""
        self._server.stop(timeout=0)

    def talk(self, sock: Any) -> None:
        raise NotImplementedError

    def _serve(self, sock: Any, _: object) -> None:
        try:
            self.talk(sock)
        except OSError:
            pass  # the client has gone: its affair
        finally:
            sock.close()


def _dripped(sock: Any, data: bytes) -> None:
    for start in range(0, len(data), 16):
        sock.sendall(data[start : start + 16])
        gevent.sleep(0.001)


class WebServer(_Streams):
    """HTTP: the question is the path, or the body."""

    def talk(self, sock: Any) -> None:
        buffer = bytearray()
        while (asked := read_request(sock, buffer)) is not None and self._answer(sock, asked):
            pass

    def _answer(self, sock: Any, asked: Asked) -> bool:
        text = asked.body or asked.target.removeprefix("/").encode()
        fault = text.split(b"-")[0].decode()
        whole = answer(text)
        match fault:
            case "slow":
                _pause()
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


class LineServer(_Streams):
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
                _pause()
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


class _Forgetful:
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
        self._forgetful = _Forgetful()

    def start(self) -> None:
        self._server = DatagramServer(_bound(socket.SOCK_DGRAM, self.port), self._serve)  # type: ignore[no-untyped-call]
        self._server.start()

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, data: bytes, client: Any) -> None:
        fault = data.split(b"-")[0].decode()
        if fault == "silent" or (fault == "lost" and self._forgetful.lost(data)):
            return
        if fault == "slow":
            _pause()
        for _ in range(2 if fault == "twice" else 1):
            _send(self._server, data, client)


def _send(server: Any, data: bytes, client: Any) -> None:
    try:
        server.sendto(data, client)
    except (OSError, AttributeError):
        pass  # stopped meanwhile


A, TXT = 1, 16
ANSWERED, TRUNCATED, SERVFAIL, NXDOMAIN = 0x8180, 0x8380, 0x8182, 0x8183


class DnsServer(_Streams):
    """A name server: the first label of a name is the question. By TCP and UDP, or by UDP alone."""

    def __init__(self, port: int, *, tcp: bool = True) -> None:
        super().__init__(port)
        self._tcp = tcp
        self._udp: Any = None
        self._forgetful = _Forgetful()

    def start(self) -> None:
        if self._tcp:
            super().start()
        self._udp = DatagramServer(_bound(socket.SOCK_DGRAM, self.port), self._datagram)  # type: ignore[no-untyped-call]
        self._udp.start()

    def stop(self) -> None:
        if self._tcp:
            super().stop()
        self._udp.stop(timeout=0)

    def talk(self, sock: Any) -> None:
        buffer = b""
        working = Pool()
        try:
            while data := sock.recv(65536):
                buffer += data
                while len(buffer) > 2 and len(buffer) >= (size := 2 + int.from_bytes(buffer[:2])):
                    working.spawn(self._framed, sock, buffer[2:size])
                    buffer = buffer[size:]
        finally:
            working.kill(block=False)

    def _framed(self, sock: Any, wire: bytes) -> None:
        cut = _question(wire)[1].startswith(b"cut") and random.random() < 0.5
        try:
            for reply in self._replies(wire, stream=True):
                frame = struct.pack("!H", len(reply)) + reply
                sock.sendall(frame[: len(frame) // 2] if cut else frame)
            if cut:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client has gone: its affair

    def _datagram(self, wire: bytes, client: Any) -> None:
        for reply in self._replies(wire, stream=False):
            _send(self._udp, reply, client)

    def _replies(self, wire: bytes, *, stream: bool) -> list[bytes]:
        question, text = _question(wire)
        fault, _, rest = text.decode().partition("-")
        match fault:
            case "slow":
                _pause()
            case "silent":
                return []
            case "lost":
                if self._forgetful.lost(question):
                    return []
            case "servfail":
                return [_reply(wire[:2], question, SERVFAIL)]
            case "nxdomain":
                return [_reply(wire[:2], question, NXDOMAIN)]
            case "cut":
                if not stream and self._tcp:
                    return [_reply(wire[:2], question, TRUNCATED)]
        right = _reply(wire[:2], question, ANSWERED, text)
        if fault != "forged":
            return [right]
        other_id = bytes(byte ^ 0xFF for byte in wire[:2])
        other_name = question.replace(rest.encode(), rest[::-1].encode())
        return [_reply(other_id, question, ANSWERED, b"forged"), _reply(wire[:2], other_name, ANSWERED, b"forged"), right]


def _question(wire: bytes) -> tuple[bytes, bytes]:
    """The question section, and the first label."""
    end = wire.index(b"\0", 12) + 5
    return wire[12:end], wire[13 : 13 + wire[12]].lower()


def _reply(query_id: bytes, question: bytes, flags: int, text: bytes = b"") -> bytes:
    kind = int.from_bytes(question[-4:-2])
    data = b""
    if kind == TXT:
        data = bytes([len(text)]) + text
    elif kind == A:
        data = b"\x7f\0\0\x01" if b"\x05local" in question else b"\x0a" + crc32(text).to_bytes(4)[1:]
    # What eight messages ask for is kept for a second, the rest is asked once and not kept.
    ttl = 1 if text.endswith(b"shared") else 0
    record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data if flags == ANSWERED and data else b""
    return query_id + struct.pack("!HHHHH", flags, 1, 1 if record else 0, 0, 0) + question + record


class RedisRelay(_Streams):
    """Stands before a redis-server and loses its patience now and then. `cut()` is called with each connection it cuts."""

    def __init__(self, port: int, redis: RestartedRedis, cut: Callable[[], object]) -> None:
        super().__init__(port)
        self.redis = redis
        self._cut = cut

    def talk(self, sock: Any) -> None:
        with gevent.socket.create_connection((LOOPBACK, self.redis.port)) as onward:
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
