"""The client itself: what it counts, repeats and tells. Its promises to rules are tested with `http.request`."""

import socket
import threading
import time
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.http import HttpClient
from filterd.net.http_call import Call, HttpSettings
from filterd.net.upstream import Upstreams
from filterd.outcome import Failure, RequestFailed
from tests.support.http_server import answer, http_serving
from tests.support.peers import LOOPBACK, Names, dead_port, full_queue, serving, silent

SETTINGS = HttpSettings()


def client(names: dict[str, list[str]] | None = None, **settings: Any) -> HttpClient:
    return HttpClient(HttpSettings(**settings), resolver=Names(names))


def failure_of(client: HttpClient, call: Call, seconds: float = 2.0) -> Failure:
    with pytest.raises(RequestFailed) as caught:
        client.send(call, until=monotonic() + seconds)
    return caught.value.failure


def test_a_call_may_have_no_end_of_its_own() -> None:
    with http_serving(lambda asked: answer(b"x")) as server:
        assert client().send(Call(server.url(), SETTINGS)).content == b"x"


def test_what_must_not_be_repeated_is_not_sent_on_a_connection_closed_a_moment_ago() -> None:
    def serve() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer(b"x"))

    with socket.create_server((LOOPBACK, 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        one = client()
        call = Call(f"http://127.0.0.1:{listening.getsockname()[1]}/", SETTINGS, method="POST")
        one.send(call, until=monotonic() + 2)
        time.sleep(0.05)  # the hub is held: the loop has not told yet
        assert one.send(call, until=monotonic() + 2).content == b"x"
        thread.join()


def test_a_silent_address_leaves_time_for_the_others() -> None:
    with full_queue() as (address, _):
        one = client({"two.test": [LOOPBACK, "127.0.0.2"]})
        with http_serving(lambda asked: answer(b"x"), host="127.0.0.2") as server:
            # Same port at both addresses: the silent one first, where nobody accepts.
            assert server.port != address[1]
            failure = failure_of(one, Call(f"http://two.test:{address[1]}/", SETTINGS), 0.2)
    assert (failure.kind, failure.peer) == ("connect", f"two.test:{address[1]} (127.0.0.2)")


def test_a_failure_tells_the_name_and_the_address() -> None:
    with dead_port() as port:
        failure = failure_of(client({"a.test": [LOOPBACK]}), Call(f"http://a.test:{port}/", SETTINGS))
    assert failure.peer == f"a.test:{port} ({LOOPBACK})"


@pytest.mark.parametrize(("size", "fails"), [(0, 0), (100, 0)])
def test_too_large_an_answer_is_not_the_upstreams_fault(size: int, fails: int) -> None:
    heard: list[Any] = []

    class Listening(Upstreams):
        def fail(self, server: Any) -> None:
            heard.append(server)

    with http_serving(lambda asked: answer(b"xx")) as server:
        upstream = Listening([(LOOPBACK, server.port)])
        call = Call("http://a.test/", SETTINGS, upstream=upstream, max_size=size)
        if size:
            client().send(call)
        else:
            assert failure_of(client(), call).kind == "limit"
    assert len(heard) == fails


def test_seconds_are_told_from_the_beginning_of_the_call() -> None:
    with serving(silent) as server:
        failure = failure_of(client(), Call(f"http://127.0.0.1:{server.port}/", SETTINGS), 0.1)
    assert 0.09 < failure.elapsed < 2
    assert f"after {failure.elapsed:.2f} s" in failure


def test_a_proxy_that_closes_before_it_answers() -> None:
    with serving(lambda connection: connection.recv(1000)) as proxy:
        failure = failure_of(client(), Call("https://a.test/", SETTINGS, proxy=f"127.0.0.1:{proxy.port}"))
    assert failure.kind == "closed"


def test_closing_the_client_closes_its_idle_connections() -> None:
    ended: list[bool] = []

    def talk(connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(answer())
        ended.append(connection.recv(1000) == b"")

    one = client()
    with serving(talk) as server:
        one.send(Call(f"http://127.0.0.1:{server.port}/", SETTINGS))
        one.close()
        gevent.sleep(0.02)
    assert ended == [True]
