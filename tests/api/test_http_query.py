"""http.query: Kamailio's shape, with its routes, waited for and not waited for."""

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from filterd.api import http
from filterd.api.http_query import Detached
from filterd.net.greenlets import Crew
from filterd.net.http import HttpClient
from filterd.net.http_call import HttpSettings
from filterd.outcome import RequestFailed
from filterd.task import Scope, current
from tests.support.http_server import answer, http_serving
from tests.support.peers import Names, dead_port, serving, silent
from tests.support.scopes import run_in_scope

seen: list[Any] = []


@http.route("NOTE")
def note(task: Scope, reply: http.Reply) -> None:
    seen.append((task, reply))


@pytest.fixture
def network() -> Iterator[Any]:
    seen.clear()
    client = HttpClient(HttpSettings(max_detached=2), resolver=Names())
    yield SimpleNamespace(crew=Crew(), http=client)
    assert client.detached == 0
    client.close()


@pytest.fixture
def run(network: Any) -> Callable[[Callable[[], Any]], Any]:
    return lambda function: run_in_scope(function, network=network)


def test_the_rule_goes_on_after_the_route_has_run_with_the_reply(run: Any) -> None:
    def rule() -> Any:
        reply = http.query(server.url("/a"), route="NOTE")
        return reply, list(seen), current()

    with http_serving(lambda asked: answer(b"body", "503 Down", "X-A: 1", "X-A: 2")) as server:
        reply, before, scope = run(rule)
    assert before == [(scope, reply)]
    assert (reply.ok, reply.err, reply.status, reply.reason) == (True, None, 503, "Down")
    assert (reply.body, reply.size) == (b"body", 4)
    assert [reply.header("x-a", index) for index in (0, 1, 2, -1, -3)] == ["1", "2", None, "2", None]
    assert reply.header("absent") is None
    message = b"HTTP/1.1 503 Down\r\ncontent-length: 4\r\nx-a: 1\r\nx-a: 2\r\n\r\nbody"
    assert (reply.message, reply.length) == (message, len(message))
    assert "503 Down" in repr(reply)


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/", "ftp://nowhere"])
def test_errors_go_to_the_same_route(run: Any, address: str) -> None:
    with dead_port() as port:
        reply = run(lambda: http.query(address.format(port=port), route="NOTE"))
    assert seen[0][1] is reply
    assert not reply.ok
    assert reply.err.kind in ("connect", "protocol")
    assert [reply.status, reply.reason, reply.body, reply.size, reply.message, reply.length, reply.header("a")] == [None] * 7
    assert repr(reply.err) in repr(reply)


def test_data_is_posted_as_a_form_unless_said_otherwise(run: Any) -> None:
    def rule() -> None:
        http.query(server.url(), "a=1", route="NOTE")
        http.query(server.url(), "{}", route="NOTE", mime_type="application/json", method="PUT")
        http.query(server.url(), route="NOTE")

    with http_serving(lambda asked: answer()) as server:
        run(rule)
    form = "application/x-www-form-urlencoded"
    assert [(asked.method, asked.body, asked.one("content-type")) for asked in server.asked] == [
        ("POST", b"a=1", form),
        ("PUT", b"{}", "application/json"),
        ("GET", b"", None),
    ]


def test_two_bodies_are_one_too_many(run: Any) -> None:
    with pytest.raises(ValueError, match="one body"):
        run(lambda: http.query("http://127.0.0.1/", "a", body="b", route="NOTE"))


def test_what_a_route_raises_is_the_rules(run: Any) -> None:
    def broken(task: Any, reply: Any) -> None:
        raise LookupError("mine")

    with http_serving(lambda asked: answer()) as server, pytest.raises(LookupError, match="mine"):
        run(lambda: http.query(server.url(), route=broken))


def test_a_route_nobody_has_is_refused_before_anything_is_sent(run: Any) -> None:
    with http_serving(lambda asked: answer()) as server:
        with pytest.raises(LookupError, match="no route 'NOET'; there are: NOTE"):
            run(lambda: http.query(server.url(), route="NOET"))
        assert server.accepted == 0


def test_routes_of_other_files_are_found_by_the_client(run: Any, network: Any) -> None:
    network.http.routes = {"ELSEWHERE": note}
    with http_serving(lambda asked: answer()) as server:
        run(lambda: http.query(server.url(), route="ELSEWHERE"))
    assert len(seen) == 1


def test_without_suspend_the_route_runs_after_the_message(run: Any, network: Any) -> None:
    with http_serving(lambda asked: answer(b"late")) as server:
        handle = run(lambda: http.query(server.url(), route="NOTE", suspend=False))
        assert (seen, handle.done) == ([], False)
        assert handle.id.startswith("http-")
        while network.http.detached:
            gevent.sleep(0.01)
    [(scope, reply)] = seen
    assert reply.body == b"late"
    assert handle.done
    assert scope.title == f"route note, query {handle.id}"


def test_a_detached_route_may_call_and_start_like_a_rule(run: Any, network: Any) -> None:
    def again(task: Scope, reply: http.Reply) -> None:
        assert current() is task
        seen.append(http.request(server.url("/2")).unwrap().content)
        task.start(lambda: seen.append("child"))

    with http_serving(lambda asked: answer(asked.target.encode())) as server:
        run(lambda: http.query(server.url("/1"), route=again, suspend=False))
        while network.http.detached:
            gevent.sleep(0.01)
    assert seen == [b"/2", "child"]


def test_only_so_many_go_on_without_their_message(run: Any, network: Any) -> None:
    def rule() -> list[Any]:
        url = f"http://127.0.0.1:{server.port}/"
        return [http.query(url, route="NOTE", suspend=False, timeout=0.1) for _ in range(3)]

    with serving(silent) as server:
        first, second, third = run(rule)
        assert third is None
        while network.http.detached:
            gevent.sleep(0.01)
    assert (first.id != second.id, first.done, second.done) == (True, True, True)
    assert [reply.err.kind for _, reply in seen] == ["timeout"] * 2


def test_what_a_detached_route_raises_is_logged(run: Any, network: Any, caplog: pytest.LogCaptureFixture) -> None:
    def broken(task: Any, reply: http.Reply) -> None:
        if reply.ok:
            raise ValueError("a mistake")
        assert reply.err is not None
        raise RequestFailed(reply.err)

    with http_serving(lambda asked: answer()) as server, dead_port() as port, caplog.at_level(logging.ERROR):
        run(lambda: http.query(server.url(), route=broken, suspend=False))
        run(lambda: http.query(f"http://127.0.0.1:{port}/", route=broken, suspend=False))
        while network.http.detached:
            gevent.sleep(0.01)
    by_trace = {bool(record.exc_info): record.getMessage() for record in caplog.records}
    assert "route broken, query http-" in by_trace[True]
    assert "a mistake" in by_trace[True]
    assert "Connection refused" in by_trace[False]


def test_a_detached_route_that_never_ends_is_stopped(run: Any, network: Any, caplog: pytest.LogCaptureFixture) -> None:
    scope = Detached(SimpleNamespace(network=network, crew=network.crew), "route slow, query http-0", 0.05)  # type: ignore[arg-type]
    job = SimpleNamespace(name="slow", timeout=None, run=lambda: gevent.sleep(5))
    scope.run(job)
    assert "the budget of route slow, query http-0, 0.05 s, is over" in caplog.text
