"""What may be done where: registering while a file is loaded, waiting in rules and hooks, and how each is told otherwise."""

import re
from itertools import starmap
from pathlib import Path
from textwrap import dedent
from typing import Any

import gevent
import pytest

import filterd
from filterd.engine.hook_runs import Hooks
from filterd.engine.hooks import Hook
from filterd.engine.loader import LoadError, load_rules
from filterd.engine.spawned import MOST
from filterd.engine.words import collect_words
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.results import Scoring
from filterd.net.greenlets import Crew
from filterd.net.network import Network
from filterd.net.no_wait import WouldWait, no_wait, refuse_now, told_wait
from filterd.task import Environment, LateRegistration
from tests.support.engine import MAIL, engine_of, rule_of, scan_with
from tests.support.rules import assembled

CALLS = {
    "http": 'http.request("http://127.0.0.1:1/")',
    "http.query": 'http.query("http://127.0.0.1:1/", route="R")',
    "dns": 'dns.request("example.org")',
    "dns.many": 'dns.many([("example.org", "a")])',
    "tcp_sync": 'tcp_sync.connect("127.0.0.1", 1)',
    "tcp.Socket": 'tcp.Socket().connect("127.0.0.1", 1)',
    "udp": 'udp.sendto("127.0.0.1", 9, "x")',
    "redis": 'redis.request(redis.parse_server("x"), ["PING"])',
    "redis.exec": "kept().exec()",
    "sleep": "sleep(0.001)",
    "msleep": "msleep(1)",
    "task.sleep": "task.sleep(0)",
    "task.result": 'task.result("OTHER")',
    "spawn.get": "task.spawn(sleep, 0.001).get()",
    "task.map": "task.map(sleep, [0.001])",
    "gevent": "gevent.sleep(0.001)",
    "lock": "LOCK.acquire()",
    "thread": "gevent.get_hub().threadpool.apply(int)",
}
FILE = """
import gevent
from gevent.lock import Semaphore
from filterd import dns, extractor, http, msleep, redis, route, rule, sleep, tcp, tcp_sync, transform, udp, register_symbol

LOCK = Semaphore(0)

def kept():
    connection = redis.connect(redis.parse_server("x")).unwrap()
    connection.add_cmd("PING")
    return connection

@route("R")
def r(task, reply):
    pass

def looks(task):
    {call}
    return 1

@extractor("looking")
def looking(task):
    return looks(task)

@transform("looked")
def looked(value, task=None):
    from filterd.task import current
    return looks(current())

@rule("BY_EXTRACTOR")
def by_extractor(task):
    task.get("looking")

@rule("BY_TRANSFORM")
def by_transform(task):
    task.get("id.looked")

@rule("BY_CONDITION", condition=looks)
def by_condition(task):
    return True

@rule("INLINE", inline=True)
def inline(task):
    looks(task)

@rule("OTHER", type="normal", priority=-1)
def other(task):
    sleep(0.01)

@rule("STILL_WAITS", score=1.0)
def still_waits(task):
    sleep(0.001)
    is_ok, error = tcp_sync.connect("127.0.0.1", 1)
    return not is_ok and error.kind == "connect" and dns.request("a.example.org")[0]
"""
DNS = '[[dns.fake_records]]\nname = "a.example.org"\nreplies = ["192.0.2.1"]\n[redis.x]\nservers = "127.0.0.1:1"\n'


@pytest.mark.parametrize("call", CALLS)
def test_waiting_where_nothing_may_raises_at_once_and_names_rule_and_call(tmp_path: Path, call: str) -> None:
    file = tmp_path / "looks.py"
    file.write_text(FILE.replace("{call}", CALLS[call]))
    line = file.read_text().splitlines().index(f"    {CALLS[call]}") + 1
    place = f"{file}:{line}"

    with assembled(tmp_path, [file], DNS) as assembly:
        verdict = assembly.engine.scan(ScanRequest(Message(MAIL), Envelope({})))
    told = {one.rule: one.text for one in verdict.failures if one.kind == "exception"}
    assert told.keys() == {"BY_EXTRACTOR", "BY_TRANSFORM", "BY_CONDITION", "INLINE"}
    for rule, text in told.items():
        assert text.startswith("WouldWait: ")
        assert f"({place}) would wait in `" in text
        assert f" ({rule})" in text
        assert verdict.timings[rule] < 5
    assert set(verdict.symbols) == {"STILL_WAITS"}


def test_what_does_not_wait_is_allowed_where_nothing_may(tmp_path: Path) -> None:
    """A callback is called later, beside the rule; a spawned function too."""
    seen: list[object] = []

    def looks(task: filterd.Task) -> bool:
        task.spawn(seen.append, "spawned")
        filterd.http.request("http://127.0.0.1:1/", callback=lambda err: seen.append(err.kind))
        filterd.spawn(print)
        return True

    begun: list[object] = []
    engine = engine_of(rule_of(lambda task: True, "R", condition=looks))
    engine.environment.background.begin = lambda function, args: begun.append(function)

    verdict = engine.scan(ScanRequest(Message(MAIL), Envelope({})))
    assert verdict.failures == ()
    assert (seen, begun, set(verdict.symbols)) == (["spawned", "connect"], [print], {"R"})


def test_outside_of_a_scope_it_is_told_too() -> None:
    told = r"^test_outside_of_a_scope_it_is_told_too \(.*test_contexts.py:\d+\) would wait in `gevent.sleep\(0\)`$"
    with pytest.raises(WouldWait, match=told), no_wait(told_wait):
        gevent.sleep(0)
    gevent.sleep(0)
    with pytest.raises(WouldWait), no_wait(lambda: "no"):
        refuse_now()
    refuse_now()
    with no_wait(lambda: "outer"):
        with pytest.raises(WouldWait, match="inner"), no_wait(lambda: "inner"):
            gevent.sleep(0)
        with pytest.raises(WouldWait, match="outer"):
            gevent.sleep(0)


# -- registering


@pytest.mark.parametrize(
    "what",
    [
        '@rule("LATE")\n    def late(task):\n        return True',
        'register_symbol(name="LATE", callback=print)',
        'virtual("LATE", parent="BEGINS")',
        "@on_load\n    def late():\n        pass",
        "@periodic(1)\n    def late():\n        pass",
        "background(print)",
        '@extractor("late")\n    def late(task):\n        return 1',
        '@transform("late")\n    def late(value):\n        return 1',
        '@route("LATE")\n    def late(task, reply):\n        pass',
        'REGISTRY.rule("LATE")(print)',
    ],
)
def test_registering_later_is_an_error_with_the_line(tmp_path: Path, what: str) -> None:
    file = tmp_path / "late.py"
    file.write_text(
        "from filterd import *\nREGISTRY = None\ndef register(registry):\n    global REGISTRY\n    REGISTRY = registry\n"
        f'@rule("BEGINS")\ndef begins(task=None):\n    {what}\n'
    )
    rules = load_rules([file])
    before = dict(rules.registry.rules)
    begins = rules.registry.rules["BEGINS"].function
    assert begins is not None
    told = rf"at {file}:8, called {{}}: only the top level of a rule file registers.*started with filterd.spawn"
    with pytest.raises(LateRegistration, match=told.format("after its file was loaded")):
        begins(None)  # type: ignore[arg-type]
    (failure,) = scan_with(rules.registry.rules["BEGINS"], files=rules.code).failures
    assert re.search(told.format(r"while \w+ runs"), failure.text)
    assert failure.where == f"{file}:8"
    assert rules.registry.rules == before
    assert [len(collect_words(rules.modules)[0].extractors), getattr(rules.modules[0], "__filterd_hooks__", [])] == [
        len(collect_words(())[0].extractors),
        [],
    ]


@pytest.mark.parametrize(
    "line",
    [
        "gevent.sleep(0.01)",
        "sleep(0)",
        "import socket; gevent.socket.create_connection(('127.0.0.1', 1))",
        "gevent.spawn(int).get()",
    ],
)
def test_waiting_while_a_file_is_loaded_is_an_error_with_the_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "waits.py"
    file.write_text(f'import gevent.socket\nfrom filterd import rule, sleep\n\n@rule("R")\ndef r(task):\n    pass\n\n{line}\n')
    with pytest.raises(LoadError) as caught:
        load_rules([file])
    (problem,) = caught.value.problems
    assert problem.where == f"{file}:8"
    assert f"while rule files are loaded nothing waits, and <module> ({file}:8) would wait in `{line}`" in problem.text
    assert "do it in an @on_load function" in problem.text


def test_spawn_at_the_top_level_of_a_file_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "spawns.py"
    file.write_text("from filterd import spawn\n\nspawn(print)\n")
    with pytest.raises(LoadError, match=rf"{file}:3: .*write @background above the function"):
        load_rules([file])


# -- spawning


@pytest.fixture
def environment() -> Environment:
    return Environment(Network(), Crew(), Scoring({}, {}, {}), {})


def hook(function: Any) -> Hook:
    return Hook("on_load", function, False, __file__, 1)


def test_what_an_on_load_hook_spawns_begins_when_messages_are_accepted(environment: Environment) -> None:
    seen: list[object] = []

    def later(*args: object) -> None:
        filterd.sleep(0.001)
        seen.append(args)

    hooks = Hooks([hook(lambda: filterd.spawn(later, 1, "two"))], environment)
    hooks.load()
    gevent.sleep(0.02)
    assert seen == []
    hooks.start()
    while not seen:
        gevent.sleep(0.001)
    assert seen == [(1, "two")]
    hooks.finish(1)


def test_a_rule_spawns_and_its_message_does_not_wait(environment: Environment) -> None:
    hooks = Hooks([], environment)
    hooks.start()
    ended: list[str] = []

    def outlives() -> None:
        try:
            filterd.sleep(60)
        finally:
            ended.append("finally")

    engine = engine_of(lambda task: filterd.spawn(outlives))
    engine.environment.background.begin = environment.background.begin

    assert engine.scan(ScanRequest(Message(MAIL), Envelope({}))).failures == ()
    gevent.sleep(0.01)
    assert (ended, len(hooks._spawned.greenlets)) == ([], 1)
    hooks.finish(1)
    assert (ended, len(hooks._spawned.greenlets)) == (["finally"], 0)


def test_what_a_spawned_function_raises_is_logged_and_it_is_not_started_again(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def breaks() -> None:
        calls.append(1)
        raise KeyError("lost")

    hooks = Hooks([hook(lambda: filterd.spawn(breaks))], environment, files=[__file__])
    hooks.load()
    hooks.start()
    while hooks._spawned.greenlets:
        gevent.sleep(0.001)
    hooks.finish(1)
    assert calls == [1]
    assert f"spawned breaks: KeyError: 'lost' ({__file__}:" in caplog.text


@pytest.mark.parametrize(
    ("spawn", "told"),
    [
        (lambda: filterd.spawn(3), "3 is no function"),  # type: ignore[arg-type]
        (
            lambda: list(starmap(filterd.spawn, [(filterd.sleep, 60)] * (MOST + 1))),
            f"sleep is not started, for {MOST} functions",
        ),
    ],
)
def test_what_cannot_be_spawned_is_told(environment: Environment, spawn: Any, told: str) -> None:
    with pytest.raises(LoadError, match=told):
        Hooks([hook(spawn)], environment).load()


def test_where_nothing_runs_beside_the_messages_it_is_told() -> None:
    with pytest.raises(RuntimeError, match="outside of any rule or hook"):
        filterd.spawn(print)
    (failure,) = scan_with(lambda task: filterd.spawn(print)).failures
    assert "nothing runs beside the messages here" in failure.text


def test_at_the_end_of_the_worker_nothing_is_started(environment: Environment) -> None:
    told: list[str] = []

    def end() -> None:
        with pytest.raises(RuntimeError, match="the worker ends, so print is not started any more"):
            filterd.spawn(print)
        told.append("told")

    hooks = Hooks([Hook("on_finish", end, False, __file__, 1)], environment)
    hooks.load()
    hooks.finish(1)
    assert told == ["told"]


def test_a_time_without_an_end_is_no_time_to_sleep() -> None:
    for seconds in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="is no number of seconds"):
            filterd.sleep(seconds)


def test_names_are_resolved_when_they_are_used_everywhere(tmp_path: Path) -> None:
    """In hooks, in what they spawn, in rules; a file that is loaded asks nobody."""
    file = tmp_path / "names.py"
    file.write_text(
        dedent("""
        from filterd import dns, on_load, rule, spawn, tcp_sync

        SEEN = []

        def ask(who):
            SEEN.append((who, dns.request("a.example.org").unwrap()[0]))
            is_ok, error = tcp_sync.connect("b.example.org", 1)
            SEEN.append((who, error.kind, error.peer))

        @on_load
        def begin():
            ask("hook")
            spawn(ask, "spawned")

        @rule("R")
        def r(task):
            ask("rule")
        """)
    )

    toml = '[[dns.fake_records]]\nname = "{}.example.org"\ntype = "a"\nreplies = ["127.0.0.1"]\n'
    absent = '[[dns.fake_records]]\nname = "b.example.org"\ntype = "aaaa"\nreplies = []\n'
    with assembled(tmp_path, [file], toml.format("a") + toml.format("b") + absent) as assembly:
        seen = assembly.rules.modules[0].SEEN
        assert seen == []
        assembly.hooks.load()
        assembly.engine.scan(ScanRequest(Message(MAIL), Envelope({})))
        assembly.hooks.start()
        while len(seen) < 6:
            gevent.sleep(0.001)
        assembly.hooks.finish(1)
    assert {one[0] for one in seen if one[1:] == ("127.0.0.1",)} == {"hook", "rule", "spawned"}
    assert {one[0] for one in seen if one[1:2] == ("connect",)} == {"hook", "rule", "spawned"}
