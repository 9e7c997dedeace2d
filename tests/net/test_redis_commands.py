"""What is known of a Redis command: how it is written, where it may run, whether it only reads, where its key is."""

import socket
from typing import Any

import pytest
from hiredis import Reader, ReplyError

from filterd.net import redis_commands
from filterd.net.redis_commands import Command, Place, only_reads, packed, place_of, plain
from filterd.outcome import Failure
from tests.support.partners import LOOPBACK, RedisServer


def command(text: str) -> Command:
    return Command(text.split())


def test_a_command_is_written_as_lengths_and_bytes() -> None:
    assert Command(["set", "ä", b"\r\n", 7, 1.5]).packed == (
        b"*5\r\n$3\r\nset\r\n$2\r\n\xc3\xa4\r\n$2\r\n\r\n\r\n$1\r\n7\r\n$3\r\n1.5\r\n"
    )
    assert packed([command("PING"), command("PING")]) == b"*1\r\n$4\r\nPING\r\n" * 2


@pytest.mark.parametrize("wrong", [None, True, [1], {}, object()])
def test_other_arguments_are_refused_by_name(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is str, bytes, int or float, not "):
        Command(["SET", "key", wrong])


def test_a_command_has_a_name() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        Command([])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("GET key", Place.SHARED),
        ("get key", Place.SHARED),
        ("EVALSHA digest 0", Place.SHARED),
        ("XREAD COUNT 2 STREAMS block 0", Place.SHARED),
        ("XREADGROUP GROUP g c STREAMS s >", Place.SHARED),
        ("SCRIPT load lua", Place.SHARED),
        ("BLPOP a b 5", Place.POOLED),
        ("blmpop 5 1 a LEFT", Place.POOLED),
        ("XREAD block 100 STREAMS a $", Place.POOLED),
        ("XREADGROUP GROUP g c COUNT 1 BLOCK 0 STREAMS s >", Place.POOLED),
        ("BF.EXISTS filter item", Place.POOLED),
        ("SELECT 2", Place.PINNED),
        ("WATCH key", Place.PINNED),
        ("MULTI", Place.PINNED),
        ("EXEC", Place.PINNED),
        ("CLIENT ID", Place.PINNED),
        ("HELLO 3", Place.PINNED),
        ("AUTH x", Place.PINNED),
        ("WAIT 1 100", Place.PINNED),
        ("SCRIPT DEBUG YES", Place.PINNED),
        ("SCRIPT", Place.PINNED),
        ("NEVERHEARDOFIT x", Place.PINNED),
        ("SUBSCRIBE channel", Place.REFUSED),
        ("MONITOR", Place.REFUSED),
        ("CLIENT reply off", Place.REFUSED),
    ],
)
def test_only_what_neither_waits_nor_leaves_a_state_may_share_a_line(text: str, place: Place) -> None:
    assert command(text).place is place


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["GET a", "SET a 1"], Place.SHARED),
        (["GET a", "BLPOP a 1"], Place.POOLED),
        (["BLPOP a 1", "SELECT 1"], Place.PINNED),
        (["MULTI", "SET a 1", "EXEC"], Place.SHARED),
        (["MULTI", "EXEC"], Place.SHARED),
        (["MULTI", "WATCH a", "EXEC"], Place.PINNED),
        (["MULTI", "SET a 1"], Place.PINNED),
        (["SET a 1", "EXEC"], Place.PINNED),
        (["MULTI", "SET a 1", "EXEC", "MULTI", "SET a 1", "EXEC"], Place.PINNED),
    ],
)
def test_the_most_careful_decides_for_all_and_a_whole_transaction_is_ordinary(lines: list[str], place: Place) -> None:
    assert place_of([command(line) for line in lines]) is place


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("GET a", 0.0),
        ("BLPOP a b 5", 5.0),
        ("BRPOP a 0.25", 0.25),
        ("BZPOPMIN a 0", None),
        ("BLMPOP 3 1 a LEFT", 3.0),
        ("WAIT 1 1500", 1.5),
        ("XREAD BLOCK 250 STREAMS a $", 0.25),
        ("XREAD block 0 STREAMS a $", None),
        ("XREAD STREAMS BLOCK 0", 0.0),
        ("BLPOP a soon", 0.0),
        ("BLMPOP", 0.0),
        ("XREAD BLOCK", 0.0),
    ],
)
def test_how_long_it_asks_the_server_to_wait(text: str, seconds: float | None) -> None:
    assert command(text).seconds == seconds


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("GET a", True),
        ("mget a b", True),
        ("EVALSHA_RO x 0", True),
        ("PING", True),
        ("SET a 1", False),
        ("EVALSHA x 0", False),
        ("GETDEL a", False),
        ("GETEX a", False),
        ("BLPOP a 1", False),
        ("BF.EXISTS a b", False),
    ],
)
def test_reading_is_only_what_may_be_sent_twice(text: str, reads: bool) -> None:
    assert command(text).reads is reads
    assert only_reads([command("GET a"), command(text)]) is reads


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["GET", "ä"], "ä".encode()),
        (["GET", b"\xff"], b"\xff"),
        (["GET", 7], b"7"),
        (["MSET", "a", 1, "b", 2], b"a"),
        (["EVAL", "lua", 2, "a", "b", "c"], b"a"),
        (["EVALSHA", "digest", "1", b"a"], b"a"),
        (["EVAL", "lua", 0, "argument"], None),
        (["FCALL", "name", 1, "a"], b"a"),
        (["XREAD", "COUNT", 2, "streams", "a", "b", 0, 0], b"a"),
        (["XREADGROUP", "GROUP", "g", "c", "STREAMS", "a", ">"], b"a"),
        (["XREAD", "COUNT", 2], None),
        (["OBJECT", "ENCODING", "a"], b"a"),
        (["BITOP", "AND", "to", "from"], b"to"),
        (["ZUNION", 2, "a", "b"], b"a"),
        (["BLMPOP", 1, 2, "a", "b", "LEFT"], b"a"),
        (["BF.ADD", "a", "item"], b"a"),
        (["WATCH", "a"], b"a"),
        (["PING"], None),
        (["SCRIPT", "LOAD", "lua"], None),
        (["MULTI"], None),
        (["GET"], None),
    ],
)
def test_the_first_key(words: list[Any], key: bytes | None) -> None:
    assert Command(words).key == key


def described(port: int) -> dict[str, tuple[set[str], int]]:
    """What a redis-server says of its commands: flags, and the place of the first key (0: none, or it depends)."""
    with socket.create_connection((LOOPBACK, port)) as connection:
        connection.sendall(packed([command("COMMAND")]))
        reader = Reader(encoding="utf-8")
        while (reply := reader.gets()) is False:
            reader.feed(connection.recv(65536))
    return {name.upper(): ({str(flag) for flag in flags}, first_key) for name, _, flags, first_key, *_ in reply}


def test_the_tables_agree_with_what_redis_says_of_itself(redis_server: RedisServer) -> None:
    """Oracle: COMMAND. What blocks is not ordinary, what writes is no reading, and keys are where they are."""
    told = described(redis_server.port)
    newer = "HEXPIRE HEXPIREAT HEXPIRETIME HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HTTL".split()
    for name in sorted(redis_commands.ORDINARY):
        if name not in told:
            assert name in newer, f"{name} is no command"
            continue
        flags, first_key = told[name]
        one = Command([name, "1", "2", "3"])
        assert "blocking" not in flags or name in ("XREAD", "XREADGROUP"), name
        assert not (one.reads and flags & {"write"}), name
        if "movablekeys" not in flags and first_key:
            assert one.key == str(first_key).encode(), name
    for name, (flags, _) in told.items():
        if "blocking" in flags and name not in ("XREAD", "XREADGROUP"):
            assert Command([name, "key", 1]).place is not Place.SHARED, name


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (b"text", "text"),
        ("ä".encode(), "ä"),
        (b"\xff", b"\xff"),
        (7, 7),
        (None, None),
        ([b"a", [b"\xff", None]], ["a", [b"\xff", None]]),
    ],
)
def test_replies_are_plain_values(reply: Any, value: Any) -> None:
    assert plain(reply) == value


def test_a_refusal_is_a_failure_wherever_it_stands() -> None:
    refusal, (_, inner) = plain(ReplyError("ERR no")), plain([b"OK", ReplyError("WRONGTYPE")])
    assert isinstance(refusal, Failure)
    assert (refusal, refusal.kind) == ("ERR no", "server")
    assert isinstance(inner, Failure)
