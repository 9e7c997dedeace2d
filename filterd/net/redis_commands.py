"""Redis commands as they are sent, and what is known about each: where it may run, whether it only reads, where its key is.

Promises:

* Only a command known to be neither blocking nor stateful is ordinary, that is, may share a connection with other callers.
* A command is called reading only where sending it twice does no harm.

The tables follow the command reference of Redis 7.4.
"""

from collections.abc import Sequence
from enum import IntEnum
from time import monotonic
from typing import Any, TypeAlias

from hiredis import ReplyError, pack_command

from filterd.outcome import Failure

__all__ = ["ORDINARY", "Command", "Place", "Word", "only_reads", "packed", "place_of", "plain"]

Word: TypeAlias = str | bytes | int | float


class Place(IntEnum):
    """On which connection a command may run; the higher, the more careful."""

    SHARED = 0
    """On the line that all callers share."""
    POOLED = 1
    """On a connection of its own, which others may use afterwards: it may block, or belongs to a module."""
    PINNED = 2
    """On a connection that is not used by others any more: it may leave a state behind."""
    REFUSED = 3
    """Nowhere: its replies are not one for one command."""


_READS = frozenset(
    """BITCOUNT BITFIELD_RO BITPOS COMMAND DBSIZE DUMP ECHO EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GEODIST GEOHASH
    GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HEXPIRETIME HGET HGETALL HKEYS HLEN
    HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS INFO KEYS LASTSAVE LCS LINDEX LLEN LOLWUT LPOS LRANGE
    MEMORY MGET OBJECT PEXPIRETIME PFCOUNT PING PTTL PUBSUB RANDOMKEY ROLE SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER
    SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TIME TTL TYPE XINFO XLEN XPENDING XRANGE XREAD
    XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK
    ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION""".split()
)

_WRITES = frozenset(
    """ACL APPEND BITFIELD BITOP CLUSTER CONFIG COPY DECR DECRBY DEL EVAL EVALSHA EXPIRE EXPIREAT FCALL FLUSHALL FLUSHDB
    FUNCTION GEOADD GEORADIUS GEORADIUSBYMEMBER GEOSEARCHSTORE GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HINCRBY
    HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET HSETNX INCR INCRBY INCRBYFLOAT LATENCY LINSERT LMOVE LMPOP LPOP
    LPUSH LPUSHX LREM LSET LTRIM MOVE MSET MSETNX PERSIST PEXPIRE PEXPIREAT PFADD PFMERGE PSETEX PUBLISH RENAME RENAMENX
    RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD SCRIPT SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SLOWLOG SMOVE
    SORT SPOP SPUBLISH SREM SUNIONSTORE SWAPDB TOUCH UNLINK XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XREADGROUP XSETID
    XTRIM ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK
    ZREMRANGEBYSCORE ZUNIONSTORE""".split()
)


_UNITS_OF_WAIT: dict[str, tuple[int, float]] = {
    **dict.fromkeys(("BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX"), (-1, 1.0)),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), (1, 1.0)),
    **dict.fromkeys(("WAIT", "WAITAOF"), (-1, 0.001)),
}
"""Commands that wait by their nature: which argument says how long (0: for ever), and what its unit is in seconds."""

_BLOCK_OPTION = ("XREAD", "XREADGROUP")
ORDINARY = _READS | _WRITES
"""Commands that neither wait nor leave a state behind; three of them depending on their arguments."""

_PLAIN = ORDINARY - {*_BLOCK_OPTION, "SCRIPT"}

_ENDLESS = frozenset("SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MONITOR SYNC PSYNC".split())
_ORDINARY_SCRIPT = ("LOAD", "EXISTS", "FLUSH", "KILL")

_KEYLESS = frozenset(
    """ACL CLUSTER COMMAND CONFIG DBSIZE DISCARD ECHO EXEC FLUSHALL FLUSHDB FUNCTION INFO KEYS LASTSAVE LATENCY LOLWUT
    MULTI PING PUBLISH PUBSUB RANDOMKEY ROLE SCAN SCRIPT SLOWLOG SWAPDB TIME UNWATCH WAIT WAITAOF""".split()
)
_KEY_POSITION = dict.fromkeys(
    "BITOP OBJECT MEMORY XINFO XGROUP LMPOP ZMPOP ZUNION ZINTER ZDIFF ZINTERCARD SINTERCARD".split(), 2
)
_KEY_POSITION |= dict.fromkeys("EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO BLMPOP BZMPOP".split(), 3)
_COUNTED = frozenset("EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO".split())


class Command:
    """One command with its arguments, ready to be sent. Raises TypeError for an argument that is neither text nor number."""

    __slots__ = ("name", "packed", "place", "reads", "seconds", "words")

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = tuple(words)
        if not self.words:
            raise ValueError("a Redis command needs a name")
        try:
            self.packed: bytes = pack_command(self.words)  # type: ignore[arg-type]  # its stub asks for a tuple of one
        except TypeError:
            wrong = next(
                word for word in self.words if isinstance(word, bool) or not isinstance(word, str | bytes | int | float)
            )
            raise TypeError(f"an argument of a Redis command is str, bytes, int or float, not {wrong!r}") from None
        name = _text(self.words[0])
        if name not in _PLAIN:
            name = name.upper()
        self.name = name
        self.reads = name in _READS
        """It changes nothing: it may be sent again when nobody knows whether it arrived."""
        self.seconds: float | None = 0.0 if name in _PLAIN else self._wait()
        """How long it asks the server to wait; None without an end."""
        self.place = Place.SHARED if name in _PLAIN else self._place()
        """Where it may run."""

    def _place(self) -> Place:
        name = self.name
        if name in _BLOCK_OPTION:
            return Place.SHARED if self.seconds == 0.0 else Place.POOLED
        if name == "SCRIPT":
            return Place.SHARED if self._word(1) in _ORDINARY_SCRIPT else Place.PINNED
        if name in _ENDLESS or (name == "CLIENT" and self._word(1) == "REPLY"):
            return Place.REFUSED
        if "." in name or (name in _UNITS_OF_WAIT and not name.startswith("WAIT")):
            return Place.POOLED
        return Place.PINNED

    def _wait(self) -> float | None:
        words = self.words
        if self.name in _BLOCK_OPTION:
            option = next((i for i in range(1, len(words) - 1) if self._word(i) in ("BLOCK", "STREAMS")), 0)
            if not option or self._word(option) == "STREAMS":
                return 0.0
            place, unit = option + 1, 0.001
        elif self.name in _UNITS_OF_WAIT:
            place, unit = _UNITS_OF_WAIT[self.name]
        else:
            return 0.0
        try:
            return float(words[place]) * unit or None
        except (ValueError, IndexError):
            return 0.0  # the server will say what is wrong with it

    @property
    def key(self) -> bytes | None:
        """The first key it names; None without one. It decides which node of a cluster is asked."""
        name = self.name
        if name in _KEYLESS:
            return None
        words = self.words
        place = _KEY_POSITION.get(name, 1)
        if name in _BLOCK_OPTION:
            place = next((i + 1 for i in range(1, len(words)) if self._word(i) == "STREAMS"), 0)
        if not 0 < place < len(words) or (name in _COUNTED and self._word(2) == "0"):
            return None
        word = words[place]
        return word if isinstance(word, bytes) else _text(word).encode()

    def _word(self, place: int) -> str:
        return _text(self.words[place]).upper() if place < len(self.words) else ""


def place_of(commands: Sequence[Command]) -> Place:
    """Where commands sent in one piece may run. Nothing comes between them, so a whole transaction is ordinary."""
    if len(commands) == 1:
        return commands[0].place
    if commands[0].name == "MULTI" and commands[-1].name == "EXEC":
        commands = commands[1:-1]
    return max((command.place for command in commands), default=Place.SHARED)


def only_reads(commands: Sequence[Command]) -> bool:
    """None of them changes anything."""
    for command in commands:  # noqa: SIM110 - a third of the time of all()
        if not command.reads:
            return False
    return True


def packed(commands: Sequence[Command]) -> bytes:
    """All of them in one piece."""
    return commands[0].packed if len(commands) == 1 else b"".join([command.packed for command in commands])


def plain(reply: Any, *, peer: str = "", since: float | None = None) -> Any:
    """A reply as rules see it: int, str (bytes where it is not UTF-8), None, a list of these; an error is a `Failure`.

    `peer` and `since`, a moment of `time.monotonic()`, are for that failure.
    """
    if type(reply) is bytes:
        try:
            return reply.decode()
        except UnicodeDecodeError:
            return reply
    if type(reply) is list:
        return [plain(one, peer=peer, since=since) for one in reply]
    if isinstance(reply, ReplyError):
        elapsed = 0.0 if since is None else monotonic() - since
        return Failure(str(reply), kind="server", peer=peer, phase="read", elapsed=elapsed)
    return reply


def _text(word: Word) -> str:
    if type(word) is str:
        return word
    return word.decode("latin-1") if isinstance(word, bytes) else str(word)
