"""tcp.request and its queue, with Rspamd's own test rules among them."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from filterd.api import tcp, tcp_sync
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.net.greenlets import Crew
from filterd.net.tcp import TcpClient
from filterd.net.upstream import Upstreams
from filterd.outcome import RequestFailed
from filterd.task import Task, current
from tests.support.certificates import Certificates
from tests.support.engine import MAIL, engine_of
from tests.support.peers import LOOPBACK, Names, dead_port, drip, full_queue, reset, serving, silent
from tests.support.scopes import run_in_scope

TERMINATED = "IO read error: connection terminated"


@pytest.fixture
def network() -> Any:
    names: Any = Names({"mx.test": [LOOPBACK]})
    return SimpleNamespace(crew=Crew(), tcp=TcpClient(resolver=names))


@pytest.fixture
def run(network: Any) -> Callable[[Callable[[], object]], object]:
    return lambda function: run_in_scope(function, network=network)


class Told:
    """Callbacks that write down what they were called with; the connection is left out."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def read(self, error: Any, data: Any, conn: tcp.Dialogue) -> None:
        assert isinstance(conn, tcp.Dialogue)
        self.calls.append(("read", error, data))

    def wrote(self, error: Any, conn: tcp.Dialogue) -> None:
        assert isinstance(conn, tcp.Dialogue)
        self.calls.append(("wrote", error))

    def error(self, error: Any, conn: tcp.Dialogue) -> None:
        self.calls.append(("error", error))
        assert conn.add_read(self.read) is False

    def connected(self, conn: tcp.Dialogue) -> None:
        self.calls.append(("connected",))


@pytest.fixture
def told() -> Told:
    return Told()


def says(data: bytes) -> Callable[[Any], None]:
    return lambda connection: connection.sendall(data)


def echo(connection: Any) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def http(connection: Any) -> None:
    """Two requests on one connection, as Rspamd's tests do it."""
    while request := connection.recv(65536):
        body = b"hello post" if request.startswith(b"POST") else b"hello world"
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.mark.parametrize("way", ["answered", "closed in the callback", "partial", "refused", "cut off"])
def test_a_message_goes_with_its_dialogue_and_leaves_nothing_to_the_garbage_collector(way: str, network: Any) -> None:
    """What circles keep is collected later, with that of hundreds of others, for which everybody waits."""
    told: list[Any] = []

    def rule(task: Task) -> None:
        def read(error: Any, data: Any, conn: tcp.Dialogue) -> None:
            told.append((error, data))
            task.insert_result("TALKED", 1.0)
            if way == "closed in the callback":
                conn.close()

        def first(error: Any, data: Any, conn: tcp.Dialogue) -> None:
            conn.add_read(read, "\n")
            read(error, data, conn)

        tcp.request(LOOPBACK, port, callback=first, data="ask\n", stop_pattern="\n", partial=way == "partial")

    engine = engine_of(rule, network=network)
    talk = (lambda connection: None) if way == "cut off" else says(b"one\ntwo\n")
    with serving(talk) as server, dead_port() as dead:
        port = dead if way == "refused" else server.port
        gc.collect()
        gc.disable()
        try:
            one = ScanRequest(Message(MAIL), Envelope({}))
            ghost = weakref.ref(one.message)
            engine.scan(one)
            del one
            gevent.sleep(0.01)
            assert told
            assert ghost() is None
        finally:
            gc.enable()


def test_a_request_and_a_second_on_the_same_connection(run: Any, network: Any) -> None:
    found: list[tuple[str, bytes]] = []

    def rule() -> None:
        def got_second(err: Any, data: bytes, conn: Any) -> None:
            found.append(("HTTP_ASYNC_RESPONSE_2", data or err))

        def sent_second(err: Any, conn: tcp.Dialogue) -> None:
            assert conn.add_read(got_second)

        def got_first(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
            conn.add_write(sent_second, "POST /request2 HTTP/1.1\r\n\r\n")
            found.append(("HTTP_ASYNC_RESPONSE", data or err))

        assert tcp.request(
            LOOPBACK, peer.port, callback=got_first, data=["GET /request HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"]
        )
        assert found == []  # it has not waited

    with serving(http) as peer:
        run(rule)  # but the message has
    assert [(name, data[-11:].strip()) for name, data in found] == [
        ("HTTP_ASYNC_RESPONSE", b"hello world"),
        ("HTTP_ASYNC_RESPONSE_2", b"hello post"),
    ]
    assert network.tcp.stats.as_dict() == {"requests": 1, "replies": 1, "errors": 0, "timeouts": 0, "in_flight": 0}


def test_a_callback_may_take_less(run: Any) -> None:
    seen: list[object] = []

    def rule() -> None:
        tcp.request(LOOPBACK, peer.port, callback=lambda: seen.append("none"), on_connect=lambda: seen.append("connected"))
        tcp.request(LOOPBACK, peer.port, callback=lambda err: seen.append(err))
        tcp.request(LOOPBACK, peer.port, callback=lambda err, data: seen.append(data))

    with serving(says(b"x")) as peer:
        run(rule)
    assert sorted(map(str, seen)) == ["None", "b'x'", "connected", "none"]


def test_nobody_there(run: Any, told: Told) -> None:
    with dead_port() as port:
        run(lambda: tcp.request(LOOPBACK, port, callback=told.read, data="x", on_connect=told.connected))
        assert told.calls == [("read", "Socket error detected: Connection refused", None)]


def test_on_error_gets_what_fails_before_the_connection_stands_and_callback_then_nothing(
    run: Any, told: Told, certificates: Certificates
) -> None:
    def ask(host: str, port: int, **more: Any) -> Any:
        told.calls.clear()
        run(lambda: tcp.request(host, port, callback=told.read, on_error=told.error, data="x", **more))
        ((kind, failure),) = told.calls
        assert kind == "error"
        return failure

    with dead_port() as port:
        assert ask(LOOPBACK, port) == "Socket error detected: Connection refused"
        assert ask("nowhere.test", port) == "unable to resolve host: nowhere.test: no records with this name"
    with full_queue() as (address, _):
        failure = ask(*address, connect_timeout=0.05)
        assert (failure, failure.phase) == ("IO timeout", "connect")
    with serving(echo, tls=certificates.server_context("self-signed")) as peer:
        assert ask(LOOPBACK, peer.port, tls=True) == "ssl error: certificate verify failed: self-signed certificate"


def test_after_the_connection_stands_errors_go_to_the_callback(run: Any, told: Told) -> None:
    with serving(silent) as peer:
        run(
            lambda: tcp.request(
                LOOPBACK,
                peer.port,
                callback=told.read,
                on_error=told.error,
                on_connect=told.connected,
                data="x",
                read_timeout=0.05,
            )
        )
    assert told.calls == [("connected",), ("read", "IO timeout", None)]


def test_a_stop_pattern_ends_the_read_and_the_rest_is_for_the_next(run: Any, told: Told) -> None:
    def rule() -> None:
        def first(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
            told.read(err, data, conn)
            conn.add_read(told.read, pattern="\r\n")
            conn.add_read(told.read)

        tcp.request(LOOPBACK, peer.port, callback=first, stop_pattern=b"\r\n.\r\n")

    with serving(says(b"one\r\ntwo\r\n.\r\nthree\r\nrest")) as peer:
        run(rule)
    assert told.calls == [("read", None, b"one\r\ntwo"), ("read", None, b"three"), ("read", None, b"rest")]


def test_a_pattern_that_never_comes(run: Any, told: Told) -> None:
    with serving(says(b"half")) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=told.read, stop_pattern="\n"))
    ((_, failure, _),) = told.calls
    assert (failure, failure.partial) == (TERMINATED, b"half")


def test_partial_hands_over_every_piece_until_the_end(run: Any, told: Told) -> None:
    with serving(drip(b"abc", 0.005)) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=told.read, partial=True, stop_pattern="b"))
    assert told.calls == [("read", None, b"a"), ("read", None, b"b"), ("read", None, b"c"), ("read", TERMINATED, None)]


def test_shift_callback_goes_on_to_the_next_operation(run: Any, told: Told) -> None:
    def rule() -> None:
        def greeting(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
            told.read(err, data, conn)
            if data == b"b":
                conn.add_write(told.wrote, "go")
                conn.add_read(body)
                conn.shift_callback()

        def body(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
            told.read(err, data, conn)
            conn.shift_callback()

        tcp.request(LOOPBACK, peer.port, callback=greeting, partial=True)

    def talk(server: Any) -> None:
        drip(b"ab", 0.005)(server)
        assert server.recv(10) == b"go"
        server.sendall(b"body")
        server.recv(1)

    with serving(talk) as peer:
        run(rule)
        assert peer.errors == []
    assert told.calls == [("read", None, b"a"), ("read", None, b"b"), ("wrote", None), ("read", None, b"body")]


def test_shift_callback_without_partial_changes_nothing(run: Any, told: Told) -> None:
    def rule() -> None:
        def first(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
            conn.add_read(told.read)
            conn.shift_callback()

        tcp.request(LOOPBACK, peer.port, callback=first, data="x")

    with serving(echo) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=lambda err, data, conn: conn.shift_callback(), data="x"))
    with serving(drip(b"xy", 0.005)) as peer:
        run(rule)
    assert told.calls == [("read", None, b"y")]


def test_without_read_the_callback_says_that_it_was_written(run: Any, told: Told) -> None:
    received = []
    with serving(lambda server: received.append(server.recv(100))) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=told.read, data=["a", b"b"], read=False))
        gevent.sleep(0.01)
    assert told.calls == [("read", None, None)]
    assert received == [b"ab"]


def test_shutdown_tells_the_peer_that_this_was_all(run: Any, told: Told) -> None:
    def talk(server: Any) -> None:
        got = b""
        while data := server.recv(100):
            got += data
        server.sendall(got.upper())

    with serving(talk) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=told.read, data="question", shutdown=True))
    assert told.calls == [("read", None, b"QUESTION")]


def test_one_budget_for_all_or_one_for_each(run: Any, told: Told) -> None:
    def rule(**times: float) -> Callable[[], object]:
        def again(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
            told.read(err, data, conn)
            if len(told.calls) < 6:
                conn.add_read(again)

        return lambda: tcp.request(LOOPBACK, peer.port, callback=again, **times)  # type: ignore[arg-type]

    with serving(drip(b"abcdef", 0.03)) as peer:
        run(rule(timeout=0.1))
        assert told.calls[-1] == ("read", "IO timeout", None)
        told.calls.clear()
        run(rule(timeout=0.01, read_timeout=0.5, connect_timeout=5.0))
    assert told.calls == [("read", None, byte.encode()) for byte in "abcdef"]


def test_after_a_failure_everybody_in_the_queue_is_told(run: Any, told: Told) -> None:
    def rule() -> None:
        def queue_more(conn: tcp.Dialogue) -> None:
            conn.add_write(told.wrote, "never")
            conn.add_write(None, "never either")
            conn.add_read(told.read)

        tcp.request(LOOPBACK, peer.port, callback=told.read, on_connect=queue_more, read_timeout=0.03)

    with serving(silent) as peer:
        run(rule)
    assert told.calls == [("read", "IO timeout", None), ("wrote", "IO timeout"), ("read", "IO timeout", None)]


def test_a_write_that_fails_is_told_to_the_read_behind_it(run: Any, told: Told) -> None:
    def talk(server: Any) -> None:
        gevent.sleep(1.0)

    with serving(talk) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=told.read, data=b"x" * 20_000_000, write_timeout=0.05))
    ((_, failure, _),) = told.calls
    assert (failure, failure.phase) == ("IO timeout", "write")


def test_the_end_of_the_stream_leaves_what_is_queued_its_turn(run: Any, told: Told) -> None:
    received = []

    def talk(server: Any) -> None:
        server.shutdown(1)
        received.append(server.recv(100))

    with serving(talk) as peer:
        run(
            lambda: tcp.request(
                LOOPBACK, peer.port, callback=told.read, on_connect=lambda conn: conn.add_write(told.wrote, "goodbye")
            )
        )
        gevent.sleep(0.01)
    assert told.calls == [("read", TERMINATED, None), ("wrote", None)]
    assert received == [b"goodbye"]


def test_a_reset_is_told_in_the_system_s_words(run: Any, told: Told) -> None:
    with serving(reset) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=told.read))
    assert told.calls == [("read", "IO read error while trying to read data: Connection reset by peer", None)]


def test_a_failure_nobody_hears_of_is_a_failure_of_the_rule(run: Any) -> None:
    def talk(server: Any) -> None:
        server.sendall(b"220\r\n")
        server.recv(65536)
        server.sendall(b"454 not today\r\n")

    with serving(talk) as peer, pytest.raises(RequestFailed, match="ssl error: wrong version number"):
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=lambda err, data, conn: conn.starttls()))


def test_close_forgets_what_is_queued(run: Any, told: Told, network: Any) -> None:
    def got(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
        assert conn.add_read(told.read)
        conn.close()
        assert not conn.add_read(told.read)
        assert not conn.add_write(told.wrote, "x")
        assert not conn.starttls()
        conn.close()

    with serving(echo) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=got, data="x"))
    assert told.calls == []
    assert network.tcp.stats.in_flight == 0


def test_close_from_elsewhere_ends_a_read_quietly(run: Any, told: Told) -> None:
    def rule() -> None:
        conns: list[tcp.Dialogue] = []
        tcp.request(LOOPBACK, peer.port, callback=told.read, on_connect=conns.append)
        gevent.sleep(0.01)
        conns[0].close()

    with serving(silent) as peer:
        run(rule)
    assert told.calls == []


def test_operations_added_from_elsewhere_have_their_turn(run: Any, told: Told) -> None:
    def rule() -> None:
        conns: list[tcp.Dialogue] = []
        tcp.request(LOOPBACK, peer.port, callback=told.read, on_connect=conns.append, stop_pattern="b")
        gevent.sleep(0.01)
        conns[0].add_write(told.wrote, "x")

    with serving(drip(b"ab", 0.03)) as peer:
        run(rule)
    assert told.calls == [("read", None, b"a"), ("wrote", None)]


def test_starttls_takes_its_turn_and_drops_what_came_before(run: Any, told: Told, certificates: Certificates) -> None:
    context = certificates.server_context("self-signed")

    def talk(server: Any) -> None:
        assert server.recv(100) == b"STARTTLS\r\n"
        server.sendall(b"220 go\r\n250 injected\r\n")
        with context.wrap_socket(server, server_side=True) as secure:
            assert secure.recv(100) == b"EHLO\r\n"
            secure.sendall(b"250 real\r\n")

    def go(err: Any, data: bytes, conn: tcp.Dialogue) -> None:
        told.read(err, data, conn)
        assert conn.starttls(True)
        conn.add_write(told.wrote, "EHLO\r\n")
        conn.add_read(told.read, "\r\n")

    with serving(talk) as peer:
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=go, data="STARTTLS\r\n", stop_pattern="\r\n"))
        assert peer.errors == []
    assert told.calls == [("read", None, b"220 go"), ("wrote", None), ("read", None, b"250 real")]


def test_tls_a_unix_socket_and_an_upstream(run: Any, told: Told, certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(echo, tls=certificates.server_context("self-signed")) as peer, serving(echo, unix=path):
        upstream = Upstreams([(LOOPBACK, peer.port)])
        run(lambda: tcp.request("pool", callback=told.read, data="1", tls=True, tls_verify=False, upstream=upstream))
        run(lambda: tcp.request(f"unix:{path}", callback=told.read, data="2"))
    assert told.calls == [("read", None, b"1"), ("read", None, b"2")]


def test_an_exception_in_a_callback_is_one_of_the_rule_and_the_connection_is_closed(run: Any, network: Any) -> None:
    def broken(err: Any, data: bytes) -> None:
        raise LookupError("a bug in the rule")

    with serving(echo) as peer, pytest.raises(LookupError, match="a bug in the rule"):
        run(lambda: tcp.request(LOOPBACK, peer.port, callback=broken, data="x"))
    assert network.tcp.stats.in_flight == 0


def test_arguments_that_cannot_be(run: Any, told: Told) -> None:
    with pytest.raises(TypeError):
        run(lambda: tcp.request(LOOPBACK, 25, callback=told.read, data=[1]))  # type: ignore[list-item]
    with pytest.raises(ValueError, match="needs a port"):
        run(lambda: tcp.request(LOOPBACK, 0, callback=told.read))
    with pytest.raises(RuntimeError, match=r"tcp\.request was called outside of any rule"):
        tcp.request(LOOPBACK, 25, callback=told.read)
    assert told.calls == []


def test_where_nothing_can_be_started_any_more_it_says_false(network: Any, told: Told) -> None:
    with serving(echo) as peer:

        def rule() -> bool:
            scope = current()
            assert scope is not None
            scope.deadline.end = 0.0
            return tcp.request(LOOPBACK, peer.port, callback=told.read, data="x")

        assert run_in_scope(rule, network=network) is False
    assert told.calls == []


def test_connect_sync_is_the_same_as_in_tcp_sync() -> None:
    assert tcp.connect_sync is tcp_sync.connect
