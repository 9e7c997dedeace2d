r"""What DNS records become in a rule's hands: texts and small values, decoded from the rdata of a reply.

Promises:

* a, aaaa, ptr, ns, cname, txt and spf records are `str`; mx, soa, srv, tlsa and caa records are frozen values with named
  fields; a record of any other type (only an `any` question brings one) is the text that RFC 3597 5 has for unknown ones,
  as `\# 3 010203`. Each of them prints as text.
* Rdata that does not fit its type is a `ProtocolError`; IndexError or struct.error say that it ends too early.

Types that few ask for are decoded here as well, not by dnspython: a reply made for it keeps that busy for more than a second.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from filterd.proto.dns_names import ProtocolError, read_name

__all__ = ["TYPES", "CaaRecord", "Decoder", "MxRecord", "Records", "SoaRecord", "SrvRecord", "TlsaRecord", "decoder_of"]

# The types a rule may ask for. `spf` is the record type of RFC 4408, which RFC 7208 3.1 gave up in favour of `txt`.
TYPES = {
    "a": 1, "ns": 2, "cname": 5, "soa": 6, "ptr": 12, "mx": 15, "txt": 16, "aaaa": 28,
    "srv": 33, "tlsa": 52, "spf": 99, "any": 255, "caa": 257,
}  # fmt: skip


class Records(list[Any]):
    """The records of one answer, in the order they came in.

    `authenticated`: the resolver says that it has verified them (DNSSEC, the AD bit). `truncated`: there are more, but they
    did not fit the reply. `ttl`: whole seconds for which they may be kept.
    """

    __slots__ = ("authenticated", "truncated", "ttl")

    def __init__(
        self, values: Iterable[Any] = (), *, authenticated: bool = False, truncated: bool = False, ttl: int = 0
    ) -> None:
        list.__init__(self, values)  # super() costs as much as all the rest
        self.authenticated = authenticated
        self.truncated = truncated
        self.ttl = ttl


@dataclass(frozen=True, slots=True)
class MxRecord:
    """A mail exchanger (RFC 1035 3.3.9). The lowest priority is tried first; the name "." says "no mail here" (RFC 7505)."""

    name: str
    priority: int

    def __str__(self) -> str:
        return f"{self.priority} {self.name}"


@dataclass(frozen=True, slots=True)
class SoaRecord:
    """The head of a zone (RFC 1035 3.3.13). Times are seconds; `nx` is how long "there is none" may be kept (RFC 2308 4)."""

    ns: str
    contact: str
    serial: int
    refresh: int
    retry: int
    expiry: int
    nx: int

    def __str__(self) -> str:
        return f"{self.ns} {self.contact} {self.serial} {self.refresh} {self.retry} {self.expiry} {self.nx}"


@dataclass(frozen=True, slots=True)
class SrvRecord:
    """Where a service is (RFC 2782); `name` is the host, "." where the service is not offered."""

    name: str
    priority: int
    weight: int
    port: int

    def __str__(self) -> str:
        return f"{self.priority} {self.weight} {self.port} {self.name}"


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """Which certificate a TLS server has (RFC 6698 2.1); `data` is the certificate, key or digest itself."""

    usage: int
    selector: int
    matching_type: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching_type} {self.data.hex()}"


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """Who may issue certificates for a domain (RFC 8659 4.1); `flags` 128 marks a tag that must be understood."""

    flags: int
    tag: str
    value: str

    def __str__(self) -> str:
        return f'{self.flags} {self.tag} "{self.value}"'


# Takes a whole message and where in it the rdata begins and ends.
Decoder = Callable[[bytes, int, int], Any]

_NUMBERS = tuple(map(str, range(256)))
_FOUR_OCTETS = struct.Struct("!4B").unpack
_TWO_OCTETS = struct.Struct("!2B").unpack_from
_THREE_OCTETS = struct.Struct("!3B").unpack_from
_EIGHT_GROUPS = struct.Struct("!8H").unpack
_PREFERENCE = struct.Struct("!H").unpack_from
_SERVICE = struct.Struct("!3H").unpack_from
_TIMES = struct.Struct("!5I").unpack
_ZERO_GROUPS = tuple(":0" * count + ":" for count in range(8, 1, -1))


def _decode_a(data: bytes, start: int, end: int) -> str:
    first, second, third, fourth = _FOUR_OCTETS(data[start:end])
    return f"{_NUMBERS[first]}.{_NUMBERS[second]}.{_NUMBERS[third]}.{_NUMBERS[fourth]}"


def _decode_aaaa(data: bytes, start: int, end: int) -> str:
    """The text `ipaddress` has for it (RFC 5952 4), at a third of the cost."""
    text = ":%x:%x:%x:%x:%x:%x:%x:%x:" % _EIGHT_GROUPS(data[start:end])  # noqa: UP031 - str.format takes twice as long
    if text.startswith(":0:0:0:0:0:ffff:"):
        # The form of IPv4-mapped addresses depends on the Python version; they must equal those the rest of filterd prints.
        return str(IPv6Address(data[start:end]))
    for zeros in _ZERO_GROUPS:
        if zeros in text:
            before, _, behind = text.partition(zeros)
            return f"{before[1:]}::{behind[:-1]}"
    return text[1:-1]


def _decode_name(data: bytes, start: int, end: int) -> str:
    name, after = read_name(data, start)
    if after != end:
        raise ProtocolError(f"the name at octet {start} does not end with its record")
    return name


def _decode_mx(data: bytes, start: int, end: int) -> MxRecord:
    (priority,) = _PREFERENCE(data, start)
    return MxRecord(_decode_name(data, start + 2, end), priority)


def _decode_soa(data: bytes, start: int, end: int) -> SoaRecord:
    ns, after = read_name(data, start)
    contact, after = read_name(data, after)
    return SoaRecord(ns, contact, *_TIMES(data[after:end]))


def _decode_srv(data: bytes, start: int, end: int) -> SrvRecord:
    priority, weight, port = _SERVICE(data, start)
    return SrvRecord(_decode_name(data, start + 6, end), priority, weight, port)


def _decode_txt(data: bytes, start: int, end: int) -> str:
    """The chunks joined (RFC 7208 3.3); every octet is one latin-1 character."""
    position = start + 1 + data[start]
    if position == end:
        return data[start + 1 : end].decode("latin-1")
    chunks = [data[start + 1 : position]]
    while position < end:
        begin = position + 1
        position = begin + data[position]
        chunks.append(data[begin:position])
    if position != end:
        raise ProtocolError(f"the text at octet {start} does not end with its record")
    return b"".join(chunks).decode("latin-1")


# TLSA and CAA are as simple, and dnspython refuses what people do publish: a digest of the wrong length, a tag with a hyphen.
def _decode_tlsa(data: bytes, start: int, end: int) -> TlsaRecord:
    rdata = data[start:end]
    usage, selector, matching_type = _THREE_OCTETS(rdata)
    return TlsaRecord(usage, selector, matching_type, rdata[3:])


def _decode_caa(data: bytes, start: int, end: int) -> CaaRecord:
    rdata = data[start:end]
    flags, length = _TWO_OCTETS(rdata)
    tag = rdata[2 : 2 + length]
    if not tag or len(tag) != length:
        raise ProtocolError(f"the tag at octet {start + 2} is empty or does not end with its record")
    return CaaRecord(flags, tag.decode("latin-1"), rdata[2 + length :].decode("latin-1"))


_DECODERS: dict[int, Decoder] = {
    TYPES["a"]: _decode_a,
    TYPES["aaaa"]: _decode_aaaa,
    TYPES["ptr"]: _decode_name,
    TYPES["ns"]: _decode_name,
    TYPES["cname"]: _decode_name,
    TYPES["mx"]: _decode_mx,
    TYPES["soa"]: _decode_soa,
    TYPES["srv"]: _decode_srv,
    TYPES["txt"]: _decode_txt,
    TYPES["spf"]: _decode_txt,
    TYPES["tlsa"]: _decode_tlsa,
    TYPES["caa"]: _decode_caa,
}


def _decode_unknown(data: bytes, start: int, end: int) -> str:
    return f"\\# {end - start} {data[start:end].hex()}".rstrip()


def decoder_of(number: int) -> Decoder:
    """What makes a value of the rdata of records of type `number`."""
    return _DECODERS.get(number, _decode_unknown)
