"""DNS messages (RFC 1035 4, RFC 6891): the query for one question, and what its reply says.

Promises:

* A query asks for recursion, announces UDP replies of 1232 octets and invites an AD bit (RFC 6840 5.7), but no signatures.
* A reply to another question (its id, kind or question differ) is None and never an error: whoever guesses at our port
  cannot end a lookup. A reply to ours that breaks the format is a `ProtocolError`, and nothing else is ever raised.
* Failures have the literal texts that rules compare with: NO_NAME, NO_RECORDS and the others of RCODE_TEXTS.
* Work is bounded: MAX_RECORDS answers, and names as in `dns_names`. Records of a type that was not asked for are skipped;
  so are the owner names of records: the resolver is trusted to have followed the CNAMEs.

Identifiers, sockets, repeats and clocks are the caller's. A message on TCP has its length in two octets before it.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from filterd.proto.dns_names import ProtocolError, encode_name, list_name, reverse_name, skip_name
from filterd.proto.dns_types import (
    TYPES,
    CaaRecord,
    MxRecord,
    Records,
    SoaRecord,
    SrvRecord,
    TlsaRecord,
    decoder_of,
)

__all__ = [
    "MAX_RECORDS",
    "NO_NAME",
    "NO_RECORDS",
    "RCODE_TEXTS",
    "TIMED_OUT",
    "TYPES",
    "CaaRecord",
    "MxRecord",
    "ProtocolError",
    "Records",
    "Reply",
    "SoaRecord",
    "SrvRecord",
    "TlsaRecord",
    "encode_name",
    "encode_question",
    "list_name",
    "parse_reply",
    "render_query",
    "reverse_name",
]

NO_NAME = "no records with this name"
NO_RECORDS = "requested record is not found"
TIMED_OUT = "query timed out"  # no reply says so; the caller does
# RFC 1035 4.1.1 and RFC 2136 2.2. Code 0 is no failure, and the others are not assigned.
RCODE_TEXTS = {
    1: "query format error",
    2: "server fail",
    3: NO_NAME,
    4: "not implemented",
    5: "query refused",
    6: "YXDOMAIN",
    7: "YXRRSET",
    8: "NXRRSET",
    9: "not authorized",
    10: "no such zone",
    **{code: f"unknown rcode {code}" for code in range(11, 16)},
}
NXDOMAIN = 3
# Servers that failed before they had read the question answer without one: FORMERR, SERVFAIL, NOTIMP, REFUSED.
_RCODES_WITHOUT_QUESTION = frozenset({1, 2, 4, 5})

# More than anyone keeps under one name, and few enough that the worst 64 KB (names of 126 labels, over and over, to be
# escaped) take about 20 ms, and 35 where each record has two.
MAX_RECORDS = 256
# RFC 2181 8: a greater time to live is zero.
MAX_TTL = 0x7FFFFFFF

_TAILS = {name: struct.pack("!HH", number, 1) for name, number in TYPES.items()}
_QUERY_HEAD = struct.pack("!5H", 0x0120, 1, 0, 0, 1)  # RD and AD; one question, one additional record, which is:
_OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)  # EDNS 0, DO clear; 1232 octets cross every path unfragmented
_PLAIN_HEAD = struct.pack("!5H", 0x0120, 1, 0, 0, 0)

_HEADER = struct.Struct("!5H").unpack_from
_RECORD = struct.Struct("!IIH").unpack_from  # type and class as one number, time to live, length
_QR_OPCODE, _REPLY = 0xF800, 0x8000  # a reply, and to an ordinary query
_TRUNCATED, _AUTHENTICATED, _RCODE = 0x0200, 0x0020, 0x000F
_NOT_ORDINARY = _QR_OPCODE | _TRUNCATED | _RCODE
_ONE_QUESTION_ONE_ANSWER = 0x00010001
_ONE_RECORD: dict[int, Callable[[bytes], tuple[Any, ...]]] = {}
_ONE_RECORD_DECODERS = {tail: decoder_of(TYPES[name]) for name, tail in _TAILS.items() if name != "any"}
_made = tuple.__new__  # a named tuple without its own function, which takes three times as long
_SOA, _ANY = (TYPES[name] << 16 | 1 for name in ("soa", "any"))  # as _RECORD reads them


class Reply(NamedTuple):
    """What a server said to one question. Immutable, so that it can be kept and given to many.

    `error` is None or a failure text; `answers` are the decoded records of the type asked for. `ttl` is how long, in whole
    seconds, this outcome may be kept: the least of the answer section (its CNAMEs included), for NO_NAME and NO_RECORDS also
    bounded by the zone's SOA (RFC 2308 5), 0 for other failures. `truncated` (TC) means that this is not all: over UDP
    nothing here counts, even an error, and the question is to be asked again over TCP.
    """

    error: str | None
    answers: tuple[Any, ...]
    ttl: int = 0
    truncated: bool = False
    authenticated: bool = False

    def records(self, *, age: float = 0.0) -> Records:
        """A list of its own for one rule, which may change it; `age` is how many seconds the reply has been kept."""
        ttl = max(0, self.ttl - int(age)) if age else self.ttl
        return Records(self.answers, authenticated=self.authenticated, truncated=self.truncated, ttl=ttl)


def encode_question(name: str, kind: str = "a") -> bytes:
    """The question for the records of one name, in lower case: what `render_query` and `parse_reply` take.

    `kind` is one of TYPES in any case. Equal questions have equal octets. Raises ValueError for an unknown type or for a
    name as `encode_name` does; for `ptr` the name is that of `reverse_name`.
    """
    tail = _TAILS.get(kind) or _TAILS.get(kind.lower())
    if tail is None:
        raise ValueError(f"{kind!r} is not a DNS record type; known are {', '.join(TYPES)}")
    return encode_name(name) + tail


def render_query(query_id: int, question: bytes, *, edns: bool = True) -> bytes:
    """The message that asks `question`; `query_id` (0 to 65535) should be unpredictable (RFC 5452 4.3).

    `edns=False` is for a server that calls the ordinary form a format error (RFC 6891 7): its replies have 512 octets at most.
    """
    if edns:
        return query_id.to_bytes(2, "big") + _QUERY_HEAD + question + _OPT
    return query_id.to_bytes(2, "big") + _PLAIN_HEAD + question


def parse_reply(data: bytes, query_id: int, question: bytes) -> Reply | None:
    """What `data` says to the query with this id and question; None where it is the reply to another query, or no reply.

    Raises ProtocolError for a message without a whole header, and for a reply to this query that breaks the format.
    """
    # Most replies that are not "there is none" have one record, of the type asked for and with a pointer to the question for a
    # name. Up to its data it is read in one go, which takes a third of the general way.
    size = len(question)
    start = size + 24
    if len(data) >= start:
        read = _ONE_RECORD.get(size) or _reading_one_record(size)
        reply_id, flags, counts, asked, pointer, found, ttl, length = read(data)
        decode = _ONE_RECORD_DECODERS.get(found)
        if (
            asked == question
            and reply_id == query_id
            and flags & _NOT_ORDINARY == _REPLY
            and counts == _ONE_QUESTION_ONE_ANSWER
            and pointer >= 0xC000
            and decode is not None
            and question.endswith(found)
            and start + length <= len(data)
            and ttl <= MAX_TTL
        ):
            try:
                answers = (decode(data, start, start + length),)
                return _made(Reply, (None, answers, ttl, False, flags & _AUTHENTICATED != 0))
            except (ProtocolError, IndexError, struct.error):
                pass  # said below, as of every other
    return _parse_any(data, query_id, question)


def _reading_one_record(size: int) -> Callable[[bytes], tuple[Any, ...]]:
    """What reads a message with a question of so many octets, of which 259 is the most, up to the data of its first record."""
    read = _ONE_RECORD[size] = struct.Struct(f"!HHI4x{size}sH4sIH").unpack_from
    return read


def _parse_any(data: bytes, query_id: int, question: bytes) -> Reply | None:
    if len(data) < 12:
        raise ProtocolError(f"a message of {len(data)} octets is shorter than its header")
    reply_id, flags, questions, answers, authorities = _HEADER(data)
    if reply_id != query_id or flags & _QR_OPCODE != _REPLY:
        return None
    rcode = flags & _RCODE
    position = 12 + len(question)
    asked = data[12:position]
    if questions != 1 or (asked != question and not _is_same(asked, question)):
        if questions == 0 and rcode in _RCODES_WITHOUT_QUESTION:
            return Reply(RCODE_TEXTS[rcode], ())
        return None
    truncated = flags & _TRUNCATED != 0
    if rcode and rcode != NXDOMAIN:
        return Reply(RCODE_TEXTS[rcode], (), 0, truncated)
    values: list[Any] = []
    ttl = 0
    try:
        position, least = _read_answers(data, position, answers, int.from_bytes(question[-4:], "big"), values)
        ttl = least if values and not rcode else min(least, _negative_ttl(data, position, authorities))
    except (ProtocolError, IndexError, struct.error) as problem:
        # What had to be cut to fit may be cut anywhere; what is whole is kept.
        if not truncated:
            text = str(problem) if isinstance(problem, ProtocolError) else "it ends inside a record"
            raise ProtocolError(f"malformed reply: {text}") from problem
    authenticated = flags & _AUTHENTICATED != 0
    if rcode:
        return Reply(NO_NAME, (), ttl, truncated, authenticated)
    return Reply(None if values else NO_RECORDS, tuple(values), ttl, truncated, authenticated)


def _is_same(asked: bytes, question: bytes) -> bool:
    """Whether they differ only in case, which servers may change: in the name, not in the octets of type and class."""
    return asked[:-4].lower() == question[:-4] and asked[-4:] == question[-4:]


def _read_answers(data: bytes, position: int, count: int, wanted: int, values: list[Any]) -> tuple[int, int]:
    """Appends the records of the wanted type to `values`; the position after the section, and its least time to live."""
    if count > MAX_RECORDS:
        raise ProtocolError(f"{count} answers, {MAX_RECORDS} are allowed")
    decode = decoder_of(wanted >> 16)
    least = MAX_TTL
    for _ in range(count):
        position = position + 2 if data[position] >= 192 else skip_name(data, position)
        found, ttl, length = _RECORD(data, position)
        start = position + 10
        position = start + length
        if position > len(data):
            raise IndexError
        if found == wanted:
            values.append(decode(data, start, position))
        elif wanted == _ANY:
            values.append(decoder_of(found >> 16)(data, start, position))
        if ttl < least:
            least = ttl
        elif ttl > MAX_TTL:
            least = 0
    return position, least


def _negative_ttl(data: bytes, position: int, count: int) -> int:
    """How long "there is none" may be kept (RFC 2308 5); without the zone's SOA not at all."""
    for _ in range(count):
        position = skip_name(data, position)
        found, ttl, length = _RECORD(data, position)
        position += 10 + length
        if position > len(data):
            raise IndexError
        if found == _SOA and length >= 22:
            minimum = int.from_bytes(data[position - 4 : position], "big")
            return min(minimum, ttl) if ttl <= MAX_TTL else 0
    return 0
