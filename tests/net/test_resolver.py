"""The resolver as its callers see it: many questions, one wait, nothing asked twice; against unbound and our own servers."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.greenlets import Stop
from filterd.net.resolver import MOST_WOKEN, FakeRecord, Records, Resolver, ResolverSettings
from filterd.net.resolver_exchange import CLOSED
from filterd.outcome import Failure, RequestFailed
from filterd.proto.dns import NO_NAME, NO_RECORDS, TIMED_OUT, CaaRecord, MxRecord, SoaRecord, SrvRecord, TlsaRecord
from tests.support.dns_server import Asked, answer, dns_serving, known
from tests.support.peers import LOOPBACK

Make = Callable[..., Resolver]

WORLD = [
    "mx.test. 60 A 192.0.2.1",
    "mx.test. 60 A 192.0.2.2",
    "mx.test. AAAA 2001:db8::1",
    'mx.test. TXT "v=spf1 " "-all"',
    "mx.test. MX 10 a.mx.test.",
    "mx.test. NS ns.mx.test.",
    "mx.test. SOA ns.mx.test. admin.mx.test. 1 2 3 4 5",
    "_smtp.mx.test. SRV 1 2 25 a.mx.test.",
    "_25.mx.test. TLSA 3 1 1 " + "0f" * 32,
    'mx.test. CAA 0 issue "ca.example"',
    "www.mx.test. CNAME mx.test.",
    "1.2.0.192.in-addr.arpa. PTR mail.mx.test.",
    "_x.test. A 192.0.2.9",
]


@pytest.fixture
def resolver_of() -> Iterator[Make]:
    """A resolver for these servers (ports, addresses or peers); quick in giving up."""
    made: list[Resolver] = []

    def make(*servers: Any, hosts: Path = Path("/none"), **settings: Any) -> Resolver:
        addresses = tuple(getattr(one, "address", (LOOPBACK, one)) for one in servers)
        settings = {"timeout": 0.2, "retransmits": 2, **settings}
        made.append(Resolver(ResolverSettings(nameservers=addresses, **settings), hosts=hosts))
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert one.stats.in_flight == 0


def failure_of(resolver: Resolver, name: str, kind: str = "a", **more: Any) -> Failure:
    with pytest.raises(RequestFailed) as caught:
        resolver.lookup(name, kind, **more)
    return caught.value.failure


# -- records


@pytest.mark.parametrize("prefer_tcp", [True, False])
@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        ("mx.test", "a", ["192.0.2.1", "192.0.2.2"]),
        ("MX.Test.", "A", ["192.0.2.1", "192.0.2.2"]),
        ("mx.test", "aaaa", ["2001:db8::1"]),
        ("mx.test", "txt", ["v=spf1 -all"]),
        ("mx.test", "mx", [MxRecord("a.mx.test", 10)]),
        ("mx.test", "ns", ["ns.mx.test"]),
        ("mx.test", "soa", [SoaRecord("ns.mx.test", "admin.mx.test", 1, 2, 3, 4, 5)]),
        ("_smtp.mx.test", "srv", [SrvRecord("a.mx.test", 1, 2, 25)]),
        ("_25.mx.test", "tlsa", [TlsaRecord(3, 1, 1, b"\x0f" * 32)]),
        ("mx.test", "caa", [CaaRecord(0, "issue", "ca.example")]),
        ("www.mx.test", "cname", ["mx.test"]),
        ("192.0.2.1", "ptr", ["mail.mx.test"]),
        ("_x.test", "a", ["192.0.2.9"]),
    ],
)
def test_every_type_by_a_real_server(
    unbound_server: Any, resolver_of: Make, name: str, kind: str, records: list[object], prefer_tcp: bool
) -> None:
    resolver = resolver_of(unbound_server(WORLD), prefer_tcp=prefer_tcp)
    found = resolver.lookup(name, kind)
    assert sorted(found, key=str) == records
    assert (found.truncated, found.authenticated) == (False, False)


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_hundreds_that_wait_for_one_answer_are_woken_and_others_in_between(prefer_tcp: bool, resolver_of: Make) -> None:
    turns: list[int] = []
    loop = gevent.get_hub().loop
    woken: list[Any] = []

    def turn() -> None:
        turns.append(len(woken))
        if len(woken) < 500:
            loop.run_callback(turn)

    def respond(asked: Asked) -> bytes:
        gevent.sleep(0.02)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(respond) as server:
        resolver = resolver_of(server, prefer_tcp=prefer_tcp)
        asking = [gevent.spawn(lambda: woken.append(resolver.ask_one("mx.test"))) for _ in range(500)]
        gevent.sleep(0)
        loop.run_callback(turn)
        gevent.joinall(asking, timeout=5)
        gevent.sleep(0)
    assert woken == [["192.0.2.1"]] * 500
    assert len(server.asked) == 1
    # No more than MOST_WOKEN between two looks of somebody else.
    assert max(after - before for before, after in pairwise(turns)) <= MOST_WOKEN


def test_dozens_of_questions_are_asked_at_once_and_answered_in_order(
    unbound_server: Any, resolver_of: Make, hub_free: None
) -> None:
    resolver = resolver_of(unbound_server([f"n{i}.test. A 192.0.2.{i}" for i in range(100)]))
    found = resolver.ask([(f"n{i}.test", "a" if i % 2 else "mx") for i in range(100)] + [("none.test", "a")])
    assert found == [[f"192.0.2.{i}"] if i % 2 else NO_RECORDS for i in range(100)] + [NO_NAME]
    assert resolver.stats.as_dict() == {"requests": 101, "replies": 101, "errors": 0, "timeouts": 0, "in_flight": 0}


def test_no_questions_are_no_answers(resolver_of: Make) -> None:
    assert resolver_of(1).ask([]) == []


def test_records_tell_their_remaining_time_and_whether_they_are_verified(resolver_of: Make) -> None:
    def respond(asked: Asked) -> bytes:
        return answer(asked, "A 192.0.2.1", ttl=60, flags="AD")

    with dns_serving(respond) as server:
        found = resolver_of(server).lookup("a.test")
    assert isinstance(found, Records)
    assert (found.ttl, found.authenticated, found.truncated) == (60, True, False)


# -- failures


@pytest.mark.parametrize(
    ("rcode", "text"),
    [
        ("NXDOMAIN", "no records with this name"),
        ("NOERROR", "requested record is not found"),
        ("SERVFAIL", "server fail"),
        ("REFUSED", "query refused"),
        ("FORMERR", "query format error"),
        ("NOTIMP", "not implemented"),
        ("NOTAUTH", "not authorized"),
    ],
)
def test_a_failure_has_its_documented_text_and_says_who_answered(resolver_of: Make, rcode: str, text: str) -> None:
    with dns_serving(lambda asked: answer(asked, rcode=rcode)) as server:
        resolver = resolver_of(server)
        failure = failure_of(resolver, "a.test")
    assert failure == text
    assert (failure.kind, failure.phase, failure.peer) == ("dns", "dns", f"127.0.0.1:{server.port}")
    assert failure.elapsed > 0
    is_reply = rcode in ("NXDOMAIN", "NOERROR")
    assert (resolver.stats.replies, resolver.stats.errors) == (int(is_reply), int(not is_reply))


def test_a_silent_server_is_a_timeout_after_all_tries(resolver_of: Make) -> None:
    with dns_serving(lambda asked: None) as server:
        resolver = resolver_of(server, timeout=0.05, retransmits=3, prefer_tcp=False)
        failure = failure_of(resolver, "a.test")
    assert failure == "query timed out"
    assert (failure.kind, failure.phase, failure.peer) == ("timeout", "dns", f"127.0.0.1:{server.port}")
    assert failure.elapsed >= 0.2
    assert server.ways == "uuuu"
    assert (resolver.stats.timeouts, resolver.stats.errors) == (1, 0)


def test_who_has_less_patience_leaves_and_the_answer_is_kept_for_the_next(resolver_of: Make) -> None:
    def slowly(asked: Asked) -> bytes:
        gevent.sleep(0.1)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(slowly) as server:
        resolver = resolver_of(server, timeout=1.0)
        failure = failure_of(resolver, "a.test", until=0.0)
        assert (failure, failure.kind, failure.peer) == (TIMED_OUT, "timeout", f"127.0.0.1:{server.port}")
        gevent.sleep(0.2)
        assert resolver.lookup("a.test") == ["192.0.2.1"]
    assert len(server.asked) == 1
    assert (resolver.stats.timeouts, resolver.stats.replies) == (1, 1)


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_an_answer_that_came_while_something_held_the_loop_is_not_late(resolver_of: Make, prefer_tcp: bool) -> None:
    def respond(asked: Asked) -> Iterator[bytes]:
        yield answer(asked, "A 192.0.2.1")
        end = monotonic() + 0.3
        while monotonic() < end:
            pass

    with dns_serving(respond) as server:
        resolver = resolver_of(server, timeout=5.0, prefer_tcp=prefer_tcp)
        assert resolver.ask([("a.test", "a")], until=monotonic() + 0.2) == [["192.0.2.1"]]


def test_one_that_is_stopped_while_it_waits_is_told_where(resolver_of: Make) -> None:
    with dns_serving(lambda asked: answer(asked, "A 192.0.2.1") if asked.name == "a.test" else None) as server:
        resolver = resolver_of(server, timeout=1.0)
        waiting = gevent.spawn(resolver.ask, [("a.test", "a"), ("silent.test", "a")])
        gevent.sleep(0.05)
        stop = Stop("enough")
        waiting.kill(stop)
        with pytest.raises(Stop):
            waiting.get()
    assert (stop.phase, stop.peer) == ("dns", f"127.0.0.1:{server.port}")
    assert (resolver.stats.replies, resolver.stats.timeouts) == (1, 1)


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("a..b", "a", "'a..b' is not a domain name: it has an empty label"),
        ("", "mx", "'' is not a domain name: it is empty"),
        ("mx.test", "ptr", "'mx.test' is not an IP address"),
    ],
)
def test_what_cannot_be_asked_is_a_failure_and_not_asked(resolver_of: Make, name: str, kind: str, text: str) -> None:
    with dns_serving(known("A 192.0.2.1")) as server:
        resolver = resolver_of(server)
        assert resolver.ask([(name, kind), ("a.test", "a")]) == [text, ["192.0.2.1"]]
        failure = failure_of(resolver, name, kind)
    assert (failure.kind, failure.peer) == ("dns", "")
    assert server.names == ["a.test"]


def test_an_unknown_type_is_a_mistake_and_nothing_is_asked(resolver_of: Make) -> None:
    resolver = resolver_of(1)
    with pytest.raises(ValueError, match="'axfr' is not a DNS record type; known are a, ns"):
        resolver.ask([("a.test", "a"), ("a.test", "axfr")])
    assert resolver.stats.requests == 0


# -- asked once


def test_what_is_known_is_not_asked_again(resolver_of: Make) -> None:
    with dns_serving(known("A 192.0.2.1")) as server:
        resolver = resolver_of(server)
        first = resolver.lookup("a.test")
        first.append("spoilt")
        assert resolver.lookup("A.test.") == ["192.0.2.1"]
        assert failure_of(resolver, "a.test", "mx") == failure_of(resolver, "a.test", "mx") == NO_RECORDS
        assert failure_of(resolver, "a.test", "mx").peer == f"127.0.0.1:{server.port}"
    assert [(one.name, one.kind) for one in server.asked] == [("a.test", "a"), ("a.test", "mx")]


@pytest.mark.parametrize(
    ("respond", "text"),
    [
        (lambda asked: answer(asked, "A 192.0.2.1", ttl=0), None),
        (lambda asked: answer(asked, rcode="NXDOMAIN"), NO_NAME),
        (lambda asked: answer(asked, rcode="SERVFAIL"), "server fail"),
    ],
    ids=["no time to live", "without the zone's SOA", "a failure"],
)
def test_what_may_not_be_kept_is_asked_again(resolver_of: Make, respond: Any, text: str | None) -> None:
    with dns_serving(respond) as server:
        resolver = resolver_of(server)
        for _ in range(2):
            assert resolver.ask([("a.test", "a")]) == [text or ["192.0.2.1"]]
    assert len(server.asked) == 2


def test_what_is_large_is_not_kept(resolver_of: Make) -> None:
    with dns_serving(known(*[f'TXT "{i:04}{"x" * 240}"' for i in range(100)])) as server:
        resolver = resolver_of(server)
        for _ in range(2):
            assert len(resolver.lookup("a.test", "txt")) == 100
    assert server.ways == "tt"


def test_with_no_cache_only_questions_at_one_time_are_one(resolver_of: Make) -> None:
    with dns_serving(known("A 192.0.2.1")) as server:
        resolver = resolver_of(server, cache=0)
        assert resolver.ask([("a.test", "a"), ("A.test", "A")]) == [["192.0.2.1"]] * 2
        assert resolver.ask([("a.test", "a")]) == [["192.0.2.1"]]
    assert len(server.asked) == 2


def test_what_many_ask_at_one_time_is_asked_once(resolver_of: Make) -> None:
    def slowly(asked: Asked) -> bytes:
        gevent.sleep(0.05)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(slowly) as server:
        resolver = resolver_of(server, timeout=1.0)
        callers = [gevent.spawn(resolver.lookup, "a.test") for _ in range(20)]
        gevent.sleep(0.02)
        callers[0].kill()
        gevent.joinall(callers)
        assert [one.value for one in callers[1:]] == [["192.0.2.1"]] * 19
        assert len({id(one.value) for one in callers}) == 20, "each has a list of its own"
    assert len(server.asked) == 1


def test_what_many_wait_for_is_repeated_once(resolver_of: Make) -> None:
    with dns_serving(lambda asked: None) as server:
        resolver = resolver_of(server, timeout=0.05, retransmits=1, prefer_tcp=False)
        callers = [gevent.spawn(resolver.ask, [("a.test", "a")] * 2) for _ in range(5)]
        assert [one.get() for one in callers] == [[TIMED_OUT] * 2] * 5
    assert server.ways == "uu"


# -- fake records


def test_fake_records_answer_before_the_network(resolver_of: Make) -> None:
    fakes = (
        FakeRecord("listed.test", "a", ("127.0.0.2", "127.0.0.3")),
        FakeRecord("Listed.Test", "MX", ("10 mx.test",)),
        FakeRecord("gone.test", rcode="nxdomain"),
        FakeRecord("late.test", "txt", rcode="timeout"),
        FakeRecord("192.0.2.1", "ptr", ("mail.test",)),
        FakeRecord("2.2.0.192.in-addr.arpa", "ptr", ("other.test",)),
        FakeRecord("twice.test", "a", ("127.0.0.1",)),
        FakeRecord("twice.test", "a", ("127.0.0.9",)),
        FakeRecord("empty.test"),
    )
    with dns_serving(known("AAAA 2001:db8::1")) as server:
        resolver = resolver_of(server, fake_records=fakes)
        assert resolver.lookup("LISTED.test") == ["127.0.0.2", "127.0.0.3"]
        assert resolver.lookup("listed.test", "mx") == [MxRecord("mx.test", 10)]
        assert failure_of(resolver, "gone.test") == NO_NAME
        late = failure_of(resolver, "late.test", "txt")
        assert (late, late.kind, resolver.stats.timeouts) == (TIMED_OUT, "timeout", 1)
        assert [resolver.lookup(f"192.0.2.{i}", "ptr") for i in (1, 2)] == [["mail.test"], ["other.test"]]
        assert resolver.lookup("twice.test") == ["127.0.0.9"]
        assert failure_of(resolver, "empty.test") == NO_RECORDS
        assert server.asked == []
        assert resolver.lookup("listed.test", "aaaa") == ["2001:db8::1"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (FakeRecord("a.test", "a", ("listed",)), r"the fake record a.test a: 'listed' is not a record of type a"),
        (FakeRecord("a.test", "axfr"), r"the fake record a.test axfr: 'axfr' is not a DNS record type"),
        (FakeRecord("a..test"), r"the fake record a..test a: 'a..test' is not a domain name"),
        (FakeRecord("a.test", rcode="later"), r"the fake record a.test a: 'later' is not an rcode"),
    ],
)
def test_a_fake_record_that_is_none_is_refused_by_name(record: FakeRecord, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Resolver(ResolverSettings(fake_records=(record,)))


# -- addresses to connect to


def test_the_addresses_of_a_host(resolver_of: Make, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 inside.test\n")
    world = ["four.test. A 192.0.2.1", "four.test. AAAA 2001:db8::1", "six.test. AAAA 2001:db8::2", "none.test. TXT x"]
    with dns_serving(_of(world)) as server:
        resolver = resolver_of(server, hosts=hosts)

        def addresses(host: str) -> list[str]:
            return resolver.addresses(host, until=None)

        assert addresses("127.0.0.1") == ["127.0.0.1"]
        assert addresses("::1") == addresses("[::1]") == ["::1"]
        assert addresses("Inside.test") == ["192.0.2.7"]
        assert addresses("localhost") == ["127.0.0.1", "::1"]
        assert server.asked == []
        assert addresses("four.test") == ["192.0.2.1"]
        assert addresses("six.test") == ["2001:db8::2"]
        for host, text in (("none.test", NO_RECORDS), ("gone.test", NO_NAME), ("127.1", NO_NAME), ("a b..c", "")):
            with pytest.raises(RequestFailed) as caught:
                addresses(host)
            assert caught.value.failure.kind == "dns"
            assert text in caught.value.failure
    asked = [(one.name, one.kind) for one in server.asked]
    assert asked.count(("none.test", "aaaa")) == 1
    assert ("gone.test", "aaaa") not in asked, "a name that does not exist has no records of any type"


def _of(world: list[str]) -> Callable[[Asked], bytes]:
    def respond(asked: Asked) -> bytes:
        found = [line.split(maxsplit=2)[1:] for line in world if line.startswith(f"{asked.name}. ")]
        fitting = [f"{kind} {rdata}" for kind, rdata in found if kind.lower() == asked.kind]
        return answer(asked, *fitting, rcode="NOERROR" if found else "NXDOMAIN")

    return respond


# -- name servers


def test_without_settings_the_system_says_whom_to_ask(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    for text, alive, turns in [
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", ("192.0.2.1", "2001:db8::1"), 1),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.2\noptions rotate\n", ("192.0.2.1", "192.0.2.2"), 2),
    ]:
        file.write_text(text)
        servers = Resolver(resolv_conf=file)._exchange._upstreams
        assert servers.servers == tuple((one, 53) for one in alive)
        assert len({servers.pick() for _ in range(4)}) == turns
    assert Resolver(resolv_conf=tmp_path / "none")._exchange._upstreams.servers == (("127.0.0.1", 53),)


def test_a_name_server_must_be_an_address() -> None:
    with pytest.raises(ValueError, match=r"ns\.test"):
        Resolver(ResolverSettings(nameservers=(("ns.test", 53),)))


def test_a_server_may_have_an_ipv6_address(resolver_of: Make) -> None:
    for way in (True, False):
        with dns_serving(known("A 192.0.2.1"), host="::1") as server:
            resolver = resolver_of(server, prefer_tcp=way)
            assert resolver.lookup("a.test") == ["192.0.2.1"]
            assert failure_of(resolver, "a.test", "mx").peer == f"[::1]:{server.port}"


# -- the end


def test_close_tells_who_waits_and_forgets_what_was_kept(resolver_of: Make) -> None:
    with dns_serving(lambda asked: answer(asked, "A 192.0.2.1") if asked.name == "a.test" else None) as server:
        for way in (True, False):
            resolver = resolver_of(server, prefer_tcp=way)
            resolver.lookup("a.test")
            waiting = gevent.spawn(resolver.ask, [("silent.test", "a")])
            gevent.sleep(0.02)
            resolver.close()
            (failure,) = waiting.get()
            assert isinstance(failure, Failure)
            assert (failure, failure.kind) == (CLOSED, "cancelled")
            resolver.close()
            assert resolver.lookup("a.test") == ["192.0.2.1"], "it can be used again"
    assert server.names.count("a.test") == 4
