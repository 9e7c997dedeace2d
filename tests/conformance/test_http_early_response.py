"""Rspamd's functional case 221_http_early_response: a backend that answers before it has read the request's body.

RFC 9112 9.3 lets it. Where Rspamd's suite takes an answer or an error for granted alike, filterd promises the answer.
"""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.conformance.test_io import found
from tests.support.daemon import Daemon, running_daemon
from tests.support.http_server import answer
from tests.support.peers import Peer, serving

RULES = Path(__file__).parent / "rules" / "http_early_response.py"

KEEP, CLOSE = "Connection: keep-alive", "Connection: close"

# What a path answers, whether it keeps the connection, and what is done with the body: it is awaited before the answer, read
# after it, never read but waited for ("ignored"), or never read and the connection closed at once ("cut").
PATHS: dict[str, tuple[str, bool, str]] = {
    "/request": ("200 OK", True, "awaited"),
    "/keepalive-normal": ("200 OK", True, "awaited"),
    "/keepalive-early": ("200 OK", True, "read"),
    "/early-reply": ("200 OK", False, "read"),
    "/early-error-413": ("413 Content Too Large", False, "read"),
    "/immediate-close-413": ("413 Content Too Large", False, "cut"),
    "/block-and-reply": ("413 Content Too Large", False, "ignored"),
    "/slow-response-no-drain": ("200 OK", False, "ignored"),
    "/block-slow-503": ("503 Service Unavailable", False, "ignored"),
}
SLOW = {"/slow-response-no-drain": 0.3, "/block-slow-503": 1.0}


def read_head(connection: Any, buffer: bytearray) -> tuple[str, int] | None:
    """Path and Content-Length of the next request; what has come of its body stays in the buffer. None at the end."""
    while b"\r\n\r\n" not in buffer:
        data = connection.recv(65536)
        if not data:
            return None
        buffer += data
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    buffer[:] = rest
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return lines[0].split(" ")[1], int(headers["content-length"])


def read_body(connection: Any, buffer: bytearray, length: int) -> None:
    while len(buffer) < length and (data := connection.recv(65536)):
        buffer += data
    del buffer[:length]


def hasty(connection: Any) -> None:
    """The backend."""
    # Small, so that a large body does not disappear in it.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    buffer = bytearray()
    while (asked := read_head(connection, buffer)) is not None:
        path, length = asked
        status, is_kept, body = PATHS[path]
        if body == "awaited":
            read_body(connection, buffer, length)
        gevent.sleep(SLOW.get(path, 0.0))
        connection.sendall(answer(f"answer of {path}".encode(), status, KEEP if is_kept else CLOSE))
        if body == "read":
            read_body(connection, buffer, length)
        elif body == "ignored":
            gevent.sleep(0.5)
        if not is_kept:
            return


def instant(connection: Any) -> None:
    """Answers before it has read anything at all."""
    connection.sendall(answer(b"answer to nobody", "413 Content Too Large", CLOSE))
    gevent.sleep(0.2)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("early")
    with running_daemon(folder, {"http_early_response": RULES.read_text()}) as daemon:
        yield daemon


@pytest.fixture
def backend() -> Iterator[Peer]:
    with serving(hasty) as peer:
        yield peer


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("early-reply", {"HTTP_EARLY_REPLY_200": "/early-reply"}),
        ("early-413", {"HTTP_EARLY_413_413": "/early-error-413"}),
        ("keepalive-early", {"HTTP_KEEPALIVE_EARLY_200": "/keepalive-early"}),
        ("early-coro", {"HTTP_EARLY_CORO_200": "/early-reply"}),
        ("normal", {"HTTP_NORMAL_200": "/request"}),
        (
            "all",
            {
                "HTTP_EARLY_REPLY_200": "/early-reply",
                "HTTP_EARLY_413_413": "/early-error-413",
                "HTTP_KEEPALIVE_EARLY_200": "/keepalive-early",
                "HTTP_EARLY_CORO_200": "/early-reply",
                "HTTP_NORMAL_200": "/request",
            },
        ),
    ],
)
def test_221_an_early_answer_is_delivered_in_both_ways(
    daemon: Daemon, backend: Peer, kind: str, expected: dict[str, str]
) -> None:
    symbols = found(daemon, "HTTP_EARLY_RESPONSE_TEST", Test_Type=kind, Port=backend.port)
    assert symbols == {symbol: [f"answer of {path}"] for symbol, path in expected.items()}


def test_221_keepalive_requests_share_one_connection(daemon: Daemon, backend: Peer) -> None:
    assert found(daemon, "HTTP_KEEPALIVE_SEQUENTIAL_TEST", Port=backend.port) == {"HTTP_KEEPALIVE_SEQ_SUCCESS": ["3"]}
    assert backend.accepted == 1


def test_221_early_answers_do_not_spoil_kept_connections(daemon: Daemon, backend: Peer) -> None:
    symbols = found(daemon, "HTTP_EARLY_KEEPALIVE_STRESS_TEST", Port=backend.port)
    paths = ("/request", "/early-reply", "/request", "/keepalive-early", "/request")
    assert symbols == {"HTTP_EARLY_KEEPALIVE_STRESS": ["|".join(f"{path}:ok:200" for path in paths)]}
    # One until /early-reply closed it, and another from then on.
    assert backend.accepted == 2


def test_221_answers_followed_by_a_reset_are_delivered(daemon: Daemon, backend: Peer) -> None:
    symbols = found(daemon, "HTTP_RAPID_CLOSE_TEST", Port=backend.port)
    assert symbols == {"HTTP_RAPID_CLOSE_RESULTS": ["|".join(["/immediate-close-413:ok:413"] * 5)]}


@pytest.mark.parametrize(
    ("name", "symbol", "path"),
    [
        ("HTTP_IMMEDIATE_CLOSE_TEST", "HTTP_IMMEDIATE_CLOSE_413", "/immediate-close-413"),
        ("HTTP_SLOW_RESPONSE_TEST", "HTTP_SLOW_RESPONSE_200", "/slow-response-no-drain"),
        ("HTTP_BLOCK_REPLY_TEST", "HTTP_BLOCK_REPLY_413", "/block-and-reply"),
        ("HTTP_BLOCK_REPLY_CORO_TEST", "HTTP_BLOCK_REPLY_CORO_413", "/block-and-reply"),
        ("HTTP_BLOCK_SLOW_TEST", "HTTP_BLOCK_SLOW_503", "/block-slow-503"),
    ],
)
def test_221_a_sender_stuck_in_a_large_body_hears_the_answer(
    daemon: Daemon, backend: Peer, name: str, symbol: str, path: str
) -> None:
    assert found(daemon, name, Port=backend.port) == {symbol: [f"answer of {path}"]}


def test_221_an_answer_before_the_question_does_no_harm(daemon: Daemon, backend: Peer) -> None:
    with serving(instant) as peer:
        symbols = found(daemon, "HTTP_INSTANT_REPLY_TEST", Port=peer.port)
    assert symbols.keys() <= {"HTTP_INSTANT_REPLY_413", "HTTP_INSTANT_REPLY_ERROR"}
    assert symbols
    after = found(daemon, "HTTP_EARLY_RESPONSE_TEST", Test_Type="normal", Port=backend.port)
    assert after == {"HTTP_NORMAL_200": ["answer of /request"]}
    assert daemon.process.process.poll() is None
