"""DNS blocklists, asked of a real resolver."""

from collections.abc import Callable
from pathlib import Path

from filterd.mail.envelope import Envelope
from tests.support.rules import RULES, assembled, mail, verdict_of

LISTS = """
[modules.dnsbl.lists.first]
zone = "bl.first.test"
score = 4.0
received = true
codes = { "127.0.0.9" = "FIRST_POLICY" }
[modules.dnsbl.lists.second]
zone = "bl.second.test"
symbol = "SECOND_LIST"
"""

RECORDS = [
    "34.216.184.93.bl.first.test. A 127.0.0.2",
    "34.216.184.93.bl.second.test. A 127.0.0.2",
    "35.216.184.93.bl.first.test. A 127.0.0.9",
    "36.216.184.93.bl.first.test. A 192.0.2.1",
    "6.4.9.1.8.c.5.2.3.9.8.1.8.4.2.0.1.0.0.0.0.2.2.0.0.0.8.2.6.0.6.2.bl.second.test. A 127.0.0.3",
]


def toml(port: int) -> str:
    return f'[dns]\nnameservers = "127.0.0.1:{port}"\n{LISTS}'


def test_a_listed_client_is_named_with_each_list(tmp_path: Path, unbound_server: Callable[..., int]) -> None:
    verdict = verdict_of(tmp_path, "dnsbl", mail(), toml(unbound_server(RECORDS)), envelope=Envelope.of(ip="93.184.216.34"))
    assert verdict.failures == ()
    assert {name: (hit.options, hit.score) for name, hit in verdict.symbols.items()} == {
        "DNSBL_FIRST": (("93.184.216.34",), 4.0),
        "SECOND_LIST": (("93.184.216.34",), 1.0),
    }


def test_an_ipv6_client_is_asked_by_its_nibbles(tmp_path: Path, unbound_server: Callable[..., int]) -> None:
    envelope = Envelope.of(ip="2606:2800:220:1:248:1893:25c8:1946")
    verdict = verdict_of(tmp_path, "dnsbl", mail(), toml(unbound_server(RECORDS)), envelope=envelope)
    assert set(verdict.symbols) == {"SECOND_LIST"}


def test_an_answer_code_may_have_a_symbol_of_its_own(tmp_path: Path, unbound_server: Callable[..., int]) -> None:
    verdict = verdict_of(tmp_path, "dnsbl", mail(), toml(unbound_server(RECORDS)), envelope=Envelope.of(ip="93.184.216.35"))
    assert set(verdict.symbols) == {"FIRST_POLICY"}


def test_an_answer_outside_127_is_no_listing(tmp_path: Path, unbound_server: Callable[..., int]) -> None:
    verdict = verdict_of(tmp_path, "dnsbl", mail(), toml(unbound_server(RECORDS)), envelope=Envelope.of(ip="93.184.216.36"))
    assert verdict.symbols == {}


def test_hops_are_looked_up_where_a_list_wants_it(tmp_path: Path, unbound_server: Callable[..., int]) -> None:
    raw = (
        b"Received: from mx.example.org (mx.example.org [93.184.216.34]) by mx.example.net; Thu, 1 Jan 2026 10:00:00 +0000\r\n"
        + mail()
    )
    verdict = verdict_of(tmp_path, "dnsbl", raw, toml(unbound_server(RECORDS)), envelope=Envelope.of(ip="93.184.216.99"))
    assert {name: hit.score for name, hit in verdict.symbols.items()} == {"DNSBL_FIRST_RECEIVED": 0.5}


def test_private_addresses_are_not_asked_about(tmp_path: Path, unbound_server: Callable[..., int]) -> None:
    records = ["1.0.0.10.bl.first.test. A 127.0.0.2", "1.0.0.127.bl.first.test. A 127.0.0.2"]
    raw = b"Received: from x ([127.0.0.1]) by y; Thu, 1 Jan 2026 10:00:00 +0000\r\n" + mail()
    verdict = verdict_of(tmp_path, "dnsbl", raw, toml(unbound_server(records)), envelope=Envelope.of(ip="10.0.0.1"))
    assert verdict.symbols == {}


def test_a_list_that_refuses_is_logged_and_the_others_count(
    tmp_path: Path, unbound_server: Callable[..., int], caplog: object
) -> None:
    port = unbound_server(RECORDS, zones={"bl.first.test.": "refuse"})
    verdict = verdict_of(tmp_path, "dnsbl", mail(), toml(port), envelope=Envelope.of(ip="93.184.216.34"))
    assert "SECOND_LIST" in verdict.symbols
    assert verdict.failures == ()


def test_without_lists_no_rule_is_loaded(tmp_path: Path) -> None:
    with assembled(tmp_path, [RULES / "dnsbl.py"]) as assembly:
        assert assembly.engine.rules == ()
