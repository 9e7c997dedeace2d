"""Redis for rules: each promise of the contract, against a redis-server, and against servers that misbehave."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import gevent
import pytest

from filterd.api import redis
from filterd.api.redis import Connection, Parameters
from filterd.net.greenlets import Stop
from filterd.net.redis import RedisSettings
from filterd.outcome import Failure, OkFirst, RequestFailed
from tests.support.partners import RedisServer, ask_redis
from tests.support.peers import LOOPBACK, dead_port, reset
from tests.support.redis_servers import network_with, redis_process, scripted_redis
from tests.support.scopes import run_in_scope

T = TypeVar("T")

PARAMS = redis.parse_server("test")
UNKNOWN = "; whether the command was carried out is unknown"


@pytest.fixture
def network(redis_server: RedisServer) -> Iterator[Any]:
    network = network_with((LOOPBACK, redis_server.port))
    yield network
    network.redis.close()


@pytest.fixture
def run(network: Any) -> Callable[[Callable[[], T]], T]:
    return lambda function: run_in_scope(function, network=network)


def connected(**more: Any) -> Connection:
    return redis.connect(PARAMS, **more).unwrap()


def reset_by_peer(connection: Any) -> None:
    reset(connection)
    connection.close()


def failure_of(outcome: OkFirst[Any]) -> Failure:
    assert not outcome.is_ok
    failure: Failure = outcome.value
    assert isinstance(failure, Failure)
    return failure


# -- the two shapes of the older documentation


def test_a_connection_executes_what_was_queued(run: Any, hub_free: None) -> None:
    def rule() -> Any:
        is_ok, connection = redis.connect(PARAMS)
        assert is_ok
        is_ok, err = connection.add_cmd("EVAL", ['return "hello from lua on redis"', 0])
        assert (is_ok, err) == (True, None)
        return connection.exec()

    assert run(rule) == (True, "hello from lua on redis")


def test_a_request_with_a_callback(run: Any, network: Any, redis_server: RedisServer) -> None:
    ask_redis(redis_server.port, "SET", "test_key", "test value")
    heard: list[tuple[Any, Any]] = []
    started = run(lambda: redis.request(PARAMS, ["GET", "test_key"], callback=lambda err, data: heard.append((err, data))))
    assert started is True
    assert heard == [(None, "test value")]
    assert network.redis.stats.as_dict() == {"requests": 1, "replies": 1, "errors": 0, "timeouts": 0, "in_flight": 0}


def test_a_callback_hears_of_a_failure_and_may_take_less(run: Any) -> None:
    heard: list[Any] = []

    def rule() -> None:
        redis.request(PARAMS, ["HGET", "key"], callback=lambda err, data: heard.append((err.kind, data)))
        redis.request(PARAMS, ["PING"], callback=heard.append)

    run(rule)
    assert sorted(heard, key=str) == [("server", None), None]


@pytest.mark.parametrize("with_callback", [False, True])
def test_a_dead_server_is_connection_refused_and_shows_at_exec(with_callback: bool) -> None:
    heard: list[Any] = []

    def rule() -> Any:
        if with_callback:
            return redis.request(PARAMS, ["GET", "test_key"], callback=lambda err, data: heard.append(err))
        is_ok, connection = redis.connect(PARAMS)
        assert is_ok
        assert connection.add_cmd("GET", ["test_key"]) == (True, None)
        is_ok, err = connection.exec()
        assert not is_ok
        heard.append(err)
        return True

    with dead_port() as port:
        network = network_with((LOOPBACK, port))
        assert run_in_scope(rule, network=network) is True
    assert heard == ["Connection refused"]
    assert (heard[0].kind, heard[0].peer, heard[0].phase) == ("connect", f"{LOOPBACK}:{port}", "connect")
    assert network.redis.stats.as_dict()["errors"] == 1


def test_a_restarted_server_is_found_again() -> None:
    with redis_process() as server:
        network = network_with(server.address)

        def rule() -> list[Any]:
            outcomes = [redis.request(PARAMS, ["PING"])]
            server.stop()
            outcomes.append(redis.request(PARAMS, ["PING"]))
            server.start()
            outcomes.append(redis.request(PARAMS, ["PING"]))
            return outcomes

        assert run_in_scope(rule, network=network) == [(True, "PONG"), (False, "Connection refused"), (True, "PONG")]
        network.redis.close()


# -- values


@pytest.mark.parametrize(
    ("lua", "value"),
    [
        ("return 42", 42),
        ("return 'ä€'", "ä€"),
        ("return ''", ""),
        (r"return '\255\254'", b"\xff\xfe"),
        ("return nil", None),
        ("return false", None),
        ("return {}", []),
        (r"return {1, 'two', {false, '\128'}}", [1, "two", [None, b"\x80"]]),
        ("return redis.status_reply('FINE')", "FINE"),
    ],
)
def test_values(run: Any, lua: str, value: Any) -> None:
    assert run(lambda: redis.request(PARAMS, ["EVAL", lua, 0])) == (True, value)


@pytest.mark.parametrize("written", ["text", "ä€", b"\x00\xff\r\n", 7, 10**20, 1.5, ""])
def test_arguments_are_text_bytes_or_numbers(run: Any, written: Any) -> None:
    run(lambda: redis.request(PARAMS, ["SET", "key", written]).unwrap())
    expected = b"\x00\xff\r\n" if isinstance(written, bytes) else str(written)
    if isinstance(written, bytes):
        assert run(lambda: redis.request(PARAMS, ["GET", "key"])) == (True, expected)
    else:
        assert run(lambda: redis.request(PARAMS, ["GET", b"key"])) == (True, expected)


@pytest.mark.parametrize("wrong", [None, True, ["a"], object()])
def test_other_arguments_are_a_bug_in_the_rule(run: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match="is str, bytes, int or float, not"):
        run(lambda: connected().add_cmd("SET", ["key", wrong]))


def test_what_the_server_refuses_has_its_words(run: Any) -> None:
    def rule() -> Any:
        redis.request(PARAMS, ["SET", "text", "x"], is_write=True).unwrap()
        return redis.request(PARAMS, ["INCR", "text"], is_write=True)

    failure = failure_of(run(rule))
    assert failure == "ERR value is not an integer or out of range"
    assert failure.kind == "server"


# -- pipelines


def test_several_commands_give_one_outcome_each(run: Any) -> None:
    def rule() -> Any:
        connection = connected()
        connection.add_cmd("SET", ["key", 1])
        connection.add_cmd("INCR", ["key"])
        return connection.exec()

    assert run(rule) == (True, [(True, "OK"), (True, 2)])


def test_one_refused_among_several_spoils_only_itself(run: Any) -> None:
    def rule() -> Any:
        connection = connected()
        for command, args in (("SET", ["key", "x"]), ("INCR", ["key"]), ("GET", ["key"])):
            connection.add_cmd(command, args)
        return connection.exec()

    outcome = run(rule)
    refused = "ERR value is not an integer or out of range"
    assert outcome == (False, [(True, "OK"), (False, refused), (True, "x")])
    with pytest.raises(RequestFailed, match="not an integer") as raised:
        outcome.unwrap()
    assert raised.value.failure.kind == "server"


def test_each_of_several_has_the_failure_of_a_dead_server() -> None:
    def rule() -> Any:
        connection = connected()
        connection.add_cmd("GET", ["a"])
        connection.add_cmd("GET", ["b"])
        return connection.exec()

    with dead_port() as port:
        outcome = run_in_scope(rule, network=network_with((LOOPBACK, port)))
    assert outcome == (False, [(False, "Connection refused"), (False, "Connection refused")])


def test_nothing_queued_is_a_failure_and_exec_empties_the_queue(run: Any) -> None:
    def rule() -> Any:
        connection = connected()
        connection.add_cmd("PING")
        return connection.exec(), connection.exec()

    first, second = run(rule)
    assert first == (True, "PONG")
    assert failure_of(second).kind == "refused"


# -- scripts


def test_a_script_is_loaded_where_it_is_unknown(run: Any, redis_server: RedisServer) -> None:
    script = redis.script("return {KEYS[1], ARGV[1], ARGV[2]}")

    def rule() -> Any:
        return script.exec(PARAMS, ["key"], ["one", 2])

    assert run(rule) == (True, ["key", "one", "2"])
    ask_redis(redis_server.port, "SCRIPT", "FLUSH")
    assert run(rule) == (True, ["key", "one", "2"])
    ask_redis(redis_server.port, "CONFIG", "RESETSTAT")
    assert run(rule) == (True, ["key", "one", "2"])
    assert "cmdstat_evalsha:calls=1" in (counted := run(lambda: redis.request(PARAMS, ["INFO", "commandstats"])).unwrap())
    assert "cmdstat_script" not in counted, "it was known"


def test_a_script_that_does_not_compile_or_fails(run: Any) -> None:
    failure = failure_of(run(lambda: redis.script("return {").exec(PARAMS)))
    assert "Error compiling script" in failure
    failure = failure_of(run(lambda: redis.script("return redis.call('INCR', KEYS[1], 1)").exec(PARAMS, ["key"])))
    assert (failure.kind, "wrong number of args" in failure.lower()) == ("server", True)


def test_a_script_with_a_callback(run: Any) -> None:
    heard: list[Any] = []
    script = redis.script("return ARGV[1] * 2")
    assert run(lambda: script.exec(PARAMS, args=[21], callback=lambda err, data: heard.append((err, data)))) is True
    assert heard == [(None, 42)]


# -- commands that may not share a line


def test_who_waits_in_the_server_does_not_hold_up_others(run: Any) -> None:
    order: list[str] = []

    def wait() -> None:
        order.append(str(redis.request(PARAMS, ["BLPOP", "queue", 5]).unwrap()))

    def rule() -> None:
        from filterd.task import current

        scope = current()
        assert scope is not None
        waiting = scope.start(wait)
        gevent.sleep(0.05)
        order.append(redis.request(PARAMS, ["PING"]).unwrap())
        redis.request(PARAMS, ["RPUSH", "queue", "item"], is_write=True).unwrap()
        waiting.get()

    run(rule)
    assert order == ["PONG", "['queue', 'item']"]


def test_a_command_that_waits_has_its_own_time_on_top(redis_server: RedisServer) -> None:
    network = network_with((LOOPBACK, redis_server.port), timeout=0.2)
    assert run_in_scope(lambda: redis.request(PARAMS, ["BLPOP", "none", 0.4]), network=network) == (True, None)
    with pytest.raises(Stop) as raised:
        run_in_scope(lambda: redis.request(PARAMS, ["BLPOP", "none", 0]), network=network, budget=0.5)
    assert (raised.value.phase, raised.value.peer) == ("read", f"{LOOPBACK}:{redis_server.port}")


def test_a_state_stays_with_its_connection(run: Any, network: Any) -> None:
    def rule() -> Any:
        mine, other = connected(), connected()
        for command, args in (("SELECT", [3]), ("SET", ["key", "in 3"])):
            mine.add_cmd(command, args)
        mine.exec().unwrap()
        seen = []
        for connection in (mine, other, mine):
            connection.add_cmd("GET", ["key"])
            seen.append(connection.exec().unwrap())
        return seen

    assert run(rule) == ["in 3", None, "in 3"]
    (server,) = network.redis.servers
    assert (server.pool.in_use, server.pool.resting) == (0, 0), "closed with the message"


def test_a_connection_of_ones_own_that_breaks_is_replaced_by_a_new_one() -> None:
    def rule() -> Any:
        connection = connected()
        outcomes = []
        for command, argument in (("SELECT", "1"), ("GET", "key"), ("SELECT", "2")):
            connection.add_cmd(command, [argument])
            outcomes.append(connection.exec())
        connection.close()
        connection.close()
        return outcomes

    with scripted_redis(b"+OK\r\n", lambda connection: connection.close()) as peer:
        network = network_with((LOOPBACK, peer.port))
        selected, broken, again = run_in_scope(rule, network=network)
        assert peer.accepted == 2
    assert (selected, again) == ((True, "OK"), (True, "OK"))
    assert failure_of(broken).kind == "closed"
    assert network.redis.servers[0].pool.in_use == 0


def test_a_watched_transaction(run: Any) -> None:
    def rule() -> Any:
        connection = connected()

        def execute(*lines: str) -> Any:
            for line in lines:
                command, *args = line.split()
                connection.add_cmd(command, args)
            return connection.exec()

        execute("WATCH key").unwrap()
        redis.request(PARAMS, ["SET", "key", "changed meanwhile"]).unwrap()
        lost = execute("MULTI", "SET key mine", "EXEC")
        execute("WATCH key").unwrap()
        won = execute("MULTI", "SET key mine", "EXEC")
        connection.close()
        return lost, won

    lost, won = run(rule)
    assert lost == (True, [(True, "OK"), (True, "QUEUED"), (True, None)])
    assert won == (True, [(True, "OK"), (True, "QUEUED"), (True, ["OK"])])


def test_a_refusal_inside_a_transaction_is_a_failure_in_its_list(run: Any) -> None:
    def rule() -> Any:
        connection = connected()
        for command, args in (("MULTI", []), ("SET", ["key", "x"]), ("INCR", ["key"]), ("EXEC", [])):
            connection.add_cmd(command, args)
        return connection.exec()

    done = run(rule).value[-1].value
    assert done == ["OK", "ERR value is not an integer or out of range"]
    assert isinstance(done[1], Failure)


@pytest.mark.parametrize("words", [["SUBSCRIBE", "a"], ["MONITOR"], ["CLIENT", "REPLY", "OFF"]])
def test_what_has_not_one_reply_is_refused(run: Any, words: list[str]) -> None:
    assert failure_of(run(lambda: connected().add_cmd(words[0], words[1:]))).kind == "refused"
    assert failure_of(run(lambda: redis.request(PARAMS, words))).kind == "refused"


# -- settings


def test_a_module_has_its_own_servers_and_others_the_default(redis_server: RedisServer, tmp_path: Path) -> None:
    with dead_port() as port:
        network = network_with(
            (LOOPBACK, port), modules={"unix": RedisSettings(servers=(str(redis_server.unix_socket),), db=2)}
        )

        def rule() -> Any:
            return [redis.request(Parameters(module), ["PING"]) for module in ("unix", "other")]

        assert run_in_scope(rule, network=network) == [(True, "PONG"), (False, "Connection refused")]


def test_without_any_server_the_failure_says_where_one_is_named() -> None:
    def rule() -> Any:
        return redis.connect(PARAMS), redis.request(PARAMS, ["PING"])

    for outcome in run_in_scope(rule, network=network_with()):
        failure = failure_of(outcome)
        assert failure.kind == "refused"
        assert failure == "no Redis server is configured for test: neither [redis.test] nor [redis] names one"


def test_reads_and_writes_go_to_their_lists(redis_server: RedisServer) -> None:
    with redis_process() as replica:
        network = network_with(read_servers=(replica.address,), write_servers=((LOOPBACK, redis_server.port),))

        def rule() -> Any:
            redis.request(PARAMS, ["SET", "key", "written"], is_write=True).unwrap()
            writing = connected()
            writing.add_cmd("GET", ["key"])
            return redis.request(PARAMS, ["GET", "key"]), writing.exec()

        assert run_in_scope(rule, network=network) == ((True, None), (True, "written"))
        network.redis.close()


def test_password_user_and_database(tmp_path: Path) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text("user default off\nuser rules on >s3cret ~* +@all\n")
    with redis_process("--aclfile", acl) as server:
        good = RedisSettings(servers=(server.address,), username="rules", password="s3cret", db=5)
        bad = RedisSettings(servers=(server.address,), username="rules", password="wrong")
        network = network_with(server.address, modules={"good": good, "bad": bad})

        def rule() -> Any:
            redis.request(Parameters("good"), ["SET", "key", "in 5"]).unwrap()
            info = redis.request(Parameters("good"), ["INFO", "keyspace"]).unwrap()
            return info, redis.request(Parameters("bad"), ["PING"]), redis.request(Parameters("none"), ["PING"])

        info, wrong, none = run_in_scope(rule, network=network)
        network.redis.close()
    assert "db5:keys=1" in info
    assert failure_of(wrong).startswith("WRONGPASS")
    assert (wrong.value.kind, wrong.value.phase) == ("server", "auth")
    assert failure_of(none).startswith("NOAUTH")


def test_outside_of_a_rule_the_call_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"redis\.request was called outside of any rule"):
        redis.request(PARAMS, ["PING"])


# -- servers that misbehave


def test_a_silent_server_is_a_timeout_that_names_whose_time_it_was() -> None:
    with scripted_redis() as peer:
        network = network_with((LOOPBACK, peer.port), timeout=0.1)
        failure = failure_of(run_in_scope(lambda: redis.request(PARAMS, ["PING"]), network=network))
    assert failure.kind == "timeout"
    assert failure.startswith(f"timeout: read from {LOOPBACK}:{peer.port} after 0.")
    assert "(rule TEST, " in failure
    assert network.redis.stats.as_dict() == {"requests": 1, "replies": 0, "errors": 0, "timeouts": 1, "in_flight": 0}


def test_a_late_reply_is_nobody_elses() -> None:
    def late(connection: Any) -> None:
        gevent.sleep(0.15)
        connection.sendall(b"+late\r\n")

    def rule() -> Any:
        first = redis.request(PARAMS, ["ECHO", "late"])
        return first, redis.request(PARAMS, ["ECHO", "in time"])

    with scripted_redis(late, b"+in time\r\n") as peer:
        network = network_with((LOOPBACK, peer.port), timeout=0.1)
        first, second = run_in_scope(rule, network=network)
    assert failure_of(first).kind == "timeout"
    assert second == (True, "in time")


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol", "does not speak Redis"),
        (b"+OK\r\n+OK\r\n", None, None),
        (lambda connection: connection.close(), "closed", "connection closed by"),
        (lambda connection: (connection.sendall(b"$100\r\nhalf"), connection.close()), "closed", "connection closed by"),
        (reset_by_peer, "closed", "Connection reset by peer"),
    ],
)
def test_what_a_broken_server_does_is_named(answer: Any, kind: str | None, text: str | None) -> None:
    with scripted_redis(answer) as peer:
        network = network_with((LOOPBACK, peer.port), timeout=0.5)
        outcome = run_in_scope(lambda: redis.request(PARAMS, ["INCR", "key"]), network=network)
        network.redis.close()
    if kind is None:
        assert outcome == (True, "OK"), "its own reply was whole"
        return
    failure = failure_of(outcome)
    assert failure.kind == kind
    assert str(text) in failure
    assert failure.endswith(UNKNOWN), "it was sent, and may have been carried out"
