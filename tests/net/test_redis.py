"""The Redis client of a worker: settings by module, what is shared, and a server that dies under load."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import gevent
import gevent.socket
import pytest

from filterd.net.redis import RedisClient, RedisSettings
from filterd.net.redis_commands import Command
from filterd.net.tls import TlsSettings
from filterd.outcome import Failure, RequestFailed
from tests.support.certificates import Certificates
from tests.support.partners import RedisServer, ask_redis
from tests.support.peers import LOOPBACK, Peer, serving
from tests.support.redis_servers import redis_process


def ask(client: RedisClient, line: str, *, module: str = "test", is_write: bool = False, seconds: float = 2.0) -> Any:
    target = client.target(module)
    commands = [Command(line.split())]
    return client.counted(lambda: target.execute(commands, key=None, is_write=is_write, until=monotonic() + seconds))[0]


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[RedisClient]:
    client = RedisClient(RedisSettings(servers=((LOOPBACK, redis_server.port),)))
    yield client
    client.close()


# -- whose servers


def test_modules_with_equal_settings_share_connections_others_do_not(redis_server: RedisServer) -> None:
    here = (LOOPBACK, redis_server.port)
    same, other = RedisSettings(servers=(here,), db=1), RedisSettings(servers=(here,), db=2)
    client = RedisClient(RedisSettings(servers=(here,)), {"a": same, "b": RedisSettings(servers=(here,), db=1), "c": other})
    assert client.target("a") is client.target("b")
    assert client.target("nobody") is client.target("else")
    ask(client, "SET key one", module="a")
    assert [ask(client, "GET key", module=module) for module in ("a", "b", "c", "nobody")] == ["one", "one", None, None]
    assert len(client.servers) == 3
    client.close()


def test_a_module_may_have_none() -> None:
    for client in (RedisClient(), RedisClient(RedisSettings(servers=((LOOPBACK, 1),)), {"test": None})):
        with pytest.raises(RequestFailed) as raised:
            client.target("test")
        assert raised.value.failure == "no Redis server is configured for test: neither [redis.test] nor [redis] names one"
        assert raised.value.failure.kind == "refused"


@pytest.mark.parametrize("name", ["read_servers", "write_servers", "servers"])
def test_one_list_serves_for_all(redis_server: RedisServer, name: str) -> None:
    servers: Any = {name: ((LOOPBACK, redis_server.port),)}
    client = RedisClient(RedisSettings(**servers))
    assert ask(client, "SET key 1", is_write=True) == "OK"
    assert ask(client, "GET key") == "1"
    client.close()


def test_bad_tls_files_are_found_when_the_client_is_made() -> None:
    with pytest.raises(FileNotFoundError):
        RedisClient(None, {"test": RedisSettings(servers=(("127.0.0.1", 1),), tls=TlsSettings(ca_path="/nowhere.pem"))})


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (RedisSettings(), "needs a server"),
        (RedisSettings(cluster=True, sentinels=(("127.0.0.1", 1),)), "needs servers, to ask for its nodes"),
        (RedisSettings(cluster=True, servers=(("127.0.0.1", 1),), db=2), "no database but 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: RedisSettings, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RedisClient(settings)


def test_passwords_are_not_shown() -> None:
    assert "secret" not in repr(RedisSettings(password="secret", sentinel_password="secret"))


def test_every_call_is_counted_once(client: RedisClient) -> None:
    seen = []
    waiting = gevent.spawn(ask, client, "BLPOP list 5")
    gevent.sleep(0.05)
    seen.append(client.stats.as_dict())
    ask(client, "RPUSH list x")
    waiting.get()
    with pytest.raises(RequestFailed):
        ask(client, "BLPOP list 5", seconds=0.01)
    seen.append(client.stats.as_dict())
    assert seen == [
        {"requests": 1, "replies": 0, "errors": 0, "timeouts": 0, "in_flight": 1},
        {"requests": 3, "replies": 2, "errors": 0, "timeouts": 1, "in_flight": 0},
    ]


def test_close_closes_and_the_next_call_opens(client: RedisClient, redis_server: RedisServer) -> None:
    assert ask(client, "PING") == "PONG"
    client.close()
    gevent.sleep(0.05)
    assert not client.servers[0].line.is_open
    assert ask(client, "PING") == "PONG"


# -- under load


def test_a_server_killed_and_started_again_under_load_mixes_nothing_up(hub_free: None) -> None:
    with redis_process() as server:
        client = RedisClient(RedisSettings(servers=(server.address,)))
        answered = [0] * 64
        wrong: list[Any] = []
        failures: list[Failure] = []
        stopping = False

        def user(number: int) -> None:
            turn = 0
            while not stopping:
                turn += 1
                try:
                    echoed = ask(client, f"ECHO {number}.{turn}")
                except RequestFailed as error:
                    failures.append(error.failure)
                    gevent.sleep(0.01)
                    continue
                if echoed != f"{number}.{turn}":
                    wrong.append((number, turn, echoed))
                answered[number] += 1

        users = [gevent.spawn(user, number) for number in range(64)]
        for _ in range(3):
            gevent.sleep(0.15)
            server.stop()
            gevent.sleep(0.1)
            before = list(answered)
            server.start()
            gevent.sleep(0.15)
            assert all(now > then for now, then in zip(answered, before, strict=True)), "everybody is served again"
        stopping = True
        gevent.joinall(users, raise_error=True)
        client.close()
    assert wrong == []
    assert {failure.kind for failure in failures} <= {"connect", "closed"}
    assert "Connection refused" in failures
    assert client.stats.in_flight == 0


def test_a_line_over_tls_carries_both_ways_at_once(certificates: Certificates) -> None:
    files = ("--tls-cert-file", certificates.certificate("good"), "--tls-key-file", certificates.key("good"))
    with redis_process(*files, "--tls-ca-cert-file", certificates.ca_file, "--tls-auth-clients", "no") as server:
        tls = TlsSettings(ca_path=str(certificates.ca_file))
        client = RedisClient(RedisSettings(servers=(server.address,), tls=tls, timeout=10.0))

        def user(number: int) -> None:
            for turn in range(15):
                text = f"{number}.{turn}.{'x' * (number * 3000)}"
                assert ask(client, f"ECHO {text}", seconds=10.0) == text

        gevent.joinall([gevent.spawn(user, number) for number in range(32)], raise_error=True)
        assert len(client.servers) == 1
        assert client.servers[0].pool.resting == 0, "all of it on the line"
        client.close()


@contextmanager
def cutting(port: int) -> Iterator[Peer]:
    """On the way to a server: every connection is cut when it has carried a few pieces, before or behind the server's back."""

    def talk(connection: Any) -> None:
        number = peer.accepted
        with gevent.socket.create_connection((LOOPBACK, port)) as server:
            for _ in range(5):
                server.sendall(connection.recv(65536))
                connection.sendall(server.recv(65536))
            last = connection.recv(65536)
            if number % 2:
                server.sendall(last)
                server.recv(1)

    with serving(talk) as peer:
        yield peer


def test_connections_cut_under_load_nothing_is_sent_twice(redis_server: RedisServer) -> None:
    """A counter in the server is at least what was acknowledged, and at most that and what is unknown."""
    acknowledged, unknown, other = 0, 0, 0
    with cutting(redis_server.port) as peer:
        client = RedisClient(RedisSettings(servers=((LOOPBACK, peer.port),)))

        def user() -> None:
            nonlocal acknowledged, unknown, other
            for _ in range(40):
                try:
                    ask(client, "INCR counter", is_write=True)
                except RequestFailed as error:
                    is_unknown = error.failure.endswith("whether the command was carried out is unknown")
                    unknown += is_unknown
                    other += not is_unknown
                else:
                    acknowledged += 1

        gevent.joinall([gevent.spawn(user) for _ in range(64)], raise_error=True)
        client.close()
    counted = int(ask_redis(redis_server.port, "INCRBY", "counter", "0").removeprefix(b":"))
    assert (acknowledged + unknown, other) == (64 * 40, 0)
    assert acknowledged < counted < acknowledged + unknown, "some of the unknown were carried out, some were not"
