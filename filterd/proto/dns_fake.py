"""Answers written down in a configuration, given instead of asking a server: tests depend on them.

Promise: the values are those that a server's reply with the same records would have, because they take the same way.
"""

from collections.abc import Sequence

from filterd.proto.dns import NO_RECORDS, RCODE_TEXTS, TIMED_OUT, Reply
from filterd.proto.dns_types import TYPES, decoder_of

__all__ = ["RCODES", "fake_reply"]

# An answer made up need not be kept, but rules may look at its time to live.
TTL = 60

RCODES = {
    "formerr": RCODE_TEXTS[1],
    "servfail": RCODE_TEXTS[2],
    "nxdomain": RCODE_TEXTS[3],
    "notimp": RCODE_TEXTS[4],
    "refused": RCODE_TEXTS[5],
    "timeout": TIMED_OUT,
}
"""What stands for each failure; "noerror" is none."""


def fake_reply(kind: str, replies: Sequence[str], rcode: str = "noerror") -> Reply:
    """The reply with these records, each written as in a zone file, with or without the final dot of names.

    `txt` and `spf` records are plain text, or strings in quotes as in a zone file. Under `any` each record has its type before
    it: `mx 10 mx.example.org`. With an rcode of RCODES the records do not matter. Raises ValueError for what is no record.
    """
    if rcode != "noerror":
        if rcode not in RCODES:
            raise ValueError(f"{rcode!r} is not an rcode; known are noerror, {', '.join(RCODES)}")
        return Reply(RCODES[rcode], ())
    kind = kind.lower()
    if kind not in TYPES:
        raise ValueError(f"{kind!r} is not a DNS record type; known are {', '.join(TYPES)}")
    answers = tuple([_record(*(text.split(maxsplit=1) if kind == "any" else (kind, text))) for text in replies])
    return Reply(None if answers else NO_RECORDS, answers, TTL)


def _record(kind: str, text: str = "") -> object:
    """The value of one record."""
    import dns.exception  # 40 ms that nobody pays who has no such records
    import dns.name
    import dns.rdata

    if kind.lower() in ("txt", "spf") and not text.startswith('"'):
        return text.encode().decode("latin-1")
    try:
        wire = dns.rdata.from_text("IN", kind, text, origin=dns.name.root, relativize=False).to_wire()
    except (dns.exception.DNSException, ValueError) as problem:
        raise ValueError(f"{text!r} is not a record of type {kind}: {problem}") from problem
    assert wire is not None
    return decoder_of(dns.rdatatype.from_text(kind))(wire, 0, len(wire))
