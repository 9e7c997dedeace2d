"""Questions by UDP: from many ports that change, by ids that differ, and nothing is left behind."""

import errno
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest

from filterd.net import resolver_udp
from filterd.net.resolver_pending import Numbers, Pending, Place
from filterd.net.resolver_udp import MAX_AGE, SOCKETS, UdpSockets
from filterd.proto.dns import encode_question
from tests.support.dns_server import Asked, DnsPeer, answer, dns_serving
from tests.support.partners import free_port
from tests.support.peers import LOOPBACK

QUESTION = encode_question("a.test")


class Notes:
    """Whom the sockets tell; an answer ends its question."""

    def __init__(self) -> None:
        self.heard: list[tuple[Pending, bytes]] = []
        self.given_up: list[Mapping[int, Pending]] = []

    def arrived(self, pending: Pending, query_id: int, data: bytes, place: Place) -> None:
        self.heard.append((pending, data))
        pending.leave()

    def lost(self, waiting: Mapping[int, Pending], place: Place) -> None:
        self.given_up.append(waiting)


def soon(happened: Callable[[], object]) -> None:
    """Wait for something; a test that waits for ever is ended by its time limit."""
    while not happened():
        gevent.sleep(0.001)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def server() -> Iterator[DnsPeer]:
    with dns_serving(lambda asked: answer(asked, "A 192.0.2.1")) as peer:
        yield peer


@pytest.fixture
def sockets(server: DnsPeer, notes: Notes) -> Iterator[UdpSockets]:
    sockets = UdpSockets(server.address, notes, Numbers())
    yield sockets
    sockets.close()


def send(sockets: UdpSockets, count: int = 1) -> list[Pending]:
    pending = [Pending(QUESTION, 0.0) for _ in range(count)]
    for one in pending:
        assert sockets.send(one)
    return pending


def test_questions_leave_by_all_sockets_with_ids_of_their_own(sockets: UdpSockets, server: DnsPeer, notes: Notes) -> None:
    sent = send(sockets, 400)
    soon(lambda: len(notes.heard) == 400)
    assert {one for one, _ in notes.heard} == set(sent)
    sources = {asked.source for asked in server.asked}
    assert len(sources) == SOCKETS
    assert len({(asked.source, asked.query_id) for asked in server.asked}) == 400
    assert len({asked.query_id for asked in server.asked}) > 390


def test_ids_under_way_are_not_given_twice(server: DnsPeer, notes: Notes) -> None:
    class Few(Numbers):
        def __init__(self) -> None:
            draw = Numbers().next
            self.next = lambda: draw() % 64 * 16  # always the first socket, 64 ids

    sockets = UdpSockets(server.address, notes, Few())
    sent = send(sockets, 64)
    assert len({query_id for one in sent for _, query_id in one.places}) == 64
    soon(lambda: len(notes.heard) == 64)
    sockets.close()


def test_a_socket_that_has_lived_is_replaced_and_closes_when_it_has_heard_all(
    sockets: UdpSockets, server: DnsPeer, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_udp, "LIFE", 2)
    before = descriptors()
    send(sockets, 300)
    soon(lambda: len(notes.heard) == 300)
    sources = [asked.source for asked in server.asked]
    assert len(set(sources)) >= 150
    assert descriptors() - before <= SOCKETS
    # The answers of the sockets that are left were heard before they became too old: they close when they are replaced.
    send(sockets, 100)
    soon(lambda: len(notes.heard) == 400)
    assert descriptors() - before <= SOCKETS
    assert notes.given_up == []


def test_a_socket_that_is_asked_seldom_is_replaced_in_time(sockets: UdpSockets, server: DnsPeer, notes: Notes) -> None:
    for asked in (0.0, MAX_AGE - 0.1, MAX_AGE, 2 * MAX_AGE):
        for _ in range(300):
            assert sockets.send(Pending(QUESTION, asked))
        soon(lambda: len(notes.heard) % 300 == 0)
    sources = [{one.source for one in server.asked[i : i + 300]} for i in range(0, 1200, 300)]
    assert sources[0] == sources[1]
    assert not sources[1] & sources[2]
    assert not sources[2] & sources[3]


def test_what_is_not_asked_any_more_is_not_heard(sockets: UdpSockets, server: DnsPeer, notes: Notes) -> None:
    (first,) = send(sockets)
    first.leave()
    soon(lambda: server.asked)
    send(sockets)
    soon(lambda: notes.heard)
    assert first not in [one for one, _ in notes.heard]


def test_who_refuses_is_noticed_at_once_and_what_waits_is_given_back(notes: Notes) -> None:
    before = descriptors()
    sockets = UdpSockets((LOOPBACK, free_port()), notes, Numbers())
    (sent,) = send(sockets)
    soon(lambda: notes.given_up)
    assert [list(waiting.values()) for waiting in notes.given_up] == [[sent]]
    assert descriptors() == before


def test_a_refusal_found_while_asking_gives_back_all_but_the_one_that_asks(notes: Notes) -> None:
    class One(Numbers):
        def __init__(self) -> None:
            draw = Numbers().next
            self.next = lambda: draw() & ~15  # always the first socket

    sockets = UdpSockets((LOOPBACK, free_port()), notes, One())
    sent: list[Pending] = []
    while sockets.send(one := Pending(QUESTION, 0.0)):  # the refusal comes in no time, but not in none
        sent.append(one)
    assert [set(waiting.values()) for waiting in notes.given_up] == [set(sent)]
    assert one.places == []
    sockets.close()


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOBUFS])
def test_what_finds_no_room_is_left_to_the_next_try(sockets: UdpSockets, notes: Notes, code: int) -> None:
    send(sockets)
    soon(lambda: notes.heard)

    class Full:
        """Stands in for a socket whose buffer is full, which loopback never has."""

        def __init__(self, real: Any) -> None:
            self.real = real

        def send(self, data: bytes) -> int:
            raise OSError(code, "full")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    for one in sockets._open:
        one.sock = Full(one.sock)  # type: ignore[assignment]
    sockets._current = [next(iter(sockets._open))] * SOCKETS
    send(sockets)
    assert notes.given_up == []


def test_a_network_without_a_way_is_told_at_once(notes: Notes) -> None:
    assert not UdpSockets(("255.255.255.255", 53), notes, Numbers()).send(Pending(QUESTION, 0.0))


def test_more_under_way_than_any_server_answers_is_refused(
    sockets: UdpSockets, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_udp, "MOST", 3)
    taken = [sockets.send(Pending(QUESTION, 0.0)) for _ in range(SOCKETS * 20)]
    assert taken.count(True) <= 3 * SOCKETS
    assert not taken[-1]


def test_a_long_queue_of_answers_is_read_in_pieces(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_udp, "_BURST", 2)

    def respond(asked: Asked) -> list[bytes]:
        return [answer(asked, "A 192.0.2.9", query_id=asked.query_id ^ 1)] * 5 + [answer(asked, "A 192.0.2.1")]

    with dns_serving(respond) as server:
        sockets = UdpSockets(server.address, notes, Numbers())
        send(sockets)
        soon(lambda: notes.heard)
        assert len(notes.heard) == 1
        sockets.close()


def test_close_leaves_nothing_open(sockets: UdpSockets) -> None:
    before = descriptors()
    send(sockets, 100)
    assert descriptors() > before
    sockets.close()
    assert descriptors() == before
    sockets.close()
