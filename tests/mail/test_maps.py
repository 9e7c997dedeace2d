"""Maps: each kind is looked up in its own way, and a live map is whatever version there is."""

from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.address import Address
from filterd.mail.map_patterns import GlobMap
from filterd.mail.maps import MAX_KEY, BadKey, DomainMap, IpMap, Map, SetMap, TextMap


def made(map: Map, *keys: str | tuple[str, Any]) -> Map:
    for key in keys:
        map.add(*(key if isinstance(key, tuple) else (key, True)))
    map.finish()
    return map


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ann@example.org", "friend"),
        ("ANN@Example.ORG", "friend"),
        (b"ann@example.org", "friend"),
        (Address("ann@example.org"), "friend"),
        ("bob@example.org", True),
        ("carl@example.org", None),
        ("", None),
        (None, None),
        (b"\xff", None),
        ("\udcff", None),
    ],
)
def test_a_key_has_its_value_in_any_case(key: Any, value: object) -> None:
    table = made(TextMap(), ("Ann@example.org", "friend"), "bob@example.org")
    assert table.get(key) == value
    assert table.get(key, "other") == (value or "other")
    assert (key in table) == (value is not None)


def test_an_item_that_is_not_there_is_a_key_error() -> None:
    table = made(TextMap(), ("a", "1"))
    assert table["a"] == "1"
    with pytest.raises(KeyError):
        table["b"]


def test_the_first_of_several_lines_counts() -> None:
    assert made(TextMap(), ("a", "first"), ("A", "second"))["a"] == "first"
    assert made(IpMap(), ("192.0.2.1", "first"), ("192.0.2.1/32", "second"))["192.0.2.1"] == "first"
    assert len(made(IpMap(), ("192.0.2.1", "first"), ("192.0.2.1/32", "second"))) == 1


def test_a_set_has_no_values() -> None:
    with pytest.raises(BadKey, match="a set has one key a line"):
        SetMap().add("a", "value")
    assert "A" in made(SetMap(), "a")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("192.0.2.1", "one"),
        ("192.0.2.2", "net"),
        ("192.0.3.1", None),
        ("::ffff:192.0.2.2", "net"),
        ("[192.0.2.2]", "net"),
        ("IPv6:2001:db8::5", "six"),
        ("2001:db8:1::", "narrow"),
        ("2001:db9::", None),
        ("198.51.100.200", "mapped"),
        ("203.0.113.9", "masked"),
        (IPv4Address("192.0.2.1"), "one"),
        ("192.0.2", None),
        ("no address", None),
    ],
)
def test_an_address_has_the_value_of_the_longest_network_it_is_in(key: Any, value: str | None) -> None:
    table = made(
        IpMap(),
        ("192.0.2.0/24", "net"),
        ("192.0.2.1", "one"),
        ("2001:db8::/32", "six"),
        ("2001:DB8:1::/48", "narrow"),
        ("::ffff:198.51.100.0/120", "mapped"),
        ("203.0.113.77/24", "masked"),
    )
    assert table.get(key) == value


@pytest.mark.parametrize(
    "key", ["", "192.0.2", "192.0.2.0/33", "2001:db8::/129", "::ffff:192.0.2.0/24", "192.0.2.0/", "192.0.2.0/x", "192.0.2.0/²",
            "192.0.2.0/255.255.255.0", "192.0.2.0/-1", "a.example"],
)  # fmt: skip
def test_what_is_no_network_is_refused(key: str) -> None:
    with pytest.raises(BadKey):
        IpMap().add(key, True)


@given(
    st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=20),
    st.ip_addresses(),
)
def test_ip_maps_agree_with_the_standard_library(entries: list[tuple[Any, int]], asked: Any) -> None:
    networks = [ip_network((address, length % (address.max_prefixlen + 1)), strict=False) for address, length in entries]
    table = made(IpMap(), *((str(network), str(network)) for network in networks))
    for address in (asked, *(network.network_address for network in networks)):
        plain = ip_address(str(getattr(address, "ipv4_mapped", None) or address))
        # A network within the IPv4 addresses of IPv6 is one of IPv4 for us; the library keeps them apart.
        mapped = any(getattr(network.network_address, "ipv4_mapped", None) for network in networks)
        fitting = [network for network in networks if plain.version == network.version and plain in network]
        if not mapped:
            longest = max(fitting, key=lambda network: network.prefixlen, default=None)
            assert table.get(address) == (None if longest is None else str(longest))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("example.org", "org"),
        ("a.EXAMPLE.org.", "org"),
        ("b.a.example.org", "deep"),
        ("c.b.a.example.org", "deep"),
        ("badexample.org", None),
        ("org", None),
        ("below.example", None),
        ("x.below.example", "below"),
        ("y.x.below.example", "below"),
        ("star.example", None),
        ("x.star.example", "star"),
        ("bücher.example", "books"),
        ("xn--bcher-kva.example", "books"),
        ("www.xn--BCHER-kva.example", "books"),
        ("xn--.example", None),
        ("xn--\udcff.example", None),
        ("xn--zzzzzzzzzzz9999999.example", None),
        (f"xn--{'a' * 80}.example", None),
        ("." * 100, None),
        ("", None),
    ],
)
def test_a_name_has_the_value_of_the_longest_name_it_is_below(key: str, value: str | None) -> None:
    table = made(
        DomainMap(),
        ("Example.org", "org"),
        ("b.a.example.org.", "deep"),
        (".below.example", "below"),
        ("*.star.example", "star"),
        ("xn--bcher-kva.example", "books"),
    )
    assert table.get(key) == value


@pytest.mark.parametrize("key", ["", ".", "a..b", "a@example.org", "example.org/x", "a*.example", "*", "*."])
def test_what_is_no_domain_name_is_refused(key: str) -> None:
    with pytest.raises(BadKey, match="is no domain name"):
        DomainMap().add(key, True)


def test_a_key_is_looked_at_to_a_length_only() -> None:
    assert made(TextMap(), "a" * MAX_KEY).get("a" * (MAX_KEY + 5)) is True


@pytest.mark.parametrize(
    ("map", "key", "spelt"),
    [
        (TextMap(), "Ann@Example.org", "ann@example.org"),
        (DomainMap(), "*.Example.org.", ".example.org"),
        (DomainMap(), "xn--bcher-kva.example", "bücher.example"),
        (IpMap(), "[192.0.2.1]", "192.0.2.1"),
        (IpMap(), "192.0.2.9/24", "192.0.2.0/24"),
        (IpMap(), "::ffff:192.0.2.9/120", "192.0.2.0/24"),
        (IpMap(), "IPv6:2001:DB8::9/32", "2001:db8::/32"),
        (IpMap(), "0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_the_key_of_a_line_has_one_spelling(map: Map, key: str, spelt: str) -> None:
    assert map.canonical(key) == spelt == map.canonical(spelt)
    map.add(key, True)
    assert map.line(spelt) is True
    map.put(spelt, True)
    assert len(map) == 1
    map.remove(spelt)
    map.remove(spelt)
    assert (map.line(spelt), len(map)) == (None, 0)


def test_what_is_put_counts_and_not_the_first() -> None:
    table = made(TextMap(), ("a", "first"))
    table.put("a", "second")
    networks = made(IpMap(), ("10.0.0.0/8", "first"))
    networks.put("10.0.0.0/8", "second")
    networks.put("10.1.0.0/16", "narrow")
    assert (table["a"], networks["10.2.0.1"], networks["10.1.0.1"], len(networks)) == ("second", "second", "narrow", 2)
    some = SetMap()
    some.put("a", True)
    with pytest.raises(BadKey, match="a set has no values"):
        some.put("a", "value")
    assert repr(some) == "<set map of 1 keys>"


def test_only_those_with_keys_of_their_own_can_be_changed() -> None:
    assert [one.is_editable for one in (TextMap, SetMap, DomainMap, IpMap, Map)] == [True, True, True, True, False]
    with pytest.raises(BadKey, match="cannot be changed one by one"):
        GlobMap().canonical("a")
