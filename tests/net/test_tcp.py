"""Conversations: names with several addresses, reads by meaning over every cut of the stream, and the counters."""

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from filterd.net.greenlets import Crew, Stop
from filterd.net.tcp import TERMINATED, Conversation, TcpClient
from filterd.net.tls import TlsSettings
from filterd.net.upstream import Limits, Upstreams
from filterd.outcome import Failure, RequestFailed
from tests.support.batches import Work, stop_soon
from tests.support.certificates import Certificates
from tests.support.peers import LOOPBACK, Names, dead_port, full_queue, serving, silent


def soon(seconds: float = 5.0) -> float:
    return monotonic() + seconds


@pytest.fixture
def names() -> Names:
    return Names({"two.test": ["127.0.0.2", LOOPBACK], "mx.test": [LOOPBACK]})


@pytest.fixture
def client(names: Any) -> TcpClient:
    return TcpClient(resolver=names)


def connected(client: TcpClient, port: int, **more: Any) -> Conversation:
    return client.connect(LOOPBACK, port, until=soon(), **more)


def failure_of(step: Callable[[], object]) -> Failure:
    with pytest.raises(RequestFailed) as caught:
        step()
    return caught.value.failure


def counts(client: TcpClient) -> tuple[int, int, int, int, int]:
    stats = client.stats
    return stats.requests, stats.replies, stats.errors, stats.timeouts, stats.in_flight


# -- connecting


def test_the_next_address_is_tried_when_one_refuses(client: TcpClient) -> None:
    with serving(silent) as peer:
        conversation = client.connect("two.test", peer.port, until=soon())
        assert conversation.peer == f"two.test:{peer.port}"
        assert counts(client) == (1, 0, 0, 0, 1)
        conversation.close()
    assert counts(client) == (1, 1, 0, 0, 0)


def test_the_last_address_s_failure_is_told(client: TcpClient) -> None:
    with dead_port() as port:
        failure = failure_of(lambda: client.connect("two.test", port, until=soon()))
    assert (failure, failure.kind, failure.peer) == ("Connection refused", "connect", f"two.test:{port}")
    assert counts(client) == (1, 0, 1, 0, 0)


@pytest.mark.parametrize("bounded", [True, False])
def test_a_silent_address_leaves_time_for_the_next(
    client: TcpClient, names: Names, bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterd.net.tcp.ATTEMPT", 0.02)
    with full_queue() as (address, _):
        names.names["slow.test"] = [LOOPBACK, "127.0.0.2"]
        failure = failure_of(lambda: client.connect("slow.test", address[1], until=soon() if bounded else None))
    assert failure == "Connection refused"


def test_an_address_takes_no_more_than_its_share(client: TcpClient, names: Names) -> None:
    with full_queue() as (address, _):
        names.names["slow.test"] = [LOOPBACK, LOOPBACK, "127.0.0.2"]
        began = monotonic()
        failure = failure_of(lambda: client.connect("slow.test", address[1], until=soon(0.09)))
        assert failure == "Connection refused"
        assert 0.06 <= failure.elapsed <= monotonic() - began


def test_a_stop_while_connecting_is_counted(client: TcpClient) -> None:
    batch = Work(Crew())
    with full_queue() as (address, _):
        batch.add(lambda: client.connect(*address, until=None))
        stop_soon(batch)
        batch.join()
    assert [type(error) for error in batch.failures] == [Stop]
    assert counts(client) == (1, 0, 0, 1, 0)


def test_a_failed_handshake_is_counted_once(client: TcpClient, certificates: Certificates) -> None:
    with serving(silent, tls=certificates.server_context("self-signed")) as peer:
        failure = failure_of(lambda: connected(client, peer.port, tls=TlsSettings()))
    assert failure.kind == "tls"
    assert counts(client) == (1, 0, 1, 0, 0)


def test_tls_verifies_the_name_asked_for(client: TcpClient, certificates: Certificates) -> None:
    tls = TlsSettings(ca_path=str(certificates.ca_file))
    with serving(silent, tls=certificates.server_context()) as peer:
        client.connect("mx.test", peer.port, until=soon(), tls=tls).close()
        # With an upstream the host is the name, whatever the address.
        upstream = Upstreams([(LOOPBACK, peer.port)])
        client.connect("mx.test", None, until=soon(), tls=tls, upstream=upstream).close()
        failure = failure_of(lambda: client.connect("other.test", None, until=soon(), tls=tls, upstream=upstream))
    assert "Hostname mismatch" in failure


def test_an_upstream_learns_how_its_server_did(client: TcpClient) -> None:
    strict = Limits(max_errors=0, error_time=1e-9)
    with serving(silent) as peer, dead_port() as dead:
        upstream = Upstreams([(LOOPBACK, dead), (LOOPBACK, peer.port)], rotation="master-slave", limits=strict)
        for _ in range(2):
            failure_of(lambda: client.connect("pool", None, until=soon(), upstream=upstream))
        assert upstream.alive == ((LOOPBACK, peer.port),)
        conversation = client.connect("pool", None, until=soon(), upstream=upstream)
        # One that accepts and then fails does badly as well.
        failure_of(lambda: conversation.read_once(until=soon(0.01)))
        conversation.close()
    assert counts(client) == (3, 0, 2, 1, 0)


# -- reading, whatever the pieces

TEXT = b"one\r\n\r\ntwo\r\r\n--3--end"


@pytest.mark.parametrize("cut", range(len(TEXT) + 1))
def test_reads_do_not_depend_on_how_the_stream_was_cut(client: TcpClient, cut: int) -> None:
    def talk(server: Any) -> None:
        server.sendall(TEXT[:cut])
        server.recv(1)
        server.sendall(TEXT[cut:])

    with serving(talk) as peer:
        conversation = connected(client, peer.port)
        if cut:
            # What has come until the cut is read before the rest is sent.
            while failure_of(lambda: conversation.read_bytes(cut + 1, until=soon(0.002))).partial != TEXT[:cut]:
                pass
        conversation.write(b"x", until=soon())
        assert conversation.read_until(b"\r\n", 100, until=soon()) == b"one"
        assert conversation.read_until(b"\r\n", 0, until=soon()) == b""
        assert conversation.read_until(b"\r\n", 100, until=soon()) == b"two\r"
        assert conversation.read_bytes(5, until=soon()) == b"--3--"
        assert conversation.read_until_eof(100, until=soon()) == b"end"
        assert conversation.eof
        conversation.close()


def test_a_long_pattern_dripped_byte_by_byte_is_found_at_its_first_place(client: TcpClient) -> None:
    def talk(server: Any) -> None:
        for byte in b"aabaabaaabaaab!":
            server.sendall(bytes([byte]))
            server.recv(1)

    with serving(talk) as peer:
        conversation = connected(client, peer.port)
        conversation.write(b"x" * 20, until=soon())
        assert conversation.read_until(b"aaab", 100, until=soon()) == b"aabaab"
        assert conversation.read_until(b"!", 100, until=soon()) == b"aaab"
        conversation.close()


def test_what_has_arrived_survives_a_failure(client: TcpClient) -> None:
    def talk(server: Any) -> None:
        server.sendall(b"half")
        server.recv(1)
        server.sendall(b"+half")

    with serving(talk) as peer:
        conversation = connected(client, peer.port)
        failure = failure_of(lambda: conversation.read_bytes(9, until=soon(0.02)))
        assert (failure.kind, failure.partial) == ("timeout", b"half")
        conversation.write(b"x", until=soon())
        assert conversation.read_bytes(9, until=soon()) == b"half+half"
        failure = failure_of(lambda: conversation.read_once(until=soon()))
        assert (failure, failure.kind, failure.partial) == (TERMINATED, "closed", b"")
        conversation.close()


def test_silence_can_have_a_limit_of_its_own(client: TcpClient) -> None:
    with serving(silent) as peer:
        conversation = connected(client, peer.port)
        conversation.idle = 0.01
        for until in (None, soon()):
            assert failure_of(lambda until=until: conversation.read_once(until=until)).kind == "timeout"  # type: ignore[misc]
        conversation.idle = 60.0
        assert failure_of(lambda: conversation.read_once(until=soon(0.01))).kind == "timeout"
        conversation.close()


# -- counting

ENDS: dict[str, tuple[Callable[[Conversation], object], tuple[int, int, int, int, int]]] = {
    "nothing": (lambda conversation: None, (1, 1, 0, 0, 0)),
    "an end that was looked for": (lambda conversation: conversation.read_once(until=soon()), (1, 1, 0, 0, 0)),
    "an end in the middle": (lambda conversation: conversation.read_bytes(1, until=soon()), (1, 0, 1, 0, 0)),
    "an end before the pattern": (lambda conversation: conversation.read_until(b"x", 9, until=soon()), (1, 0, 1, 0, 0)),
}


@pytest.mark.parametrize(("step", "expected"), ENDS.values(), ids=ENDS)
def test_a_conversation_counts_once(
    client: TcpClient, step: Callable[[Conversation], object], expected: tuple[int, int, int, int, int]
) -> None:
    with serving(lambda server: None) as peer:
        conversation = connected(client, peer.port)
        for _ in range(2):
            try:
                step(conversation)
            except RequestFailed:
                pass
        conversation.close()
        conversation.close()
    assert counts(client) == expected
