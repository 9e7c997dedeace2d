"""The tests' own footing: partners really start and stop, and the watch really sees a held hub."""

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import gevent
import pytest

from tests.support.hub import watched
from tests.support.partners import RedisServer, ask_redis, free_port, require, running

SERVER = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("up", flush=True)
while listening.accept():
    pass
"""


def test_a_lacking_partner_skips_naming_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-program .*Debian package no-such-package"):
        require("no-such-program", package="no-such-package")


def test_a_lacking_partner_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"no-such-program .*Debian package no-such-package"):
        require("no-such-program", package="no-such-package")


def test_a_server_answers_inside_its_block_and_is_gone_after_it() -> None:
    port = free_port()
    with running([sys.executable, "-c", SERVER, str(port)], ready=port) as server:
        assert server.output() == "up\n"
        socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5.0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_ends_at_once_is_told_with_what_it_printed() -> None:
    broken = "print('no such option'); raise SystemExit(3)"
    told = pytest.raises(AssertionError, match=r"ended with 3 before it answered; it printed:\nno such option")
    with told, running([sys.executable, "-c", broken], ready=free_port()):
        pass


def test_a_server_that_never_answers_is_stopped_even_when_it_ignores_term() -> None:
    deaf = ["sh", "-c", "trap '' TERM; echo deaf; exec sleep 60"]
    told = pytest.raises(AssertionError, match=r"did not answer within 1 s; it printed:\ndeaf")
    with told, running(deaf, ready=lambda: False, patience=1.0, grace=0.2):
        pass


def test_redis_is_given_empty(redis_server: RedisServer) -> None:
    assert ask_redis(redis_server.port, "DBSIZE") == b":0"
    assert ask_redis(redis_server.port, "SET", "left", "behind") == b"+OK"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(redis_server.unix_socket))


def test_redis_is_given_empty_again(redis_server: RedisServer) -> None:
    assert ask_redis(redis_server.port, "DBSIZE") == b":0"


def test_unbound_knows_what_it_was_told_and_nothing_else(unbound_server: Callable[..., int]) -> None:
    port = unbound_server(["mx.test. A 192.0.2.1"], zones={"refused.test.": "refuse"})

    def ask(name: str) -> dns.message.Message:
        return dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", timeout=5.0, port=port)

    assert [str(record) for record in ask("mx.test").answer[0]] == ["192.0.2.1"]
    assert ask("unknown.test").rcode() == dns.rcode.NXDOMAIN
    assert ask("a.refused.test").rcode() == dns.rcode.REFUSED


def test_a_test_that_waits_leaves_the_hub_free(hub_free: None) -> None:
    gevent.sleep(0.1)


def test_a_test_that_blocks_is_told_the_line_that_held_the_hub(tmp_path: Path) -> None:
    told = pytest.raises(AssertionError, match=r"(?s)held for \d+ ms, here:.*test_support\.py.* in test_a_test_that_blocks")
    with told, watched(tmp_path / "held.txt"):
        gevent.sleep(0.02)
        time.sleep(0.3)
