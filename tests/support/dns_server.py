"""A name server on loopback that a test writes as one function from question to answer, by UDP and TCP on one port.

It reads and writes messages with dnspython, not with the codec it is there to test.
"""

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import gevent
import gevent.socket
from gevent.server import DatagramServer, StreamServer

from tests.support.partners import free_port
from tests.support.peers import LOOPBACK

__all__ = ["SOA", "Asked", "DnsPeer", "Respond", "answer", "dns_serving", "known"]

SOA = "SOA ns.test. admin.test. 1 2 3 4 300"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it came; `source` is the port it came from."""

    name: str
    kind: str
    wire: bytes
    stream: bool
    source: int

    @property
    def query_id(self) -> int:
        return int.from_bytes(self.wire[:2], "big")

    @property
    def message(self) -> dns.message.Message:
        return dns.message.from_wire(self.wire)


# One message, several, or none. What a generator does after it has given one happens when that one has been sent.
Respond = Callable[[Asked], "bytes | Iterable[bytes] | None"]


class DnsPeer:
    """A name server that runs. `asked` are all questions in order, `connections` counts those by TCP."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.asked: list[Asked] = []
        self.connections = 0
        self.errors: list[BaseException] = []
        self.udp: Any = None

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def names(self) -> list[str]:
        """The names asked for, in order."""
        return [one.name for one in self.asked]

    @property
    def ways(self) -> str:
        """By what each question came: `t` or `u`."""
        return "".join("t" if one.stream else "u" for one in self.asked)

    def note(self, wire: bytes, *, stream: bool, source: int) -> Asked:
        (question,) = dns.message.from_wire(wire).question
        kind = dns.rdatatype.to_text(question.rdtype).lower()
        asked = Asked(question.name.to_text(omit_final_dot=True), kind, wire, stream, source)
        self.asked.append(asked)
        return asked


def answer(
    asked: Asked,
    *records: str,
    rcode: str = "NOERROR",
    ttl: int = 300,
    authority: Sequence[str] = (),
    flags: str = "",
    query_id: int | None = None,
    name: str | None = None,
) -> bytes:
    """A reply with records like "A 192.0.2.1" of the name asked for; `query_id` and `name` are those of another question."""
    reply = dns.message.make_response(asked.message, recursion_available=True)
    reply.set_rcode(dns.rcode.from_text(rcode))
    reply.flags |= dns.flags.from_text(flags)
    if query_id is not None:
        reply.id = query_id
    if name is not None:
        reply.question = [dns.rrset.from_text(f"{name}.", 0, "IN", asked.kind)]
    for section, texts in ((reply.answer, records), (reply.authority, authority)):
        for text in texts:
            kind, rdata = text.split(maxsplit=1)
            section.append(dns.rrset.from_text(f"{name or asked.name}.", ttl, "IN", kind, rdata))
    return reply.to_wire(max_size=65535)


def known(*records: str, ttl: int = 300) -> Respond:
    """Answers questions for the types of these records with them, others with "there is none"."""

    def respond(asked: Asked) -> bytes:
        fitting = [record for record in records if record.split()[0].lower() == asked.kind]
        return answer(asked, *fitting, ttl=ttl, authority=() if fitting else (SOA,))

    return respond


@contextmanager
def dns_serving(
    respond: Respond, *, udp: bool = True, tcp: bool = True, host: str = LOOPBACK, port: int | None = None
) -> Iterator[DnsPeer]:
    """Answers each question with what `respond` gives; None is silence. By TCP, b"" closes the connection.

    It may take its time: each question has a greenlet of its own. Without `udp` or `tcp` that way is refused.
    """
    peer = DnsPeer(host, port or free_port())
    servers: list[Any] = []
    if udp:
        datagrams: Any = DatagramServer
        servers.append(datagrams(_bound(socket.SOCK_DGRAM, peer.address), lambda *one: _datagram(peer, respond, *one)))
        peer.udp = servers[0]
    if tcp:
        listening = _bound(socket.SOCK_STREAM, peer.address)
        servers.append(StreamServer(listening, lambda *one: _connection(peer, respond, *one)))
    for server in servers:
        server.start()
    try:
        yield peer
    finally:
        for server in servers:
            server.stop(timeout=0)
        assert peer.errors == []


def _replies(peer: DnsPeer, respond: Respond, asked: Asked) -> Iterable[bytes]:
    try:
        found = respond(asked)
    except Exception as error:
        peer.errors.append(error)
        raise
    return () if found is None else [found] if isinstance(found, bytes) else found


def _datagram(peer: DnsPeer, respond: Respond, wire: bytes, client: Any) -> None:
    for reply in _replies(peer, respond, peer.note(wire, stream=False, source=client[1])):
        peer.udp.sendto(reply, client)


def _connection(peer: DnsPeer, respond: Respond, sock: Any, client: Any) -> None:
    def one(asked: Asked) -> None:
        for reply in _replies(peer, respond, asked):
            if not reply:
                sock.shutdown(socket.SHUT_RDWR)
                return
            sock.sendall(struct.pack("!H", len(reply)) + reply)

    peer.connections += 1
    working: list[gevent.Greenlet[..., None]] = []
    try:
        with sock, sock.makefile("rb") as stream:
            while head := stream.read(2):
                asked = peer.note(stream.read(int.from_bytes(head, "big")), stream=True, source=client[1])
                working.append(gevent.spawn(one, asked))
    except OSError:
        pass
    finally:
        gevent.killall(working)


def _bound(kind: int, address: tuple[str, int]) -> Any:
    sock = gevent.socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # A test may ask hundreds of questions before this greenlet reads the first.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(address)
    if kind == socket.SOCK_STREAM:
        sock.listen(16)
    return sock
