"""Servers named one by one: who is asked, what is repeated, what never is."""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from filterd.net.redis_commands import Command
from filterd.net.redis_listed import Listed
from filterd.net.redis_server import Server
from filterd.net.redis_settings import RedisSettings
from filterd.net.redis_wire import Login
from filterd.net.stream import Address
from filterd.outcome import RequestFailed
from tests.support.partners import RedisServer
from tests.support.peers import LOOPBACK, dead_port, serving
from tests.support.redis_servers import RestartedRedis, redis_process

At = tuple[str, int]
Make = Callable[[list[At], list[At]], Listed]


@pytest.fixture
def listed() -> Iterator[Make]:
    """Makes a target of a list for reads and one for writes."""
    servers = []

    def server(address: Address, login: Login) -> Server:
        servers.append(Server(address, login, resolver=None))
        return servers[-1]

    yield lambda reading, writing: Listed(RedisSettings(), server, reading=reading, writing=writing)
    for one in servers:
        one.close()


def ask(target: Listed, line: str, *, key: str | None = None, is_write: bool = False) -> Any:
    return target.execute([Command(line.split())], key=key, is_write=is_write, until=monotonic() + 5)[0]


@pytest.fixture(scope="module")
def other() -> Iterator[RestartedRedis]:
    with redis_process() as server:
        yield server


@pytest.fixture
def two(redis_server: RedisServer, other: RestartedRedis) -> list[At]:
    return [(LOOPBACK, redis_server.port), (LOOPBACK, other.port)]


def port_of(target: Listed, **more: Any) -> int:
    text = ask(target, "INFO server", **more)
    return int(text.partition("tcp_port:")[2].split()[0])


def test_reads_go_round_and_writes_to_the_first(listed: Make, two: list[At]) -> None:
    target = listed(two, two)
    ports = [port for _, port in two]
    assert sorted(port_of(target) for _ in range(4)) == sorted(ports * 2)
    assert [port_of(target, is_write=True) for _ in range(4)] == ports[:1] * 4


def test_a_key_goes_to_one_server_for_reads_and_writes(listed: Make, two: list[At]) -> None:
    target = listed(two, two)
    for key in ("a", "b", "c", "d", "e"):
        assert len({port_of(target, key=key, is_write=is_write) for is_write in (True, False) for _ in range(3)}) == 1
    assert len({port_of(target, key=key) for key in map(str, range(30))}) == 2


def test_reading_goes_on_elsewhere_when_a_server_is_down(listed: Make, two: list[At]) -> None:
    with dead_port() as port:
        target = listed([(LOOPBACK, port), two[0]], two)
        assert [port_of(target) for _ in range(4)] == [two[0][1]] * 4


def test_what_may_change_something_is_tried_once(listed: Make, two: list[At]) -> None:
    with dead_port() as port:
        target = listed(two, [(LOOPBACK, port), two[0]])
        with pytest.raises(RequestFailed, match="Connection refused"):
            ask(target, "INCR n", is_write=True)
        with pytest.raises(RequestFailed, match="Connection refused"):
            ask(listed([(LOOPBACK, port)], two), "GET n")


def test_where_the_second_is_down_too_it_is_over(listed: Make) -> None:
    with dead_port() as one, dead_port() as other, pytest.raises(RequestFailed, match="Connection refused"):
        ask(listed([(LOOPBACK, one), (LOOPBACK, other)], [(LOOPBACK, one)]), "GET n")


def test_a_read_is_repeated_when_the_connection_was_closed_a_write_is_not(listed: Make) -> None:
    heard: list[bytes] = []

    def talk(connection: Any) -> None:
        data = connection.recv(65536)
        heard.append(data.split()[2])
        if peer.accepted > 1:
            connection.sendall(b"+again\r\n")

    for line, count in (("GET key", 2), ("INCR key", 1)):
        with serving(talk) as peer:
            heard.clear()
            target = listed([(LOOPBACK, peer.port)], [(LOOPBACK, peer.port)])
            if count == 2:
                assert ask(target, line) == "again"
            else:
                with pytest.raises(RequestFailed, match="unknown"):
                    ask(target, line)
        assert heard == [line.split()[0].encode()] * count


def test_a_private_connection_is_to_the_server_of_its_kind(listed: Make, two: list[At]) -> None:
    target = listed(two[:1], two[1:])
    for is_write, port in ((False, two[0][1]), (True, two[1][1])):
        private = target.private([], key=None, is_write=is_write, until=monotonic() + 5)
        (info,) = private.execute([Command(["INFO", "server"])], until=monotonic() + 5)
        assert f"tcp_port:{port}" in info
        private.close()
    with dead_port() as port, pytest.raises(RequestFailed, match="Connection refused"):
        listed([(LOOPBACK, port)], two).private([], key=None, is_write=False, until=monotonic() + 5)
