"""One spelling for every IP address."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.ip import network_of, normalise_ip


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" [192.0.2.1] ", "192.0.2.1"),
        ("255.255.255.255", "255.255.255.255"),
        ("::1", "::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("IPv6:2001:db8::1", "2001:db8::1"),
        ("[ipv6:2001:db8::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
        ("256.0.0.1", None),
        ("1.2.3", None),
        ("1.2.3.4.", None),
        ("1.2.3.4.5", None),
        ("01.2.3.4", None),  # octal for some, decimal for others
        ("1.2.3.4\n5", None),
        ("IPv6:192.0.2.1", None),
        ("example.com", None),
        (":::", None),
        ("unix:/run/x", None),
    ],
)
def test_addresses(text: str, ip: str | None) -> None:
    assert normalise_ip(text) == ip


@given(st.ip_addresses())
def test_every_address_is_spelt_as_python_spells_it(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    assert normalise_ip(str(address)) == normalise_ip(address.exploded) == str(mapped or address)


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_connections_are_counted_by_what_one_customer_has(ip: str, network: str) -> None:
    assert network_of(ip) == network
