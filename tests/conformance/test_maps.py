"""Rspamd's functional cases for maps, told as behaviour: 102_multimap as far as files go, 119_dynamic and 125_map_reload.

The daemon is real, maps and configuration are our own. What Rspamd's dynamic composites keep in a map are the scores and names
of symbols: here a map's lines have both.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.support.daemon import Daemon, running_daemon
from tests.support.rules import mail

FILES = {
    "dnsbl": "192.0.2.0/24\n",
    "ips": "127.0.0.1\n10.0.0.0/8\n::1\n",
    "senders": "user@example.com\nuser123@test.com\nuser123@rspamd.example\n",
    "patterns": "/^user\\d+@/\n/@EXAMPLE\\.com$/i\n",
    "globs": "*@t.co\n*.bit.ly\n",
    "domains": "example.com\n",
    "users": "bob\n",
    "recipients": """
        user1@example.com
        user2@example.com 10.0
        user3@example.com SYM1
        user4@example.com RCPT_MAP
        user5@example.com SYM1:-10.1
        user6@example.com SYM1:-10.1:opt1,opt2
        user7@example.com 2000POINTS:2.0
    """,
    "subjects": '/^Grüße/ 1\n"a subject with blanks" 1\n',
    "hostnames": "example.com\n",
    "tops": "com.au\n",
    "freemail": "".join(f"test{number}.com\n" for number in ["", *range(1, 15)]),
    "names": "foo DYN_TEST1:10\nbar DYN_TEST2:20\n",
    "relays": "203.0.113.0/24\n",
    "links": "example.net\n",
}

LOOKED_UP = [
    ("dnsbl", "ip", "ip", "DNSBL_MAP", ""),
    ("ips", "ip", "ip", "IP_MAP", ""),
    ("senders", "set", "from('smtp')", "FROM_MAP", ""),
    ("patterns", "regexp", "from('smtp')", "REGEXP_MAP", ""),
    ("globs", "glob", "from('smtp')", "GLOB_MAP", ""),
    ("domains", "set", "rcpts('smtp'):domain", "RCPT_DOMAIN", ""),
    ("users", "set", "rcpts('smtp'):user", "RCPT_USER", ""),
    ("recipients", "map", "rcpts('smtp')", "RCPT_MAP", 'symbols = ["SYM1", "2000POINTS"]'),
    ("subjects", "regexp", "subject", "HEADER_MAP", ""),
    ("hostnames", "set", "hostname", "HOSTNAME_MAP", ""),
    ("tops", "domain", "hostname", "HOSTNAME_TOP_MAP", ""),
    ("freemail", "set", "rcpts('mime'):domain", "FREEMAIL_CC", ""),
    ("names", "map", "hostname", "DYN_MULTIMAP", 'symbols = ["DYN_TEST1", "DYN_TEST2"]'),
    ("relays", "ip", "received.first:real_ip", "RCVD_TEST_01", ""),
    ("links", "domain", "urls:host", "URL_MAP", ""),
]

TOML = """
[maps.depends]
source = "file:dnsbl.map"
type = "ip"
key = "ip"
symbol = "DEPS_MAP"
when = "REGEXP_MAP and FROM_MAP"
[composites]
COMBINED_MAP_AND = { expression = "ip in ips and from('smtp') in senders", score = 10 }
COMBINED_MAP_OR = { expression = "(ip in ips or from('smtp') in senders) and not COMBINED_MAP_AND", score = 1 }
""" + "".join(
    f'[maps.{name}]\nsource = "file:{name}.map"\ntype = "{kind}"\nkey = "{key}"\nsymbol = "{symbol}"\n{more}\n'
    for name, kind, key, symbol, more in LOOKED_UP
)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("mapped")
    for name, text in FILES.items():
        (folder / f"{name}.map").write_text(text)
    with running_daemon(folder, {}, TOML) as daemon:
        yield daemon


def found(daemon: Daemon, names: str, raw: bytes = mail(), /, **headers: str) -> dict[str, Any]:
    """The symbols of a message on which only the named rules run: name → (score, options)."""
    reply = daemon.scan(raw, Settings=f"{{symbols_enabled = [{names}]}}", **headers)
    assert "rule_failures" not in reply["messages"], reply["messages"]
    return {name: (one["score"], one.get("options", [])) for name, one in reply["symbols"].items()}


@pytest.mark.parametrize(
    ("symbol", "headers", "option"),
    [
        ("DNSBL_MAP", {"IP": "192.0.2.2"}, "192.0.2.2"),
        ("DNSBL_MAP", {"IP": "127.0.0.1"}, None),
        ("IP_MAP", {"IP": "127.0.0.1"}, "127.0.0.1"),
        ("IP_MAP", {"IP": "127.0.0.2"}, None),
        ("IP_MAP", {"IP": "10.1.0.10"}, "10.1.0.10"),
        ("IP_MAP", {"IP": "11.1.0.10"}, None),
        ("IP_MAP", {"IP": "::1"}, "::1"),
        ("IP_MAP", {"IP": "fe80::1"}, None),
        ("FROM_MAP", {"From": "user@example.com"}, "user@example.com"),
        ("FROM_MAP", {"From": "user@other.com"}, None),
        ("REGEXP_MAP", {"From": "user123@test.com"}, "user123@test.com"),
        ("REGEXP_MAP", {"From": "somebody@example.com"}, "somebody@example.com"),
        ("REGEXP_MAP", {"From": "user@other.org"}, None),
        ("GLOB_MAP", {"From": "user@t.co"}, "user@t.co"),
        ("GLOB_MAP", {"From": "user@walmart.com"}, None),
        ("GLOB_MAP", {"From": "user@foo.bit.ly"}, "user@foo.bit.ly"),
        ("GLOB_MAP", {"From": "user@foo.bit.ly.evil.com"}, None),
        ("RCPT_DOMAIN", {"Rcpt": "user@example.com"}, "example.com"),
        ("RCPT_DOMAIN", {"Rcpt": "example.com@user"}, None),
        ("RCPT_USER", {"Rcpt": "bob@example.com"}, "bob"),
        ("RCPT_USER", {"From": "example.com@bob"}, None),
        ("HOSTNAME_MAP", {"IP": "127.0.0.1", "Hostname": "example.com"}, "example.com"),
        ("HOSTNAME_MAP", {"IP": "127.0.0.1", "Hostname": "rspamd.com"}, None),
        ("HOSTNAME_TOP_MAP", {"Hostname": "example.com.au"}, "example.com.au"),
        ("HOSTNAME_TOP_MAP", {"Hostname": "example.com.bg"}, None),
    ],
)
def test_102_a_key_is_in_the_map_or_not(mapped: Daemon, symbol: str, headers: dict[str, str], option: str | None) -> None:
    assert found(mapped, symbol, mail(), **headers) == ({} if option is None else {symbol: (1.0, [option])})


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("user1", {"RCPT_MAP": (1.0, ["user1@example.com"])}),
        ("user2", {"RCPT_MAP": (10.0, ["user2@example.com"])}),
        ("user3", {"SYM1": (1.0, ["user3@example.com"])}),
        ("user4", {"RCPT_MAP": (1.0, ["user4@example.com"])}),
        ("user5", {"SYM1": (-10.1, ["user5@example.com"])}),
        ("user6", {"SYM1": (-10.1, ["opt1", "opt2"])}),
        ("user7", {"2000POINTS": (2.0, ["user7@example.com"])}),
        ("user8", {}),
    ],
)
def test_102_the_lines_of_one_map_give_several_symbols(mapped: Daemon, user: str, expected: dict[str, Any]) -> None:
    assert found(mapped, 'RCPT_MAP, SYM1, "2000POINTS"', mail(), Rcpt=f"{user}@example.com") == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"IP": "10.1.0.10", "From": "user@example.com"}, {"COMBINED_MAP_AND": (10.0, [])}),
        ({"IP": "10.1.0.10"}, {"COMBINED_MAP_OR": (1.0, [])}),
        ({"From": "user@example.com"}, {"COMBINED_MAP_OR": (1.0, [])}),
        ({"IP": "11.1.0.10", "From": "user@other.com"}, {}),
    ],
)
def test_102_maps_are_combined(mapped: Daemon, headers: dict[str, str], expected: dict[str, Any]) -> None:
    assert found(mapped, "COMBINED_MAP_AND, COMBINED_MAP_OR", mail(), **headers) == expected


def test_102_a_map_depends_on_others(mapped: Daemon) -> None:
    names = "DEPS_MAP, REGEXP_MAP, FROM_MAP"
    assert "DEPS_MAP" in found(mapped, names, mail(), IP="192.0.2.9", From="user123@rspamd.example")
    assert "DEPS_MAP" not in found(mapped, names, mail(), IP="192.0.2.9", From="user9@test.com")
    assert "DEPS_MAP" not in found(mapped, names, mail(), IP="1.2.3.4", From="user123@rspamd.example")


def test_102_header_fields_in_any_charset_and_with_blanks(mapped: Daemon) -> None:
    encoded = mail(Subject="=?iso-8859-1?q?Gr=FC=DFe_aus?=")
    assert found(mapped, "HEADER_MAP", encoded) == {"HEADER_MAP": (1.0, ["Grüße aus"])}
    assert found(mapped, "HEADER_MAP", mail(Subject="something")) == {}


def test_102_each_recipient_counts_and_each_domain_is_an_option(mapped: Daemon) -> None:
    copies = [f"a{number}@test{number}.com" for number in ["", *range(1, 15)]] + [f"b{number}@test.com" for number in range(4)]
    names = [f"test{number}.com" for number in ["", *range(1, 15)]]
    assert found(mapped, "FREEMAIL_CC", mail(Cc=", ".join(copies))) == {"FREEMAIL_CC": (19.0, names)}


def test_102_symbols_that_only_lines_name(mapped: Daemon) -> None:
    names = "DYN_TEST1, DYN_TEST2, DYN_MULTIMAP"
    assert found(mapped, names, mail(), Hostname="foo") == {"DYN_TEST1": (10.0, ["foo"])}
    assert found(mapped, names, mail(), Hostname="bar") == {"DYN_TEST2": (20.0, ["bar"])}
    assert found(mapped, names, mail(), Hostname="baz") == {}


def test_102_received_fields_and_links(mapped: Daemon) -> None:
    received = "Received: from x (x.example [203.0.113.9]) by mx.example.org; Thu, 01 Jan 2026 10:00:00 +0000"
    assert found(mapped, "RCVD_TEST_01", mail(received)) == {"RCVD_TEST_01": (1.0, ["203.0.113.9"])}
    assert found(mapped, "RCVD_TEST_01", mail()) == {}
    linked = mail(body="see http://www.example.net/a and http://example.com/\n")
    assert found(mapped, "URL_MAP", linked) == {"URL_MAP": (1.0, ["www.example.net"])}
    assert found(mapped, "URL_MAP", mail()) == {}


# -- reloading


def replaced(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        gevent.sleep(0.05)


RELOADED = """
[maps.list]
source = "file:list.map"
interval = "50ms"
key = "list('example.com', 'rspamd.com')"
symbol = "MAP_SET_HIT_AND_MISS"
"""


def test_125_a_file_replaced_by_rename_is_seen(tmp_path: Path) -> None:
    (tmp_path / "list.map").write_text("example.com\n")
    with running_daemon(tmp_path, {}, RELOADED) as daemon:
        names = "MAP_SET_HIT_AND_MISS"
        assert found(daemon, names) == {names: (1.0, ["example.com"])}
        replaced(tmp_path / "list.map", "rspamd.com\n")
        until(lambda: found(daemon, names) == {names: (1.0, ["rspamd.com"])})


DYNAMIC = """
[maps.dynamic]
source = "file:dynamic.map"
type = "map"
interval = "50ms"
key = "list('one', 'two', 'three')"
symbol = "DYN"
symbols = ["DYN_ONE", "DYN_TWO", "DYN_THREE"]
[composites.STATIC_COMP]
expression = "-DYN_ONE"
score = 1.0
"""
FIRST = "one DYN_ONE:2.5\ntwo DYN_TWO:3.5\n"


def test_119_symbols_and_scores_of_a_map_change_with_it(tmp_path: Path) -> None:
    (tmp_path / "dynamic.map").write_text(FIRST)

    def scores() -> dict[str, float]:
        return {name: one["score"] for name, one in daemon.scan(mail())["symbols"].items()}

    before = {"DYN_ONE": 2.5, "DYN_TWO": 3.5, "STATIC_COMP": 1.0}
    with running_daemon(tmp_path, {}, DYNAMIC) as daemon:
        assert scores() == before
        replaced(tmp_path / "dynamic.map", "one DYN_ONE:7.0\nthree DYN_THREE:4.0\n")
        until(lambda: scores() == {"DYN_ONE": 7.0, "DYN_THREE": 4.0, "STATIC_COMP": 1.0})
        replaced(tmp_path / "dynamic.map", FIRST)
        until(lambda: scores() == before)
