"""dns.request, dns.many, the callback forms and the resolver object, word by word as rules may rely on them."""

from collections.abc import Callable, Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from filterd.api import dns
from filterd.net.greenlets import Crew, Stop
from filterd.net.resolver import FakeRecord, Resolver, ResolverSettings
from filterd.outcome import Failure, OkFirst, RequestFailed
from filterd.task import Task
from tests.support.dns_server import Asked, DnsPeer, answer, dns_serving
from tests.support.engine import rule_of, scan_with
from tests.support.scopes import run_in_scope

WORLD = {
    ("mx.test", "a"): ["A 192.0.2.1", "A 192.0.2.2"],
    ("mx.test", "mx"): ["MX 10 a.mx.test."],
    ("mx.test", "txt"): ['TXT "v=spf1 " "-all"'],
    ("mx.test", "ns"): ["NS ns.mx.test."],
    ("1.2.0.192.in-addr.arpa", "ptr"): ["PTR mail.mx.test."],
    ("xn--bcher-kva.test", "a"): ["A 192.0.2.3"],
}


def respond(asked: Asked) -> bytes | None:
    if asked.name == "silent.test":
        return None
    if asked.name == "broken.test":
        return answer(asked, rcode="SERVFAIL")
    found = WORLD.get((asked.name, asked.kind), [])
    exists = any(name == asked.name for name, _ in WORLD)
    return answer(asked, *found, rcode="NOERROR" if exists else "NXDOMAIN")


@pytest.fixture
def server() -> Iterator[DnsPeer]:
    with dns_serving(respond) as peer:
        yield peer


@pytest.fixture
def network(server: DnsPeer) -> Iterator[Any]:
    fakes = (FakeRecord("listed.test", "a", ("127.0.0.2",)), FakeRecord("late.test", rcode="timeout"))
    settings = ResolverSettings((server.address,), timeout=0.2, retransmits=1, fake_records=fakes)
    network = SimpleNamespace(crew=Crew(), resolver=Resolver(settings))
    yield network
    network.resolver.close()
    assert network.resolver.stats.in_flight == 0


@pytest.fixture
def run(network: Any) -> Callable[[Callable[[], Any]], Any]:
    """Run a function as a hook would be."""
    return lambda function: run_in_scope(function, network=network)


@pytest.fixture
def scan(network: Any) -> Callable[[Callable[[Task], Any]], Any]:
    """Run a function as the rule of a message, and give back what it returns."""

    def scan(function: Callable[[Task], Any]) -> Any:
        values: list[Any] = []
        verdict = scan_with(rule_of(lambda task: values.append(function(task)), "TEST"), network=network)
        assert verdict.failures == ()
        return values[0]

    return scan


def failure_of(outcome: OkFirst[Any]) -> Failure:
    assert not outcome.is_ok
    failure: Failure = outcome.value
    return failure


# -- request


def test_a_pair_that_unpacks_and_unwraps(run: Any, hub_free: None) -> None:
    is_ok, records = run(lambda: dns.request("mx.test"))
    assert (is_ok, records) == (True, ["192.0.2.1", "192.0.2.2"])
    assert (records.authenticated, records.truncated, records.ttl) == (False, False, 300)
    assert run(lambda: dns.request("mx.test", "MX").unwrap()) == [dns.MxRecord("a.mx.test", 10)]
    assert str(run(lambda: dns.request("mx.test", "mx")).value[0]) == "10 a.mx.test"
    assert run(lambda: dns.request("mx.test", type="txt")) == (True, ["v=spf1 -all"])
    assert run(lambda: dns.request("192.0.2.1", "ptr")) == (True, ["mail.mx.test"])
    assert run(lambda: dns.request("Bücher.test")) == (True, ["192.0.2.3"])


@pytest.mark.parametrize(
    ("name", "kind", "text", "failure"),
    [
        ("gone.test", "a", "no records with this name", "dns"),
        ("mx.test", "aaaa", "requested record is not found", "dns"),
        ("broken.test", "a", "server fail", "dns"),
        ("silent.test", "a", "query timed out", "timeout"),
    ],
)
def test_failures_have_the_texts_that_rules_compare_with(
    run: Any, server: DnsPeer, name: str, kind: str, text: str, failure: str
) -> None:
    outcome = run(lambda: dns.request(name, kind))
    assert outcome == (False, text)
    found = failure_of(outcome)
    assert (found.kind, found.phase, found.peer) == (failure, "dns", f"127.0.0.1:{server.port}")
    with pytest.raises(RequestFailed, match=text):
        run(lambda: dns.request(name, kind).unwrap())


def test_a_timeout_of_the_call_narrows_that_of_the_resolver(run: Any, network: Any) -> None:
    failure = failure_of(run(lambda: dns.request("silent.test", timeout=0.05)))
    assert (failure, failure.kind) == ("query timed out", "timeout")
    assert failure.elapsed >= 0.05
    assert network.resolver.stats.timeouts == 1


def test_a_message_without_time_left_stops_the_question(network: Any) -> None:
    with pytest.raises(Stop) as caught:
        run_in_scope(lambda: dns.request("silent.test", timeout=60.0), network=network, budget=0.05)
    assert caught.value.phase == "dns"
    assert network.resolver.stats.timeouts == 1


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [("a..b", "a", "'a..b' is not a domain name: it has an empty label"), ("mx.test", "ptr", "'mx.test' is not an IP address")],
)
def test_what_cannot_be_asked_is_a_failure(run: Any, name: str, kind: str, text: str) -> None:
    assert run(lambda: dns.request(name, kind)) == (False, text)
    assert run(lambda: dns.request(name, kind, callback=print)) is False


def test_an_unknown_type_is_a_mistake(run: Any) -> None:
    for call in (
        lambda: dns.request("mx.test", "axfr"),
        lambda: dns.request("mx.test", "axfr", callback=print),
        lambda: dns.many([("mx.test", "a"), ("mx.test", "axfr")]),
    ):
        with pytest.raises(ValueError, match="'axfr' is not a DNS record type; known are a, ns"):
            run(call)


def test_outside_of_any_rule_it_says_so() -> None:
    for call in (lambda: dns.request("mx.test"), lambda: dns.many([]), dns.statistics):
        with pytest.raises(RuntimeError, match=r"^dns\.\w+ was called outside of any rule"):
            call()


def test_fake_records_answer_first(run: Any, server: DnsPeer) -> None:
    assert run(lambda: dns.request("listed.test")) == (True, ["127.0.0.2"])
    assert run(lambda: dns.request("late.test")) == (False, "query timed out")
    assert server.asked == []


# -- callbacks


def test_a_callback_gets_resolver_name_and_either_results_or_error(run: Any) -> None:
    heard: list[Any] = []

    def rule() -> list[bool]:
        def done(resolver: Any, name: str, results: Any, err: Any) -> None:
            heard.append((type(resolver), name, results, err))

        names = ("mx.test", "gone.test", "silent.test")
        return [dns.request(name, callback=done) for name in names]

    assert run(rule) == [True, True, True]
    assert sorted(heard, key=lambda one: str(one[1])) == [
        (dns.Resolver, "gone.test", None, "no records with this name"),
        (dns.Resolver, "mx.test", ["192.0.2.1", "192.0.2.2"], None),
        (dns.Resolver, "silent.test", None, "query timed out"),
    ]


def test_a_callback_may_take_less_and_may_ask_again(run: Any) -> None:
    heard: list[Any] = []

    def done(resolver: Any, name: str, results: Any) -> None:
        heard.append(results)
        if name == "mx.test":
            assert dns.request("mx.test", "ns", callback=lambda _, name, results: heard.append(results))
            heard.append(resolver.resolve_txt(name="mx.test"))

    run(lambda: dns.request("mx.test", "mx", callback=done))
    assert heard[0] == [dns.MxRecord("a.mx.test", 10)]
    assert sorted(map(str, heard[1:])) == sorted(["['ns.mx.test']", str(OkFirst(True, ["v=spf1 -all"]))])


def test_the_rule_goes_on_before_its_callback(run: Any) -> None:
    order: list[str] = []

    def rule() -> None:
        dns.request("mx.test", callback=lambda *_: order.append("callback"))
        order.append("rule")

    run(rule)
    assert order == ["rule", "callback"]


def test_a_callback_is_told_in_time_that_there_is_no_answer() -> None:
    heard: list[Any] = []
    may_answer = Event()

    def late(asked: Asked) -> bytes:
        may_answer.wait()
        return answer(asked, "A 192.0.2.1")

    with dns_serving(late) as server:
        # It waits longer than this test may.
        resolver = Resolver(ResolverSettings((server.address,), timeout=60.0))
        network = SimpleNamespace(crew=Crew(), resolver=resolver)
        run_in_scope(
            lambda: dns.request("late.test", callback=lambda *told: heard.append(told[1:]), timeout=0.05), network=network
        )
        ((name, results, error),) = heard
        assert (name, results, error) == ("late.test", None, "query timed out")
        assert (error.kind, error.phase, error.peer) == ("timeout", "dns", f"127.0.0.1:{server.port}")
        assert error.elapsed >= 0.05
        assert resolver.stats.as_dict() == {"requests": 1, "replies": 0, "errors": 0, "timeouts": 1, "in_flight": 0}
        # The answer that comes after all is that of the next who asks, and nobody's before.
        may_answer.set()
        assert run_in_scope(lambda: dns.request("late.test"), network=network) == (True, ["192.0.2.1"])
        assert len(server.asked) == len(heard) == 1
        resolver.close()


def test_a_message_without_time_left_stops_the_questions_of_callbacks(network: Any, server: DnsPeer) -> None:
    def rule(task: Task) -> bool:
        for kind in ("a", "mx"):
            assert dns.request("silent.test", kind, callback=lambda *_: pytest.fail("nothing was answered"))
        return True

    verdict = scan_with(rule_of(rule, "ASKS"), network=network, task_timeout=0.05)
    assert list(verdict.symbols) == ["ASKS"]
    assert verdict.timed_out
    told = f"timeout: the message's budget of 0.05 s is over while asking DNS for 127.0.0.1:{server.port}"
    assert [(one.rule, one.text, one.phase) for one in verdict.failures] == [("ASKS", told, "dns")] * 2
    assert network.resolver.stats.as_dict() == {"requests": 2, "replies": 0, "errors": 0, "timeouts": 2, "in_flight": 0}


def test_the_timeout_of_a_rule_holds_for_the_question_and_the_callback_together(network: Any) -> None:
    heard: list[str] = []

    def done(resolver: dns.Resolver, name: str, results: object, error: Failure | None) -> None:
        heard.append(name)
        gevent.sleep(5.0)

    def rule(task: Task) -> None:
        assert dns.request("silent.test", callback=done)
        assert dns.request("silent.test", "mx", callback=done, timeout=0.15)
        assert dns.request("mx.test", "mx", callback=done)

    began = monotonic()
    verdict = scan_with(rule_of(rule, "ASKS", timeout=0.18), network=network)
    assert monotonic() - began < 5.0
    # One waits for its answer, the two others in their callbacks.
    reasons = [one.text for one in verdict.failures]
    assert sorted(heard) == ["mx.test", "silent.test"]
    assert len(reasons) == 3
    assert all("its own timeout of 0.18 s is over" in reason for reason in reasons)


def test_a_callback_whose_rule_cannot_begin_anything_any_more_is_not_called(network: Any) -> None:
    def rule(task: Task) -> bool:
        task.deadline.renew(0.0)
        return dns.request("mx.test", callback=lambda *_: None)

    values: list[bool] = []
    scan_with(rule_of(lambda task: values.append(rule(task)), "ASKS"), network=network)
    assert values == [False]
    assert network.resolver.stats.requests == 0


# -- many


def test_many_are_asked_at_once_and_answered_in_order(run: Any, server: DnsPeer, network: Any) -> None:
    questions = [("mx.test", "a"), ("gone.test", "a"), ("a..b", "mx"), ("MX.test", "A"), ("192.0.2.1", "ptr")]
    assert run(lambda: dns.many(questions)) == [
        (True, ["192.0.2.1", "192.0.2.2"]),
        (False, "no records with this name"),
        (False, "'a..b' is not a domain name: it has an empty label"),
        (True, ["192.0.2.1", "192.0.2.2"]),
        (True, ["mail.mx.test"]),
    ]
    assert len(server.asked) == 3
    assert run(lambda: dns.many([])) == []
    assert run(lambda: dns.many(iter([("mx.test", "mx")]))[0].unwrap()) == [dns.MxRecord("a.mx.test", 10)]
    assert run(dns.statistics) == {"requests": 6, "replies": 5, "errors": 1, "timeouts": 0, "in_flight": 0}


def test_many_wait_for_the_slowest_only_as_long_as_they_may(run: Any) -> None:
    assert run(lambda: dns.many([("silent.test", "a"), ("mx.test", "mx")], timeout=0.05)) == [
        (False, "query timed out"),
        (True, [dns.MxRecord("a.mx.test", 10)]),
    ]


def test_rules_share_the_answers(network: Any, server: DnsPeer) -> None:
    def asks(task: Task) -> tuple[bool, str]:
        return True, ",".join(dns.request("mx.test").unwrap())

    verdict = scan_with(*[rule_of(asks, f"ASKS{i}") for i in range(20)], network=network)
    assert verdict.failures == ()
    assert {hit.options for hit in verdict.symbols.values()} == {("192.0.2.1,192.0.2.2",)}
    assert len(verdict.symbols) == 20
    assert len(server.asked) == 1


# -- how much a message may ask


def test_a_message_may_ask_64_questions_and_forced_ones_are_not_counted(scan: Any, server: DnsPeer) -> None:
    def rule(task: Task) -> Any:
        first = dns.many([(f"{i}.test", "a") for i in range(60)])
        forced = dns.request("forced.test", forced=True), *dns.many([("forced.test", "mx")] * 5, forced=True)
        second = dns.many([(f"more{i}.test", "a") for i in range(10)])
        return first, forced, second, dns.request("one.test"), dns.request("one.test", callback=print), task.dns_requests

    first, forced, second, one, started, counted = scan(rule)
    assert {str(outcome.value) for outcome in (*first, *forced, *second[:4])} == {"no records with this name"}
    assert {str(outcome.value) for outcome in (*second[4:], one)} == {"too many DNS queries: 64 are allowed for one message"}
    assert (failure_of(one).kind, started, counted) == ("limit", False, 64)
    assert len(server.asked) == 66


def test_a_callback_is_counted_once(scan: Any) -> None:
    def rule(task: Task) -> int:
        for i in range(10):
            assert dns.request(f"{i}.test", callback=lambda *_: None)
        gevent.sleep(0.05)
        return task.dns_requests

    assert scan(rule) == 10


def test_a_hook_has_no_limit(run: Any) -> None:
    outcomes = run(lambda: dns.many([(f"{i}.test", "a") for i in range(100)]))
    assert {str(outcome.value) for outcome in outcomes} == {"no records with this name"}


# -- the names of DNS lists


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("192.0.2.1", "1.2.0.192.zen.test"),
        ("2001:db8::1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.zen.test"),
        ("::ffff:192.0.2.1", "1.2.0.192.zen.test"),
    ],
)
def test_reverse_builds_the_name_in_a_list(ip: str, name: str) -> None:
    assert dns.reverse(ip, "zen.test") == dns.reverse(ip, ".zen.test.") == name


def test_reverse_of_no_address_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"'mx\.test' is not an IP address"):
        dns.reverse("mx.test", "zen.test")


# -- the older form


def test_the_resolver_object(scan: Any) -> None:
    heard: list[Any] = []

    def rule(task: Task) -> list[Any]:
        resolver = dns.Resolver(task)

        def done(given: Any, name: str, results: Any, err: Any) -> None:
            heard.append((name, results, err, given.resolve_ns(name="mx.test").value))

        return [
            resolver.resolve_a(task=task, name="mx.test", callback=done),
            resolver.resolve_a(name="gone.test"),
            resolver.resolve_ptr(name="192.0.2.1"),
            resolver.resolve_txt(name="mx.test", forced=True),
            resolver.resolve_mx(name="mx.test"),
            resolver.resolve("A", name="mx.test", timeout=1.0),
        ]

    assert scan(rule) == [
        True,
        (False, "no records with this name"),
        (True, ["mail.mx.test"]),
        (True, ["v=spf1 -all"]),
        (True, [dns.MxRecord("a.mx.test", 10)]),
        (True, ["192.0.2.1", "192.0.2.2"]),
    ]
    assert heard == [("mx.test", ["192.0.2.1", "192.0.2.2"], None, ["ns.mx.test"])]
