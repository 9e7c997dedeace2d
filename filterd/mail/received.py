"""Received fields (RFC 5321 4.4): the hops of a message as the hosts on its way noted them.

The clauses are standardised, the comments in them are not; those of Postfix, Exim, Sendmail, qmail, Courier, Exchange and
the large providers are understood. Nothing here is proven: all but the topmost fields may be the sender's invention.
"""

import re
from dataclasses import dataclass
from itertools import islice

from filterd.mail.dates import parse_date
from filterd.mail.ip import normalise_ip

__all__ = ["Received", "parse_received"]

_LIMIT = 2 * 1024  # characters
_CANDIDATES = 8  # words of a comment tried as an address

_PIECE = re.compile(r'[()]|;|\\.|"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|[^\s()";\\]++', re.DOTALL)
_CLAUSES = frozenset({"from", "by", "via", "with", "id", "for"})
_ADDRESSES = (re.compile(r"\[([^\[\]\s]{2,60})\]"), re.compile(r"(?<![\w.:-])([0-9a-fA-F:]*[.:][0-9a-fA-F:.]+)(?![\w-])"))
_HELO = re.compile(r"\b(?:helo|ehlo)(?:=|\s+)([^\s()\[\],;]+)", re.IGNORECASE)
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")
_SECURE = re.compile(r"\b(?:tls|ssl)", re.IGNORECASE)
_LOGIN = re.compile(r"\bauth(?:enticated|:)", re.IGNORECASE)
_NOBODY = frozenset({"unknown", "localhost.localdomain", "helo", "ehlo"})


@dataclass(frozen=True, slots=True)
class Received:
    """One hop.

    `from_hostname` is what the client called itself, `real_hostname` the name the receiving host found for it, `real_ip` its
    address, and `from_ip` the address it called itself, else `real_ip`. `by_hostname` is the receiving host, `proto` the
    protocol in lower case ("esmtps"), `for_` the recipient, `timestamp` seconds since 1970. What is not there is None.
    `flags`: `ssl`, `authenticated`, and `bad` for a field with neither `from` nor `by`.
    """

    from_hostname: str | None
    from_ip: str | None
    real_hostname: str | None
    real_ip: str | None
    by_hostname: str | None
    proto: str | None
    for_: str | None
    timestamp: float | None
    flags: frozenset[str]


def parse_received(value: str) -> Received:
    """`value`: the field unfolded and not decoded, of which the first 2 Ki characters are read."""
    clauses, comments, date = _clauses(value[:_LIMIT])
    sender, proto = clauses.get("from", ""), clauses.get("with", "").lower()
    comment = comments.get("from", "")
    said = _HELO.search(comment)
    claimed_ip = normalise_ip(sender) if sender else None
    real_ip = _address_in(comment) or claimed_ip
    real_hostname = _host(comment.partition("[")[0].rpartition("@")[2].split(" ")[0])
    if said is not None:
        # Exim and qmail put the name they looked up outside, and what the client said into the comment.
        real_hostname, from_hostname = _host(sender), said[1]
    else:
        from_hostname = sender or None
    timestamp = parse_date(date) if date else None
    notes = " ".join(comments.values())
    flags = {
        "bad": not sender and "by" not in clauses,
        "ssl": proto.rstrip("a").endswith(("smtps", "https", "lmtps")) or _SECURE.search(notes) is not None,
        "authenticated": proto.endswith(("smtpa", "smtpsa")) or proto == "asmtp" or _LOGIN.search(notes) is not None,
    }
    return Received(
        from_hostname=from_hostname,
        from_ip=claimed_ip or real_ip,
        real_hostname=real_hostname,
        real_ip=real_ip,
        by_hostname=_host(clauses.get("by", "")),
        proto=proto or None,
        for_=clauses.get("for", "").strip("<>") or None,
        timestamp=None if timestamp is None else timestamp.timestamp(),
        flags=frozenset(flag for flag, is_so in flags.items() if is_so),
    )


def _clauses(value: str) -> tuple[dict[str, str], dict[str, str], str]:
    """The first word of each clause, the comments after it with their brackets removed, and the date."""
    clauses: dict[str, str] = {}
    comments: dict[str, str] = {}
    clause, depth = "", 0
    for piece in _PIECE.finditer(value):
        text = piece[0]
        if text == "(":
            depth += 1
        elif text == ")":
            depth = max(depth - 1, 0)
        elif depth or (text[0] == "[" and clauses.get(clause)):  # some write `from name [address]`
            comments[clause] = f"{comments[clause]} {text}" if clause in comments else text
        elif text == ";":
            return clauses, comments, value[piece.end() :]
        elif text.lower() in _CLAUSES and text.lower() not in clauses:
            clause = text.lower()
            clauses[clause] = ""
        elif clause and not clauses[clause]:
            clauses[clause] = text
    return clauses, comments, ""


def _address_in(comment: str) -> str | None:
    for pattern in _ADDRESSES:
        for found in islice(pattern.finditer(comment), _CANDIDATES):
            address = normalise_ip(found[1])
            if address is not None:
                return address
    return None


def _host(text: str) -> str | None:
    """`text` if it may be the name of a host and is not an address."""
    if _HOST.fullmatch(text) is None or text.lower() in _NOBODY or normalise_ip(text) is not None:
        return None
    return text.removesuffix(".")
