"""One server: which commands go on the shared line, and which do not."""

from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.redis_commands import Command
from filterd.net.redis_server import MAX_SHARED, Server
from filterd.net.redis_wire import Login
from filterd.outcome import Failure, RequestFailed
from tests.support.partners import RedisServer
from tests.support.peers import LOOPBACK
from tests.support.redis_servers import scripted_redis


def server_at(port: int) -> Server:
    return Server((LOOPBACK, port), Login(), resolver=None)


@pytest.fixture
def server(redis_server: RedisServer) -> Any:
    server = server_at(redis_server.port)
    yield server
    server.close()


def ask(server: Any, *lines: str) -> list[Any]:
    return list(server.execute([Command(line.split()) for line in lines], until=monotonic() + 5))


def test_ordinary_commands_need_one_connection(server: Server) -> None:
    gevent.joinall([gevent.spawn(ask, server, "PING", "GET x") for _ in range(20)], raise_error=True)
    assert (server.line.is_open, server.pool.in_use, server.pool.resting) == (True, 0, 0)


def test_one_that_waits_has_a_connection_that_others_may_use_afterwards(server: Server) -> None:
    waiting = gevent.spawn(ask, server, "BLPOP list 5")
    gevent.sleep(0.05)
    assert server.pool.in_use == 1
    assert ask(server, "RPUSH list x") == [1]
    assert waiting.get() == [["list", "x"]]
    assert (server.pool.in_use, server.pool.resting) == (0, 1)
    assert ask(server, "BLPOP list 0.01") == [None]
    assert server.pool.resting == 1


def test_one_that_leaves_a_state_has_a_connection_for_itself_alone(server: Server) -> None:
    assert ask(server, "SELECT 1", "SET key in1") == ["OK", "OK"]
    assert (server.pool.in_use, server.pool.resting) == (0, 0)
    assert ask(server, "GET key") == [None]
    assert ask(server, "SELECT 1", "GET key") == ["OK", "in1"]


def test_a_transaction_in_one_piece_goes_on_the_line(server: Server) -> None:
    assert ask(server, "MULTI", "INCR n", "INCR n", "EXEC") == ["OK", "QUEUED", "QUEUED", [1, 2]]
    assert server.pool.resting == 0


@pytest.mark.parametrize("form", ["shared", "pooled", "private"])
def test_a_refusal_is_a_failure_that_knows_who_refused(server: Server, form: str) -> None:
    private = server.private(until=None) if form == "private" else None
    answers = ask(private or server, *(["RPUSH list x", "BLPOP list 1"] if form == "pooled" else []), "SET text x", "INCR text")
    if private is not None:
        private.close()
    failure = answers[-1]
    assert isinstance(failure, Failure)
    assert (failure, failure.kind) == ("ERR value is not an integer or out of range", "server")
    assert (failure.peer, failure.phase, 0 < failure.elapsed < 5) == (server.peer, "read", True)


def test_the_big_ones_go_beside_the_line(server: Server) -> None:
    big = Command(["SET", "big", b"x" * MAX_SHARED])
    assert server.execute([big], until=monotonic() + 5) == ["OK"]
    assert (server.line.is_open, server.pool.resting) == (False, 1)


def test_a_private_connection_keeps_its_state_until_it_is_closed(server: Server) -> None:
    private = server.private(until=monotonic() + 5)
    assert ask(private, "SELECT 1") == ["OK"]
    assert ask(private, "SET key mine", "GET key") == ["OK", "mine"]
    assert ask(server, "GET key") == [None]
    assert (private.is_open, server.pool.in_use) == (True, 1)
    private.close()
    private.close()
    assert (private.is_open, server.pool.in_use, server.pool.resting) == (False, 0, 0)


@pytest.mark.parametrize("form", ["pooled", "private"])
def test_a_failure_gives_the_place_back_and_tells_what_is_unknown(form: str) -> None:
    with scripted_redis(lambda connection: connection.close()) as peer:
        server = server_at(peer.port)
        with pytest.raises(RequestFailed, match="whether the command was carried out is unknown"):
            ask(server if form == "pooled" else server.private(until=None), "BLPOP list 1")
        assert (server.pool.in_use, server.pool.resting) == (0, 0)
