"""One kept connection: exchange after exchange, watched while idle, listened to while it sends."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.http_connection import Connection
from filterd.net.stream import Stream
from filterd.net.tls import TlsSettings, TlsStream
from filterd.outcome import RequestFailed
from filterd.proto.http1 import ProtocolError
from tests.support.certificates import Certificates
from tests.support.http_server import answer, http_serving
from tests.support.peers import LOOPBACK, reset, serving

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextmanager
def threaded(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server for one connection, in a thread: it goes on while the test holds the hub."""
    with socket.create_server((LOOPBACK, 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def connected(port: int, *, max_size: int = 1000, lost: Any = None) -> Connection:
    stream = Stream.connect((LOOPBACK, port), until=monotonic() + 2)
    return Connection(stream, opening=(0.0, 0.0, 0.0), max_size=max_size, on_lost=lost)


def exchange(connection: Connection, request: bytes = REQUEST, *, head: bool = False, max_size: int = 1000) -> bool:
    now = monotonic()
    until = now + 2
    reusable, sent, done = connection.exchange(
        request, head=head, max_size=max_size, began=now, write_until=until, read_until=(until, None)
    )
    assert now <= sent <= done
    return reusable


def test_one_exchange_after_the_other() -> None:
    with http_serving(lambda asked: answer(asked.target.encode())) as server:
        connection = connected(server.port)
        for target in (b"/1", b"/2"):
            assert exchange(connection, REQUEST.replace(b"/ ", target + b" "))
            assert (connection.parser.status, connection.parser.body) == (200, target)
    assert server.accepted == 1


def test_each_exchange_has_its_own_size_limit() -> None:
    with http_serving(lambda asked: answer(b"x" * 50)) as server:
        connection = connected(server.port)
        assert exchange(connection, max_size=100)
        assert exchange(connection, max_size=50)
        with pytest.raises(ProtocolError) as caught:
            exchange(connection, max_size=49)
    assert caught.value.kind == "limit"
    assert not connection.is_open


def test_what_the_head_says_of_a_body_that_does_not_come_is_not_waited_for() -> None:
    with http_serving(lambda asked: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as server:
        connection = connected(server.port)
        exchange(connection, head=True)
    assert connection.parser.body == b""


@pytest.mark.parametrize(
    "wire",
    [answer(b"x", "200 OK", "Connection: close"), b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", answer(b"") + b"more"],
    ids=["close", "HTTP/1.0", "excess"],
)
def test_a_connection_that_cannot_be_used_again_is_closed(wire: bytes) -> None:
    with http_serving(lambda asked: wire) as server:
        connection = connected(server.port)
        assert not exchange(connection)
    assert not connection.is_open


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Timeout\r\n\r\n"])
def test_an_idle_connection_that_is_closed_or_spoken_to_gives_itself_up(last_words: bytes) -> None:
    def talk(connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(answer())
        gevent.sleep(0.01)
        connection.sendall(last_words)

    lost: list[Connection] = []
    with serving(talk) as server:
        connection = connected(server.port, lost=lost.append)
        exchange(connection)
        assert not connection.looks_dead()
        while connection.is_open:
            gevent.sleep(0.01)
    assert lost == [connection]
    assert connection.looks_dead()


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_farewell_of_tls_is_the_end_too(tmp_path: Any, pause: float) -> None:
    certificates = Certificates(tmp_path)

    def talk(connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(answer())
        gevent.sleep(pause)
        connection.unwrap()

    lost: list[Connection] = []
    with serving(talk, tls=certificates.server_context()) as server:
        plain = Stream.connect((LOOPBACK, server.port), until=monotonic() + 2)
        context = TlsSettings(ca_path=str(certificates.ca_file)).context()
        stream = TlsStream(plain, context, "localhost", until=monotonic() + 2)
        connection = Connection(stream, opening=(0.0, 0.0, 0.0), max_size=100, on_lost=lost.append)
        reusable = exchange(connection)
        while connection.is_open:
            gevent.sleep(0.01)
    assert lost == ([connection] if reusable else [])


def test_what_the_loop_has_not_seen_yet_can_be_asked_for() -> None:
    with threaded(lambda connection: None) as port:
        connection = connected(port)
        time.sleep(0.05)
        assert connection.looks_dead()
        connection.close()


@pytest.mark.parametrize(("wire", "status"), [(answer(b"no", "413 No"), 413), (answer(b"half")[:-1], None), (b"", None)])
def test_an_answer_that_came_before_the_reset_is_taken(wire: bytes, status: int | None) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(wire)
        time.sleep(0.02)
        reset(connection)

    with threaded(talk) as port:
        connection = connected(port)
        time.sleep(0.08)  # the hub is held: the sending finds out
        if status is None:
            with pytest.raises(RequestFailed) as caught:
                exchange(connection)
            assert (caught.value.failure.kind, caught.value.failure.phase) == ("closed", "write")
        else:
            assert not exchange(connection)
            assert connection.parser.status == status
    assert not connection.is_open


def test_a_call_that_is_stopped_leaves_no_connection_behind() -> None:
    with serving(lambda connection: gevent.sleep(5)) as server:
        connection = connected(server.port)
        waiting = gevent.spawn(exchange, connection)
        gevent.sleep(0.01)
        waiting.kill()
    assert not connection.is_open
