"""Servers found through Sentinel: a real one with a failover, and one that says what a test wants."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.redis import RedisClient, RedisSettings
from filterd.net.redis_commands import Command
from filterd.net.stream import Address
from filterd.outcome import Failure, RequestFailed
from tests.support.peers import LOOPBACK, dead_port, serving
from tests.support.redis_servers import redis_process, redis_sentinel, tell

Told = dict[str, list[dict[str, Any]]]


@pytest.fixture
def client_of() -> Iterator[Callable[..., RedisClient]]:
    clients = []

    def make(*sentinels: Address, **settings: Any) -> RedisClient:
        clients.append(RedisClient(RedisSettings(sentinels=sentinels, timeout=0.5, **settings)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ask(client: RedisClient, line: str, *, is_write: bool = False) -> Any:
    replies = client.target("test").execute([Command(line.split())], key=None, is_write=is_write, until=monotonic() + 2)
    return replies[0]


def failure_of(client: RedisClient, line: str = "PING") -> Failure:
    with pytest.raises(RequestFailed) as raised:
        ask(client, line)
    return raised.value.failure


def reply(value: Any) -> bytes:
    if isinstance(value, dict):
        value = [word for pair in value.items() for word in pair]
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(reply, value))
    return b"$%d\r\n%s\r\n" % (len(str(value)), str(value).encode())


def entry(name: str, port: int, **more: str) -> dict[str, Any]:
    return {"name": name, "ip": LOOPBACK, "port": port, "flags": "master", **more}


@contextmanager
def saying(told: Told) -> Iterator[Any]:
    """A Sentinel that knows `told["MASTERS"]`, and of each master the replicas under its name."""

    def talk(connection: Any) -> None:
        while data := connection.recv(65536):
            words = data.split(b"\r\n")[2::2]
            connection.sendall(reply(told.get(words[-1].decode(), [])))

    with serving(talk) as peer:
        yield peer


def test_a_failover_is_followed(tmp_path: Path, client_of: Callable[..., RedisClient]) -> None:
    with redis_process() as master, redis_process() as replica:
        tell(replica, "REPLICAOF", LOOPBACK, master.port)
        with redis_sentinel(tmp_path, master, replicas=1) as sentinel:
            client = client_of(sentinel.address)
            assert ask(client, "SET key before", is_write=True) == "OK"
            seen = {ask(client, "INFO server").partition("tcp_port:")[2].split()[0] for _ in range(6)}
            assert seen == {str(master.port), str(replica.port)}, "reads go to both"
            assert tell(replica, "GET", "key") == "before"
            master.stop()
            end = monotonic() + 12
            answers: list[Any] = []
            while monotonic() < end and answers[-1:] != ["OK"]:
                try:
                    answers.append(ask(client, "SET key after", is_write=True))
                except RequestFailed as error:
                    answers.append(error.failure)
                gevent.sleep(0.05)
            assert answers[-1] == "OK"
            assert tell(replica, "GET", "key") == "after"
            assert all(isinstance(answer, Failure) for answer in answers[:-1])


def test_a_master_that_became_a_replica_is_found_out(client_of: Callable[..., RedisClient]) -> None:
    with redis_process() as old, redis_process() as new:
        told: Told = {"MASTERS": [entry("main", old.port)]}
        with saying(told) as sentinel:
            client = client_of(sentinel.address)
            assert ask(client, "SET key 1", is_write=True) == "OK"
            tell(old, "REPLICAOF", LOOPBACK, new.port)
            told["MASTERS"] = [entry("main", new.port)]
            gevent.sleep(1.1)
            assert ask(client, "SET key 2", is_write=True).startswith("READONLY")
            gevent.sleep(0.1)
            assert ask(client, "SET key 2", is_write=True) == "OK"
            assert tell(new, "GET", "key") == "2"


def test_who_is_not_well_is_not_asked(client_of: Callable[..., RedisClient]) -> None:
    with redis_process() as well, redis_process() as other, dead_port() as dead:
        told: Told = {
            "MASTERS": [entry("main", well.port), entry("lost", dead, flags="master,s_down,o_down")],
            "main": [
                entry("r1", other.port, flags="slave", **{"master-link-status": "ok"}),
                entry("r2", dead, flags="slave", **{"master-link-status": "err"}),
                entry("r3", dead, flags="slave,s_down,disconnected", **{"master-link-status": "ok"}),
            ],
        }
        with saying(told) as sentinel:
            client = client_of(sentinel.address)
            for _ in range(6):
                assert ask(client, "PING") == "PONG"
                assert ask(client, "INCR n", is_write=True) > 0
            assert {server.address for server in client.servers} == {sentinel.address, well.address, other.address}


def test_a_pattern_chooses_the_masters(client_of: Callable[..., RedisClient]) -> None:
    with redis_process() as mine, dead_port() as dead:
        told = {"MASTERS": [entry("web", dead), entry("mail-1", mine.port)]}
        with saying(told) as sentinel:
            assert ask(client_of(sentinel.address, sentinel_masters="mail-*"), "PING") == "PONG"
            failure = failure_of(client_of(sentinel.address, sentinel_masters="none"))
    assert failure == f"the Sentinel {LOOPBACK}:{sentinel.port} knows no master named 'none'"
    assert failure.kind == "server"


def test_the_next_sentinel_is_asked_when_one_is_gone(client_of: Callable[..., RedisClient]) -> None:
    with redis_process() as master, dead_port() as dead, saying({"MASTERS": [entry("main", master.port)]}) as sentinel:
        assert ask(client_of((LOOPBACK, dead), sentinel.address), "PING") == "PONG"
    with dead_port() as dead:
        failure = failure_of(client_of((LOOPBACK, dead)))
        assert (failure, failure.peer) == ("Connection refused", f"{LOOPBACK}:{dead}")


def test_who_is_no_sentinel_is_named(client_of: Callable[..., RedisClient]) -> None:
    with redis_process() as server:
        failure = failure_of(client_of(server.address))
    assert failure.startswith(f"the Sentinel {LOOPBACK}:{server.port} said: ERR unknown command")


def test_a_private_connection_is_to_the_master(client_of: Callable[..., RedisClient]) -> None:
    with redis_process() as master, saying({"MASTERS": [entry("main", master.port)]}) as sentinel:
        target = client_of(sentinel.address).target("test")
        private = target.private([], key=None, is_write=True, until=monotonic() + 2)
        assert private.execute([Command(["SELECT", 3])], until=monotonic() + 2) == ["OK"]
        private.close()
        master.stop()
        with pytest.raises(RequestFailed, match="Connection refused"):
            target.private([], key=None, is_write=True, until=monotonic() + 2)
