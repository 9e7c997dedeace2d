"""hosts(5) and resolv.conf(5), read as the C library reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.dns_files import parse_hosts, parse_resolv_conf

HOSTS = """\
# the machine itself
127.0.0.1\tlocalhost localhost.localdomain  # and its names
::1 localhost ip6-localhost
192.0.2.7   Mail.Example.org. mail
192.0.2.7   mail
192.0.2.8   mail
not-an-address name
192.0.2.9

"""


def test_a_name_has_the_addresses_of_all_its_lines() -> None:
    assert parse_hosts(HOSTS) == {
        "localhost": ["127.0.0.1", "::1"],
        "localhost.localdomain": ["127.0.0.1"],
        "ip6-localhost": ["::1"],
        "mail.example.org": ["192.0.2.7"],
        "mail": ["192.0.2.7", "192.0.2.8"],
    }


@pytest.mark.parametrize(
    ("text", "servers", "rotate"),
    [
        ("nameserver 192.0.2.1\n", ["192.0.2.1"], False),
        ("nameserver 192.0.2.1 # ours\nnameserver\t2001:db8::1\n", ["192.0.2.1", "2001:db8::1"], False),
        ("nameserver fe80::1%eth0\noptions edns0 rotate\n", ["fe80::1%eth0"], True),
        ("nameserver 192.0.2.1\noptions ndots:2\nsearch example.org", ["192.0.2.1"], False),
        ("".join(f"nameserver 192.0.2.{i}\n" for i in range(5)), ["192.0.2.0", "192.0.2.1", "192.0.2.2"], False),
        ("", ["127.0.0.1"], False),
        ("# nameserver 192.0.2.1\nnameserver\nnameserver ns.example.org\n;", ["127.0.0.1"], False),
    ],
)
def test_the_servers_and_whether_they_take_turns(text: str, servers: list[str], rotate: bool) -> None:
    assert parse_resolv_conf(text) == (servers, rotate)


@given(st.text())
def test_nothing_is_raised(text: str) -> None:
    parse_hosts(text)
    assert parse_resolv_conf(text)[0]
