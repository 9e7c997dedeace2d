"""Hooks at work: when they run, how they fail, how they end; what they ask goes to real servers on loopback."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.api import dns, http, log, tcp_sync
from filterd.engine import hook_runs
from filterd.engine.hook_runs import Hooks
from filterd.engine.hooks import Hook, WorkerInfo
from filterd.engine.loader import LoadError
from filterd.mail.results import Scoring
from filterd.net.greenlets import Crew
from filterd.net.network import Network, NetworkSettings
from filterd.net.resolver import FakeRecord, ResolverSettings
from filterd.outcome import Failure, RequestFailed
from filterd.task import Environment, current, sleep
from tests.support.http_server import Asked, answer, http_serving


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd")


def hook_of(kind: Any, function: Callable[..., Any], **settings: Any) -> Hook:
    code = function.__code__
    settings.setdefault("seconds", 0.01)
    takes_worker = code.co_argcount > 0
    return Hook(kind, function, takes_worker, code.co_filename, code.co_firstlineno, **settings)


def hooks_of(*hooks: Hook, worker: WorkerInfo | None = None) -> Hooks:
    network = Network(
        NetworkSettings(dns=ResolverSettings(fake_records=(FakeRecord("a.test", "a", ("192.0.2.1",), "noerror"),)))
    )
    return Hooks(hooks, Environment(network, Crew(), Scoring(), {}), files={__file__}, worker=worker)


@contextmanager
def started(*hooks: Hook, worker: WorkerInfo | None = None) -> Iterator[Hooks]:
    running = hooks_of(*hooks, worker=worker)
    running.start()
    try:
        yield running
    finally:
        running.finish(1.0)


def until(condition: Callable[[], object]) -> None:
    while not condition():
        gevent.sleep(0.005)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "filterd.hooks"]


# -- on_load


def test_on_load_hooks_run_one_after_the_other_and_get_the_worker() -> None:
    ran: list[object] = []

    def first(worker: WorkerInfo) -> None:
        sleep(0.01)
        ran.append(worker)

    hooks_of(hook_of("on_load", first), hook_of("on_load", lambda: ran.append("second"))).load()
    assert ran == [WorkerInfo(0, 1), "second"]


def test_a_hook_may_ask_others_and_its_connections_are_closed_with_it() -> None:
    asked: list[Any] = []

    def ask() -> None:
        asked.append(http.request(server.url("/")).unwrap().content)
        asked.append(dns.request("a.test").unwrap())
        connection = tcp_sync.connect("127.0.0.1", server.port).unwrap()
        assert not connection.eof()
        asked.append(connection)

    with http_serving(lambda asked: answer(b"hello")) as server:
        hooks_of(hook_of("on_load", ask)).load()
    assert asked[:2] == [b"hello", ["192.0.2.1"]]
    is_ok, failure = asked[2].write(b"x")
    assert (is_ok, failure.kind) == (False, "closed")


def test_a_callback_of_a_hook_is_waited_for() -> None:
    got: list[Any] = []

    def ask() -> None:
        assert http.request(server.url("/"), callback=lambda err, code, body: got.append(body))

    with http_serving(lambda asked: answer(b"hello")) as server:
        hooks_of(hook_of("on_load", ask)).load()
    assert got == [b"hello"]


def test_all_on_load_hooks_that_fail_are_told_with_the_users_line() -> None:
    def broken() -> None:
        dict[str, int]()["missing"]

    def refused() -> None:
        raise RequestFailed(Failure("Connection refused", kind="refused", peer="127.0.0.1:1", phase="connect"))

    ran: list[int] = []
    with pytest.raises(LoadError) as raised:
        hooks_of(hook_of("on_load", broken), hook_of("on_load", refused), hook_of("on_load", lambda: ran.append(1))).load()
    one, two = raised.value.problems
    line = broken.__code__.co_firstlineno + 1
    assert (one.where, one.text) == (f"{__file__}:{line}", "on_load broken: KeyError: 'missing'")
    assert one.traceback.startswith(f'Traceback (most recent call last):\n  File "{__file__}", line {line}')
    assert (two.text.startswith("on_load refused: "), "Connection refused" in two.text, two.traceback) == (True, True, "")
    assert ran == [1]


def test_what_a_hook_asked_in_vain_is_told_with_its_name() -> None:
    def ask() -> None:
        http.request(server.url("/"), timeout=0.05).unwrap()

    def respond(asked: Asked) -> bytes:
        gevent.sleep(0.2)
        return answer()

    with http_serving(respond) as server, pytest.raises(LoadError) as raised:
        hooks_of(hook_of("on_load", ask)).load()
    assert raised.value.problems[0].text.endswith(" (on_load ask, without a budget)")


def test_a_log_line_of_a_hook_carries_its_name(caplog: pytest.LogCaptureFixture) -> None:
    def named_so() -> None:
        log.info("loaded %d", 5)

    hooks_of(hook_of("on_load", named_so)).load()
    (record,) = [record for record in caplog.records if record.name == "filterd.rule"]
    assert (record.getMessage(), getattr(record, "rule", None)) == ("loaded 5", "on_load named_so")


# -- periodic


def test_a_periodic_hook_runs_again_and_again() -> None:
    runs: list[float] = []
    with started(hook_of("periodic", lambda: runs.append(monotonic()), seconds=0.02)):
        began = monotonic()
        until(lambda: len(runs) == 3)
    assert runs[0] - began >= 0.015
    assert runs[2] - runs[0] >= 0.03


def test_a_number_changes_the_interval_and_false_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = [0.001, None, True, False]
    given: list[Any] = []

    def hook() -> Any:
        given.append(answers[len(given)])
        return given[-1]

    with started(hook_of("periodic", hook, jitter=0.01)):
        until(lambda: "periodic hook: ended by itself" in lines(caplog))
    assert given == answers


@pytest.mark.parametrize("value", [0, -1, nan])
def test_a_number_that_is_no_interval_ends_it_with_a_word(value: float, caplog: pytest.LogCaptureFixture) -> None:
    def hook() -> float:
        return value

    with started(hook_of("periodic", hook)):
        until(lambda: lines(caplog))
    assert lines(caplog) == [
        f"periodic hook: returned {value!r}, which is no number of seconds above 0: it is not called again"
    ]


def test_what_a_periodic_hook_raises_is_logged_and_it_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []

    def hook() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("oh")

    with started(hook_of("periodic", hook)):
        until(lambda: len(runs) == 3)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    line = hook.__code__.co_firstlineno + 3
    assert record.getMessage() == f"periodic hook: ValueError: oh ({__file__}:{line})"
    assert vars(record)["traceback"].splitlines()[1] == f'  File "{__file__}", line {line}, in hook'


def test_what_the_child_of_a_hook_raises_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    def child() -> None:
        raise ValueError("in the child")

    def hook() -> bool:
        scope = current()
        assert scope is not None
        scope.start(child)
        return False

    with started(hook_of("periodic", hook)):
        until(lambda: lines(caplog))
    assert lines(caplog)[0].startswith("periodic hook: ValueError: in the child")


@pytest.mark.parametrize("kind", ["periodic", "background"])
def test_once_means_from_the_election_to_the_resignation(kind: str) -> None:
    ran: list[str] = []

    def once() -> None:
        ran.append("begins")
        try:
            sleep(60)
        finally:
            ran.append("ends")

    with started(hook_of(kind, once, scope="once"), hook_of("periodic", lambda: ran.append("each"))) as hooks:
        until(lambda: ran.count("each") > 2)
        assert set(ran) == {"each"}
        hooks.elect()
        hooks.elect()
        until(lambda: "begins" in ran)
        hooks.resign(1.0)
        hooks.resign(1.0)
        assert [one for one in ran if one != "each"] == ["begins", "ends"]
        ran.clear()
        until(lambda: "each" in ran)
        hooks.elect()
        until(lambda: "begins" in ran)
    assert [one for one in ran if one != "each"] == ["begins", "ends"]


# -- background


@pytest.mark.parametrize(
    ("restart", "raises", "again"),
    [
        ("on-error", True, True),
        ("on-error", False, False),
        ("always", False, True),
        ("always", True, True),
        ("never", True, False),
    ],
)
def test_a_background_hook_is_started_again_as_it_asks(
    restart: Any, raises: bool, again: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hook_runs, "FIRST_PAUSE", 0.01)
    runs: list[int] = []

    def hook() -> None:
        runs.append(1)
        if raises:
            raise ValueError

    with started(hook_of("background", hook, restart=restart)):
        if again:
            until(lambda: len(runs) == 3)
        else:
            until(lambda: any("is not started again" in line for line in lines(caplog)))
    if not again:
        assert len(runs) == 1
        assert lines(caplog)[-1] == f"background hook: has ended and is not started again (restart={restart!r})"
    else:
        expected = ["0.01", "0.02"] if raises else ["0.01", "0.01"]  # the pause grows with failures only
        told = [line.rsplit(" ", 2)[1] for line in lines(caplog) if "is started again" in line]
        assert told[:2] == expected


def test_the_end_does_not_wait_for_the_pause_before_a_new_start() -> None:
    runs: list[int] = []

    def hook() -> None:
        runs.append(1)
        raise ValueError

    with started(hook_of("background", hook)) as hooks:
        until(lambda: runs)
        gevent.sleep(0.01)
        hooks.finish(0.5)
    assert runs == [1]


def test_a_hook_that_lives_long_may_ask_the_dns_more_often_than_a_message() -> None:
    def ask() -> None:
        for _ in range(100):
            dns.request("a.test").unwrap()

    hooks_of(hook_of("on_load", ask)).load()


# -- the end


def test_at_the_end_what_waits_is_stopped_and_its_finally_runs_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def waits() -> None:
        try:
            told.append("begun")
            sleep(60)
        finally:
            sleep(0.01)
            told.append("finally")

    with started(hook_of("background", waits), hook_of("periodic", waits)):
        until(lambda: len(told) == 2)
    assert told == ["begun", "begun", "finally", "finally"]
    assert lines(caplog) == []


def test_a_hook_that_will_not_end_is_left_behind_in_time(caplog: pytest.LogCaptureFixture) -> None:
    def stubborn() -> None:
        while True:
            try:
                sleep(60)
            except BaseException:  # noqa: BLE001 - the worst a rule file can do
                pass

    hooks = hooks_of(hook_of("background", stubborn))
    hooks.start()
    gevent.sleep(0.01)
    hooks.finish(0.0)
    assert any("swallowed" in line or "did not end in time" in line for line in lines(caplog))


def test_on_finish_hooks_run_at_the_same_time_after_the_others_have_ended(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def keeps() -> None:
        try:
            sleep(60)
        finally:
            told.append("kept")

    def fails() -> None:
        raise ValueError("at the end")

    def first() -> None:
        sleep(0.05)
        told.append("first")

    with http_serving(lambda asked: answer(b"bye")) as server:
        finishing = [
            hook_of("on_finish", fails),
            hook_of("on_finish", first),
            hook_of("on_finish", lambda: told.append(http.request(server.url("/")).unwrap().text)),
        ]
        hooks = hooks_of(hook_of("background", keeps), *finishing)
        hooks.load()
        hooks.start()
        gevent.sleep(0.01)
        hooks.finish(2.0)
    assert told == ["kept", "bye", "first"]
    assert lines(caplog)[0].startswith("on_finish fails: ValueError: at the end")


def test_an_on_finish_hook_that_takes_too_long_is_stopped(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_runs, "LEAST_FINISH", 0.05)

    def slow() -> None:
        sleep(60)

    hooks = hooks_of(hook_of("on_finish", slow))
    hooks.load()
    hooks.finish(0.0)
    assert lines(caplog)[0].startswith("on_finish slow: timeout: its budget of 0.05 s is over (sleep)")


def test_a_worker_that_never_loaded_finishes_nothing() -> None:
    ran: list[int] = []

    def fails() -> None:
        raise ValueError

    hooks = hooks_of(hook_of("on_load", fails), hook_of("on_finish", lambda: ran.append(1)))
    with pytest.raises(LoadError):
        hooks.load()
    hooks.finish(1.0)
    assert ran == []
