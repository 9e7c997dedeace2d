"""The resolver of one worker: names to records, for rules and for the other clients.

Promises:

* Any number of questions are asked at once and waited for once; the same question, asked by many, is asked of a server once.
* What is known is not asked: fake records of the configuration first, then what is kept of earlier answers.
* A failure has the literal text that rules compare with, kind `dns` or `timeout`, phase `dns`, and the server as its peer.
* Whoever stops waiting takes nothing from the others: the question goes on, and its answer is kept for the next.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

from gevent import get_hub

from filterd.net.counters import Counters
from filterd.net.greenlets import Stop
from filterd.net.resolver_exchange import CLOSED, Exchange
from filterd.net.resolver_hosts import HostsFile
from filterd.net.resolver_pending import Answer, Asker, Inquiry, Pending
from filterd.net.resolver_settings import FakeRecord, ResolverSettings
from filterd.net.resolver_table import Kept, Table
from filterd.net.upstream import Upstreams
from filterd.outcome import Failure, Kind, RequestFailed
from filterd.proto.dns import NO_NAME, NO_RECORDS, TIMED_OUT, TYPES, Records, Reply, encode_question, reverse_name
from filterd.proto.dns_fake import fake_reply
from filterd.proto.dns_files import parse_resolv_conf

__all__ = ["Deferred", "FakeRecord", "Records", "Resolver", "ResolverSettings", "known_type", "question_of"]

HOSTS = Path("/etc/hosts")
RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53

MOST_WOKEN = 50
"""In one go, before others have their turn."""

_KINDS: dict[str | None, Kind] = {TIMED_OUT: "timeout", CLOSED: "cancelled"}


class Resolver:
    """Asks name servers. Opens nothing before the first question; `stats` counts questions, whoever answered them.

    `hosts` and `resolv_conf` are for tests. Raises ValueError for a name server that is no IP address, and for a fake record
    that is none.
    """

    def __init__(
        self, settings: ResolverSettings | None = None, *, hosts: Path = HOSTS, resolv_conf: Path = RESOLV_CONF
    ) -> None:
        self.settings = settings = ResolverSettings() if settings is None else settings
        self.stats = Counters()
        self._fakes = dict(map(_fake, settings.fake_records))
        self._hosts = HostsFile(hosts)
        self._table = Table(settings.cache)
        # Who has all of his answers now, and is woken in the next turn of the loop.
        self._ready: list[Asker] = []
        self._waking = False
        self._exchange = Exchange(
            _servers(settings, resolv_conf),
            timeout=settings.timeout,
            retransmits=settings.retransmits,
            prefer_tcp=settings.prefer_tcp,
            answered=self._answered,
        )

    def lookup(self, name: str, kind: str = "a", *, until: float | None = None) -> Records:
        """The records of a name, or with `ptr` of an IP address, waiting for them until that moment of time.monotonic().

        Raises RequestFailed, and ValueError for an unknown type.
        """
        outcome = self.ask_one(name, kind, until=until)
        if isinstance(outcome, Failure):
            raise RequestFailed(outcome)
        return outcome

    def ask_one(self, name: str, kind: str = "a", *, until: float | None = None) -> Records | Failure:
        """As `ask`, of one question: without the lists of many it costs a tenth less. Raises ValueError for unknown types."""
        if kind not in TYPES:
            kind = known_type(kind)
        began = monotonic()
        self.stats.requests += 1
        entry = self._find(_wire(name, kind), began)
        if not isinstance(entry, Pending):
            return self.outcome(entry, began)
        inquiry = Inquiry(1, 1)
        entry.inquiries.append((inquiry, 0))
        if not entry.tried:
            self._exchange.ask((entry,))
        if inquiry.left:
            self._wait(inquiry, until, entry.peer, began)
        return self.outcome(inquiry.answers[0] or (_LATE, 0.0, entry.peer), began)

    def ask(self, questions: Sequence[tuple[str, str]], *, until: float | None = None) -> list[Records | Failure]:
        """The outcome of each question (name, type) in their order, all asked at once. Raises ValueError for unknown types."""
        # All of them before the first is begun, since one may be a mistake.
        wires = [_wire(name, kind if kind in TYPES else known_type(kind)) for name, kind in questions]
        began = monotonic()
        inquiry = Inquiry(len(wires))
        self.stats.requests += len(wires)
        peer = ""
        fresh = []
        for place, wire in enumerate(wires):
            entry = self._find(wire, began)
            if isinstance(entry, Pending):
                if not entry.inquiries:
                    fresh.append(entry)
                entry.inquiries.append((inquiry, place))
                inquiry.left += 1
                peer = entry.peer
            else:
                inquiry.answers[place] = entry
        if fresh:
            self._exchange.ask(fresh)
            peer = fresh[-1].peer
        if inquiry.left:
            self._wait(inquiry, until, peer, began)
        return [self.outcome(answer or (_LATE, 0.0, peer), began) for answer in inquiry.answers]

    def ask_later(
        self, question: bytes, then: Callable[[Records | Failure], object], *, until: float | None = None
    ) -> "Deferred":
        """Ask without waiting: `then` is given the outcome in the hub, or before this returns where it is known."""
        began = monotonic()
        self.stats.requests += 1
        deferred = Deferred(self, then, began)
        entry = self._find(question, began)
        if not isinstance(entry, Pending):
            deferred.take(0, entry)
            return deferred
        entry.inquiries.append((deferred, 0))
        if not entry.tried:
            self._exchange.ask((entry,))
        deferred.peer = entry.peer
        if until is not None:
            deferred.wait_until(until)
        return deferred

    def _wait(self, inquiry: Inquiry, until: float | None, peer: str, began: float) -> None:
        try:
            inquiry.wait(until=until, peer=peer)
        except BaseException as error:
            for answer in inquiry.answers:
                if answer is None:
                    self.stats.failed(error)
                else:
                    self.outcome(answer, began)
            raise

    def _find(self, wire: bytes | Reply, now: float) -> Answer | Pending:
        """What is known of it, or the question under way; a new one has nobody who waits for it."""
        if isinstance(wire, Reply):
            return wire, 0.0, ""
        fakes = self._fakes
        if fakes and wire in fakes:
            return fakes[wire], 0.0, ""
        entry = self._table.find(wire, now)
        if isinstance(entry, Kept):
            return entry.reply, now - entry.heard, entry.peer
        return entry

    def addresses(self, host: str, *, until: float | None) -> list[str]:
        """The IP addresses of a host to connect to: IPv4 if it has any, else IPv6.

        An address is itself (IPv6 also in brackets); then /etc/hosts counts, then the DNS. Raises RequestFailed.
        """
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            ip_address(bare)
        except ValueError:
            pass
        else:
            return [bare]
        found = self._hosts.addresses(host)
        if found:
            return found
        four = self.ask_one(host, until=until)
        if isinstance(four, Records):
            return four
        if four != NO_RECORDS:
            raise RequestFailed(four)
        return self.lookup(host, "aaaa", until=until)

    def close(self) -> None:
        """Close every socket and forget every answer. Who waits is told; who asks again opens new ones."""
        self._exchange.close()
        self._table.clear()

    def _answered(self, pending: Pending, reply: Reply) -> None:
        self._table.answered(pending, reply, monotonic())
        answer = reply, 0.0, pending.peer
        for asker, place in pending.inquiries:
            if asker.take(place, answer):
                self._ready.append(asker)
        if self._ready and not self._waking:
            self._waking = True
            get_hub().loop.run_callback(self._wake)

    def _wake(self) -> None:
        # In the hub. A callback of the loop for each would cost a microsecond.
        ready = self._ready
        self._ready = ready[MOST_WOKEN:]
        if self._ready:
            get_hub().loop.run_callback(self._wake)
        else:
            self._waking = False
        for asker in ready[:MOST_WOKEN]:
            asker.wake()

    def outcome(self, answer: Answer, began: float) -> Records | Failure:
        """Count it and make it what the caller gets."""
        reply, age, peer = answer
        stats = self.stats
        error = reply.error
        if error is None:
            stats.replies += 1
            return reply.records(age=age)
        if error in (NO_NAME, NO_RECORDS):
            stats.replies += 1
        elif error == TIMED_OUT:
            stats.timeouts += 1
        else:
            stats.errors += 1
        return Failure(error, kind=_KINDS.get(error, "dns"), peer=peer, phase="dns", elapsed=monotonic() - began)


class Deferred:
    """A question whose asker does not wait: `take` hands the outcome on, once; `peer` is who was asked."""

    __slots__ = ("_began", "_resolver", "_then", "_timer", "peer")

    def __init__(self, resolver: Resolver, then: Callable[[Records | Failure], object], began: float) -> None:
        self.peer = ""
        self._resolver = resolver
        self._then: Callable[[Records | Failure], object] | None = then
        self._began = began
        self._timer: Any = None

    def wait_until(self, until: float) -> None:
        """Not longer than to that moment of time.monotonic(); nothing is begun where the outcome is there."""
        if self._then is not None:
            self._timer = get_hub().loop.timer(max(until - monotonic(), 0.0))
            self._timer.start(self.take, 0, (_LATE, 0.0, self.peer), update=True)

    def take(self, place: int, answer: Answer) -> bool:
        then = self._over()
        if then is not None:
            then(self._resolver.outcome(answer, self._began))
        return False

    def wake(self) -> None:
        """Nobody waits here."""

    def cancel(self, stop: Stop) -> None:
        """Nobody wants to know any more; `stop` is told what was waited for."""
        stop.phase, stop.peer = "dns", self.peer
        if self._over() is not None:
            self._resolver.stats.failed(stop)

    def _over(self) -> Callable[[Records | Failure], object] | None:
        then, self._then = self._then, None
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        return then


_LATE = Reply(TIMED_OUT, ())


def question_of(name: str, kind: str) -> bytes:
    """What is asked for the records of a name, or with `ptr` of an IP address. Raises ValueError for what is neither."""
    return encode_question(reverse_name(name) if kind == "ptr" else name, kind)


def _wire(name: str, kind: str) -> bytes | Reply:
    """The question, or why there can be none."""
    try:
        return question_of(name, kind)
    except ValueError as problem:
        return Reply(str(problem), ())


def known_type(kind: str) -> str:
    """The type in lower case. Raises ValueError for an unknown one."""
    lower = kind.lower()
    if lower not in TYPES:
        raise ValueError(f"{kind!r} is not a DNS record type; known are {', '.join(TYPES)}")
    return lower


def _fake(record: FakeRecord) -> tuple[bytes, Reply]:
    kind, name = record.type.lower(), record.name
    try:
        reply = fake_reply(kind, record.replies, record.rcode)
        if kind == "ptr":
            try:
                name = reverse_name(name)
            except ValueError:
                pass  # it is under in-addr.arpa already
        return encode_question(name, kind), reply
    except ValueError as problem:
        raise ValueError(f"the fake record {record.name} {record.type}: {problem}") from None


def _servers(settings: ResolverSettings, resolv_conf: Path) -> Upstreams:
    if settings.nameservers:
        for host, _ in settings.nameservers:
            ip_address(host)
        return Upstreams(settings.nameservers)
    try:
        text = resolv_conf.read_text(errors="replace")
    except OSError:
        text = ""
    addresses, rotate = parse_resolv_conf(text)
    # Unless told otherwise, the C library asks the others only when the first does not answer.
    return Upstreams([(one, PORT) for one in addresses], rotation="round-robin" if rotate else "master-slave")
