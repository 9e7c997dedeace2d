"""tcp_sync: each row of the table of methods, with the documented results and texts, against real servers."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import gevent
import pytest

from filterd.api import tcp_sync
from filterd.api.tcp_sync import Connection
from filterd.net.greenlets import Crew, Stop
from filterd.net.tcp import TcpClient
from filterd.net.upstream import Limits, Upstreams
from filterd.outcome import Failure, OkFirst
from tests.support.certificates import Certificates
from tests.support.peers import LOOPBACK, Names, dead_port, drip, full_queue, reset, serving, silent
from tests.support.scopes import run_in_scope

T = TypeVar("T")

TERMINATED = "IO read error: connection terminated"


@pytest.fixture
def network() -> Any:
    names: Any = Names({"mx.test": [LOOPBACK], "two.test": ["127.0.0.2", LOOPBACK]})
    return SimpleNamespace(crew=Crew(), tcp=TcpClient(resolver=names))


@pytest.fixture
def run(network: Any) -> Callable[[Callable[[], T]], T]:
    return lambda function: run_in_scope(function, network=network)


def says(data: bytes) -> Callable[[Any], None]:
    return lambda connection: connection.sendall(data)


def echo(connection: Any) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def connected(port: int, **more: Any) -> Connection:
    return tcp_sync.connect(LOOPBACK, port, **more).unwrap()


def failure_of(outcome: OkFirst[Any]) -> Failure:
    assert not outcome.is_ok
    failure: Failure = outcome.value
    return failure


def test_a_dialogue_in_straight_code(run: Any, network: Any, hub_free: None) -> None:
    def talk(server: Any) -> None:
        server.sendall(b"220 hello\r\n")
        assert server.recv(100) == b"EHLO us\r\n"
        server.sendall(b"250-one\r\n250 two\r\nrest")
        assert server.recv(100) == "größe".encode()
        server.sendall(b"!")

    def rule() -> None:
        is_ok, conn = tcp_sync.connect(LOOPBACK, peer.port, timeout=5.0)
        assert is_ok
        assert conn.read_until("\r\n") == (True, b"220 hello")
        assert conn.write(["EHLO ", b"us", "\r\n"]) == (True, None)
        assert conn.read_until(b"\r\n") == (True, b"250-one")
        assert conn.read_until(b"\r\n") == (True, b"250 two")
        assert conn.read_bytes(2) == (True, b"re")
        assert conn.read_once() == (True, b"st")
        assert not conn.eof()
        assert conn.write("größe").is_ok
        assert conn.read_until_eof() == (True, b"!")
        assert conn.eof()
        conn.close()
        conn.close()

    with serving(talk) as peer:
        run(rule)
        assert peer.errors == []
    assert network.tcp.stats.as_dict() == {"requests": 1, "replies": 1, "errors": 0, "timeouts": 0, "in_flight": 0}


READS: dict[str, tuple[Callable[[Connection], Any], bytes]] = {
    "read_once": (lambda conn: conn.read_once(), b""),
    "read_until": (lambda conn: conn.read_until(b"\n"), b"half"),
    "read_bytes": (lambda conn: conn.read_bytes(9), b"half"),
}


@pytest.mark.parametrize(("read", "sent"), READS.values(), ids=READS)
def test_the_end_of_the_stream_fails_a_read_that_wanted_more(run: Any, read: Any, sent: bytes) -> None:
    def rule() -> None:
        conn = connected(peer.port)
        for _ in range(2):  # and again: the end stays the end, what had arrived stays there
            is_ok, failure = read(conn)
            assert not is_ok
            assert failure == TERMINATED
            assert (failure.kind, failure.phase, failure.partial) == ("closed", "read", sent)
            assert failure.peer == f"127.0.0.1:{peer.port}"
        assert conn.eof()
        assert conn.read_until_eof() == (True, sent)

    with serving(says(sent)) as peer:
        run(rule)


def test_a_pattern_is_found_across_reads(run: Any) -> None:
    def rule() -> None:
        conn = connected(peer.port)
        assert conn.read_until("\r\n.\r\n") == (True, b"ab\r\r\n\r\n.\r")
        assert conn.read_until_eof() == (True, b"x")

    with serving(drip(b"ab\r\r\n\r\n.\r\r\n.\r\nx", 0.002)) as peer:
        run(rule)


def test_limits_bound_what_a_peer_can_make_us_keep(run: Any, network: Any) -> None:
    def rule() -> None:
        conn = connected(peer.port)
        failure = failure_of(conn.read_until("\n", limit=10))
        assert (failure.kind, failure.partial) == ("limit", b"x" * 10)
        assert failure == "no b'\\n' within 10 bytes"
        failure = failure_of(conn.read_until_eof(limit=1000))
        assert (failure.kind, failure.partial) == ("limit", b"x" * 1000)
        assert failure == "more than 1000 bytes before the end of the stream"
        assert conn.read_bytes(5) == (True, b"xxxxx")

    with serving(says(b"x" * 5000)) as peer:
        run(rule)
    assert network.tcp.stats.errors == 1


@pytest.mark.parametrize(("sent", "limit", "found"), [(b"12345\nx", 5, True), (b"123456\nx", 5, False), (b"\n", 0, True)])
def test_the_limit_counts_the_bytes_before_the_pattern(run: Any, sent: bytes, limit: int, found: bool) -> None:
    with serving(says(sent)) as peer:
        assert run(lambda: connected(peer.port).read_until("\n", limit).is_ok) is found


def test_eof_is_exactly_at_the_limit(run: Any) -> None:
    with serving(says(b"x" * 1000)) as peer:
        assert run(lambda: connected(peer.port).read_until_eof(limit=1000)) == (True, b"x" * 1000)


def test_a_refused_connection_reads_as_in_rspamd(run: Any, network: Any) -> None:
    with dead_port() as port:
        is_ok, failure = run(lambda: tcp_sync.connect(LOOPBACK, port))
    assert not is_ok
    assert isinstance(failure, Failure)
    assert failure == "Socket error detected: Connection refused"
    assert (failure.kind, failure.phase, failure.peer) == ("connect", "connect", f"127.0.0.1:{port}")
    assert network.tcp.stats.as_dict() == {"requests": 1, "replies": 0, "errors": 1, "timeouts": 0, "in_flight": 0}


def test_a_silent_listener_is_a_timeout_of_connecting(run: Any, network: Any) -> None:
    with full_queue() as (address, _):
        is_ok, failure = run(lambda: tcp_sync.connect(*address, timeout=0.05))
    assert (is_ok, failure, failure.kind, failure.phase) == (False, "IO timeout", "timeout", "connect")
    assert failure.elapsed >= 0.05
    assert network.tcp.stats.as_dict() == {"requests": 1, "replies": 0, "errors": 0, "timeouts": 1, "in_flight": 0}


def test_an_unreachable_address_is_told(run: Any) -> None:
    # The source is on loopback, the target is not: the kernel refuses at once, as it does without a route.
    is_ok, failure = run(lambda: tcp_sync.connect("192.0.2.1", 25, source="127.0.0.1"))
    assert (is_ok, failure.kind, failure.phase) == (False, "connect", "connect")
    assert failure.startswith("Socket error detected: ")


def test_a_name_that_does_not_exist(run: Any) -> None:
    is_ok, failure = run(lambda: tcp_sync.connect("nowhere.test", 25))
    assert not is_ok
    assert failure == "unable to resolve host: nowhere.test: no records with this name"
    assert (failure.kind, failure.phase, failure.peer) == ("dns", "dns", "nowhere.test:25")


def test_a_name_is_tried_address_by_address(run: Any, network: Any) -> None:
    with serving(says(b"here")) as peer:
        assert run(lambda: tcp_sync.connect("two.test", peer.port).unwrap().read_until_eof()) == (True, b"here")
    assert network.tcp.stats.requests == 1


def test_a_silent_address_leaves_time_for_the_next(run: Any, network: Any) -> None:
    with full_queue() as (address, _):
        network.tcp.resolver.names["slow.test"] = [LOOPBACK, "127.0.0.2"]
        is_ok, failure = run(lambda: tcp_sync.connect("slow.test", address[1], timeout=0.2))
    assert (is_ok, failure) == (False, "Socket error detected: Connection refused")
    assert failure.elapsed >= 0.1


def test_an_ipv6_address_with_or_without_brackets(run: Any) -> None:
    with serving(says(b"six"), host="::1") as peer:
        for host in ("::1", "[::1]"):
            assert run(lambda host=host: tcp_sync.connect(host, peer.port).unwrap().read_until_eof()) == (True, b"six")


def test_a_unix_socket_needs_no_port(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(echo, unix=path):

        def rule() -> Any:
            conn = tcp_sync.connect(f"unix:{path}").unwrap()
            conn.write("x").unwrap()
            return conn.read_once()

        assert run(rule) == (True, b"x")
    is_ok, failure = run(lambda: tcp_sync.connect(f"unix:{tmp_path}/no"))
    assert (is_ok, failure) == (False, "Socket error detected: No such file or directory")
    assert failure.peer == f"unix:{tmp_path}/no"


@pytest.mark.parametrize("port", [None, 0, 65536, -1])
def test_a_port_that_cannot_be_is_a_bug_in_the_rule(run: Any, port: int | None) -> None:
    with pytest.raises(ValueError, match="needs a port from 1 to 65535"):
        run(lambda: tcp_sync.connect(LOOPBACK, port))


def test_other_arguments_that_cannot_be(run: Any) -> None:
    with pytest.raises(ValueError, match="'nonsense' does not appear to be"):
        run(lambda: tcp_sync.connect(LOOPBACK, 25, source="nonsense"))
    with serving(silent) as peer:
        with pytest.raises(ValueError, match="needs a pattern"):
            run(lambda: connected(peer.port).read_until(""))
        with pytest.raises(ValueError, match="cannot read -1 bytes"):
            run(lambda: connected(peer.port).read_bytes(-1))
        with pytest.raises(TypeError):
            run(lambda: connected(peer.port).write([1]))  # type: ignore[list-item]


def test_source_is_the_address_we_come_from(run: Any) -> None:
    with serving(lambda connection: connection.sendall(connection.getpeername()[0].encode())) as peer:
        assert run(lambda: connected(peer.port, source="127.0.0.9").read_until_eof()) == (True, b"127.0.0.9")


def test_the_timeout_is_one_budget_for_the_life_of_the_connection(run: Any) -> None:
    def rule() -> Any:
        conn = connected(peer.port, timeout=0.15)
        lines = []
        while (outcome := conn.read_bytes(1)).is_ok:
            lines.append(outcome.value)
        return lines, outcome.value

    # Each read is quick; together they are not.
    with serving(drip(b"x" * 100, 0.03)) as peer:
        got, failure = run(rule)
    assert (failure, failure.kind, failure.phase) == ("IO timeout", "timeout", "read")
    assert 1 <= len(got) < 100
    assert failure.elapsed >= 0.15


def test_a_phase_timeout_gives_each_call_its_own_budget(run: Any) -> None:
    def rule() -> Any:
        conn = connected(peer.port, timeout=0.15, read_timeout=0.5)
        return [conn.read_bytes(4) for _ in range(3)]

    with serving(drip(b"abcdefghijkl", 0.02)) as peer:
        assert run(rule) == [(True, b"abcd"), (True, b"efgh"), (True, b"ijkl")]


def test_a_dripping_peer_cannot_outlive_the_budget_of_a_read(run: Any) -> None:
    with serving(drip(b"x" * 200, 0.02)) as peer:
        is_ok, failure = run(lambda: connected(peer.port, read_timeout=0.1).read_bytes(200))
    assert (is_ok, failure, failure.kind) == (False, "IO timeout", "timeout")
    assert 1 <= len(failure.partial) < 50


def test_a_write_that_nobody_reads_times_out(run: Any) -> None:
    with serving(lambda connection: gevent.sleep(1.0)) as peer:
        is_ok, failure = run(lambda: connected(peer.port, write_timeout=0.1).write(b"x" * 20_000_000))
    assert (is_ok, failure, failure.phase) == (False, "IO timeout", "write")


def test_a_reset_keeps_what_had_arrived(run: Any) -> None:
    def talk(server: Any) -> None:
        server.sendall(b"half")
        server.recv(1)
        reset(server)

    def rule() -> Any:
        conn = connected(peer.port)
        conn.read_bytes(1).unwrap()
        conn.write("x").unwrap()
        return conn.read_until_eof()

    with serving(talk) as peer:
        is_ok, failure = run(rule)
    assert not is_ok
    assert failure == "IO read error while trying to read data: Connection reset by peer"
    assert (failure.kind, failure.partial) == ("closed", b"alf")


def test_writing_into_a_closed_connection_is_told(run: Any) -> None:
    def rule() -> Any:
        conn = connected(peer.port)
        assert conn.read_once() == (False, TERMINATED)
        while (outcome := conn.write("more")).is_ok:
            gevent.sleep(0.01)
        return outcome

    with serving(reset) as peer:
        is_ok, failure = run(lambda: connected(peer.port).read_once())
        assert (is_ok, failure.kind) == (False, "closed")
    with serving(says(b"")) as peer:
        is_ok, failure = run(rule)
    assert failure == "IO write error while trying to write 4 bytes: Broken pipe"
    assert (failure.kind, failure.phase) == ("closed", "write")


def test_a_half_closed_connection_can_still_be_read(run: Any) -> None:
    def talk(server: Any) -> None:
        got = b""
        while data := server.recv(100):
            got += data
        server.sendall(got.upper())

    def rule() -> Any:
        conn = connected(peer.port)
        conn.write("question").unwrap()
        assert conn.shutdown() == (True, None)
        assert not conn.write("more").is_ok
        return conn.read_until_eof()

    with serving(talk) as peer:
        assert run(rule) == (True, b"QUESTION")


def test_after_close_every_call_says_so(run: Any) -> None:
    def rule() -> None:
        conn = connected(peer.port)
        conn.close()
        for outcome in (conn.write("x"), conn.read_once(), conn.read_bytes(1), conn.read_until("x"), conn.shutdown()):
            failure = failure_of(outcome)
            assert failure.kind == "closed"
            assert failure.endswith("the connection is closed on our side")

    with serving(silent) as peer:
        run(rule)


def test_a_connection_is_closed_at_the_end_of_its_task(run: Any, network: Any) -> None:
    ended = []

    def talk(server: Any) -> None:
        ended.append(server.recv(1))

    with serving(talk) as peer:
        conn = run(lambda: connected(peer.port))
        gevent.sleep(0.01)
        assert ended == [b""]
    assert repr(conn) == f"<TCP connection to 127.0.0.1:{peer.port}>"
    assert network.tcp.stats.replies == 1


def test_a_budget_beyond_that_of_the_task_is_cut_by_the_task(network: Any) -> None:
    with serving(silent) as peer, pytest.raises(Stop) as caught:
        run_in_scope(lambda: connected(peer.port, timeout=60.0).read_once(), network=network, budget=0.05)
    assert (caught.value.phase, caught.value.peer) == ("read", f"127.0.0.1:{peer.port}")
    assert network.tcp.stats.as_dict() == {"requests": 1, "replies": 0, "errors": 0, "timeouts": 1, "in_flight": 0}


def test_outside_of_any_rule_it_says_so_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"tcp_sync\.connect was called outside of any rule"):
        tcp_sync.connect(LOOPBACK, 25)


def test_an_upstream_chooses_the_server_and_learns_how_it_did(run: Any) -> None:
    with serving(says(b"yes")) as peer, dead_port() as dead:
        strict = Limits(max_errors=0, error_time=1e-9)
        upstream = Upstreams([(LOOPBACK, dead), (LOOPBACK, peer.port)], rotation="master-slave", limits=strict)

        def rule() -> list[bool]:
            return [tcp_sync.connect("pool", upstream=upstream).is_ok for _ in range(3)]

        assert run(rule) == [False, False, True]
        assert upstream.alive == ((LOOPBACK, peer.port),)


def test_an_upstream_may_be_a_unix_socket(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(says(b"yes"), unix=path):
        upstream = Upstreams([str(path)])
        assert run(lambda: tcp_sync.connect("pool", upstream=upstream).unwrap().read_until_eof()) == (True, b"yes")


# -- TLS


@pytest.mark.parametrize("kind", ["good", "wrong-name", "expired", "self-signed"])
def test_tls_without_verification_takes_any_certificate(run: Any, certificates: Certificates, kind: Any) -> None:
    def rule() -> Any:
        conn = connected(peer.port, tls=True, tls_verify=False)
        conn.write("hello").unwrap()
        return conn.read_once()

    with serving(echo, tls=certificates.server_context(kind)) as peer:
        assert run(rule) == (True, b"hello")


def test_tls_verifies_by_default(run: Any, network: Any, certificates: Certificates) -> None:
    with serving(echo, tls=certificates.server_context("self-signed")) as peer:
        is_ok, failure = run(lambda: tcp_sync.connect(LOOPBACK, peer.port, tls=True))
    assert not is_ok
    assert failure == "ssl error: certificate verify failed: self-signed certificate"
    assert (failure.kind, failure.phase, failure.peer) == ("tls", "tls", f"127.0.0.1:{peer.port}")
    assert network.tcp.stats.errors == 1


def test_tls_with_a_peer_that_does_not_speak_it(run: Any) -> None:
    with serving(says(b"220 plain text\r\n")) as peer:
        is_ok, failure = run(lambda: tcp_sync.connect(LOOPBACK, peer.port, tls=True, tls_verify=False))
    assert (is_ok, failure.kind, failure.phase) == (False, "tls", "tls")
    assert failure.startswith("ssl error: ")


def test_a_silent_tls_handshake_is_a_timeout(run: Any) -> None:
    with serving(silent) as peer:
        is_ok, failure = run(lambda: tcp_sync.connect(LOOPBACK, peer.port, tls=True, timeout=0.05))
    assert (is_ok, failure, failure.kind, failure.phase) == (False, "IO timeout", "timeout", "tls")


def test_starttls_drops_what_came_before_it(run: Any, certificates: Certificates) -> None:
    context = certificates.server_context("self-signed")

    def talk(server: Any) -> None:
        assert server.recv(100) == b"STARTTLS\r\n"
        server.sendall(b"220 go\r\n250 injected\r\n")
        with context.wrap_socket(server, server_side=True) as secure:
            secure.sendall(b"250 real\r\n")
            secure.unwrap()

    def rule() -> None:
        conn = connected(peer.port)
        conn.write("STARTTLS\r\n").unwrap()
        assert conn.read_until("\r\n") == (True, b"220 go")
        assert conn.starttls(True) == (True, None)
        assert conn.read_until("\r\n") == (True, b"250 real")
        is_ok, failure = conn.starttls()
        assert (is_ok, failure) == (False, "ssl error: TLS has begun already")
        assert conn.read_until_eof() == (True, b"")

    with serving(talk) as peer:
        run(rule)
        assert peer.errors == []


def test_starttls_verifies_the_host_connected_to(run: Any, certificates: Certificates) -> None:
    def rule() -> Any:
        conn = connected(peer.port)
        outcome = conn.starttls()
        assert not conn.write("x").is_ok
        return outcome

    with serving(echo, tls=certificates.server_context("self-signed")) as peer:
        is_ok, failure = run(rule)
    assert (is_ok, failure) == (False, "ssl error: certificate verify failed: self-signed certificate")


def test_tls_by_a_unix_socket_has_no_name_to_verify(run: Any, certificates: Certificates, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(echo, unix=path, tls=certificates.server_context("self-signed")):
        is_ok, failure = run(lambda: tcp_sync.connect(f"unix:{path}", tls=True))
        assert (is_ok, failure) == (False, "ssl error: certificate verify failed: self-signed certificate")
        assert run(lambda: tcp_sync.connect(f"unix:{path}", tls=True, tls_verify=False).is_ok)
