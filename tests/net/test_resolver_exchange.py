"""Whatever name servers do, a question is answered by whoever can answer it, and ends in time: every fault, one by one.

NEVER is longer than a test may take: what is promised to happen at once does not wait for it.
"""

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.resolver import Resolver, ResolverSettings
from filterd.net.resolver_exchange import BURST, Exchange
from filterd.net.resolver_pending import Pending
from filterd.net.upstream import Limits, Upstreams
from filterd.outcome import Failure
from filterd.proto.dns import NO_NAME, TIMED_OUT, Reply, encode_question
from tests.support.dns_server import SOA, Asked, DnsPeer, Respond, answer, dns_serving, known
from tests.support.partners import free_port, running_unbound
from tests.support.peers import LOOPBACK, full_queue

NEVER = 60.0
GOOD = ["192.0.2.1"]
good = known("A 192.0.2.1")


@contextmanager
def resolving(*servers: DnsPeer | int, timeout: float = 0.1, retransmits: int = 2, **settings: Any) -> Iterator[Resolver]:
    """A resolver that asks by UDP if not told otherwise, and in the end has nothing under way."""
    addresses = tuple(one.address if isinstance(one, DnsPeer) else (LOOPBACK, one) for one in servers)
    settings = {"prefer_tcp": False, **settings}
    resolver = Resolver(ResolverSettings(addresses, timeout=timeout, retransmits=retransmits, **settings), hosts=Path("/none"))
    try:
        yield resolver
    finally:
        resolver.close()
    assert resolver.stats.in_flight == 0


def ask(resolver: Resolver, name: str = "a.test") -> Any:
    return resolver.ask([(name, "a")])[0]


def first(*bad: Callable[[Asked], bytes | list[bytes] | None], then: Respond = good) -> Respond:
    """Answers the first questions so, and the others well."""
    left = list(bad)
    return lambda asked: left.pop(0)(asked) if left else then(asked)


# -- replies that are not to our question


OTHERS: dict[str, Callable[[Asked], bytes]] = {
    "another id": lambda asked: answer(asked, "A 6.6.6.6", query_id=asked.query_id ^ 1),
    "another name": lambda asked: answer(asked, "A 6.6.6.6", name="b.test"),
    "another type": lambda asked: answer(asked, "A 6.6.6.6").replace(b"\x04test\0\0\1", b"\x04test\0\x1c", 1),
    "a query": lambda asked: asked.wire,
    "no question": lambda asked: answer(asked)[:4] + b"\0" * 8,
    "no message": lambda asked: b"",
    "one octet": lambda asked: b"x",
    "noise": lambda asked: b"\xff" * 600,
}


@pytest.mark.parametrize("prefer_tcp", [True, False])
@pytest.mark.parametrize("kind", list(OTHERS))
def test_answers_to_somebody_elses_question_are_not_heard(kind: str, prefer_tcp: bool) -> None:
    def respond(asked: Asked) -> list[bytes]:
        # Over TCP an empty message would mean the end of the connection.
        return [one for one in (OTHERS[kind](asked), answer(asked, "A 192.0.2.1")) if one or not asked.stream]

    with dns_serving(respond) as server, resolving(server, prefer_tcp=prefer_tcp) as resolver:
        assert ask(resolver) == GOOD
        assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["another id", "another name", "another type", "a query"])
def test_where_nothing_else_comes_they_are_silence(kind: str) -> None:
    with dns_serving(OTHERS[kind]) as server, resolving(server, timeout=0.05) as resolver:
        assert ask(resolver) == TIMED_OUT
        assert len(server.asked) == 3


def test_only_the_server_itself_is_heard() -> None:
    def respond(asked: Asked) -> bytes:
        with gevent.socket.socket(type=gevent.socket.SOCK_DGRAM) as stranger:
            stranger.sendto(answer(asked, "A 6.6.6.6"), (LOOPBACK, asked.source))
        gevent.sleep(0.02)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(respond) as server, resolving(server) as resolver:
        assert ask(resolver) == GOOD


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_of_two_answers_the_first_counts(prefer_tcp: bool) -> None:
    def respond(asked: Asked) -> list[bytes]:
        return [answer(asked, "A 192.0.2.1"), answer(asked, "A 6.6.6.6"), answer(asked, rcode="SERVFAIL")]

    with dns_serving(respond) as server, resolving(server, prefer_tcp=prefer_tcp) as resolver:
        assert [ask(resolver, f"{i}.test") for i in range(5)] == [GOOD] * 5
        assert ask(resolver, "0.test") == GOOD
        assert len(server.asked) == 5


# -- replies that cannot be used


def cut(asked: Asked) -> bytes:
    return answer(asked, "A 192.0.2.1")[:-13]  # the OPT record, and half of the address


def test_what_cannot_be_read_is_asked_for_by_tcp() -> None:
    with dns_serving(lambda asked: good(asked) if asked.stream else cut(asked)) as server, resolving(server) as resolver:
        assert ask(resolver) == GOOD
        assert server.ways == "ut"


def test_what_cannot_be_read_by_tcp_either_is_a_failure_at_once() -> None:
    with dns_serving(cut) as server, resolving(server, timeout=NEVER) as resolver:
        failure = ask(resolver)
        assert failure == "malformed reply: it ends inside a record"
        assert (failure.kind, server.ways, resolver.stats.errors) == ("dns", "ut", 1)


def truncated(asked: Asked) -> bytes:
    return answer(asked, "A 192.0.2.9", flags="TC")


def test_a_truncated_answer_is_asked_for_by_tcp() -> None:
    many = known(*[f"A 192.0.2.{i}" for i in range(200)])
    with (
        dns_serving(lambda asked: many(asked) if asked.stream else truncated(asked)) as server,
        resolving(server) as resolver,
    ):
        (found, other) = resolver.ask([("a.test", "a"), ("b.test", "a")])
        assert len(found) == len(other) == 200
        assert not found.truncated  # type: ignore[union-attr]
        assert sorted(server.ways) == ["t", "t", "u", "u"]
        assert server.connections == 1


def test_a_failure_that_is_truncated_does_not_count_either() -> None:
    respond = first(lambda asked: answer(asked, rcode="NXDOMAIN", flags="TC", authority=[SOA]))
    with dns_serving(respond) as server, resolving(server) as resolver:
        assert ask(resolver) == GOOD
        assert server.ways == "ut"


def test_where_tcp_is_refused_a_part_of_the_answer_is_better_than_none() -> None:
    with dns_serving(truncated, tcp=False) as server, resolving(server, timeout=NEVER) as resolver:
        for _ in range(2):  # the second time TCP rests, and is not even tried
            found = ask(resolver)
            assert (found, found.truncated) == (["192.0.2.9"], True)
        assert server.ways == "uu", "nor is it kept"


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_where_tcp_is_refused_a_truncated_nothing_is_not_nothing(rcode: str) -> None:
    respond = lambda asked: answer(asked, rcode=rcode, flags="TC")  # noqa: E731 - as servers do that limit their rate
    with dns_serving(respond, tcp=False) as server, resolving(server, timeout=NEVER) as resolver:
        failure = ask(resolver)
        assert (failure, resolver.stats.errors) == ("server fail", 1)


def test_where_tcp_is_silent_a_part_of_the_answer_is_better_than_none() -> None:
    respond = lambda asked: None if asked.stream else truncated(asked)  # noqa: E731
    with dns_serving(respond) as server, resolving(server, timeout=0.05, retransmits=1) as resolver:
        found = ask(resolver)
        assert (found, found.truncated) == (["192.0.2.9"], True)
        assert server.ways == "utt"


def test_where_tcp_has_only_a_failure_a_part_of_the_answer_is_better() -> None:
    respond = lambda asked: answer(asked, rcode="SERVFAIL") if asked.stream else truncated(asked)  # noqa: E731
    with dns_serving(respond) as server, resolving(server, timeout=NEVER) as resolver:
        found = ask(resolver)
        assert (found, found.truncated) == (["192.0.2.9"], True)


def test_a_truncated_answer_said_twice_is_asked_for_once() -> None:
    def respond(asked: Asked) -> bytes | list[bytes]:
        if not asked.stream:
            return [truncated(asked)] * 2
        gevent.sleep(0.03)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(respond) as server, resolving(server) as resolver:
        assert ask(resolver) == GOOD
        assert server.ways == "ut"


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP"])
@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_a_server_without_edns_is_asked_again_in_the_old_way(rcode: str, prefer_tcp: bool) -> None:
    def respond(asked: Asked) -> bytes | list[bytes]:
        if asked.message.edns < 0:
            return answer(asked, "A 192.0.2.1")
        return [asked.wire[:2] + answer(asked, rcode=rcode)[2:4] + b"\0" * 8] * 2

    with dns_serving(respond) as server, resolving(server, prefer_tcp=prefer_tcp) as resolver:
        assert ask(resolver) == GOOD
        assert [one.message.edns for one in server.asked] == [0, -1]


# -- again


def test_what_was_lost_is_asked_again() -> None:
    with dns_serving(first(lambda asked: None, lambda asked: None)) as server, resolving(server) as resolver:
        assert ask(resolver) == GOOD
        assert len({(one.query_id, one.source) for one in server.asked}) == 3


def test_a_late_answer_to_an_earlier_try_counts() -> None:
    def respond(asked: Asked) -> bytes | None:
        if len(server.asked) > 1:
            return None
        gevent.sleep(0.15)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(respond) as server, resolving(server, timeout=0.1) as resolver:
        assert ask(resolver) == GOOD
        assert len(server.asked) == 2


@pytest.mark.parametrize("prefer_tcp", [True, False])
@pytest.mark.parametrize("retransmits", [0, 1, 4])
def test_the_time_is_bounded_by_timeout_and_retransmits(prefer_tcp: bool, retransmits: int) -> None:
    with (
        dns_serving(lambda asked: None) as server,
        resolving(server, timeout=0.05, retransmits=retransmits, prefer_tcp=prefer_tcp) as resolver,
    ):
        for failure in resolver.ask([(f"{i}.test", "a") for i in range(BURST + 50)]):
            assert isinstance(failure, Failure)
            assert failure == TIMED_OUT
            assert failure.elapsed >= 0.05 * (retransmits + 1)
        assert len(server.asked) == (BURST + 50) * (retransmits + 1)


def test_hundreds_that_time_out_at_once_do_not_hold_the_hub(hub_free: None) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        with resolving(silent.getsockname()[1], timeout=0.05) as resolver:
            callers = []
            for i in range(6):
                callers.append(gevent.spawn(resolver.ask, [(f"{i}.{j}.test", "a") for j in range(100)]))
                gevent.sleep(0)
            assert [one.get() for one in callers] == [[TIMED_OUT] * 100] * 6


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_an_answer_that_came_while_something_held_the_loop_is_not_late(prefer_tcp: bool) -> None:
    def respond(asked: Asked) -> Iterator[bytes]:
        yield answer(asked, "A 192.0.2.1")
        end = monotonic() + 0.3
        while monotonic() < end:
            pass

    with dns_serving(respond) as server, resolving(server, timeout=0.2, retransmits=0, prefer_tcp=prefer_tcp) as resolver:
        assert ask(resolver) == GOOD


# -- several servers


def test_round_robin_shares_the_questions_out() -> None:
    with dns_serving(good) as one, dns_serving(good) as two, resolving(one, two) as resolver:
        resolver.ask([(f"{i}.test", "a") for i in range(10)])
        assert len(one.asked) == len(two.asked) == 5


def test_who_is_silent_is_followed_by_another() -> None:
    with (
        dns_serving(lambda asked: None) as silent,
        dns_serving(good) as other,
        resolving(silent, other, retransmits=1) as resolver,
    ):
        assert [ask(resolver, f"{i}.test") for i in range(2)] == [GOOD] * 2
        assert (len(silent.asked), len(other.asked)) == (1, 2)


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_who_refuses_is_followed_by_another_at_once(prefer_tcp: bool) -> None:
    with dns_serving(good) as other, resolving(free_port(), other, timeout=NEVER, prefer_tcp=prefer_tcp) as resolver:
        assert resolver.ask([(f"{i}.test", "a") for i in range(10)]) == [GOOD] * 10
        assert len(other.asked) == 10


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_who_fails_is_followed_by_another_at_once(rcode: str) -> None:
    def fails(asked: Asked) -> list[bytes]:
        return [answer(asked, rcode=rcode)] * 2  # the second does not end the question to the other server

    def slowly(asked: Asked) -> bytes:
        gevent.sleep(0.03)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(fails) as one, dns_serving(slowly) as two, resolving(one, two, timeout=NEVER) as resolver:
        assert [ask(resolver, f"{i}.test") for i in range(4)] == [GOOD] * 4
        assert len(one.asked) == 2


def test_where_all_fail_the_failure_is_told_at_once_and_by_whom() -> None:
    def fails(asked: Asked) -> bytes:
        return answer(asked, rcode="SERVFAIL")

    with dns_serving(fails) as one, dns_serving(fails) as two, resolving(one, two, timeout=NEVER) as resolver:
        failure = ask(resolver)
        assert (failure, failure.kind) == ("server fail", "dns")
        assert failure.peer in (f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}")
        assert (len(one.asked), len(two.asked)) == (1, 1)


def test_there_is_none_is_an_answer_and_no_other_server_is_asked() -> None:
    with (
        dns_serving(lambda asked: answer(asked, rcode="NXDOMAIN")) as one,
        dns_serving(lambda asked: answer(asked, rcode="NXDOMAIN")) as two,
        resolving(one, two) as resolver,
    ):
        assert ask(resolver) == NO_NAME
        assert len(one.asked) + len(two.asked) == 1


def test_a_failure_of_one_is_what_is_told_when_the_other_stays_silent() -> None:
    with (
        dns_serving(lambda asked: answer(asked, rcode="SERVFAIL")) as fails,
        dns_serving(lambda asked: None) as silent,
        resolving(fails, silent, timeout=0.05, retransmits=2) as resolver,
    ):
        assert [ask(resolver, f"{i}.test") for i in range(2)] == ["server fail"] * 2


def test_a_failure_is_not_the_next_answer() -> None:
    with dns_serving(first(lambda asked: answer(asked, rcode="SERVFAIL"))) as server, resolving(server) as resolver:
        assert [ask(resolver), ask(resolver)] == ["server fail", GOOD]


def test_a_late_answer_is_told_with_the_name_of_who_gave_it() -> None:
    def late(asked: Asked) -> bytes:
        gevent.sleep(0.15)
        return answer(asked, rcode="NXDOMAIN")

    with (
        dns_serving(late) as one,
        dns_serving(lambda asked: None) as two,
        resolving(one, two, timeout=0.1, retransmits=3) as resolver,
    ):
        failure = ask(resolver)
        assert (failure, failure.peer) == (NO_NAME, f"127.0.0.1:{one.port}")
        assert len(two.asked) == 1


@contextmanager
def exchanging(*addresses: tuple[str, int]) -> Iterator[tuple[Upstreams, Callable[[str], Reply]]]:
    """The servers, which are sent away after their second failure without a success, and a function that asks them a name."""
    answers: dict[Pending, Reply] = {}
    servers = Upstreams(addresses, rotation="master-slave", limits=Limits(max_errors=0, error_time=0.000001))
    exchange = Exchange(servers, timeout=0.05, retransmits=3, prefer_tcp=False, answered=answers.__setitem__)

    def ask(name: str) -> Reply:
        pending = Pending(encode_question(name), monotonic())
        exchange.ask((pending,))
        while pending not in answers:
            gevent.sleep(0.001)
        return answers[pending]

    try:
        yield servers, ask
    finally:
        exchange.close()


@pytest.mark.parametrize("way", ["silent", "refuses", "unreachable"])
def test_who_keeps_failing_is_left_alone(way: str) -> None:
    with dns_serving(lambda asked: None) as silent, dns_serving(good) as other:
        bad = {"silent": silent.address, "refuses": (LOOPBACK, free_port()), "unreachable": ("255.255.255.255", 53)}[way]
        with exchanging(bad, other.address) as (servers, ask):
            for number in range(4):
                assert ask(f"{number}.test").answers == ("192.0.2.1",)
            assert servers.alive == (other.address,)
            assert len(silent.asked) == (2 if way == "silent" else 0)


def test_one_answer_makes_up_for_failures() -> None:
    with (
        dns_serving(lambda asked: None if asked.name == "silent.test" else good(asked)) as one,
        dns_serving(good) as two,
        exchanging(one.address, two.address) as (servers, ask),
    ):
        for number in range(4):
            assert ask("silent.test").answers == ("192.0.2.1",)
            assert ask(f"{number}.test").answers == ("192.0.2.1",)
        assert servers.alive == (one.address, two.address)


# -- nobody there


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_where_everybody_refuses_it_is_a_timeout_in_time(prefer_tcp: bool) -> None:
    with resolving(free_port(), free_port(), timeout=0.05, prefer_tcp=prefer_tcp) as resolver:
        failure = ask(resolver)
        assert (failure, failure.kind) == (TIMED_OUT, "timeout")
        assert failure.elapsed >= 0.15


def test_a_network_that_cannot_be_reached_is_no_other_failure() -> None:
    unreachable = ResolverSettings((("255.255.255.255", 53),), timeout=0.05, retransmits=1)
    resolver = Resolver(unreachable)
    assert ask(resolver) == TIMED_OUT
    resolver.close()


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_a_server_that_comes_back_answers_what_waits(prefer_tcp: bool) -> None:
    port = free_port()
    with resolving(port, timeout=0.1, retransmits=5, prefer_tcp=prefer_tcp) as resolver:
        waiting = gevent.spawn(ask, resolver)
        gevent.sleep(0.15)
        assert not waiting.ready()
        with dns_serving(good, port=port):
            assert waiting.get() == GOOD


# -- TCP first


def test_a_server_on_this_machine_is_asked_by_tcp_and_on_one_line(hub_free: None) -> None:
    with dns_serving(good) as server, resolving(server, prefer_tcp=None, timeout=NEVER) as resolver:
        assert resolver.ask([(f"{i}.test", "a") for i in range(50)]) == [GOOD] * 50
        assert (server.ways, server.connections) == ("t" * 50, 1)


def test_one_that_refuses_tcp_is_asked_by_udp() -> None:
    with dns_serving(good, tcp=False) as server, resolving(server, prefer_tcp=True, timeout=NEVER) as resolver:
        assert [ask(resolver, f"{i}.test") for i in range(5)] == [GOOD] * 5
        assert server.ways == "u" * 5


def test_one_that_accepts_and_never_answers_by_tcp_is_asked_by_udp_from_then_on() -> None:
    respond = lambda asked: None if asked.stream else good(asked)  # noqa: E731
    with dns_serving(respond) as server, resolving(server, prefer_tcp=True) as resolver:
        assert ask(resolver) == GOOD
        assert [ask(resolver, f"{i}.test") for i in range(5)] == [GOOD] * 5
        assert server.ways == "t" + "u" * 6


def test_a_listener_whose_queue_is_full_is_asked_by_udp() -> None:
    with full_queue() as (address, _), dns_serving(good, tcp=False, port=address[1]) as server:
        with resolving(server, prefer_tcp=True) as resolver:
            assert ask(resolver) == GOOD
        assert server.ways == "u"


def test_one_slow_question_does_not_hold_up_the_others() -> None:
    def respond(asked: Asked) -> bytes:
        gevent.sleep(0.15 if asked.name == "slow.test" else 0)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(respond) as server, resolving(server, prefer_tcp=True, timeout=NEVER) as resolver:
        slow = gevent.spawn(ask, resolver, "slow.test")
        gevent.sleep(0.01)
        assert resolver.ask([(f"{i}.test", "a") for i in range(10)]) == [GOOD] * 10
        assert not slow.ready()
        assert slow.get() == GOOD
        assert server.connections == 1


def test_what_was_asked_again_meanwhile_is_not_lost_with_the_line() -> None:
    def respond(asked: Asked) -> bytes | None:
        if asked.name == "close.test":
            return b"" if asked.stream else answer(asked, "A 192.0.2.1")
        if asked.name == "slow.test":
            if asked.stream:
                return None
            gevent.sleep(0.1)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(respond) as server, resolving(server, prefer_tcp=True, timeout=0.5) as resolver:
        slow = gevent.spawn(ask, resolver, "slow.test")
        gevent.sleep(0.05)
        assert ask(resolver) == GOOD  # so the line is not a silent one
        while server.ways != "ttu":
            gevent.sleep(0.001)
        assert ask(resolver, "close.test") == GOOD
        assert slow.get() == GOOD
        assert [one.name for one in server.asked if not one.stream] == ["slow.test", "close.test"]


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_without_a_descriptor_left_it_waits_for_one(prefer_tcp: bool) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with dns_serving(good) as server, resolving(server, prefer_tcp=prefer_tcp, retransmits=50) as resolver:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            waiting = gevent.spawn(ask, resolver)
            gevent.sleep(0.15)
            assert server.asked == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert waiting.get() == GOOD


# -- under load


@pytest.mark.parametrize("prefer_tcp", [True, False])
def test_a_resolver_restarted_under_load_fails_nobody(tmp_path: Path, prefer_tcp: bool) -> None:
    """Every question has its own answer, whichever of the two servers gave it."""
    world = [f"{i}.load.test. A 10.{i // 65536}.{i // 256 % 256}.{i % 256}" for i in range(2000)]
    port = free_port()
    asked = iter(range(2000))
    wrong: list[object] = []

    def asks(resolver: Resolver) -> None:
        for i in asked:
            found = ask(resolver, f"{i}.load.test")
            if found != [f"10.{i // 65536}.{i // 256 % 256}.{i % 256}"]:
                wrong.append((i, found))
            gevent.sleep(0.001)

    def unbound() -> ExitStack:
        # In a thread, because it waits for the server in the blocking way, and the load shall go on meanwhile.
        with ExitStack() as stack:
            directory = tmp_path / str(len(list(tmp_path.iterdir())))
            directory.mkdir()
            gevent.get_hub().threadpool.apply(stack.enter_context, (running_unbound(directory, world, port=port),))
            return stack.pop_all()

    with resolving(port, timeout=0.3, retransmits=20, prefer_tcp=prefer_tcp) as resolver:
        with unbound():
            load = [gevent.spawn(asks, resolver) for _ in range(20)]
            while resolver.stats.replies < 100:
                gevent.sleep(0.001)
        assert resolver.stats.replies < 2000
        gevent.sleep(0.1)
        with unbound():
            gevent.joinall(load, raise_error=True)
    assert wrong == []
    assert resolver.stats.replies == 2000
