"""The private connections: how many, who is next, and when they are closed."""

from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.greenlets import Stop
from filterd.net.redis_commands import Command
from filterd.net.redis_pool import Pool
from filterd.net.redis_wire import Login, Wire, dial
from filterd.outcome import Failure, RequestFailed
from tests.support.partners import RedisServer
from tests.support.peers import LOOPBACK, dead_port
from tests.support.redis_servers import scripted_redis

PING = Command(["PING"]).packed


def pool_of(port: int, **more: Any) -> Pool:
    return Pool(lambda until: dial((LOOPBACK, port), Login(), resolver=None, until=until), f"{LOOPBACK}:{port}", **more)


@pytest.fixture
def pool(redis_server: RedisServer) -> Any:
    pool = pool_of(redis_server.port, size=2)
    yield pool
    pool.close()


def take(pool: Pool, seconds: float = 5.0) -> Wire:
    return pool.take(monotonic() + seconds)


def not_taken(pool: Pool, seconds: float = 5.0) -> Failure:
    with pytest.raises(RequestFailed) as raised:
        take(pool, seconds)
    return raised.value.failure


def test_one_that_was_given_back_is_used_again(pool: Pool) -> None:
    wire = take(pool)
    assert (pool.in_use, pool.resting) == (1, 0)
    pool.give(wire)
    assert (pool.in_use, pool.resting) == (0, 1)
    assert take(pool) is wire
    pool.drop(wire)
    assert (pool.in_use, pool.resting) == (0, 0)
    assert not wire.is_quiet()


def test_there_are_never_more_and_who_waits_is_served_in_turn(pool: Pool) -> None:
    held = [take(pool), take(pool)]
    served: list[str] = []

    def user(name: str) -> None:
        wire = take(pool)
        served.append(name)
        gevent.sleep(0.01)
        pool.give(wire)

    users = [gevent.spawn(user, name) for name in "abc"]
    gevent.sleep(0.02)
    assert served == []
    failure = not_taken(pool, 0.02)
    assert (failure.kind, failure.peer, failure.phase) == ("limit", pool.peer, "connect")
    assert failure.startswith("all 2 private connections to ")
    pool.give(held[0])
    pool.drop(held[1])
    gevent.joinall(users, raise_error=True)
    assert served == ["a", "b", "c"]
    assert pool.in_use == 0


def test_who_is_stopped_while_waiting_takes_no_place_with_him(pool: Pool) -> None:
    held = [take(pool), take(pool)]
    stopped: list[Stop] = []

    def user() -> None:
        try:
            pool.take(None)
        except Stop as stop:
            stopped.append(stop)

    users = [gevent.spawn(user), gevent.spawn(user)]
    gevent.sleep(0.02)
    users[0].kill(Stop("enough"))
    # This one gets its place when it has been stopped already, and has not noticed.
    users[1].kill(Stop("enough"), block=False)
    pool.give(held[0])
    users[1].join()
    assert [(stop.phase, stop.peer) for stop in stopped] == [("connect", pool.peer)] * 2
    assert pool.in_use == 1
    for wire in (take(pool, 0.1), held[1]):
        pool.drop(wire)


def test_a_place_is_not_lost_when_nothing_answers() -> None:
    with dead_port() as port:
        pool = pool_of(port, size=1)
        assert [not_taken(pool) for _ in range(3)] == ["Connection refused"] * 3
        assert pool.in_use == 0


def test_what_rests_is_closed_in_the_end(redis_server: RedisServer) -> None:
    pool = pool_of(redis_server.port, idle=0.05)
    wires = [take(pool), take(pool), take(pool)]
    pool.give(wires[0])
    gevent.sleep(0.03)
    pool.give(wires[1])
    pool.give(wires[2])
    gevent.sleep(0.03)
    assert [wire.is_quiet() for wire in wires] == [False, True, True]
    gevent.sleep(0.1)
    assert [wire.is_quiet() for wire in wires] == [False, False, False]
    assert pool.resting == 0
    pool.give(take(pool))
    assert pool.resting == 1
    pool.close()
    assert pool.resting == 0


def test_one_on_which_something_came_in_is_not_used_again(pool: Pool) -> None:
    wire = take(pool)
    wire.stream.write(PING, until=None)
    gevent.sleep(0.05)
    pool.give(wire)
    assert (pool.in_use, pool.resting) == (0, 0)
    wire = take(pool)
    pool.give(wire)
    wire.stream.write(PING, until=None)
    gevent.sleep(0.05)
    other = take(pool)
    assert other is not wire
    assert other.exchange(PING, 1, until=None) == [b"PONG"]
    pool.drop(other)


def test_one_that_the_server_closed_is_not_used_again() -> None:
    with scripted_redis(lambda connection: (connection.sendall(b"+PONG\r\n"), connection.close())) as peer:
        pool = pool_of(peer.port)
        wire = take(pool)
        assert wire.exchange(PING, 1, until=None) == [b"PONG"]
        gevent.sleep(0.05)
        pool.give(wire)
        assert pool.resting == 0
