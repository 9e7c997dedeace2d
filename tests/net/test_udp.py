"""Datagrams to servers that answer, answer late, never, twice, or are not there."""

import socket
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.greenlets import Crew, Stop
from filterd.net.udp import UdpClient
from filterd.outcome import Failure, RequestFailed
from tests.support.batches import Work, stop_soon
from tests.support.peers import LOOPBACK, Names, dead_port, serving_udp


@pytest.fixture
def client() -> UdpClient:
    names: Any = Names({"mx.test": [LOOPBACK]})
    return UdpClient(resolver=names)


def failure_of(step: Callable[[], object]) -> Failure:
    with pytest.raises(RequestFailed) as caught:
        step()
    return caught.value.failure


def counts(client: UdpClient) -> tuple[int, int, int, int]:
    stats = client.stats
    assert stats.in_flight == 0
    return stats.requests, stats.replies, stats.errors, stats.timeouts


@pytest.mark.parametrize("host", [LOOPBACK, "mx.test"])
def test_a_question_and_its_answer(client: UdpClient, host: str, hub_free: None) -> None:
    with serving_udp(lambda data: [data.upper()]) as peer:
        assert client.ask(host, peer.port, b"hello", timeout=5.0) == b"HELLO"
    assert counts(client) == (1, 1, 0, 0)


def test_ipv6_and_an_empty_answer(client: UdpClient) -> None:
    with serving_udp(lambda data: [data], host="::1") as peer:
        assert client.ask("[::1]", peer.port, b"", timeout=5.0) == b""


def test_the_first_of_two_answers_counts(client: UdpClient) -> None:
    with serving_udp(lambda data: [b"one", b"two"]) as peer:
        assert client.ask(LOOPBACK, peer.port, b"x", timeout=5.0) == b"one"
        assert client.ask(LOOPBACK, peer.port, b"x", timeout=5.0) == b"one"


def test_silence_is_a_read_timeout_after_all_tries(client: UdpClient) -> None:
    with serving_udp(lambda data: []) as peer:
        failure = failure_of(lambda: client.ask(LOOPBACK, peer.port, b"x", timeout=0.03, retransmits=2))
        assert peer.received == [b"x"] * 3
    assert failure == "read timeout"
    assert (failure.kind, failure.phase, failure.peer) == ("timeout", "read", f"127.0.0.1:{peer.port}")
    assert failure.elapsed >= 0.09
    assert counts(client) == (1, 0, 0, 1)


def test_a_lost_datagram_is_sent_again(client: UdpClient) -> None:
    with serving_udp(lambda data: [b"at last"] if len(peer.received) == 3 else []) as peer:
        assert client.ask(LOOPBACK, peer.port, b"x", timeout=0.03, retransmits=5) == b"at last"
        assert len(peer.received) == 3


def test_a_port_nobody_has_is_a_read_timeout_too(client: UdpClient) -> None:
    with dead_port() as port:
        failure = failure_of(lambda: client.ask(LOOPBACK, port, b"x", timeout=0.02, retransmits=2))
    assert (failure, failure.kind) == ("read timeout", "timeout")
    assert failure.elapsed >= 0.06


def test_a_server_that_comes_back_in_time_is_reached(client: UdpClient) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        port = sock.getsockname()[1]

    def come_back() -> None:
        with gevent.socket.socket(type=socket.SOCK_DGRAM) as late:
            late.bind((LOOPBACK, port))
            data, sender = late.recvfrom(100)
            late.sendto(data, sender)

    gevent.spawn_later(0.03, come_back)
    assert client.ask(LOOPBACK, port, b"x", timeout=0.05, retransmits=5) == b"x"


def test_an_answer_from_somebody_else_is_not_taken(client: UdpClient) -> None:
    with gevent.socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.bind((LOOPBACK, 0))
        with gevent.socket.socket(type=socket.SOCK_DGRAM) as asked:
            asked.bind((LOOPBACK, 0))

            def serve() -> None:
                _, sender = asked.recvfrom(100)
                stranger.sendto(b"forged", sender)
                gevent.sleep(0.01)
                asked.sendto(b"genuine", sender)

            gevent.spawn(serve)
            assert client.ask(LOOPBACK, asked.getsockname()[1], b"x", timeout=5.0) == b"genuine"


def test_fire_and_forget(client: UdpClient) -> None:
    with serving_udp(lambda data: []) as peer:
        assert client.ask(LOOPBACK, peer.port, b"x", timeout=5.0, answer=False) == b""
        gevent.sleep(0.01)
        assert peer.received == [b"x"]
    assert counts(client) == (1, 1, 0, 0)


def test_what_the_system_refuses_is_told_in_its_words(client: UdpClient) -> None:
    failure = failure_of(lambda: client.ask(LOOPBACK, 9, b"x" * 70_000, timeout=5.0))
    assert (failure, failure.kind, failure.phase) == ("Message too long", "connect", "write")
    failure = failure_of(lambda: client.ask("255.255.255.255", 9, b"x", timeout=5.0))
    assert (failure.kind, failure.phase) == ("connect", "connect")
    assert counts(client) == (2, 0, 2, 0)


def test_a_name_that_does_not_exist(client: UdpClient) -> None:
    failure = failure_of(lambda: client.ask("nowhere.test", 9, b"x", timeout=5.0))
    assert failure == "unable to resolve host: nowhere.test: no records with this name"
    assert (failure.kind, failure.phase, failure.peer) == ("dns", "dns", "nowhere.test:9")


def test_a_stop_learns_what_was_waited_for(client: UdpClient) -> None:
    batch = Work(Crew())
    with serving_udp(lambda data: []) as peer:
        batch.add(lambda: client.ask(LOOPBACK, peer.port, b"x", timeout=5.0))
        stop_soon(batch)
        batch.join()
    told = [(error.phase, error.peer) for error in batch.failures if isinstance(error, Stop)]
    assert told == [("read", f"127.0.0.1:{peer.port}")]
    assert counts(client) == (1, 0, 0, 1)


# -- answers that come too late


class Asked:
    """A service that only writes down who asks; the test answers by `sock`."""

    def __init__(self) -> None:
        self.sock = gevent.socket.socket(type=socket.SOCK_DGRAM)
        self.sock.bind((LOOPBACK, 0))
        self.port = self.sock.getsockname()[1]

    def senders(self, count: int) -> list[tuple[str, int]]:
        return [self.sock.recvfrom(100)[1] for _ in range(count)]


@pytest.fixture
def asked() -> Iterator[Asked]:
    service = Asked()
    with service.sock:
        yield service


def is_taken(address: tuple[str, int]) -> bool:
    """Somebody has this port: the kernel gives it to nobody else."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(address)
        except OSError:
            return True
    return False


def ask_in_vain(client: UdpClient, port: int, **how: Any) -> None:
    assert failure_of(lambda: client.ask(LOOPBACK, port, b"x", timeout=0.01, **how)) == "read timeout"


def test_the_port_of_a_question_without_its_answer_is_not_given_to_the_next(
    client: UdpClient, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterd.net.udp.HELD_FOR", 0.2)
    ask_in_vain(client, asked.port, retransmits=1)
    sender, again = asked.senders(2)
    assert sender == again
    assert is_taken(sender)
    asked.sock.sendto(b"too late", sender)
    with gevent.Timeout(5):
        while is_taken(sender):
            gevent.sleep(0.01)


def test_a_question_that_was_sent_twice_may_be_answered_twice(client: UdpClient, asked: Asked) -> None:
    def serve() -> None:
        asked.sock.recvfrom(100)
        _, sender = asked.sock.recvfrom(100)
        asked.sock.sendto(b"once", sender)
        senders.append(sender)

    senders: list[tuple[str, int]] = []
    gevent.spawn(serve)
    assert client.ask(LOOPBACK, asked.port, b"x", timeout=0.05, retransmits=20) == b"once"
    assert is_taken(senders[0])
    client.close()
    assert not is_taken(senders[0])


def test_a_question_with_its_answer_and_one_that_wants_none_keep_no_port(client: UdpClient, asked: Asked) -> None:
    def serve() -> None:
        _, sender = asked.sock.recvfrom(100)
        asked.sock.sendto(b"here", sender)
        senders.append(sender)

    senders: list[tuple[str, int]] = []
    gevent.spawn(serve)
    assert client.ask(LOOPBACK, asked.port, b"x", timeout=5.0) == b"here"
    client.ask(LOOPBACK, asked.port, b"x", timeout=5.0, answer=False)
    senders += asked.senders(1)
    assert [is_taken(sender) for sender in senders] == [False, False]


def test_no_more_than_so_many_ports_are_kept_and_the_oldest_goes(
    client: UdpClient, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterd.net.udp.MOST_HELD", 2)
    for _ in range(3):
        ask_in_vain(client, asked.port)
    assert [is_taken(sender) for sender in asked.senders(3)] == [False, True, True]
    client.close()


def test_what_was_there_before_the_question_left_is_no_answer(client: UdpClient, asked: Asked) -> None:
    question = client._open(LOOPBACK, asked.port, 0.0)
    asked.sock.sendto(b"to somebody before", question.sock.getsockname())
    asked.sock.sendto(b"", question.sock.getsockname())
    question.send(b"x")
    asked.sock.sendto(b"genuine", asked.senders(1)[0])
    assert question.receive(monotonic() + 5.0) == b"genuine"
    question.close()
