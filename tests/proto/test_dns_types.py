"""Each record type becomes the documented value, as dnspython understands the same octets."""

import copy
import dataclasses
import ipaddress
import struct
from typing import Any

import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.dns_names import ProtocolError
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

# IndexError and struct.error: where the octets of the record end too early.
DOCUMENTED = (ProtocolError, IndexError, struct.error)


def rdata(kind: str, text: str) -> bytes:
    wire = dns.rdata.from_text("IN", kind, text).to_wire()
    assert wire is not None
    return wire


def decode(number: int, wire: bytes) -> Any:
    """The value of rdata in the middle of a message."""
    return decoder_of(number)(b"\0" * 12 + wire + b"\xff" * 12, 12, 12 + len(wire))


@pytest.mark.parametrize(
    ("kind", "text", "value", "printed"),
    [
        ("a", "192.0.2.255", "192.0.2.255", "192.0.2.255"),
        ("aaaa", "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", "2001:db8::1:0:0:1"),
        ("ptr", "mail.Example.org.", "mail.Example.org", "mail.Example.org"),
        ("ns", "ns.example.org.", "ns.example.org", "ns.example.org"),
        ("cname", "www.example.org.", "www.example.org", "www.example.org"),
        ("txt", '"v=spf1 -all"', "v=spf1 -all", "v=spf1 -all"),
        ("txt", '"v=spf1 " "" "-all"', "v=spf1 -all", "v=spf1 -all"),
        ("txt", '"caf\\233"', "café", "café"),
        ("txt", '""', "", ""),
        ("spf", '"v=spf1 -all"', "v=spf1 -all", "v=spf1 -all"),
        ("mx", "10 mx.example.org.", MxRecord("mx.example.org", 10), "10 mx.example.org"),
        ("mx", "0 .", MxRecord(".", 0), "0 ."),
        ("soa", "ns.a. admin.a. 1 2 3 4 5", SoaRecord("ns.a", "admin.a", 1, 2, 3, 4, 5), "ns.a admin.a 1 2 3 4 5"),
        ("srv", "1 2 25 mx.a.", SrvRecord(name="mx.a", priority=1, weight=2, port=25), "1 2 25 mx.a"),
        ("tlsa", "3 1 0 00ff", TlsaRecord(usage=3, selector=1, matching_type=0, data=b"\x00\xff"), "3 1 0 00ff"),
        ("caa", '128 issue "ca.example"', CaaRecord(128, "issue", "ca.example"), '128 issue "ca.example"'),
    ],
)  # fmt: skip
def test_a_record_becomes_its_value_and_prints_as_text(kind: str, text: str, value: object, printed: str) -> None:
    found = decode(TYPES[kind], rdata(kind, text))
    assert found == value
    assert type(found) is type(value)
    assert str(found) == printed


@pytest.mark.parametrize(
    ("number", "wire", "text"), [(65280, b"\1\2\3", r"\# 3 010203"), (65280, b"", r"\# 0"), (13, b"\1a\0", r"\# 3 016100")]
)
def test_other_types_become_the_text_for_unknown_ones(number: int, wire: bytes, text: str) -> None:
    assert decode(number, wire) == text
    assert dns.rdata.from_text("IN", f"type{number}", text).to_wire() == wire, "a zone file may have it"


@given(st.binary(min_size=4, max_size=4))
def test_every_ipv4_address_prints_as_ipaddress_prints_it(packed: bytes) -> None:
    assert decode(TYPES["a"], packed) == str(ipaddress.IPv4Address(packed))


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 0x0A00, 0xFFFF]), min_size=8, max_size=8) | st.just([0, 0, 0, 0, 0, 0xFFFF, 258, 772])
)
def test_every_ipv6_address_prints_as_ipaddress_prints_it(groups: list[int]) -> None:
    packed = struct.pack("!8H", *groups)
    assert decode(TYPES["aaaa"], packed) == str(ipaddress.IPv6Address(packed))


@pytest.mark.parametrize("groups", [[0] * 8, [1] * 8, [0, 0, 0, 0, 0, 0xFFFF, 0xC000, 0x0201], [0, 1] * 4])
def test_ipv6_addresses_at_the_edges(groups: list[int]) -> None:
    packed = struct.pack("!8H", *groups)
    assert decode(TYPES["aaaa"], packed) == str(ipaddress.IPv6Address(packed))


@given(st.lists(st.binary(max_size=255), min_size=1, max_size=4))
def test_chunks_of_text_are_joined_and_every_octet_is_kept(chunks: list[bytes]) -> None:
    wire = b"".join(bytes([len(chunk)]) + chunk for chunk in chunks)
    text = decode(TYPES["txt"], wire)
    assert text.encode("latin-1") == b"".join(chunks)


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        pytest.param("a", b"\x7f\0\0", id="a of 3 octets"),
        pytest.param("a", b"\x7f\0\0\1\1", id="a of 5 octets"),
        pytest.param("aaaa", b"\0" * 15, id="aaaa of 15 octets"),
        pytest.param("ptr", b"", id="ptr without a name"),
        pytest.param("ptr", b"\1a", id="name longer than the record"),
        pytest.param("ptr", b"\1a\0\0", id="name shorter than the record"),
        pytest.param("mx", b"\0", id="mx without a preference"),
        pytest.param("mx", b"\0\1", id="mx without a name"),
        pytest.param("txt", b"", id="txt without a chunk"),
        pytest.param("txt", b"\2a", id="chunk longer than the record"),
        pytest.param("txt", b"\1a\2b", id="second chunk longer than the record"),
        pytest.param("soa", b"\0\0" + b"\0" * 19, id="soa without its last octet"),
        pytest.param("soa", b"\0\0" + b"\0" * 21, id="soa with an octet too many"),
        pytest.param("srv", b"\0\0\0\0\0", id="srv without a port"),
        pytest.param("srv", b"\0\0\0\0\0\0", id="srv without a name"),
        pytest.param("srv", b"\0\0\0\0\0\0\0\0", id="srv with an octet too many"),
        pytest.param("tlsa", b"\3\1", id="tlsa cut short"),
        pytest.param("caa", b"\0", id="caa without a length"),
        pytest.param("caa", b"\0\5iss", id="caa tag longer than the record"),
        pytest.param("caa", b"\0\0ca.example", id="caa without a tag"),
        pytest.param("soa", b"\xc0\x0c\0" + b"\0" * 20, id="soa with a pointer to itself"),
    ],
)
def test_rdata_that_does_not_fit_its_type_is_refused(kind: str, wire: bytes) -> None:
    with pytest.raises(DOCUMENTED):
        decode(TYPES[kind], wire)


def test_records_that_only_their_readers_may_refuse_are_given_as_they_are() -> None:
    assert decode(TYPES["tlsa"], b"\3\1\1\xab") == TlsaRecord(3, 1, 1, b"\xab")  # RFC 6698 2.1.3: 32 octets
    assert decode(TYPES["caa"], b"\0\3a-bc") == CaaRecord(0, "a-b", "c")  # RFC 8659 4.1: letters and digits


@given(
    st.sampled_from([*TYPES.values(), 13, 35, 41, 46, 48, 55, 64, 65, 65280]),
    st.lists(st.sampled_from([0, 1, 2, 4, 12, 97, 192, 255]), max_size=40).map(bytes),
)
def test_random_rdata_raises_only_what_is_documented(number: int, wire: bytes) -> None:
    try:
        value = decoder_of(number)(b"\1a\0" + wire, 3, 3 + len(wire))
    except DOCUMENTED:
        return
    assert isinstance(str(value), str)


@pytest.mark.parametrize(
    "record",
    [
        MxRecord("a", 1),
        SoaRecord("a", "b", 1, 2, 3, 4, 5),
        SrvRecord("a", 1, 2, 3),
        TlsaRecord(1, 2, 3, b"x"),
        CaaRecord(0, "issue", "x"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_record_values_cannot_be_changed(record: Any) -> None:
    assert not hasattr(record, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(record)[0].name, "other")


def test_records_are_a_list_that_tells_about_its_answer() -> None:
    records = Records(("192.0.2.1", "192.0.2.2"), authenticated=True, truncated=True, ttl=60)
    assert records == ["192.0.2.1", "192.0.2.2"]
    assert (records.authenticated, records.truncated, records.ttl) == (True, True, 60)
    assert copy.copy(records).ttl == 60
    empty = Records()
    assert (len(empty), empty.authenticated, empty.truncated, empty.ttl) == (0, False, False, 0)
