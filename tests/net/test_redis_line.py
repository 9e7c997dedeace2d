"""The shared line: order, leaving, closing, stalling, and being found again."""

from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.greenlets import Stop
from filterd.net.redis_commands import Command
from filterd.net.redis_line import Call, Line
from filterd.net.redis_wire import Login, Wire, dial
from filterd.outcome import Failure, RequestFailed
from tests.support.partners import RedisServer
from tests.support.peers import LOOPBACK, dead_port, drip, full_queue, reset, serving
from tests.support.redis_servers import redis_process, scripted_redis

UNKNOWN = "; whether the command was carried out is unknown"


def line_to(address: tuple[str, int], **more: Any) -> Line:
    def open_wire(until: float) -> Wire:
        return dial(address, Login(), resolver=None, until=until)

    return Line(open_wire, f"{address[0]}:{address[1]}", **more)


def send(line: Line, text: str) -> Call:
    command = Command(text.split())
    return line.send(command.packed, 1, is_read=command.reads)


def ask(line: Line, text: str, *, seconds: float = 5.0) -> Any:
    return send(line, text).wait(monotonic() + seconds)[0]


def failure_of(call: Call, *, seconds: float = 5.0) -> Failure:
    with pytest.raises(RequestFailed) as raised:
        call.wait(monotonic() + seconds)
    return raised.value.failure


@pytest.fixture
def line(redis_server: RedisServer) -> Any:
    line = line_to((LOOPBACK, redis_server.port))
    yield line
    line.close()


def answering(answers: Callable[[bytes], bytes]) -> Any:
    def talk(connection: Any) -> None:
        while data := connection.recv(65536):
            connection.sendall(answers(data))

    return serving(talk)


# -- order


def test_everybody_gets_his_own_reply(line: Line, hub_free: None) -> None:
    found: dict[str, list[bytes]] = {}

    def caller(name: str) -> None:
        found[name] = [ask(line, f"ECHO {name}.{number}") for number in range(50)]

    gevent.joinall([gevent.spawn(caller, f"caller{number}") for number in range(64)], raise_error=True)
    assert all(echoed == [f"{name}.{number}".encode() for number in range(50)] for name, echoed in found.items())


def test_what_is_asked_in_one_turn_goes_out_in_one_piece() -> None:
    pieces: list[int] = []

    def answers(data: bytes) -> bytes:
        pieces.append(data.count(b"PING"))
        return b"+PONG\r\n" * pieces[-1]

    with answering(answers) as peer:
        line = line_to((LOOPBACK, peer.port))
        for count in (1, 20, 1):
            for call in [send(line, "PING") for _ in range(count)]:
                assert call.wait(None) == [b"PONG"]
        line.close()
    assert pieces == [1, 20, 1]


def test_commands_given_together_have_their_replies_together(line: Line) -> None:
    payload = b"".join(Command(["ECHO", text]).packed for text in ("a", "b", "c"))
    calls = [line.send(payload, 3) for _ in range(5)]
    assert [call.wait(None) for call in calls] == [[b"a", b"b", b"c"]] * 5


def test_a_reply_may_be_waited_for_late(line: Line) -> None:
    call = send(line, "ECHO x")
    gevent.sleep(0.05)
    assert call.wait(None) == [b"x"]
    assert call.wait(monotonic() - 1) == [b"x"], "it is there"


# -- leaving


def test_who_leaves_for_lateness_leaves_his_place_behind() -> None:
    with scripted_redis(lambda connection: gevent.sleep(0.2), b"+first\r\n+second\r\n") as peer:
        line = line_to((LOOPBACK, peer.port))
        first = send(line, "ECHO first")
        failure = failure_of(first, seconds=0.05)
        assert ask(line, "ECHO second") == b"second"
        line.close()
    assert (failure.kind, failure.phase, failure.peer) == ("timeout", "read", f"{LOOPBACK}:{peer.port}")
    assert failure.startswith(f"timeout: read from {LOOPBACK}:{peer.port} after 0.")


def test_who_is_stopped_leaves_his_place_behind(line: Line) -> None:
    stopped: list[Stop] = []

    def caller() -> None:
        try:
            send(line, "ECHO stopped").wait(None)
        except Stop as stop:
            stopped.append(stop)

    assert ask(line, "PING") == b"PONG"
    greenlet = gevent.spawn(caller)
    gevent.sleep(0)
    greenlet.kill(Stop("its time is over"), block=False)
    assert [ask(line, f"ECHO {number}") for number in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert [(stop.phase, stop.peer) for stop in stopped] == [("read", line.peer)]


def test_what_was_not_sent_yet_is_never_sent(redis_server: RedisServer) -> None:
    def open_wire(until: float) -> Wire:
        gevent.sleep(0.1)
        return dial((LOOPBACK, redis_server.port), Login(), resolver=None, until=until)

    line = Line(open_wire, "slow.test:6379")
    failure = failure_of(send(line, "SET early 1"), seconds=0.02)
    assert ask(line, "SET late 1") == b"OK"
    assert ask(line, "MGET early late") == [None, b"1"]
    line.close()
    assert (failure.kind, failure.phase, failure.peer) == ("timeout", "connect", "slow.test:6379")


def test_a_reply_that_is_there_beats_a_timer_that_is_due(line: Line) -> None:
    assert ask(line, "PING") == b"PONG"
    call = send(line, "ECHO there")
    gevent.sleep(0)

    def hold_the_loop() -> None:
        end = monotonic() + 0.1
        while monotonic() < end:
            pass

    gevent.spawn(hold_the_loop)
    assert call.wait(monotonic() + 0.05) == [b"there"]


# -- the end of a connection


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_who_waits_is_told_at_once_and_the_next_is_served(how: str) -> None:
    def talk(connection: Any) -> None:
        if peer.accepted == 1:
            connection.recv(65536)
            if how == "reset":
                reset(connection)
            return
        while data := connection.recv(65536):
            connection.sendall(b"+PONG\r\n" * data.count(b"PING"))

    with serving(talk) as peer:
        line = line_to((LOOPBACK, peer.port))
        calls = [send(line, "INCR key"), send(line, "GET key"), send(line, "INCR key")]
        failures = [failure_of(call) for call in calls]
        assert ask(line, "PING") == b"PONG"
        line.close()
    assert [failure.endswith(UNKNOWN) for failure in failures] == [True, False, True]
    assert {failure.kind for failure in failures} == {"closed"}


def test_a_server_that_went_away_in_silence_costs_nobody_anything(redis_server: RedisServer) -> None:
    with redis_process() as server:
        line = line_to((LOOPBACK, server.port))
        assert ask(line, "PING") == b"PONG"
        server.stop()
        assert failure_of(send(line, "INCR key")) == "Connection refused"
        server.start()
        assert ask(line, "INCR key") == 1
        line.close()


def test_an_end_that_the_loop_has_not_seen_yet_is_seen_before_anything_is_sent() -> None:
    connections: list[Any] = []

    def talk(connection: Any) -> None:
        connections.append(connection)
        while data := connection.recv(65536):
            connection.sendall(b":1\r\n" * data.count(b"INCR"))

    with serving(talk) as peer:
        line = line_to((LOOPBACK, peer.port))
        assert ask(line, "INCR key") == 1
        call = send(line, "INCR key")
        connections[0].shutdown(2)
        assert call.wait(monotonic() + 5) == [1]
        assert peer.accepted == 2
        line.close()


def test_a_dead_server_refuses_all_who_wait() -> None:
    with dead_port() as port:
        line = line_to((LOOPBACK, port))
        failures = [failure_of(call) for call in [send(line, "INCR key") for _ in range(3)]]
    assert failures == ["Connection refused"] * 3
    assert {(failure.kind, failure.phase) for failure in failures} == {("connect", "connect")}
    assert line.queued == 0


def test_a_connection_that_does_not_come_about_has_an_end() -> None:
    with full_queue() as (address, _):
        line = line_to(address, connect_timeout=0.1)
        failure = failure_of(send(line, "PING"))
    assert (failure.kind, failure.phase) == ("timeout", "connect")


def test_a_server_that_never_serves_fails_all_who_wait() -> None:
    def talk(connection: Any) -> None:
        connection.recv(65536)

    with serving(talk) as peer:
        line = line_to((LOOPBACK, peer.port))
        first = send(line, "GET key")
        gevent.sleep(0)
        failures = [failure_of(first)]
        for _ in range(3):
            failures += [failure_of(call) for call in (send(line, "GET key"), send(line, "GET key"))]
        assert peer.accepted == 4, "one attempt each, not one after the other for ever"
    assert {failure.kind for failure in failures} == {"closed"}
    assert line.queued == 0


def test_a_server_that_has_no_room_is_heard_and_sent_nothing() -> None:
    def open_wire(until: float) -> Wire:
        wire = dial((LOOPBACK, peer.port), Login(), resolver=None, until=until)
        gevent.sleep(0.05)
        return wire

    with serving(lambda connection: connection.sendall(b"-ERR max number of clients reached\r\n")) as peer:
        line = Line(open_wire, "redis.test:6379")
        failures = [failure_of(call) for call in (send(line, "INCR key"), send(line, "INCR key"))]
    assert failures == ["ERR max number of clients reached"] * 2
    assert {failure.kind for failure in failures} == {"server"}


def test_nobody_connects_for_those_who_have_left(redis_server: RedisServer) -> None:
    opened: list[Wire] = []

    def open_wire(until: float) -> Wire:
        gevent.sleep(0.05)
        opened.append(dial((LOOPBACK, redis_server.port), Login(), resolver=None, until=until))
        return opened[-1]

    line = Line(open_wire, "redis.test:6379")
    assert ask(line, "PING") == b"PONG"
    call = send(line, "GET key")
    # The end of the connection is noticed before the call is sent, and the caller leaves before there is another.
    assert opened[0].stream.sock is not None
    opened[0].stream.sock.shutdown(2)
    failure = failure_of(call, seconds=0.01)
    gevent.sleep(0.1)
    assert (failure.kind, len(opened)) == ("timeout", 2)
    assert not line.queued
    line.close()


def test_a_bug_below_is_not_a_line_that_hangs(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(until: float) -> Wire:
        raise ZeroDivisionError("a bug")

    line = Line(broken, "peer")
    for _ in range(2):
        assert failure_of(send(line, "PING")).kind == "closed"
    assert capsys.readouterr().err.count("ZeroDivisionError: a bug") == 2


@pytest.mark.parametrize("answer", [b"garbage\r\n", b"+PONG\r\n+PONG\r\n"])
def test_what_nobody_asked_for_ends_the_connection(answer: bytes) -> None:
    with answering(lambda data: answer) as peer:
        line = line_to((LOOPBACK, peer.port))
        call = send(line, "PING")
        if answer.startswith(b"+"):
            assert call.wait(monotonic() + 5) == [b"PONG"]
        else:
            assert failure_of(call).kind == "protocol"
        gevent.sleep(0.05)
        assert not line.is_open
        line.close()


def test_close_fails_what_waits_and_use_opens_again(line: Line) -> None:
    assert ask(line, "PING") == b"PONG"
    waiting, unsent = send(line, "DEBUG OBJECT x"), send(line, "PING")
    line.close()
    assert failure_of(waiting).kind == failure_of(unsent).kind == "closed"
    assert not failure_of(unsent).endswith(UNKNOWN), "it was not sent"
    assert ask(line, "PING") == b"PONG"
    line.close()
    line.close()


def test_close_while_it_connects() -> None:
    with full_queue() as (address, _):
        line = line_to(address)
        call = send(line, "PING")
        gevent.sleep(0.02)
        line.close()
        assert failure_of(call).kind == "closed"


# -- stalling and limits


def test_a_server_that_owes_a_reply_and_stays_silent_is_given_up() -> None:
    with scripted_redis() as peer:
        line = line_to((LOOPBACK, peer.port), stall=0.1)
        failures = [failure_of(call) for call in (send(line, "INCR key"), send(line, "GET key"))]
        assert not line.is_open
        line.close()
    assert failures[0] == f"{LOOPBACK}:{peer.port} has been silent for 0.1 s{UNKNOWN}"
    assert failures[1].kind == "timeout"


def test_a_server_that_owes_nothing_may_be_silent() -> None:
    with answering(lambda data: b"+PONG\r\n") as peer:
        line = line_to((LOOPBACK, peer.port), stall=0.05)
        for _ in range(3):
            assert ask(line, "PING") == b"PONG"
            gevent.sleep(0.15)
        assert peer.accepted == 1
        line.close()


def test_a_server_that_does_not_read_is_given_up() -> None:
    def deaf(connection: Any) -> None:
        gevent.sleep(2)

    with serving(deaf) as peer:
        line = line_to((LOOPBACK, peer.port), stall=0.1)
        call = line.send(Command(["SET", "key", b"x" * 12_000_000]).packed, 1)
        failure = failure_of(call)
        assert not line.is_open
        line.close()
    assert failure.kind == "timeout"
    assert failure.endswith(UNKNOWN)


def test_a_server_that_talks_and_does_not_read_is_given_up() -> None:
    def talk(connection: Any) -> None:
        connection.recv(4)
        drip(b"+" + b"x" * 50, 0.02)(connection)

    with serving(talk) as peer:
        line = line_to((LOOPBACK, peer.port), stall=0.1)
        first = send(line, "GET key")
        second = line.send(Command(["SET", "key", b"x" * 12_000_000]).packed, 1)
        failures = [failure_of(call) for call in (first, second)]
        assert not line.is_open
        line.close()
    assert {failure.kind for failure in failures} == {"timeout"}
    assert all(failure.startswith(f"timeout: write to {line.peer}") for failure in failures)


def test_the_bytes_that_wait_to_be_sent_are_capped() -> None:
    with full_queue() as (address, _):
        line = line_to(address, max_queued=1000, connect_timeout=0.1)
        call = line.send(b"x" * 900, 1)
        with pytest.raises(RequestFailed) as raised:
            line.send(b"x" * 200, 1)
        assert raised.value.failure.kind == "limit"
        assert raised.value.failure.startswith("900 bytes are waiting to be sent")
        failure_of(call)
        assert line.queued == 0
        line.send(b"x" * 900, 1)
        line.close()
    assert line.queued == 0
