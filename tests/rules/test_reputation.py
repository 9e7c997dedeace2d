"""The reputation service over HTTP."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer

from filterd.mail.envelope import Envelope
from tests.support.partners import free_port
from tests.support.rules import RULES, assembled, mail, verdict_of

ENVELOPE = Envelope.of(ip="192.0.2.1", mail_from="ann@example.org", helo="mx.example.org")


@pytest.fixture
def service() -> Iterator[Callable[[str, bytes], str]]:
    """Starts a service that answers with a status and a body and gives its URL; `asked` has what it was asked."""
    servers = []

    def start(status: str, body: bytes) -> str:
        def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            asked.append(json.loads(environ["wsgi.input"].read()))
            start_response(status, [("Content-Type", "application/json")])
            return [body]

        server = WSGIServer(("127.0.0.1", 0), answer, log=None)
        server.start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    asked: list[Any] = []
    start.asked = asked  # type: ignore[attr-defined]
    yield start
    for server in servers:
        server.stop()


def toml(url: str) -> str:
    return f'[modules.reputation]\nurl = "{url}"\n'


@pytest.mark.parametrize(
    ("answer", "symbols"),
    [
        (b'{"score": 0.5, "reason": "spam traps"}', {"BAD_REPUTATION": (2.0, ("spam traps",))}),
        (b'{"score": 7}', {"BAD_REPUTATION": (4.0, ("listed",))}),
        (b'{"score": -1, "reason": "partner"}', {"GOOD_REPUTATION": (-2.0, ("partner",))}),
        (b'{"score": 0}', {}),
    ],
)
def test_what_the_service_says_is_the_score(
    tmp_path: Path, service: Callable[[str, bytes], str], answer: bytes, symbols: dict[str, tuple[float, tuple[str, ...]]]
) -> None:
    verdict = verdict_of(tmp_path, "reputation", mail(), toml(service("200 OK", answer)), envelope=ENVELOPE)
    assert verdict.failures == ()
    assert {name: (hit.score, hit.options) for name, hit in verdict.symbols.items()} == symbols
    assert service.asked == [  # type: ignore[attr-defined]
        {"ip": "192.0.2.1", "from": "ann@example.org", "helo": "mx.example.org", "domain": "example.org"}
    ]


def test_a_service_that_fails_is_a_failure_of_this_rule(tmp_path: Path, service: Callable[[str, bytes], str]) -> None:
    verdict = verdict_of(tmp_path, "reputation", mail(), toml(service("500 Oh no", b"")), envelope=ENVELOPE)
    assert verdict.symbols == {}
    assert [(failure.kind, "answered 500 Oh no" in failure.text) for failure in verdict.failures] == [("server", True)]


def test_a_dead_service_is_named(tmp_path: Path) -> None:
    port = free_port()
    verdict = verdict_of(tmp_path, "reputation", mail(), toml(f"http://127.0.0.1:{port}/"), envelope=ENVELOPE)
    (failure,) = verdict.failures
    assert (failure.kind, failure.phase, failure.peer) == ("connect", "connect", f"127.0.0.1:{port}")


def test_without_a_url_no_rule_is_loaded(tmp_path: Path) -> None:
    with assembled(tmp_path, [RULES / "reputation.py"]) as assembly:
        assert assembly.engine.rules == ()
