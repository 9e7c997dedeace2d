"""docs/porting.md is true: its rules in Python do what those in Lua do, on real servers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from tests.support.http_server import HttpPeer, answer, http_serving
from tests.support.partners import RedisServer, ask_redis
from tests.support.peers import dead_port, serving
from tests.support.rules import assembled, mail
from tests.test_docs import blocks

PAGE = Path(__file__).parents[1] / "docs" / "porting.md"
REPUTATION, GREETING = (block.values[0] for block in blocks("python", PAGE))
ENVELOPE = Envelope.of(helo="mail.example.org", mail_from="ann@example.org")


def test_each_rule_stands_beside_its_lua() -> None:
    assert len(blocks("lua", PAGE)) == len(blocks("python", PAGE)) == 2


@contextmanager
def scanner(folder: Path, source: str, toml: str) -> Iterator[Callable[[], Verdict]]:
    """Gives a function that scans one message with a rule of the page."""
    rule = folder / "example.py"
    rule.write_text(source)
    with assembled(folder, [rule], toml) as assembly:
        yield lambda: assembly.engine.scan(ScanRequest(Message(mail()), ENVELOPE))


# -- Redis, then HTTP, then Redis


@pytest.fixture
def service() -> Iterator[HttpPeer]:
    with http_serving(lambda asked: answer(b"bad")) as peer:
        yield peer


def reputation(service_port: int, redis_port: int) -> str:
    url = f'[modules.domain_reputation]\nurl = "http://127.0.0.1:{service_port}/domain/"\n'
    return f'{url}[redis]\nservers = "127.0.0.1:{redis_port}"\n'


def options(verdict: Verdict) -> dict[str, tuple[str, ...]]:
    assert verdict.failures == ()
    return {name: hit.options for name, hit in verdict.symbols.items()}


def test_the_service_is_asked_once_and_redis_from_then_on(tmp_path: Path, service: HttpPeer, redis_server: RedisServer) -> None:
    with scanner(tmp_path, REPUTATION, reputation(service.port, redis_server.port)) as scan:
        assert [options(scan()), options(scan())] == [{"DOMAIN_BAD": ("example.org",)}] * 2
    assert [asked.target for asked in service.asked] == ["/domain/example.org"]
    assert ask_redis(redis_server.port, "TTL", "domain:example.org") in {b":3600", b":3599"}


def test_without_redis_the_service_is_asked_each_time(tmp_path: Path, service: HttpPeer) -> None:
    with dead_port() as dead, scanner(tmp_path, REPUTATION, reputation(service.port, dead)) as scan:
        assert [options(scan()), options(scan())] == [{"DOMAIN_BAD": ("example.org",)}] * 2
    assert len(service.asked) == 2


def test_without_the_service_nothing_is_found_and_nothing_kept(tmp_path: Path, redis_server: RedisServer) -> None:
    with dead_port() as dead, scanner(tmp_path, REPUTATION, reputation(dead, redis_server.port)) as scan:
        assert options(scan()) == {}
    assert ask_redis(redis_server.port, "EXISTS", "domain:example.org") == b":0"


# -- DNS, then TCP, for many at once


def greeting(port: int) -> str:
    record = '[[dns.fake_records]]\nname = "mail.example.org"\nreplies = ["127.0.0.1", "127.0.0.2"]\n'
    return f"{record}[modules.helo_answers]\nport = {port}\n"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (b"220 mail.example.org ESMTP\r\n", b"554 not here\r\n", {}),
        (b"554 not here\r\n", b"220 mail.example.org ESMTP\r\n", {}),
        (b"554 not here\r\n", b"", {"HELO_SILENT": ("mail.example.org",)}),
    ],
)
def test_one_greeting_among_all_addresses_is_enough(
    tmp_path: Path, first: bytes, second: bytes, expected: dict[str, tuple[str, ...]]
) -> None:
    says = iter([first, second])
    with serving(lambda connection: connection.sendall(next(says)), host="0.0.0.0") as peer:
        with scanner(tmp_path, GREETING, greeting(peer.port)) as scan:
            assert options(scan()) == expected
        assert peer.accepted == 2


def test_all_addresses_are_asked_at_the_same_time(tmp_path: Path) -> None:
    def greets_when_both_are_there(connection: Any) -> None:
        connections.append(connection)
        if len(connections) == 1:
            while len(connections) < 2:
                gevent.sleep(0.01)
            connection.sendall(b"220 mail.example.org ESMTP\r\n")

    connections: list[Any] = []
    with serving(greets_when_both_are_there, host="0.0.0.0") as peer, scanner(tmp_path, GREETING, greeting(peer.port)) as scan:
        assert options(scan()) == {}
