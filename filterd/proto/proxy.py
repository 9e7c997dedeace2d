r"""The PROXY protocol: what a proxy says first on a connection, about the one it forwards (HAProxy's proxy-protocol.txt).

Both versions, for the side that receives and the side that sends.

    PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n
    \r\n\r\n\0\r\nQUIT\n, version and command, family and transport, length, addresses, TLVs

Promises:

* `HeaderParser.feed(bytes)` gives the header once it is whole, however its bytes were cut, and keeps what follows in `rest`.
  It never guesses: what is no header is a `ProtocolError`, and nothing else is raised.
* A line of version 1 has 107 bytes at most, a header of version 2 `max_size`.
* A header that says nothing of addresses (`LOCAL`, `UNKNOWN`, `UNSPEC`) has none; nothing it holds instead is looked at.
* A checksum that is there is verified.
"""

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

__all__ = ["CRC32C", "MAX_LINE", "MAX_SIZE", "Address", "Header", "HeaderParser", "ProtocolError", "begins_header", "render"]

MAX_LINE: Final = 107
"""Bytes of a header of version 1, its line end included (section 2.1)."""
MAX_SIZE: Final = 4096
"""Bytes of a header of version 2. Senders stay below 536; a client certificate among the TLVs takes two thousand."""
CRC32C: Final = 0x03
"""The type of the TLV with the checksum."""

Address: TypeAlias = tuple[str, int] | str
"""`(ip, port)`, or the path of a unix socket: `""` for one without a name, a NUL in front for an abstract one."""

Family: TypeAlias = Literal["unspec", "inet", "inet6", "unix"]
Transport: TypeAlias = Literal["unspec", "stream", "dgram"]

_MARK: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = 16  # signature, version and command, family and transport, length
_PORT = "(0|[1-9][0-9]{0,4})"
_LINE = re.compile(rf"PROXY TCP(4|6) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) {_PORT} {_PORT}", re.ASCII)
_FAMILIES: Final[tuple[Family, ...]] = ("unspec", "inet", "inet6", "unix")
_TRANSPORTS: Final[tuple[Transport, ...]] = ("unspec", "stream", "dgram")
_ADDRESSES: Final = {"inet": struct.Struct("!4s4sHH"), "inet6": struct.Struct("!16s16sHH"), "unix": struct.Struct("!108s108s")}


class ProtocolError(Exception):
    """What came is no header of this protocol, or one that breaks its rules."""


@dataclass(frozen=True, slots=True)
class Header:
    """One header. `source` is the client's address, `destination` the one it connected to; both None where nothing is said.

    `is_local`: the proxy opened the connection for itself, say for a health check; the addresses are those of the connection.
    `tlvs` are types and values in order; version 1 has none.
    """

    version: Literal[1, 2] = 2
    is_local: bool = False
    family: Family = "unspec"
    transport: Transport = "unspec"
    source: Address | None = None
    destination: Address | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()

    def tlv(self, kind: int) -> bytes | None:
        """The value of the first TLV of this type."""
        return next((value for one, value in self.tlvs if one == kind), None)


def begins_header(data: bytes) -> bool | None:
    """Whether a connection that begins with these bytes begins with a header; None when that cannot be told yet."""
    for mark in (_MARK, _SIGNATURE):
        if data.startswith(mark):
            return True
        if mark.startswith(data):
            return None
    return False


class HeaderParser:
    """Reads the header of one connection; `rest` are the bytes behind it."""

    def __init__(self, *, max_size: int = MAX_SIZE) -> None:
        self.max_size = max_size
        self.rest = b""
        self._data = b""

    def feed(self, data: bytes) -> Header | None:
        """The header, or None while there is more to come; b"" is the end of the stream. Raises ProtocolError."""
        if not data:
            raise ProtocolError(f"the connection ended in its PROXY header, after {len(self._data)} bytes")
        self._data += data
        begins = begins_header(self._data)
        if begins is None:
            return None
        if not begins:
            raise ProtocolError(f"no PROXY header, but {self._data[:16]!r}")
        size = self._line_size() if self._data.startswith(_MARK) else self._block_size()
        if size is None or len(self._data) < size:
            return None
        header, self.rest, self._data = self._data[:size], self._data[size:], b""
        return _read_line(header) if header.startswith(_MARK) else _read_block(header)

    def _line_size(self) -> int | None:
        end = self._data.find(b"\n", 0, MAX_LINE)
        if end < 0:
            if len(self._data) >= MAX_LINE:
                raise ProtocolError(f"a PROXY line without an end in its first {MAX_LINE} bytes")
            return None
        if self._data[end - 1 : end] != b"\r":
            raise ProtocolError("a PROXY line that does not end in CR LF")
        return end + 1

    def _block_size(self) -> int | None:
        data = self._data
        if len(data) < _FIXED:
            return None
        size = _FIXED + int.from_bytes(data[14:16], "big")
        if data[12] >> 4 != 2:
            raise ProtocolError(f"a PROXY header of version {data[12] >> 4}")
        if data[12] & 15 > 1:
            raise ProtocolError(f"a PROXY header with the unknown command {data[12] & 15}")
        if size > self.max_size:
            raise ProtocolError(f"a PROXY header of {size} bytes, {self.max_size} are allowed")
        return size


def _read_line(data: bytes) -> Header:
    line = data[:-2].decode("latin-1")
    if line == "PROXY UNKNOWN" or line.startswith("PROXY UNKNOWN "):
        return Header(1)
    found = _LINE.fullmatch(line)
    if found is None:
        raise ProtocolError(f"a PROXY line that cannot be read: {line!r}")
    try:
        kind = IPv4Address if found[1] == "4" else IPv6Address
        source, destination = (str(kind(text)) for text in (found[2], found[3]))
    except ValueError:
        raise ProtocolError(f"a PROXY line with a wrong address: {line!r}") from None
    ports = int(found[4]), int(found[5])
    if max(ports) > 65535:
        raise ProtocolError(f"a PROXY line with a wrong port: {line!r}")
    family: Family = "inet" if found[1] == "4" else "inet6"
    return Header(1, family=family, transport="stream", source=(source, ports[0]), destination=(destination, ports[1]))


def _read_block(data: bytes) -> Header:
    if data[12] & 15 == 0:
        return Header(is_local=True)  # whatever else it says is to be ignored
    try:
        family, transport = _FAMILIES[data[13] >> 4], _TRANSPORTS[data[13] & 15]
    except IndexError:
        raise ProtocolError(f"a PROXY header for the unknown protocol 0x{data[13]:02x}") from None
    if "unspec" in (family, transport):
        return Header(family=family, transport=transport)
    form = _ADDRESSES[family]
    if len(data) - _FIXED < form.size:
        raise ProtocolError(f"a PROXY header with {len(data) - _FIXED} bytes for addresses that take {form.size}")
    source: Address
    destination: Address
    if family == "unix":
        source, destination = map(_path, form.unpack_from(data, _FIXED))
    else:
        kind = IPv4Address if family == "inet" else IPv6Address
        from_ip, to_ip, from_port, to_port = form.unpack_from(data, _FIXED)
        source, destination = (str(kind(from_ip)), from_port), (str(kind(to_ip)), to_port)
    return Header(2, False, family, transport, source, destination, _read_tlvs(data, _FIXED + form.size))


def _path(field: bytes) -> str:
    # An abstract one may have NULs within it; the ones it ends in are padding.
    path = field.rstrip(b"\0") if field.startswith(b"\0") else field.partition(b"\0")[0]
    return path.decode("utf-8", "surrogateescape")


def _read_tlvs(data: bytes, at: int) -> tuple[tuple[int, bytes], ...]:
    tlvs: list[tuple[int, bytes]] = []
    checksum = None
    while at < len(data):
        start = at + 3
        end = start + int.from_bytes(data[at + 1 : start], "big")
        if start > len(data) or end > len(data):
            raise ProtocolError("a PROXY header that ends inside a TLV")
        if data[at] == CRC32C:
            if checksum is not None or end - start != 4:
                raise ProtocolError("a PROXY header with a checksum that is none")
            checksum = start
        tlvs.append((data[at], data[start:end]))
        at = end
    if checksum is not None:
        told = int.from_bytes(data[checksum : checksum + 4], "big")
        found = _crc32c(data[:checksum] + bytes(4) + data[checksum + 4 :])
        if told != found:
            raise ProtocolError(f"a PROXY header whose checksum is {found:08x}, and it says {told:08x}")
    return tuple(tlvs)


def render(header: Header) -> bytes:
    """The bytes of a header. A TLV of the type CRC32C gets the right checksum, whatever its value.

    Raises ValueError for what the version cannot say, and for addresses that are not of the family.
    """
    return _render_line(header) if header.version == 1 else _render_block(header)


def _render_line(header: Header) -> bytes:
    if header.is_local or header.tlvs or header.family == "unix" or header.transport == "dgram":
        raise ValueError("version 1 of the PROXY protocol knows TCP and UNKNOWN, and nothing beside the addresses")
    if "unspec" in (header.family, header.transport):
        return b"PROXY UNKNOWN\r\n"
    (source, from_port), (destination, to_port) = _ends(header)
    number = "4" if header.family == "inet" else "6"
    return f"PROXY TCP{number} {source} {destination} {from_port} {to_port}\r\n".encode()


def _render_block(header: Header) -> bytes:
    if header.is_local:
        return _block(0x20, 0, b"")
    protocol = _FAMILIES.index(header.family) << 4 | _TRANSPORTS.index(header.transport)
    if "unspec" in (header.family, header.transport):
        return _block(0x21, protocol, b"")
    if header.family == "unix":
        paths = [_field(path) for path in (header.source, header.destination)]
        addresses = _ADDRESSES["unix"].pack(*paths)
    else:
        (source, from_port), (destination, to_port) = _ends(header)
        addresses = _ADDRESSES[header.family].pack(source.packed, destination.packed, from_port, to_port)
    tlvs = b""
    checksum = None
    for kind, value in header.tlvs:
        if kind == CRC32C:
            checksum, value = _FIXED + len(addresses) + len(tlvs) + 3, bytes(4)
        tlvs += struct.pack("!BH", kind, len(value)) + value
    block = _block(0x21, protocol, addresses + tlvs)
    if checksum is None:
        return block
    return block[:checksum] + _crc32c(block).to_bytes(4, "big") + block[checksum + 4 :]


def _block(command: int, protocol: int, data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise ValueError(f"a PROXY header with {len(data)} bytes behind its length, 65535 are possible")
    return _SIGNATURE + struct.pack("!BBH", command, protocol, len(data)) + data


def _ends(header: Header) -> "tuple[tuple[IPv4Address | IPv6Address, int], tuple[IPv4Address | IPv6Address, int]]":
    kind = IPv4Address if header.family == "inet" else IPv6Address
    ends = []
    for end in (header.source, header.destination):
        if not isinstance(end, tuple) or not 0 <= end[1] <= 65535:
            raise ValueError(f"{end!r} is no address of the family {header.family}")
        ends.append((kind(end[0]), end[1]))
    return ends[0], ends[1]


def _field(path: Address | None) -> bytes:
    field = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else b""
    if not isinstance(path, str) or len(field) > 108:
        raise ValueError(f"{path!r} is no path of a unix socket")
    return field


def _crc32c(data: bytes) -> int:
    """The checksum of RFC 4960, appendix B."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC_TABLE[crc & 0xFF ^ octet]
    return crc ^ 0xFFFFFFFF


def _crc_of(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_CRC_TABLE: Final = tuple(map(_crc_of, range(256)))
