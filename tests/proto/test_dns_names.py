"""Names go to the wire and come back as dnspython has them, and hostile ones end in words."""

import ipaddress

import dns.name
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto import dns_names
from filterd.proto.dns_names import (
    MAX_STEPS,
    ProtocolError,
    encode_name,
    list_name,
    read_name,
    reverse_name,
    skip_name,
)

HOST_LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_*", min_size=1, max_size=63)
ANY_LABELS = st.binary(min_size=1, max_size=63)
LONGEST = ".".join(["a" * 63] * 3 + ["b" * 61])  # 253 characters


def wire(*labels: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        pytest.param("example.org", (b"example", b"org"), id="plain"),
        pytest.param("Example.ORG", (b"example", b"org"), id="lower case"),
        pytest.param("example.org.", (b"example", b"org"), id="final dot"),
        pytest.param(".", (), id="root"),
        pytest.param("_25._tcp.mx.example", (b"_25", b"_tcp", b"mx", b"example"), id="underscores"),
        pytest.param("*.example", (b"*", b"example"), id="asterisk"),
        pytest.param("a b\n.example", (b"a b\n", b"example"), id="any ASCII octet is legal in a label"),
        pytest.param("bücher.example", (b"xn--bcher-kva", b"example"), id="IDNA"),
        pytest.param("BÜCHER.example", (b"xn--bcher-kva", b"example"), id="IDNA, mapped to lower case"),
        pytest.param("faß.example", (b"xn--fa-hia", b"example"), id="IDNA, non-transitional"),
        pytest.param("_dmarc.bücher.Example", (b"_dmarc", b"xn--bcher-kva", b"example"), id="underscore beside IDNA"),
        pytest.param("bücher。example", (b"xn--bcher-kva", b"example"), id="ideographic full stop"),
        pytest.param("ｅｘａｍｐｌｅ.org", (b"example", b"org"), id="full width letters become ASCII"),
    ],
)
def test_a_name_becomes_labels(name: str, labels: tuple[bytes, ...]) -> None:
    assert encode_name(name) == wire(*labels)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("", "it is empty", id="empty"),
        pytest.param("..", "it has an empty label", id="only dots"),
        pytest.param("a..b", "it has an empty label", id="empty label"),
        pytest.param(".a", "it has an empty label", id="leading dot"),
        pytest.param("a" * 64, "a label has more than 63 octets", id="label of 64"),
        pytest.param(LONGEST + "b", "it has 254 characters, 253 are allowed", id="name of 254"),
        pytest.param("ü" * 255, "it has 255 characters, 253 are allowed", id="long before it is encoded"),
        pytest.param("ü" * 63, "Label too long", id="label too long once encoded"),
        pytest.param("a\ud800.example", "not allowed", id="lone surrogate"),
        pytest.param("☃\u200d.example", "not allowed", id="what IDNA refuses"),
        pytest.param("\u00ad", "it is empty", id="nothing is left by the mapping"),
    ],
)
def test_what_is_no_name_is_refused_in_words(name: str, why: str) -> None:
    with pytest.raises(ValueError, match="is not a domain name: ") as refusal:
        encode_name(name)
    assert why in str(refusal.value)
    assert len(str(refusal.value)) < 250


def test_a_refusal_does_not_repeat_a_long_label() -> None:
    with pytest.raises(ValueError, match="is not a domain name: Joiner U\\+200D") as refusal:
        encode_name("\u00e9.\u200d" + "\x01" * 240)
    assert len(str(refusal.value)) < 700


def test_patterns_of_names_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_names, "MOST_PACKERS", 5)
    monkeypatch.setattr(dns_names, "_PACKERS", {})
    for length in [*range(1, 40), *range(1, 40)]:
        assert encode_name("a" * length + ".test") == bytes([length]) + b"a" * length + b"\4test\0"
        assert 1 <= len(dns_names._PACKERS) <= 5


def test_the_longest_label_and_name_are_accepted() -> None:
    assert len(encode_name("a" * 63)) == 65
    assert len(encode_name(LONGEST)) == 255
    assert encode_name(LONGEST + ".") == encode_name(LONGEST)
    assert read_name(encode_name(LONGEST), 0) == (LONGEST, 255)


@given(st.lists(HOST_LABELS, min_size=1, max_size=8))
def test_host_names_are_encoded_as_dnspython_does_and_read_back(labels: list[str]) -> None:
    name = ".".join(labels)
    try:
        expected = dns.name.from_text(name).to_wire()
    except dns.name.NameTooLong:
        with pytest.raises(ValueError, match="characters"):
            encode_name(name)
        return
    encoded = encode_name(name)
    assert encoded == expected
    assert read_name(encoded, 0) == (name, len(encoded))


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_a_value_error(name: str) -> None:
    try:
        encoded = encode_name(name)
    except ValueError:
        return
    assert len(encoded) <= 255
    assert dns.name.from_wire(encoded, 0)[1] == skip_name(encoded, 0) == len(encoded)


@given(st.lists(ANY_LABELS, max_size=8))
def test_names_of_any_octets_are_read_as_dnspython_reads_them(labels: list[bytes]) -> None:
    data = b"before" + wire(*labels) + b"behind"
    try:
        expected = dns.name.from_wire(data, 6)[0]
    except dns.name.NameTooLong:
        with pytest.raises(ProtocolError, match="characters"):
            read_name(data, 6)
        return
    assert read_name(data, 6) == (expected.to_text(omit_final_dot=True), len(data) - 6)


def test_a_dot_inside_a_label_does_not_look_like_one_between_labels() -> None:
    assert read_name(wire(b"a.b", b"c"), 0)[0] == r"a\.b.c"
    assert read_name(wire(b"\xe9 x"), 0)[0] == r"\233\032x"
    assert read_name(wire(b"mail", b"Example", b"org"), 0)[0] == "mail.Example.org"
    assert read_name(b"\0", 0) == (".", 1)


def test_a_compressed_name_is_followed_and_ends_behind_its_first_pointer() -> None:
    data = wire(b"org") + b"\7example\xc0\0" + b"\4mail\xc0\5" + b"\xc0\x0f"
    assert read_name(data, 5) == ("example.org", 15)
    assert read_name(data, 15) == ("mail.example.org", 22)
    assert read_name(data, 22) == ("mail.example.org", 24)
    assert [skip_name(data, position) for position in (0, 5, 15, 22)] == [5, 15, 22, 24]


@pytest.mark.parametrize(
    ("data", "position", "why"),
    [
        pytest.param(b"\xc0\0", 0, "does not lead backwards", id="to itself"),
        pytest.param(b"\xc0\2\0", 0, "does not lead backwards", id="forwards"),
        pytest.param(b"\1a\xc0\0", 0, "does not lead backwards", id="into its own labels"),
        pytest.param(b"\1a\xc0\4\1b\xc0\0", 4, "does not lead backwards", id="two in a circle"),
        pytest.param(b"\0" + b"\1a" * 200 + b"\xc0\0", 1, "characters, 253 are allowed", id="long by short labels"),
        pytest.param(b"\1a" * 9000 + b"\0", 0, f"more than {MAX_STEPS} labels", id="a field of labels"),
        pytest.param(b"\0\0" + b"".join(bytes([192 | at >> 8, at & 255]) for at in range(0, 600, 2)), 600,
                     f"more than {MAX_STEPS} labels", id="a staircase of pointers"),
        pytest.param(b"\x40a\0", 0, "unknown type 1", id="label type 1"),
        pytest.param(b"\xbfa\0", 0, "unknown type 2", id="label type 2"),
    ],
)  # fmt: skip
def test_hostile_names_end_in_a_protocol_error(data: bytes, position: int, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        read_name(data, position)


def test_a_name_cut_anywhere_is_an_index_error() -> None:
    data = wire(b"mail", b"example") + b"\1a\xc0\0"
    for start, end in ((0, 14), (14, 18)):
        for cut in range(start, end):
            with pytest.raises(IndexError):
                read_name(data[:cut], start)
    for cut in range(14):
        with pytest.raises(IndexError):
            skip_name(data[:cut], 0)


@pytest.mark.parametrize("label_type", [64, 128, 191])
def test_unknown_label_types_are_not_skipped(label_type: int) -> None:
    with pytest.raises(ProtocolError, match=f"octet 2 has the unknown type {label_type >> 6}"):
        skip_name(bytes([1, 97, label_type, 0]), 0)


@given(st.lists(st.sampled_from([0, 1, 2, 63, 64, 192, 193, 255, 97]), max_size=60).map(bytes), st.integers(0, 60))
def test_random_octets_raise_only_what_is_documented(data: bytes, position: int) -> None:
    for read in (read_name, skip_name):
        try:
            read(data, position)
        except (ProtocolError, IndexError):
            pass


@pytest.mark.parametrize(
    ("ip", "reverse", "listed"),
    [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa", "1.2.0.192.zen.example"),
        ("2001:db8::1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.zen.example"),
        ("::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa", "1.2.0.192.zen.example"),
        ("fe80::1%eth0", "1." + "0." * 28 + "8.e.f.ip6.arpa", "1." + "0." * 28 + "8.e.f.zen.example"),
    ],
)
def test_addresses_have_names(ip: str, reverse: str, listed: str) -> None:
    assert reverse_name(ip) == reverse
    assert list_name(ip, "zen.example") == list_name(ip, ".zen.example.") == listed


@given(st.ip_addresses())
def test_every_address_is_reversed_as_dnspython_does(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    expected = dns.reversename.from_address(str(address)).to_text(omit_final_dot=True)
    assert reverse_name(str(address)) == expected


@pytest.mark.parametrize("ip", ["", "mail.example", "192.0.2", "192.0.2.256", "192.0.2.01", "1.2.3.4.5", "[::1]", "a.b.c.d"])
def test_what_is_no_address_is_a_value_error(ip: str) -> None:
    for name_of in (reverse_name, lambda text: list_name(text, "zen.example")):
        with pytest.raises(ValueError, match="is not an IP address"):
            name_of(ip)
