"""Questions by TCP: many on one line, in one piece, in any order, across connections that end."""

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from filterd.net import resolver_tcp
from filterd.net.resolver_pending import Numbers, Pending, Place
from filterd.net.resolver_tcp import FIRST_REST, LONGEST_REST, TcpLine
from filterd.proto.dns import encode_question
from tests.support.partners import free_port
from tests.support.peers import LOOPBACK, Peer, reset, serving

QUESTION = encode_question("a.test")


class Notes:
    """Whom the line tells; a message with an octet after its id answers the question."""

    def __init__(self) -> None:
        self.heard: list[tuple[Pending, bytes]] = []
        self.given_up: list[Pending] = []

    def arrived(self, pending: Pending, query_id: int, data: bytes, place: Place) -> None:
        self.heard.append((pending, data))
        if len(data) > 2:
            pending.leave()

    def lost(self, waiting: Mapping[int, Pending], place: Place) -> None:
        self.given_up += waiting.values()


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(resolver_tcp, "monotonic", clock)
    return clock


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def line_to(notes: Notes) -> Iterator[Callable[[Peer | int], TcpLine]]:
    lines: list[TcpLine] = []

    def line_to(server: Peer | int) -> TcpLine:
        lines.append(TcpLine((LOOPBACK, server if isinstance(server, int) else server.port), notes, Numbers()))
        return lines[-1]

    yield line_to
    for line in lines:
        line.close()


def send(line: TcpLine, count: int = 1, question: bytes = QUESTION) -> list[Pending]:
    pending = [Pending(question, 0.0) for _ in range(count)]
    for one in pending:
        assert line.send((one,))
    return pending


def soon(happened: Callable[[], object]) -> None:
    """Wait for something; a test that waits for ever is ended by its time limit."""
    while not happened():
        gevent.sleep(0.001)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def queries(connection: Any, count: int = 1_000_000) -> Iterator[bytes]:
    """The ids of the next questions."""
    with connection.makefile("rb") as stream:
        for _ in range(count):
            head = stream.read(2)
            if not head:
                return
            yield stream.read(int.from_bytes(head, "big"))[:2]


def says(query_id: bytes, more: bytes = b"!") -> bytes:
    return struct.pack("!H", len(query_id + more)) + query_id + more


def answers(connection: Any) -> None:
    for query_id in queries(connection):
        connection.sendall(says(query_id))


def test_the_questions_of_one_turn_leave_in_one_piece(line_to: Any, notes: Notes) -> None:
    pieces: list[bytes] = []

    def talk(connection: Any) -> None:
        while data := connection.recv(65536):
            pieces.append(data)

    with serving(talk) as server:
        line = line_to(server)
        send(line, 50)
        soon(lambda: pieces)
        send(line, 30)
        soon(lambda: len(pieces) > 1)
    size = len(QUESTION) + 2 + 12 + 11
    assert [len(piece) for piece in pieces] == [50 * size, 30 * size]
    assert server.accepted == 1


def test_answers_come_in_any_order_and_in_any_pieces(line_to: Any, notes: Notes) -> None:
    def talk(connection: Any) -> None:
        asked = list(queries(connection, 20))
        for byte in b"".join(map(says, reversed(asked))):
            connection.sendall(bytes([byte]))
            gevent.sleep(0)
        gevent.sleep(60)

    with serving(talk) as server:
        sent = send(line_to(server), 20)
        soon(lambda: len(notes.heard) == 20)
    assert [one for one, _ in notes.heard] == sent[::-1]
    assert all(data == struct.pack("!H", one.places[0][1]) + b"!" for one, data in notes.heard)


def test_what_nobody_asked_is_not_heard(line_to: Any, notes: Notes) -> None:
    def talk(connection: Any) -> None:
        (asked,) = queries(connection, 1)
        stranger = bytes([asked[0] ^ 1, asked[1]])
        connection.sendall(
            says(stranger) + says(b"", b"") + says(b"", b"\xff") + says(stranger, b"x" * 65533) + says(asked) * 2
        )
        gevent.sleep(60)

    with serving(talk) as server:
        (sent,) = send(line_to(server))
        soon(lambda: notes.heard)
        gevent.sleep(0.01)
    assert notes.heard == [(sent, notes.heard[0][1])]


def test_ids_under_way_are_not_given_twice(line_to: Any, notes: Notes) -> None:
    class Few(Numbers):
        def __init__(self) -> None:
            draw = Numbers().next
            self.next = lambda: draw() % 64

    with serving(answers) as server:
        line = TcpLine((LOOPBACK, server.port), notes, Few())
        sent = send(line, 64)
        assert len({one.places[0][1] for one in sent}) == 64
        soon(lambda: len(notes.heard) == 64)
        line.close()


def test_a_server_that_closes_after_an_answer_is_asked_the_rest_again(line_to: Any, notes: Notes) -> None:
    def talk(connection: Any) -> None:
        for query_id in queries(connection, 10):
            connection.sendall(says(query_id))

    with serving(talk) as server:
        sent = send(line_to(server), 35)
        soon(lambda: len(notes.heard) == 35)
        assert server.accepted == 4
    assert {one for one, _ in notes.heard} == set(sent)
    assert notes.given_up == []


def test_a_connection_closed_for_idling_is_opened_again(line_to: Any, notes: Notes) -> None:
    def talk(connection: Any) -> None:
        for query_id in queries(connection, 1):
            connection.sendall(says(query_id))

    with serving(talk) as server:
        line = line_to(server)
        for _ in range(3):
            (sent,) = send(line)
            while not sent.done:
                gevent.sleep(0.001)
            gevent.sleep(0.01)
        assert server.accepted == 3
    assert notes.given_up == []


@pytest.mark.parametrize("way", ["closes", "resets", "answers another", "does not answer enough"])
def test_one_that_ends_without_having_answered_has_failed(line_to: Any, notes: Notes, way: str) -> None:
    def talk(connection: Any) -> None:
        (query_id,) = queries(connection, 1)
        if way == "resets":
            reset(connection)
        if way == "answers another":
            connection.sendall(says(bytes([query_id[0] ^ 1, query_id[1]])))
        if way == "does not answer enough":
            connection.sendall(says(query_id, b""))

    with serving(talk) as server:
        line = line_to(server)
        sent = send(line, 5)
        soon(lambda: notes.given_up)
        assert notes.given_up == sent
        assert server.accepted == 1
        assert not line.send((Pending(QUESTION, 0.0),)), "it rests"


def test_one_that_answered_once_and_then_only_closes_has_failed(line_to: Any, notes: Notes) -> None:
    def talk(connection: Any) -> None:
        if server.accepted == 1:
            connection.sendall(says(*queries(connection, 1)))

    with serving(talk) as server:
        sent = send(line_to(server), 5)
        soon(lambda: notes.given_up)
        assert notes.given_up == sent[1:]
        assert server.accepted == 2


def test_one_that_refuses_has_failed(line_to: Any, notes: Notes) -> None:
    before = descriptors()
    line = line_to(free_port())
    sent = send(line, 5)
    soon(lambda: notes.given_up)
    assert notes.given_up == sent
    assert not line.send((Pending(QUESTION, 0.0),))
    assert descriptors() == before


def test_one_that_cannot_be_reached_has_failed(notes: Notes) -> None:
    line = TcpLine(("255.255.255.255", 53), notes, Numbers())
    sent = send(line)
    soon(lambda: notes.given_up)
    assert notes.given_up == sent


def test_it_rests_longer_each_time_until_something_is_answered(line_to: Any, notes: Notes, clock: Clock) -> None:
    port = free_port()
    line = line_to(port)
    rest = FIRST_REST
    for _ in range(10):
        send(line)
        soon(lambda: notes.given_up)
        notes.given_up.clear()
        clock.now += rest - 0.01
        assert not line.send((Pending(QUESTION, 0.0),))
        clock.now += 0.01
        rest = min(rest * 2, LONGEST_REST)
    assert rest == LONGEST_REST
    with serving(answers) as server:
        line.server = (LOOPBACK, server.port)
        send(line)
        soon(lambda: notes.heard)
    line.rest()
    clock.now += FIRST_REST
    assert line.send((Pending(QUESTION, 0.0),))


def test_silence_is_noticed_only_where_something_waits(line_to: Any, notes: Notes, clock: Clock) -> None:
    def talk(connection: Any) -> None:
        first, _ = queries(connection, 2)
        connection.sendall(says(first))
        gevent.sleep(60)

    with serving(talk) as server:
        line = line_to(server)
        assert not line.is_silent(clock.now)
        send(line, 2)
        assert line.is_silent(clock.now)
        soon(lambda: notes.heard)
        assert not line.is_silent(clock.now)
        assert line.is_silent(clock.now + 1)
        assert len(line.rest()) == 1
        assert not line.is_silent(clock.now + 1)
        assert notes.given_up == []


def test_a_server_that_reads_slowly_gets_everything(line_to: Any, notes: Notes) -> None:
    asked: list[bytes] = []

    def talk(connection: Any) -> None:
        gevent.sleep(0.1)
        for query_id in queries(connection):
            asked.append(query_id)
            if len(asked) % 500 == 0:
                gevent.sleep(0)

    long_question = encode_question(".".join(["x" * 60] * 4), "txt")
    with serving(talk) as server:
        line = line_to(server)
        sent: list[Pending] = []
        for _ in range(40):
            sent += send(line, 400, long_question)
            gevent.sleep(0)
        assert line._unsent, "more than fits was asked"
        soon(lambda: len(asked) == len(sent))
    assert asked == [struct.pack("!H", one.places[0][1]) for one in sent]


def test_one_that_dies_while_it_is_written_to_has_failed(line_to: Any, notes: Notes) -> None:
    def talk(connection: Any) -> None:
        connection.recv(10)
        gevent.sleep(0.05)
        reset(connection)

    long_question = encode_question(".".join(["x" * 60] * 4), "txt")
    with serving(talk) as server:
        line = line_to(server)
        sent: list[Pending] = []
        for _ in range(40):
            sent += send(line, 400, long_question)
            gevent.sleep(0)
        assert line._unsent
        soon(lambda: notes.given_up)
    assert notes.given_up == sent


def test_an_end_that_is_found_by_writing_is_an_end(line_to: Any, notes: Notes) -> None:
    close = Event()

    def talk(connection: Any) -> None:
        for query_id in queries(connection, 1):
            connection.sendall(says(query_id))
        close.wait()
        reset(connection)

    with serving(talk) as server:
        line = line_to(server)
        send(line)
        soon(lambda: notes.heard)
        close.set()
        send(line)  # the reset comes first, and nobody has looked yet
        soon(lambda: len(notes.heard) == 2)
        assert server.accepted == 2
    assert notes.given_up == []


def test_more_under_way_than_any_server_answers_is_refused(line_to: Any, notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_tcp, "MOST", 3)
    with serving(answers) as server:
        line = line_to(server)
        send(line, 3)
        assert not line.send((Pending(QUESTION, 0.0),))
        soon(lambda: len(notes.heard) == 3)
        assert line.send((Pending(QUESTION, 0.0),))


def test_what_is_not_asked_any_more_before_it_left_opens_nothing(line_to: Any, notes: Notes) -> None:
    with serving(answers) as server:
        line = line_to(server)
        (sent,) = send(line)
        sent.leave()
        gevent.sleep(0.02)
        assert server.accepted == 0


def test_close_leaves_nothing_open_and_nothing_waiting(line_to: Any, notes: Notes) -> None:
    with serving(lambda connection: gevent.sleep(60)) as server:
        before = descriptors()
        line = line_to(server)
        send(line, 5)
        soon(lambda: server.accepted)
        line.close()
        line.close()
        assert (descriptors(), dict(line.waiting)) == (before + 1, {}), "the server's own end is open"
        assert notes.given_up == []
