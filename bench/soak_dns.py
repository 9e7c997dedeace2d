"""The soak's name server: the first label of a name is the question, and its fault what is done to it."""

import random
import socket
import struct
from typing import Any
from zlib import crc32

from gevent.pool import Pool

from bench.soak_backends import Forgetful, Streams, answered, datagrams, pause

__all__ = ["DnsServer"]

A, TXT = 1, 16
ANSWERED, TRUNCATED, SERVFAIL, NXDOMAIN = 0x8180, 0x8380, 0x8182, 0x8183


class DnsServer(Streams):
    """A name server: the first label of a name is the question. By TCP and UDP, or by UDP alone."""

    def __init__(self, port: int, *, tcp: bool = True) -> None:
        super().__init__(port)
        self._tcp = tcp
        self._udp: Any = None
        self._forgetful = Forgetful()

    def start(self) -> None:
        if self._tcp:
            super().start()
        self._udp = datagrams(self.port, self._datagram)
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
            answered(self._udp, reply, client)

    def _replies(self, wire: bytes, *, stream: bool) -> list[bytes]:
        question, text = _question(wire)
        fault, _, rest = text.decode().partition("-")
        match fault:
            case "slow":
                pause()
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
