"""Kept connections: never too many, never for too long, and none lost whoever gives up while waiting."""

import random
from collections.abc import Iterator
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.http import HttpClient
from filterd.net.http_call import Call, HttpSettings
from filterd.net.http_connection import Connection
from filterd.net.http_pool import Endpoint, Pool, Pools
from filterd.net.stream import Stream
from filterd.outcome import RequestFailed
from tests.support.http_server import Asked, answer, http_serving
from tests.support.peers import LOOPBACK, Names, serving, silent


@pytest.fixture
def port() -> Iterator[int]:
    with serving(silent) as server:
        yield server.port


def pools_of(*, max_connections: int = 2, max_idle: int = 10, idle_timeout: float = 5.0) -> Pools:
    return Pools(max_connections=max_connections, max_idle=max_idle, idle_timeout=idle_timeout)


def connected(pool: Pool) -> Connection:
    stream = Stream.connect((pool.endpoint.host, pool.endpoint.port), until=monotonic() + 2)
    return Connection(stream, opening=(0.0, 0.0, 0.0), max_size=100, on_lost=pool.lost)


def take(pool: Pool, seconds: float = 2.0, *, fresh: bool = False) -> Connection | None:
    now = monotonic()
    return pool.take(until=now + seconds, began=now, fresh=fresh)


def taken(pool: Pool) -> Connection:
    """A connection as a call has it: an idle one, or one it made."""
    return take(pool) or connected(pool)


def test_the_connection_used_last_is_taken_first(port: int) -> None:
    pools = pools_of()
    pool = pools[Endpoint(LOOPBACK, port)]
    first, second = taken(pool), taken(pool)
    pool.put(first)
    pool.put(second)
    assert pools.idle == 2
    assert taken(pool) is second
    assert taken(pool) is first
    assert (pools.idle, pool.open, pools.open) == (0, 2, 2)


def test_endpoints_that_are_equal_share_a_pool_and_others_do_not(port: int) -> None:
    pools = pools_of()
    one = pools[Endpoint(LOOPBACK, port)]
    assert pools[Endpoint(LOOPBACK, port)] is one
    assert pools[Endpoint(LOOPBACK, port, forbid_local=True)] is not one
    assert pools[Endpoint(LOOPBACK, port, server_name="a")] is not one


def test_a_fresh_one_takes_the_place_of_an_idle_one(port: int) -> None:
    pools = pools_of(max_connections=1)
    pool = pools[Endpoint(LOOPBACK, port)]
    old = taken(pool)
    pool.put(old)
    assert take(pool, fresh=True) is None
    assert not old.is_open
    assert (pools.idle, pool.open) == (0, 1)


def test_who_waits_gets_the_connection_that_is_given_back_in_order(port: int) -> None:
    pool = pools_of(max_connections=1)[Endpoint(LOOPBACK, port)]
    connection = taken(pool)
    order: list[int] = []

    def wait(number: int) -> None:
        assert take(pool) is connection
        order.append(number)
        pool.put(connection)

    waiting = [gevent.spawn(wait, number) for number in range(5)]
    gevent.sleep(0.01)
    pool.put(connection)
    gevent.joinall(waiting, raise_error=True)
    assert order == [0, 1, 2, 3, 4]
    assert pool.idle == [connection]


@pytest.mark.parametrize("fresh", [True, False])
def test_who_waits_may_make_one_where_what_is_given_is_of_no_use(port: int, fresh: bool) -> None:
    pool = pools_of(max_connections=1)[Endpoint(LOOPBACK, port)]
    connection = taken(pool)
    waiting = gevent.spawn(take, pool, fresh=fresh)
    gevent.sleep(0.01)
    pool.put(connection)
    if not fresh:
        connection.close()  # it has noticed, on its way, that the server has closed it
        pool.lost(connection)
    assert waiting.get() is None
    assert not connection.is_open
    assert pool.open == 1


@pytest.mark.parametrize("with_gift", [True, False])
def test_a_turn_that_comes_too_late_is_passed_on(port: int, with_gift: bool) -> None:
    pools = pools_of(max_connections=1)
    pool = pools[Endpoint(LOOPBACK, port)]
    connection = taken(pool)
    first, second = gevent.spawn(take, pool), gevent.spawn(take, pool)
    gevent.sleep(0.01)
    first.kill(block=False)  # it dies in this turn of the loop, after its turn has been set
    if with_gift:
        pool.put(connection)
        assert second.get() is connection
    else:
        connection.close()
        pool.forget()
        assert second.get() is None
    assert pool.open == 1
    assert not pool.waiting


def test_who_is_stopped_while_waiting_leaves_the_queue(port: int) -> None:
    pool = pools_of(max_connections=1)[Endpoint(LOOPBACK, port)]
    connection = taken(pool)
    waiting = gevent.spawn(take, pool)
    gevent.sleep(0.01)
    waiting.kill()
    pool.put(connection)
    assert pool.idle == [connection]


def test_waiting_ends(port: int) -> None:
    pool = pools_of(max_connections=1)[Endpoint(LOOPBACK, port)]
    taken(pool)
    with pytest.raises(RequestFailed) as caught:
        take(pool, 0.05)
    failure = caught.value.failure
    assert (failure.kind, failure.phase, failure.peer) == ("timeout", "pool", f"127.0.0.1:{port}")


def test_no_more_than_so_many_are_kept_idle_over_all_endpoints(port: int) -> None:
    with serving(silent) as other:
        pools = pools_of(max_idle=1)
        one, two = pools[Endpoint(LOOPBACK, port)], pools[Endpoint(LOOPBACK, other.port)]
        first, second = taken(one), taken(two)
        one.put(first)
        two.put(second)
    assert first.is_open
    assert not second.is_open
    assert (pools.idle, len(pools)) == (1, 1)


def test_idle_connections_are_closed_in_time_and_nothing_is_left(port: int) -> None:
    pools = pools_of(idle_timeout=0.04)
    pool = pools[Endpoint(LOOPBACK, port)]
    first, second = taken(pool), taken(pool)
    pool.put(first)
    gevent.sleep(0.02)
    pool.put(second)
    while len(pools):
        gevent.sleep(0.01)
    assert (first.is_open, second.is_open, pools.idle, pool.open) == (False, False, 0, 0)


def test_a_connection_closed_by_the_server_leaves_the_pool() -> None:
    with serving(lambda connection: gevent.sleep(0.02)) as server:
        pools = pools_of()
        pool = pools[Endpoint(LOOPBACK, server.port)]
        pool.put(taken(pool))
        while len(pools):
            gevent.sleep(0.01)
    assert (pools.idle, pool.open) == (0, 0)


def test_closing_closes_what_is_idle_and_what_comes_back_later(port: int) -> None:
    pools = pools_of()
    pool = pools[Endpoint(LOOPBACK, port)]
    first, second = taken(pool), taken(pool)
    pool.put(first)
    pools.close()
    assert (first.is_open, second.is_open) == (False, True)
    pool.put(second)
    assert (second.is_open, len(pools), pools.idle) == (False, 0, 0)


def test_whatever_happens_to_callers_no_place_is_lost() -> None:
    rng = random.Random(7)

    def respond(asked: Asked) -> bytes | None:
        gevent.sleep(rng.choice([0, 0, 0.001, 0.004]))
        return rng.choice([answer(b"fine"), answer(b"fine"), answer(b"bye", "200 OK", "Connection: close"), None, b"nonsense"])

    settings = HttpSettings(max_connections=3, max_idle=2, idle_timeout=0.05)
    client = HttpClient(settings, resolver=Names())
    outcomes: list[str] = []

    def ask(url: str) -> None:
        call = Call(url, settings, keepalive=rng.random() < 0.8, method=rng.choice(["GET", "POST"]))
        try:
            outcomes.append(str(client.send(call, until=monotonic() + rng.choice([0.002, 0.01, 1.0])).code))
        except RequestFailed as error:
            outcomes.append(error.failure.kind)

    with http_serving(respond) as server:
        callers: list[Any] = []
        for _ in range(400):
            callers.append(gevent.spawn(ask, server.url()))
            if rng.random() < 0.3:
                gevent.sleep(0.001)
            if rng.random() < 0.1:
                rng.choice(callers).kill(block=False)
        gevent.joinall(callers)
        pool = client._pools[Endpoint(LOOPBACK, server.port)]
        assert not pool.waiting
        assert pool.open == len(pool.idle) == client._pools.idle <= 2
        client.close()
        assert pool.open == 0
    assert set(outcomes) == {"200", "timeout", "closed", "protocol"}
    assert client.stats.in_flight == 0
