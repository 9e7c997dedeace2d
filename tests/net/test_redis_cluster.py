"""A cluster of three masters and a replica: where commands go, how they follow their keys, and what a failure costs."""

from collections.abc import Iterator
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net import redis_cluster as module
from filterd.net.redis import RedisClient, RedisSettings
from filterd.net.redis_cluster import slot_of
from filterd.net.redis_commands import Command
from filterd.net.stream import Address
from filterd.outcome import Failure, RequestFailed
from tests.support.peers import LOOPBACK, dead_port
from tests.support.redis_servers import RestartedRedis, redis_cluster, redis_process, scripted_redis, tell

Nodes = list[RestartedRedis]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=1) as nodes:
        yield nodes


@pytest.fixture
def client(nodes: Nodes) -> Iterator[RedisClient]:
    for node in nodes[:3]:
        tell(node, "FLUSHALL")
    client = client_of(nodes[0].address)
    yield client
    client.close()


def client_of(*seeds: Address, timeout: float = 1.0) -> RedisClient:
    return RedisClient(RedisSettings(servers=seeds, cluster=True, timeout=timeout))


def ask(client: RedisClient, *lines: str, key: str | None = None) -> list[Any]:
    commands = [Command(line.split()) for line in lines]
    return client.target("test").execute(commands, key=key, is_write=True, until=monotonic() + 5)


def owner(nodes: Nodes, key: str) -> RestartedRedis:
    return nodes[next(number for number in range(3) if slot_of(key.encode()) <= (number + 1) * 16384 // 3 - 1)]


def keys_of_all(nodes: Nodes) -> dict[int, str]:
    """A key for each master."""
    found: dict[int, str] = {}
    for number in range(100):
        found.setdefault(nodes.index(owner(nodes, f"key{number}")), f"key{number}")
    assert len(found) == 3
    return found


@pytest.mark.parametrize(
    ("key", "same"),
    [(b"{user1000}.following", b"user1000"), (b"foo{bar}{zap}", b"bar"), (b"foo{{bar}}zap", b"{bar")],
)
def test_a_key_in_braces_decides_the_slot(key: bytes, same: bytes) -> None:
    assert slot_of(key) == slot_of(same)


def test_slots_are_those_of_the_specification(nodes: Nodes) -> None:
    assert slot_of(b"123456789") == 0x31C3
    for key in ("foo", "foo{}{bar}", "{}", "a{b", "a}b{", "", "ä"):
        assert slot_of(key.encode()) == int(tell(nodes[0], "CLUSTER", "KEYSLOT", key))


def test_a_command_goes_to_the_node_of_its_key(nodes: Nodes, client: RedisClient, hub_free: None) -> None:
    keys = keys_of_all(nodes)
    for key in keys.values():
        assert ask(client, f"SET {key} of-{key}", f"GET {key}") == ["OK", f"of-{key}"]
    for number, key in keys.items():
        assert key in tell(nodes[number], "KEYS", "*").split()


def test_what_belongs_to_several_nodes_is_answered_in_order(nodes: Nodes, client: RedisClient) -> None:
    keys = [f"k{number}" for number in range(40)]
    assert ask(client, *(f"SET {key} {key}" for key in keys)) == ["OK"] * 40
    assert ask(client, *(f"GET {key}" for key in keys)) == keys


def test_transactions_and_scripts_stay_in_one_piece(client: RedisClient) -> None:
    lines = ["INCR {a}n", "MULTI", "INCR {b}n", "INCR {b}m", "EXEC", "INCR {c}n", "MULTI", "INCR {d}n", "EXEC"]
    assert ask(client, *lines) == [1, "OK", "QUEUED", "QUEUED", [1, 1], 1, "OK", "QUEUED", [1]]
    digest = ask(client, "SCRIPT LOAD return{KEYS[1]}", "EVAL return{KEYS[1]} 1 k3")
    assert digest[1] == ["k3"]
    assert ask(client, f"EVALSHA {digest[0]} 1 k3") == [["k3"]]


def test_without_a_key_the_hint_decides_or_each_node_in_turn(nodes: Nodes, client: RedisClient) -> None:
    def port(key: str | None) -> int:
        return int(ask(client, "INFO server", key=key)[0].partition("tcp_port:")[2].split()[0])

    assert {port(None) for _ in range(6)} == {node.port for node in nodes[:3]}
    key = keys_of_all(nodes)[1]
    assert {port(key) for _ in range(3)} == {nodes[1].port}


def test_one_that_waits_is_beside_the_line(client: RedisClient) -> None:
    assert ask(client, "RPUSH list x", "BLPOP list 1", "BLPOP list 0.01", "GET other") == [1, ["list", "x"], None, None]
    assert sum(server.pool.in_use for server in client.servers) == 0


def test_a_private_connection_is_to_the_node_of_the_key(client: RedisClient) -> None:
    private = client.target("test").private([Command(["WATCH", "k1"])], key=None, is_write=True, until=None)
    assert private.execute([Command(["WATCH", "k1"]), Command(["GET", "k1"])], until=monotonic() + 2) == ["OK", None]
    private.close()


# -- slots on the move


def test_keys_are_followed_while_their_slot_moves_and_afterwards(nodes: Nodes, client: RedisClient) -> None:
    slot = slot_of(b"{m}")
    source = owner(nodes, "{m}")
    target = next(node for node in nodes[:3] if node is not source)
    ids = {node.port: tell(node, "CLUSTER", "MYID") for node in (source, target)}
    assert ask(client, "SET {m}a 1", "SET {m}b 1") == ["OK", "OK"]
    assert tell(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port]) == "OK"
    assert tell(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port]) == "OK"

    # What is not there is asked for at the other node (ASK), what is there still answers.
    assert ask(client, "GET {m}a", "SET {m}new 1", "INCR {m}new", "GET {m}b") == ["1", "OK", 2, "1"]
    assert ask(client, "MULTI", "INCR {m}new", "INCR {m}new", "EXEC") == ["OK", "QUEUED", "QUEUED", [3, 4]]
    loaded = ask(client, "SCRIPT LOAD return(redis.call('INCR',KEYS[1]))")[0]
    assert ask(client, "SCRIPT LOAD return(redis.call('INCR',KEYS[1]))", f"EVALSHA {loaded} 1 {{m}}new") == [loaded, 5]

    # Keys on both sides (TRYAGAIN): it is repeated until they have come together.
    started = gevent.spawn(ask, client, "MGET {m}a {m}b {m}new")
    gevent.sleep(0.06)
    for key in ("{m}a", "{m}b"):
        assert tell(source, "MIGRATE", LOOPBACK, target.port, key, 0, 1000) == "OK"
    assert started.get() == [["1", "1", "5"]]

    for node in (target, source):
        assert tell(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[target.port]) == "OK"
    assert ask(client, "GET {m}a", "MULTI", "INCR {m}a", "EXEC") == ["1", "OK", "QUEUED", [2]]
    other = client_of(source.address)
    assert ask(other, "GET {m}a") == ["2"]
    other.close()

    for node, way, origin in ((source, "IMPORTING", target), (target, "MIGRATING", source)):
        assert tell(node, "CLUSTER", "SETSLOT", slot, way, ids[origin.port]) == "OK"
    for key in ("{m}a", "{m}b", "{m}new"):
        assert tell(target, "MIGRATE", LOOPBACK, source.port, key, 0, 1000) == "OK"
    for node in (source, target):
        assert tell(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[source.port]) == "OK"
    assert ask(client, "GET {m}a") == ["2"], "moved back"


def test_redirections_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROUNDS", 3)
    rounds = []

    def slots(connection: Any) -> None:
        port = connection.getsockname()[1]
        connection.sendall(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % port)

    def moved(connection: Any) -> None:
        rounds.append(1)
        connection.sendall(b"-MOVED 1 :%d\r\n" % connection.getsockname()[1])

    with scripted_redis(slots, moved, moved, moved, moved) as peer:
        client = client_of((LOOPBACK, peer.port))
        (reply,) = ask(client, "GET x")
        client.close()
    assert reply == f"MOVED 1 :{peer.port}"
    assert len(rounds) == 3


def test_a_private_connection_to_a_node_that_is_gone() -> None:
    with dead_port() as dead:
        slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % dead
        with scripted_redis(slots) as peer:
            client = client_of((LOOPBACK, peer.port))
            with pytest.raises(RequestFailed, match="Connection refused"):
                client.target("test").private([Command(["WATCH", "k1"])], key=None, is_write=True, until=None)
            client.close()


# -- who tells of the nodes


def test_the_next_seed_is_asked_when_one_is_gone(nodes: Nodes) -> None:
    with dead_port() as dead:
        client = client_of((LOOPBACK, dead), nodes[2].address)
        assert ask(client, "PING") == ["PONG"]
        client.close()
        with pytest.raises(RequestFailed, match="Connection refused"):
            ask(client_of((LOOPBACK, dead)), "PING")


def test_a_server_that_is_no_cluster_is_named() -> None:
    with redis_process() as server:
        client = client_of(server.address)
        with pytest.raises(RequestFailed) as raised:
            ask(client, "PING")
        client.close()
    text = "told no nodes of a cluster: ERR This instance has cluster support disabled"
    assert raised.value.failure == f"{LOOPBACK}:{server.port} {text}"


@pytest.mark.parametrize(
    "answer",
    [
        b"*0\r\n",
        b":7\r\n",
        b"*1\r\n*2\r\n:0\r\n:5\r\n",
        b"*1\r\n*3\r\n:0\r\n:70000\r\n*2\r\n$1\r\na\r\n:1\r\n",
        b"*1\r\n:1\r\n",
    ],
)
def test_nonsense_about_slots_is_a_failure(answer: bytes) -> None:
    with scripted_redis(answer) as peer:
        client = client_of((LOOPBACK, peer.port))
        with pytest.raises(RequestFailed, match="told no nodes of a cluster"):
            ask(client, "PING")
        client.close()


def test_a_slot_that_nobody_has_is_named() -> None:
    one = b"*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$0\r\n\r\n:%d\r\n"
    with scripted_redis(lambda connection: connection.sendall(one % peer.port), b"+PONG\r\n") as peer:
        client = client_of((LOOPBACK, peer.port))
        assert ask(client, "PING") == ["PONG"], "an empty host is the one that was asked"
        with pytest.raises(RequestFailed, match="no node of the cluster has the slot of b'foo'"):
            ask(client, "GET foo")
        client.close()


# -- a node dies under load. Last, because the cluster is another one afterwards.


def test_a_master_dies_under_load_and_its_replica_takes_over(nodes: Nodes, client: RedisClient) -> None:
    keys = [f"load{number}" for number in range(30)]
    assert all(answer == "OK" for answer in ask(client, *(f"SET {key} {key}" for key in keys)))
    gevent.sleep(0.2)
    hers = {key for key in keys if owner(nodes, key) is nodes[0]}
    wrong: list[Any] = []
    served = dict.fromkeys(keys, 0)
    failures: list[Failure] = []
    until = monotonic() + 12
    dead_since: list[float] = []

    def user(key: str) -> None:
        while monotonic() < until and not (dead_since and served[key] > 20):
            try:
                (answer,) = ask(client, f"GET {key}")
            except RequestFailed as error:
                failures.append(error.failure)
                assert key in hers, "other nodes are not concerned"
                gevent.sleep(0.05)
                continue
            if answer == key:
                served[key] += bool(dead_since)
            elif not str(answer).startswith("CLUSTERDOWN"):
                wrong.append((key, answer))
            gevent.sleep(0.01)

    users = [gevent.spawn(user, key) for key in keys]
    gevent.sleep(0.2)
    nodes[0].stop()
    dead_since.append(monotonic())
    gevent.joinall(users, raise_error=True)
    assert wrong == []
    assert hers
    assert min(served.values()) > 20, "all are served again"
    assert failures
