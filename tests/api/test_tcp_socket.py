"""tcp.Socket as LuaSocket and HAProxy document it: results, the three failures, ranges, prefixes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from filterd.api import tcp
from filterd.net.greenlets import Crew, Stop
from filterd.net.tcp import TcpClient
from filterd.outcome import Failure
from tests.support.certificates import Certificates
from tests.support.peers import LOOPBACK, Names, dead_port, drip, full_queue, reset, serving, silent
from tests.support.scopes import run_in_scope


@pytest.fixture
def network() -> Any:
    names: Any = Names({"mx.test": [LOOPBACK]})
    return SimpleNamespace(crew=Crew(), tcp=TcpClient(resolver=names))


@pytest.fixture
def run(network: Any) -> Callable[[Callable[[], Any]], Any]:
    return lambda function: run_in_scope(function, network=network)


def says(data: bytes) -> Callable[[Any], None]:
    return lambda connection: connection.sendall(data)


def connected(port: int) -> tcp.Socket:
    sock = tcp.Socket()
    assert sock.connect("mx.test", port) == 1
    return sock


def receiving(run: Any, sent: bytes, *calls: tuple[Any, ...]) -> list[Any]:
    """What `receive` gives for each of these arguments in turn, when the peer sends this and closes."""

    def rule() -> list[Any]:
        sock = connected(peer.port)
        return [sock.receive(*arguments) for arguments in calls]

    with serving(says(sent)) as peer:
        outcomes: list[Any] = run(rule)
    return outcomes


# -- connecting


def test_connect_and_names_of_both_ends(run: Any) -> None:
    def rule() -> None:
        sock = tcp.Socket()
        assert (sock.getpeername(), sock.getsockname()) == (None, None)
        assert sock.connect(LOOPBACK, peer.port) == 1
        assert sock.getpeername() == (LOOPBACK, peer.port)
        ours = sock.getsockname()
        assert ours is not None
        assert ours[0] == LOOPBACK
        assert sock.receive("*a") == f"{ours[0]} {ours[1]}".encode()
        sock.close()
        sock.close()
        assert (sock.getpeername(), sock.getsockname()) == (None, None)

    with serving(lambda server: server.sendall("{} {}".format(*server.getpeername()).encode())) as peer:
        run(rule)


def test_ends_of_other_families(run: Any, tmp_path: Path) -> None:
    def rule(host: str, port: int | None, expected: tuple[str, int]) -> None:
        sock = tcp.Socket()
        assert sock.connect(host, port) == 1
        assert sock.getpeername() == expected

    with serving(silent, host="::1") as peer:
        run(lambda: rule("::1", peer.port, ("::1", peer.port)))
    with serving(silent, unix=tmp_path / "s"):
        run(lambda: rule(f"unix:{tmp_path}/s", None, (f"{tmp_path}/s", 0)))


def test_a_connection_that_does_not_come_about(run: Any) -> None:
    def rule(host: str, port: int) -> Any:
        sock = tcp.Socket()
        sock.settimeout(0.05)
        return sock.connect(host, port)

    with dead_port() as port:
        nothing, err = run(lambda: rule(LOOPBACK, port))
        assert (nothing, err, err.kind) == (None, "Connection refused", "connect")
        nothing, err = run(lambda: rule("nowhere.test", port))
        assert (nothing, err) == (None, "unable to resolve host: nowhere.test: no records with this name")
    with full_queue() as (address, _):
        nothing, err = run(lambda: rule(*address))
        assert (nothing, err, err.phase) == (None, "timeout", "connect")


def test_a_socket_connects_once(run: Any) -> None:
    def rule() -> None:
        sock = connected(peer.port)
        for _ in range(2):
            assert sock.connect(LOOPBACK, peer.port) == (None, "the socket was connected before: make a new one")
            sock.close()

    with serving(silent) as peer:
        run(rule)


def test_connect_ssl_verifies(run: Any, certificates: Certificates) -> None:
    with serving(says(b"x"), tls=certificates.server_context("self-signed")) as peer:
        nothing, err = run(lambda: tcp.Socket().connect_ssl("mx.test", peer.port))
    assert (nothing, err, err.kind) == (None, "certificate verify failed: self-signed certificate", "tls")


# -- receiving


@pytest.mark.parametrize(
    ("sent", "calls", "outcomes"),
    [
        (b"one\r\ntwo\nrest", [(), ("*l",)], [b"one", b"two"]),
        (b"a\rb\r\r\n", [()], [b"ab"]),
        (b"\n", [()], [b""]),
        (b"one\nall\r\nof it", [(), ("*a",), ("*a",)], [b"one", b"all\r\nof it", b""]),
        (b"abcdef", [(3,), (0,), (2,)], [b"abc", b"", b"de"]),
        (b"one\n", [("*l", "P")], [b"Pone"]),
        (b"onetwo", [(4, "P"), (2, b"PQR")], [b"Pone", b"PQR"]),
        (b"", [("*a", "KEEP")], [b"KEEP"]),
    ],
)
def test_each_pattern(run: Any, sent: bytes, calls: list[tuple[Any, ...]], outcomes: list[bytes]) -> None:
    assert receiving(run, sent, *calls) == outcomes


@pytest.mark.parametrize(
    ("sent", "call", "partial"),
    [
        (b"ha\rlf", (), b"half"),
        (b"half", (9,), b"half"),
        (b"", (), b""),
        (b"half", ("*l", "P"), b"Phalf"),
        (b"half", (9, "P"), b"Phalf"),
    ],
)
def test_the_end_before_it_was_complete(run: Any, sent: bytes, call: tuple[Any, ...], partial: bytes) -> None:
    first, second = receiving(run, sent, call, call)
    assert first == (None, "closed", partial)
    assert isinstance(first[1], Failure)
    assert first[1].kind == "closed"
    prefix = call[1].encode() if len(call) > 1 else b""
    assert second == (None, "closed", prefix)  # what was handed over is not there any more


def test_a_partial_result_is_continued_as_prefix(run: Any) -> None:
    def rule() -> Any:
        sock = connected(peer.port)
        sock.settimeout(0.02)
        got: Any = sock.receive(6)
        tries = 0
        while not isinstance(got, bytes):
            nothing, err, partial = got
            assert (nothing, err) == (None, "timeout")
            tries += 1
            got = sock.receive(6, partial)
        return got, tries

    with serving(drip(b"abcdef", 0.04)) as peer:
        got, tries = run(rule)
    assert got == b"abcdef"
    assert tries >= 5


def test_the_timeout_is_about_silence_only(run: Any) -> None:
    def rule() -> Any:
        sock = connected(peer.port)
        assert sock.settimeout(0.4) == 1
        return sock.receive(10)

    with serving(drip(b"0123456789", 0.05)) as peer:
        assert run(rule) == b"0123456789"


@pytest.mark.parametrize("value", [None, -1])
def test_without_a_timeout_the_task_s_budget_counts(network: Any, value: float | None) -> None:
    def rule() -> Any:
        sock = connected(peer.port)
        sock.settimeout(0.0001)
        sock.settimeout(value)
        return sock.receive()

    with serving(silent) as peer, pytest.raises(Stop):
        run_in_scope(rule, network=network, budget=0.05)


def test_a_reset_reads_as_closed(run: Any) -> None:
    with serving(reset) as peer:
        assert run(lambda: connected(peer.port).receive()) == (None, "closed", b"")


@pytest.mark.parametrize("pattern", ["*n", "5", "", -1])
def test_other_patterns_are_a_bug_in_the_rule(run: Any, pattern: Any) -> None:
    with serving(silent) as peer, pytest.raises(ValueError, match="receive takes"):
        run(lambda: connected(peer.port).receive(pattern))


# -- sending


@pytest.mark.parametrize(
    ("call", "index", "sent"),
    [
        (("hello",), 5, b"hello"),
        ((b"hello", 3), 5, b"llo"),
        (("hello", 2, 4), 4, b"ell"),
        (("hello", -3), 5, b"llo"),
        (("hello", 2, -2), 4, b"ell"),
        (("hello", 0, 99), 5, b"hello"),
        (("hello", -99, 2), 2, b"he"),
        (("hello", 4, 3), 3, b""),
        (("hello", 6), 5, b""),
        (("", 1), 0, b""),
    ],
)
def test_send_takes_a_range_and_gives_the_last_index(run: Any, call: tuple[Any, ...], index: int, sent: bytes) -> None:
    received: list[bytes] = []

    def talk(server: Any) -> None:
        while data := server.recv(100):
            received.append(data)

    with serving(talk) as peer:
        assert run(lambda: connected(peer.port).send(*call)) == index
        gevent.sleep(0.005)
    assert b"".join(received) == sent


def test_a_send_that_fails_tells_how_far_it_came(run: Any) -> None:
    received: list[int] = []

    def talk(server: Any) -> None:
        go_on.wait()
        while data := server.recv(1_000_000):
            received.append(len(data))

    def rule() -> Any:
        sock = connected(peer.port)
        sock.settimeout(0.05)
        outcome = sock.send(b"-----" + b"x" * 20_000_000, 6)
        go_on.set()
        return outcome

    go_on = gevent.event.Event()
    with serving(talk) as peer:
        nothing, err, index = run(rule)
        while sum(received) < index - 5:
            gevent.sleep(0.005)
        gevent.sleep(0.01)
    assert (nothing, err, err.kind, err.phase) == (None, "timeout", "timeout", "write")
    assert 0 < index < 20_000_005
    assert sum(received) == index - 5


# -- the rest


def test_before_and_after_the_connection(run: Any) -> None:
    def rule() -> None:
        sock = tcp.Socket()
        assert sock.receive("*l", "P") == (None, "closed", b"P")
        assert sock.send("hello", 3) == (None, "closed", 2)
        sock.connect(LOOPBACK, peer.port)
        assert sock.receive() == b"one"
        sock.close()
        assert sock.receive() == (None, "closed", b"")
        assert sock.send("hello") == (None, "closed", 0)

    with serving(says(b"one\ntwo\n")) as peer:
        run(rule)


def test_setoption_is_there_for_compatibility(run: Any) -> None:
    assert run(lambda: tcp.Socket().setoption("tcp-nodelay", True)) == 1


def test_it_is_closed_at_the_end_of_its_task(run: Any, network: Any) -> None:
    with serving(silent) as peer:
        sock = run(lambda: connected(peer.port))
    assert sock.getpeername() is None
    assert network.tcp.stats.in_flight == 0


def test_outside_of_any_rule_it_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"tcp\.Socket was called outside of any rule"):
        tcp.Socket()
