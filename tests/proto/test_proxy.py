"""Headers of the PROXY protocol, both versions: whole, cut anywhere, hostile, and rendered."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.proxy import CRC32C, MAX_LINE, MAX_SIZE, Header, HeaderParser, ProtocolError, begins_header, render

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([192, 0, 2, 1, 198, 51, 100, 1]) + struct.pack("!HH", 56324, 25)
V6 = ip_address("2001:db8::1").packed + ip_address("::1").packed + struct.pack("!HH", 1, 65535)


def block(command: int, protocol: int, data: bytes = b"") -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, protocol, len(data)) + data


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def parse(data: bytes) -> Header | None:
    return HeaderParser().feed(data)


# What a header says, and its bytes as we render them.
PAIRS = {
    "v1, IPv4": (
        Header(1, family="inet", transport="stream", source=("192.0.2.1", 56324), destination=("198.51.100.1", 25)),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n",
    ),
    "v1, IPv6": (
        Header(1, family="inet6", transport="stream", source=("2001:db8::1", 0), destination=("::1", 65535)),
        b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
    ),
    "v1, unknown": (Header(1), b"PROXY UNKNOWN\r\n"),
    "v2, IPv4": (
        Header(2, family="inet", transport="stream", source=("192.0.2.1", 56324), destination=("198.51.100.1", 25)),
        block(0x21, 0x11, V4),
    ),
    "v2, IPv6, datagrams": (
        Header(2, family="inet6", transport="dgram", source=("2001:db8::1", 1), destination=("::1", 65535)),
        block(0x21, 0x22, V6),
    ),
    "v2, unix": (
        Header(2, family="unix", transport="stream", source="/run/a.sock", destination="\0abstract\0name"),
        block(0x21, 0x31, b"/run/a.sock".ljust(108, b"\0") + b"\0abstract\0name".ljust(108, b"\0")),
    ),
    "v2, unix, a path that is no UTF-8, and none": (
        Header(2, family="unix", transport="dgram", source="\udcff", destination=""),
        block(0x21, 0x32, b"\xff".ljust(108, b"\0") + bytes(108)),
    ),
    "v2, local": (Header(is_local=True), block(0x20, 0)),
    "v2, unspecified": (Header(), block(0x21, 0)),
    "v2, unspecified transport": (Header(family="inet"), block(0x21, 0x10)),
    "v2, TLVs": (
        Header(
            2,
            family="inet",
            transport="stream",
            source=("192.0.2.1", 56324),
            destination=("198.51.100.1", 25),
            tlvs=((0x02, b"mx.example.org"), (0x04, b""), (0xE0, b"\0"), (0x02, b"again")),
        ),
        block(0x21, 0x11, V4 + tlv(2, b"mx.example.org") + tlv(4, b"") + tlv(0xE0, b"\0") + tlv(2, b"again")),
    ),
}


@pytest.mark.parametrize(("header", "data"), PAIRS.values(), ids=PAIRS)
def test_headers_are_read_and_rendered(header: Header, data: bytes) -> None:
    parser = HeaderParser()
    assert parser.feed(data) == header
    assert parser.rest == b""
    assert render(header) == data


@pytest.mark.parametrize(("header", "data"), PAIRS.values(), ids=PAIRS)
def test_a_header_cut_anywhere_is_the_same_and_what_follows_is_kept(header: Header, data: bytes) -> None:
    for cut in range(1, len(data)):
        parser = HeaderParser()
        assert parser.feed(data[:cut]) is None
        assert parser.feed(data[cut:] + b"PROXY behind\r\n") == header
        assert parser.rest == b"PROXY behind\r\n"
    parser = HeaderParser()
    assert [parser.feed(data[at : at + 1]) for at in range(len(data))] == [None] * (len(data) - 1) + [header]


@pytest.mark.parametrize("data", [data for _, data in PAIRS.values()], ids=PAIRS)
def test_a_stream_that_ends_in_a_header_is_a_fault(data: bytes) -> None:
    for cut in range(len(data)):
        parser = HeaderParser()
        if cut:
            assert parser.feed(data[:cut]) is None
        with pytest.raises(ProtocolError, match=f"ended in its PROXY header, after {cut} bytes"):
            parser.feed(b"")


def test_what_is_to_be_ignored_is_ignored() -> None:
    assert parse(b"PROXY UNKNOWN ffff::1 nonsense\r 70000 \xff\r\n") == Header(1)
    assert parse(block(0x20, 0xFF, b"anything")) == Header(is_local=True)
    assert parse(block(0x21, 0x00, b"anything")) == Header()
    assert parse(block(0x21, 0x01, b"anything")) == Header(transport="stream")
    assert parse(block(0x21, 0x30, b"short")) == Header(family="unix")


def test_the_first_tlv_of_a_type_is_found() -> None:
    header = PAIRS["v2, TLVs"][0]
    assert (header.tlv(2), header.tlv(4), header.tlv(9)) == (b"mx.example.org", b"", None)


def test_addresses_come_in_one_spelling() -> None:
    header = parse(b"PROXY TCP6 2001:0DB8:0::0001 ::FFFF:192.0.2.1 1 2\r\n")
    assert header is not None
    assert header.source == ("2001:db8::1", 1)
    assert header.destination is not None
    assert ip_address(header.destination[0]) == ip_address("::ffff:c000:201")


LONGEST = b"PROXY UNKNOWN" + b" ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" * 2 + b" 65535 65535\r\n"

FAULTS = {
    "other protocol": (b"GET / HTTP/1.1\r\n", "no PROXY header, but b'GET / HTTP/1.1"),
    "other protocol that begins alike": (b"PROXIES", "no PROXY header"),
    "no blank": (b"PROXY\tTCP4", "no PROXY header"),
    "signature broken": (SIGNATURE[:11] + b"x", "no PROXY header"),
    "two blanks": (b"PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n", "cannot be read"),
    "lower case": (b"PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n", "cannot be read"),
    "blank at the end": (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n", "cannot be read"),
    "nothing": (b"PROXY \r\n", "cannot be read"),
    "UNKNOWN with more": (b"PROXY UNKNOWNS\r\n", "cannot be read"),
    "UDP in version 1": (b"PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n", "cannot be read"),
    "one port": (b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n", "cannot be read"),
    "port with a zero in front": (b"PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n", "cannot be read"),
    "port with a sign": (b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n", "cannot be read"),
    "port too large": (b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n", "wrong port"),
    "address with a zero in front": (b"PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n", "wrong address"),
    "address of the other family": (b"PROXY TCP4 ::1 ::1 1 2\r\n", "wrong address"),
    "IPv4 for IPv6": (b"PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n", "wrong address"),
    "address with a zone": (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "cannot be read"),
    "name": (b"PROXY TCP4 a.example 198.51.100.1 1 2\r\n", "cannot be read"),
    "digits of another script": ("PROXY TCP4 192.0.2.1 198.51.100.1 ١ 2\r\n".encode(), "cannot be read"),
    "LF alone": (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n", "does not end in CR LF"),
    "LF alone in what is ignored": (b"PROXY UNKNOWN a\nb\r\n", "does not end in CR LF"),
    "CR alone": (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\rx\r\n", "cannot be read"),
    "no end": (LONGEST[:-2] + b"x" * 9, "without an end in its first 107 bytes"),
    "an end that comes a byte late": (LONGEST[:-2] + b"x\r\n", "without an end in its first 107 bytes"),
    "version 1 in binary": (block(0x11, 0x11, V4), "a PROXY header of version 1"),
    "version 3": (block(0x31, 0x11, V4), "a PROXY header of version 3"),
    "unknown command": (block(0x22, 0x11, V4), "unknown command 2"),
    "unknown family": (block(0x21, 0x41, V4), "unknown protocol 0x41"),
    "unknown transport": (block(0x21, 0x13, V4), "unknown protocol 0x13"),
    "too long": (block(0x21, 0x11, V4 + bytes(MAX_SIZE)), f"a PROXY header of {MAX_SIZE + 28} bytes, {MAX_SIZE} are allowed"),
    "too short for IPv4": (block(0x21, 0x11, V4[:-1]), "with 11 bytes for addresses that take 12"),
    "too short for IPv6": (block(0x21, 0x21, V4), "with 12 bytes for addresses that take 36"),
    "too short for unix": (block(0x21, 0x31, bytes(215)), "with 215 bytes for addresses that take 216"),
    "a TLV of one byte": (block(0x21, 0x11, V4 + b"\4"), "ends inside a TLV"),
    "a TLV of two bytes": (block(0x21, 0x11, V4 + b"\4\0"), "ends inside a TLV"),
    "a TLV that is longer than the header": (block(0x21, 0x11, V4 + b"\4\0\3ab"), "ends inside a TLV"),
    "a wrong checksum": (block(0x21, 0x11, V4 + tlv(CRC32C, b"abcd")), "and it says 61626364"),
    "a short checksum": (block(0x21, 0x11, V4 + tlv(CRC32C, b"abc")), "a checksum that is none"),
    "two checksums": (block(0x21, 0x11, V4 + tlv(CRC32C, b"abcd") * 2), "a checksum that is none"),
}


@pytest.mark.parametrize(("data", "told"), FAULTS.values(), ids=FAULTS)
def test_what_breaks_the_protocol_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(ProtocolError, match=told) as refusal:
        parse(data)
    assert len(str(refusal.value)) < 500


def test_the_longest_line_is_read_and_no_longer_one() -> None:
    assert len(LONGEST) == MAX_LINE
    assert parse(LONGEST) == Header(1)


def test_the_longest_header_is_read() -> None:
    data = block(0x21, 0x11, V4 + tlv(4, bytes(MAX_SIZE - 16 - 12 - 3)))
    assert len(data) == MAX_SIZE
    assert parse(data) is not None
    with pytest.raises(ProtocolError, match="are allowed"):
        HeaderParser(max_size=MAX_SIZE - 1).feed(data)


def test_a_checksum_is_made_and_verified() -> None:
    header = Header(
        family="inet",
        transport="stream",
        source=("192.0.2.1", 1),
        destination=("192.0.2.2", 2),
        tlvs=((4, b"x"), (CRC32C, b""), (5, b"id")),
    )
    data = render(header)
    found = parse(data)
    assert found is not None
    assert [kind for kind, _ in found.tlvs] == [4, CRC32C, 5]
    assert render(found) == data
    for place in (16, len(data) - 1):
        with pytest.raises(ProtocolError, match="checksum"):
            parse(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_the_checksum_is_crc32c() -> None:
    """RFC 3720 B.4 gives 8a9136aa for 32 bytes of zeros: a header is made whose checksum follows from that of its bytes."""
    # Bit by bit, as the polynomial is defined.
    data = block(0x21, 0x11, V4 + tlv(CRC32C, bytes(4)))

    def slowly(octets: bytes) -> int:
        crc = 0xFFFFFFFF
        for octet in octets:
            for bit in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if (crc ^ octet >> bit) & 1 else 0)
        return crc ^ 0xFFFFFFFF

    assert slowly(bytes(32)) == 0x8A9136AA
    assert parse(data[:-4] + slowly(data).to_bytes(4, "big")) is not None


INET = ("192.0.2.1", 1)

UNSAID: dict[str, tuple[Header, str]] = {
    "local in version 1": (Header(1, is_local=True), "version 1"),
    "TLVs in version 1": (Header(1, tlvs=((1, b""),)), "version 1"),
    "unix in version 1": (Header(1, family="unix", transport="stream", source="", destination=""), "version 1"),
    "datagrams in version 1": (Header(1, family="inet", transport="dgram", source=INET, destination=INET), "version 1"),
    "no source": (Header(family="inet", transport="stream", destination=INET), "None is no address of the family inet"),
    "a path": (Header(family="inet", transport="stream", source=INET, destination="/x"), "is no address"),
    "a port": (Header(1, family="inet", transport="stream", source=("192.0.2.1", 65536), destination=INET), "is no address"),
    "a family": (Header(family="inet6", transport="stream", source=INET, destination=INET), "192.0.2.1"),
    "no path": (Header(family="unix", transport="stream", source=INET, destination="/x"), "is no path"),
    "long path": (Header(family="unix", transport="stream", source="/" * 109, destination="/x"), "is no path"),
    "long TLV": (
        Header(family="inet", transport="stream", source=INET, destination=INET, tlvs=((4, bytes(65530)),)),
        "65545 bytes behind its length",
    ),
}


@pytest.mark.parametrize(("header", "told"), UNSAID.values(), ids=UNSAID)
def test_what_a_version_cannot_say_is_not_rendered(header: Header, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        render(header)


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"", None),
        (b"P", None),
        (b"PROXY", None),
        (b"PROXY ", True),
        (b"POST", False),
        (b"\r\n", None),
        (SIGNATURE[:-1], None),
        (SIGNATURE + b"!", True),
        (b"\r\nGET", False),
    ],
)
def test_a_header_is_known_by_its_beginning(data: bytes, begins: bool | None) -> None:
    assert begins_header(data) is begins


@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    st.integers(0, 65535),
    st.sampled_from([1, 2]),
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=5, unique_by=lambda one: one[0]),
)
def test_what_is_rendered_is_read_back(ip: object, port: int, version: int, tlvs: list[tuple[int, bytes]]) -> None:
    header = Header(
        1 if version == 1 else 2,
        family="inet" if ":" not in str(ip) else "inet6",
        transport="stream",
        source=(str(ip), port),
        destination=(str(ip), 65535 - port),
        tlvs=() if version == 1 else tuple(tlvs),
    )
    found = parse(render(header))
    assert found is not None
    assert (found.source, found.destination, found.family) == (header.source, header.destination, header.family)
    assert [one for one in found.tlvs if one[0] != CRC32C] == [one for one in header.tlvs if one[0] != CRC32C]
    assert render(found) == render(header)


@given(
    st.sampled_from(
        [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE, SIGNATURE + b"\x21\x11\0", SIGNATURE + b"\x21\x21"]
    ),
    st.binary(max_size=300),
    st.integers(1, 40),
)
def test_any_bytes_are_a_header_or_a_protocol_error_however_they_are_cut(begin: bytes, data: bytes, size: int) -> None:
    outcomes = []
    whole = begin + data
    for pieces in ([whole], [whole[at : at + size] for at in range(0, len(whole), size)]):
        parser = HeaderParser()
        found: object = None
        rest = b""
        try:
            for number, piece in enumerate([*filter(None, pieces), b""]):
                found = parser.feed(piece)
                if found is not None:
                    rest = parser.rest + b"".join(pieces[number + 1 :])
                    break
        except ProtocolError as error:
            found = str(error)[:20]
        outcomes.append((found, rest))
    assert outcomes[0] == outcomes[1]
