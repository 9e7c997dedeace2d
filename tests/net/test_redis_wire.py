"""A connection to Redis: how it is opened, and replies read off it as they come."""

import _socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from hiredis import ReplyError

from filterd.net import redis_wire
from filterd.net.redis_commands import Command
from filterd.net.redis_wire import Login, Wire, dial
from filterd.net.stream import Address, Stream
from filterd.net.tls import TlsSettings
from filterd.outcome import Failure, RequestFailed
from tests.support.certificates import Certificates, Kind
from tests.support.partners import RedisServer
from tests.support.peers import LOOPBACK, Names, dead_port, drip, full_queue
from tests.support.redis_servers import RestartedRedis, redis_process, scripted_redis

PING = Command(["PING"]).packed


def opened(address: Address, login: Login | None = None, *, resolver: Names | None = None, seconds: float = 5.0) -> Wire:
    return dial(address, login or Login(), resolver=resolver, until=monotonic() + seconds)


def refused(address: Address, login: Login | None = None, *, resolver: Names | None = None, seconds: float = 5.0) -> Failure:
    with pytest.raises(RequestFailed) as raised:
        opened(address, login, resolver=resolver, seconds=seconds)
    return raised.value.failure


def ask(wire: Wire, *commands: str, is_read: bool = True, seconds: float = 5.0) -> list[Any]:
    payload = b"".join(Command(command.split()).packed for command in commands)
    return wire.exchange(payload, len(commands), until=monotonic() + seconds, is_read=is_read)


def failing(wire: Wire, *commands: str, is_read: bool = True, seconds: float = 5.0) -> Failure:
    with pytest.raises(RequestFailed) as raised:
        ask(wire, *commands, is_read=is_read, seconds=seconds)
    wire.close()
    return raised.value.failure


# -- opening


@pytest.mark.parametrize("by", ["ip", "name", "second address", "unix socket"])
def test_a_server_is_reached(by: str, redis_server: RedisServer, hub_free: None) -> None:
    names = Names({"redis.test": [LOOPBACK], "two.test": ["127.0.0.2", LOOPBACK]})
    hosts = {"ip": LOOPBACK, "name": "redis.test", "second address": "two.test"}
    address = str(redis_server.unix_socket) if by == "unix socket" else (hosts[by], redis_server.port)
    wire = opened(address, resolver=names)
    assert ask(wire, "PING", "ECHO x") == [b"PONG", b"x"]
    wire.close()


def test_a_silent_address_leaves_time_for_the_next(redis_server: RedisServer) -> None:
    # Nothing answers in 192.0.2.0/24, or the network is said to be unreachable: either way the other one is tried.
    wire = opened(("two.test", redis_server.port), resolver=Names({"two.test": ["192.0.2.1", LOOPBACK]}), seconds=0.4)
    assert ask(wire, "PING") == [b"PONG"]
    wire.close()


@contextmanager
def joined() -> Iterator[tuple[Wire, Callable[[bytes], object]]]:
    """A wire, and how to send to it."""
    ours, theirs = _socket.socketpair()
    ours.setblocking(False)
    wire = Wire(Stream(ours, "redis.test"))
    try:
        yield wire, theirs.send
    finally:
        wire.close()
        theirs.close()


def test_a_map_with_a_key_that_is_a_list_is_not_redis() -> None:
    with scripted_redis(b"%1\r\n*1\r\n+a\r\n:1\r\n") as peer:
        wire = opened((LOOPBACK, peer.port))
        failure = failing(wire, "PING")
        wire.close()
    assert failure.kind == "protocol"
    assert failure.startswith(f"{LOOPBACK}:{peer.port} does not speak Redis: unhashable type")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"*9999999\r\n:1\r\n"],
        [b"*99", b"99999\r\n"],
        [b"*9999999\r", b"\n"],
        [b"*2\r\n%99999999999999\r\n"],
        [b"*2\r\n$12\r\n\r\n*7777777\r\n\r\n", b"~9999999\r\n"],
        [b"|1\r\n+a\r\n>2000000000\r\n"],
        [b"*2\r\n:1\r\n", b"*300000\r\n" * 3, b"*300000\r\n"],
    ],
)
def test_a_reply_that_announces_very_many_elements_is_not_waited_for(pieces: list[bytes]) -> None:
    with joined() as (wire, send):
        for piece in pieces[:-1]:
            send(piece)
            assert wire.receive(until=None) == []
        send(pieces[-1])
        with pytest.raises(RequestFailed) as failed:
            wire.receive(until=None)
    assert failed.value.failure.kind == "limit"
    assert failed.value.failure.endswith("has more than 1048576 elements")


def test_many_elements_in_a_string_are_none() -> None:
    text = b"\r\n*9999999\r\n%88888888\r\n*1"
    whole = b"*2\r\n$%d\r\n%b\r\n*1\r\n+*9999999\r\n*0\r\n" % (len(text), text)
    for size in range(1, len(whole) + 1):
        found: list[Any] = []
        with joined() as (wire, send):
            for at in range(0, len(whole), size):
                send(whole[at : at + size])
                found += wire.receive(until=None)
        assert found == [[text, [b"*9999999"]], []]


def test_elements_are_counted_for_each_reply_anew() -> None:
    with joined() as (wire, send):
        for _ in range(150):
            send(b"*10000\r\n" + b":1\r\n" * 9999)
            assert wire.receive(until=None) == []
            send(b"+a\r\n")
            assert wire.receive(until=None) == [[1] * 9999 + [b"a"]]


def test_as_many_elements_as_are_allowed_are_read() -> None:
    found: list[Any] = []
    with joined() as (wire, send):
        send(b"*1048576\r\n")
        for _ in range(256):
            assert wire.receive(until=None) == []
            send(b":1\r\n" * 4096)
        while not found:
            found = wire.receive(until=None)
    assert found == [[1] * 1048576]


HUGE = """\
import resource, _socket
from filterd.net.redis_wire import Wire
from filterd.net.stream import Stream
from filterd.outcome import RequestFailed

resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
ours, theirs = _socket.socketpair()
ours.setblocking(False)
theirs.send(b"*2147483648\\r\\n")
try:
    Wire(Stream(ours, "redis.test")).receive(until=None)
except RequestFailed as error:
    print(error.failure.kind, error.failure)
"""


def test_a_reply_there_is_no_memory_for_is_a_failure() -> None:
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=False, timeout=15)
    assert done.stdout == "limit a reply of redis.test has more than 1048576 elements\n", done.stderr


def test_who_cannot_be_reached() -> None:
    with dead_port() as port:
        failure = refused((LOOPBACK, port))
    assert (failure, failure.kind, failure.peer) == ("Connection refused", "connect", f"{LOOPBACK}:{port}")
    failure = refused(("none.test", 6379), resolver=Names())
    assert (failure, failure.kind) == ("no records with this name", "dns")
    assert refused(("empty.test", 6379), resolver=Names({"empty.test": []})).kind == "dns"
    assert refused("/nowhere/redis.sock").kind == "connect"
    with full_queue() as (address, _):
        assert refused(address, seconds=0.1).kind == "timeout"


def test_a_connection_begins_with_its_password_and_database(redis_server: RedisServer) -> None:
    heard: list[bytes] = []

    def talk(connection: Any) -> None:
        connection.sendall(b"+OK\r\n+OK\r\n")

    with scripted_redis(talk, lambda connection: heard.append(b"more")) as peer:
        opened(("127.0.0.1", peer.port), Login(3, "me", "secret")).close()
    assert heard == []
    wire = opened((LOOPBACK, redis_server.port), Login(db=3))
    ask(wire, "SET key x")
    other = opened((LOOPBACK, redis_server.port))
    assert ask(other, "GET key") == [None]
    wire.close()
    other.close()


@pytest.mark.parametrize(
    ("login", "text"),
    [
        (Login(password="wrong"), "ERR AUTH <password> called without any password"),
        (Login(username="no", password="x"), "WRONGPASS"),
        (Login(db=99), "ERR DB index is out of range"),
    ],
)
def test_a_login_that_is_refused_has_the_servers_words(redis_server: RedisServer, login: Login, text: str) -> None:
    failure = refused((LOOPBACK, redis_server.port), login)
    assert failure.startswith(text)
    assert (failure.kind, failure.phase) == ("server", "auth")


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Login(password="secret"))


# -- TLS


@pytest.fixture(scope="module")
def tls_server(certificates: Certificates) -> Iterator[RestartedRedis]:
    with tls_process(certificates, "good", ask_client=True) as server:
        yield server


def tls_process(certificates: Certificates, kind: Kind, *, ask_client: bool = False) -> Any:
    return redis_process(
        "--tls-cert-file",
        certificates.certificate(kind),
        "--tls-key-file",
        certificates.key(kind),
        "--tls-ca-cert-file",
        certificates.ca_file,
        "--tls-auth-clients",
        "yes" if ask_client else "no",
    )


def trusting(certificates: Certificates, **more: Any) -> Login:
    return Login(tls=TlsSettings(ca_path=str(certificates.ca_file), **more))


def test_tls_with_a_client_certificate(tls_server: RestartedRedis, certificates: Certificates) -> None:
    mine = {"client_cert": str(certificates.certificate("client")), "client_key": str(certificates.key("client"))}
    wire = opened(("localhost", tls_server.port), trusting(certificates, **mine), resolver=Names({"localhost": [LOOPBACK]}))
    assert ask(wire, "PING") == [b"PONG"]
    assert ask(wire, f"ECHO {'x' * 300_000}") == [b"x" * 300_000]
    assert wire.is_quiet()
    wire.close()
    assert failing(opened(("127.0.0.1", tls_server.port), trusting(certificates)), "PING").kind in ("tls", "closed")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("wrong-name", "IP address mismatch"), ("expired", "certificate has expired"), ("self-signed", "self-signed")],
)
def test_a_bad_certificate_is_refused_unless_told_otherwise(certificates: Certificates, kind: Kind, text: str) -> None:
    with tls_process(certificates, kind) as server:
        failure = refused(server.address, trusting(certificates))
        assert failure.kind == "tls"
        assert text in failure
        wire = opened(server.address, Login(tls=TlsSettings(verify_host=False, verify_peer=False)))
        assert ask(wire, "PING") == [b"PONG"]
        wire.close()


def test_plain_and_tls_do_not_meet(redis_server: RedisServer, tls_server: RestartedRedis, certificates: Certificates) -> None:
    assert refused((LOOPBACK, redis_server.port), trusting(certificates), seconds=0.5).kind in ("tls", "timeout")
    assert failing(opened(tls_server.address), "PING", seconds=0.5).kind in ("closed", "protocol", "timeout")


# -- replies


def test_replies_come_whole_however_they_are_cut() -> None:
    with scripted_redis(drip(b"*2\r\n$3\r\na\r\n\r\n:7\r\n-ERR no\r\n", 0.001)) as peer:
        wire = opened((LOOPBACK, peer.port))
        first, second = ask(wire, "A", "B")
        wire.close()
    assert first == [b"a\r\n", 7]
    assert isinstance(second, ReplyError)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "timeout"),
        (b"$10\r\nhalf", "timeout"),
        (b"HTTP/1.1 400\r\n", "protocol"),
        (b"$-7\r\n", "protocol"),
        (b":x\r\n", "protocol"),
        (b"+OK\r\n+OK\r\n", "protocol"),
        (lambda connection: connection.close(), "closed"),
        (b"\x15\x03\x01\x00\x02\x02", "protocol"),
    ],
)
def test_what_is_no_reply_ends_the_wire(answer: Any, kind: str) -> None:
    with scripted_redis(answer) as peer:
        assert failing(opened((LOOPBACK, peer.port)), "PING", seconds=0.2).kind == kind


def test_a_reply_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_wire, "MAX_REPLY", 300_000)
    with scripted_redis(b"$999999\r\n" + b"x" * 400_000) as peer:
        failure = failing(opened((LOOPBACK, peer.port)), "GET big")
    assert failure.kind == "limit"
    assert failure == f"a reply of {LOOPBACK}:{peer.port} is longer than 300000 bytes"


def test_many_replies_are_no_long_one(monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer) -> None:
    monkeypatch.setattr(redis_wire, "MAX_REPLY", 100_000)
    wire = opened((LOOPBACK, redis_server.port))
    assert ask(wire, *[f"ECHO {'x' * 50_000}"] * 20) == [b"x" * 50_000] * 20
    wire.close()


def test_the_fate_of_what_may_have_changed_something_is_unknown() -> None:
    for is_read in (True, False):
        with scripted_redis(lambda connection: connection.close()) as peer:
            failure = failing(opened((LOOPBACK, peer.port)), "INCR key", is_read=is_read)
        assert failure.endswith("whether the command was carried out is unknown") is not is_read


# -- resting


def test_a_wire_is_quiet_until_something_comes_in(redis_server: RedisServer) -> None:
    wire = opened((LOOPBACK, redis_server.port))
    assert wire.is_quiet()
    wire.stream.write(PING, until=None)
    gevent.sleep(0.05)
    assert not wire.is_quiet()
    wire.close()
    assert not wire.is_quiet()
    with scripted_redis(lambda connection: connection.close()) as peer:
        wire = opened((LOOPBACK, peer.port))
        wire.stream.write(PING, until=None)
        gevent.sleep(0.05)
        assert not wire.is_quiet(), "the other side has closed"
        wire.close()


def test_a_unix_socket_has_a_name_for_tls(tmp_path: Path, redis_server: RedisServer) -> None:
    assert refused(str(redis_server.unix_socket), Login(tls=TlsSettings(verify_peer=False)), seconds=0.3).kind in (
        "tls",
        "timeout",
    )
