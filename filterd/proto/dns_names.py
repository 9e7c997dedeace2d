r"""Domain names between text and wire (RFC 1035 3.1 and 4.1.4), and the names that addresses have in the DNS.

Promises:

* A text that cannot be a name is a `ValueError` which says why; octets that are none are a `ProtocolError`.
* A name read from a message is text without the final dot (the root is "."), in the case it came in. Octets that no host
  name has are escaped as in a zone file (`\.`, `\032`), so a dot inside a label never looks like a dot between labels.
* Compression pointers only lead backwards and no name takes more than MAX_STEPS of them and labels together, so reading
  a name ends soon whatever the message holds.
"""

import struct
from collections.abc import Callable
from ipaddress import IPv6Address

__all__ = ["MAX_STEPS", "ProtocolError", "encode_name", "list_name", "read_name", "reverse_name", "skip_name"]

# RFC 1035 2.3.4: 255 octets on the wire, which are 253 characters: the first length octet and the root have no dot.
MAX_TEXT = 253
# The longest name has 127 labels; a pointer in front of each is more than any compressor writes.
MAX_STEPS = 254

MOST_PACKERS = 2000
"""Patterns of names that are remembered: what goes for a label each would take four times as long."""

_PACKERS: dict[tuple[int, ...], Callable[..., bytes]] = {}
_PLAIN = bytes(octet for octet in range(0x21, 0x7F) if octet not in b'"().;\\@$')
_OCTETS = frozenset(map(str, range(256)))


class ProtocolError(Exception):
    """The server sent what no DNS server may send; the text says what."""


def encode_name(name: str) -> bytes:
    """The wire form of a name, in lower case; one final dot is allowed, "." is the root.

    Labels outside ASCII are mapped and encoded by UTS 46 (non-transitional) and IDNA 2008. ASCII labels go as they are:
    underscores, `*` and whatever else a rule asks for are legal in the DNS (RFC 2181 11). Raises ValueError for an empty
    name or label, a label above 63 octets, a name above 253 characters and for what IDNA refuses.
    """
    text = name.lower() if name.isascii() else _to_ascii(name)
    if text.endswith("."):
        text = text[:-1]
        if not text:
            return b"\0"
    if len(text) > MAX_TEXT:
        raise _not_a_name(name, f"it has {len(text)} characters, {MAX_TEXT} are allowed")
    labels = text.encode("ascii").split(b".")
    pack = _PACKERS.get(tuple(map(len, labels)))
    if pack is None:
        if not all(labels):
            raise _not_a_name(name, "it has an empty label" if text else "it is empty")
        if len(max(labels, key=len)) > 63:
            raise _not_a_name(name, "a label has more than 63 octets")
        pack = _packer(labels)
    return pack(*labels)


def _packer(labels: list[bytes]) -> Callable[..., bytes]:
    """What writes labels of these lengths: a format for length and text is what C calls a Pascal string."""
    lengths = tuple(map(len, labels))
    pack = struct.Struct("".join([f"{length + 1}p" for length in lengths]) + "x").pack
    if len(_PACKERS) >= MOST_PACKERS:
        _PACKERS.clear()
    _PACKERS[lengths] = pack
    return pack


def _to_ascii(name: str) -> str:
    import idna  # 3 MB of tables that many workers never need

    if len(name) > MAX_TEXT + 1:
        raise _not_a_name(name, f"it has {len(name)} characters, {MAX_TEXT} are allowed")
    try:
        # The mapping also turns the ideographic full stops into dots. std3_rules would refuse underscores.
        labels = idna.uts46_remap(name, std3_rules=False).split(".")
        return ".".join([label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels])
    except idna.IDNAError as problem:
        raise _not_a_name(name, str(problem)[:200]) from problem  # it may repeat a whole label, escaped


def _not_a_name(name: str, why: str) -> ValueError:
    shown = name if len(name) <= 80 else f"{name[:80]}…"
    return ValueError(f"{shown!r} is not a domain name: {why}")


def read_name(data: bytes, position: int) -> tuple[str, int]:
    """The name that begins at `position` of a message, and the position after it.

    Raises ProtocolError, or IndexError where the message ends inside the name.
    """
    labels: list[bytes] = []
    after = 0
    lowest = position
    for _ in range(MAX_STEPS):
        length = data[position]
        if length == 0:
            break
        if length < 64:
            labels.append(data[position + 1 : position + 1 + length])
            position += 1 + length
        elif length >= 192:
            target = (length & 63) << 8 | data[position + 1]
            if target >= lowest:
                raise ProtocolError(f"the compression pointer at octet {position} does not lead backwards")
            after = after or position + 2
            position = lowest = target
        else:
            raise ProtocolError(f"the label at octet {position} has the unknown type {length >> 6}")
    else:
        raise ProtocolError(f"a name has more than {MAX_STEPS} labels and pointers")
    text = b".".join(labels)
    if len(text) > MAX_TEXT:
        raise ProtocolError(f"a name has {len(text)} characters, {MAX_TEXT} are allowed")
    if text.translate(None, _PLAIN) != b"." * (len(labels) - 1):
        return ".".join(map(_escaped, labels)), after or position + 1
    return text.decode("ascii") or ".", after or position + 1


def _escaped(label: bytes) -> str:
    """A label as RFC 1035 5.1 writes it in a zone file."""
    return "".join([chr(o) if o in _PLAIN else f"\\{chr(o)}" if 0x20 < o < 0x7F else f"\\{o:03}" for o in label])


def skip_name(data: bytes, position: int) -> int:
    """The position after the name that begins at `position`; raises as `read_name` does. Pointers are not followed."""
    while length := data[position]:
        if length >= 192:
            return position + 2
        if length > 63:
            raise ProtocolError(f"the label at octet {position} has the unknown type {length >> 6}")
        position += 1 + length
    return position + 1


def reverse_name(ip: str) -> str:
    """The name whose PTR records name the host at this address; raises ValueError for what is no address.

    `192.0.2.1` → `1.2.0.192.in-addr.arpa`; IPv6 by nibbles under ip6.arpa (RFC 3596 2.5). An IPv4-mapped IPv6 address
    (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    labels, tree = _reversed(ip)
    return f"{labels}.{tree}"


def list_name(ip: str, zone: str) -> str:
    """The name under which a DNS list tells of this address (RFC 5782 2.1 and 2.4); dots around the zone do not matter.

    `192.0.2.1` in `zen.example` → `1.2.0.192.zen.example`; IPv6 by nibbles, IPv4-mapped as IPv4. Raises ValueError.
    """
    return f"{_reversed(ip)[0]}.{zone.strip('.')}"


def _reversed(ip: str) -> tuple[str, str]:
    """The labels of the address, last part first, and the tree of its PTR records."""
    parts = ip.split(".")
    # The usual case without `ipaddress`, which costs ten times as much: a message asks dozens of lists for each address.
    if len(parts) == 4 and _OCTETS.issuperset(parts):
        return ".".join(parts[::-1]), "in-addr.arpa"
    try:
        address = IPv6Address(ip)
    except ValueError:
        raise ValueError(f"{ip[:80]!r} is not an IP address") from None
    if address.ipv4_mapped is not None:
        return _reversed(str(address.ipv4_mapped))
    return ".".join(address.packed.hex()[::-1]), "ip6.arpa"
