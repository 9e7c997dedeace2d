"""Every fault of a peer, tried with every client, as a rule meets it: it is told by its kind, counted, and nothing stays open.

What one client alone can meet is tested with that client: forged answers and truncation in net/test_resolver_exchange.py,
replies that nobody asked for in net/test_redis_line.py, smuggled ones in test_http.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from filterd.api import dns, http, redis, tcp, tcp_sync, udp
from filterd.net import redis_wire, tls
from filterd.net.network import Network, NetworkSettings
from filterd.net.redis import RedisSettings
from filterd.net.resolver import ResolverSettings
from filterd.net.tls import TlsSettings
from filterd.outcome import Failure
from tests.support.certificates import Certificates, Kind
from tests.support.partners import RedisServer
from tests.support.peers import LOOPBACK, dead_port, drip, reset, serving, serving_udp, silent
from tests.support.scopes import run_in_scope

BRIEF = 0.15
LIMIT = 1000
REDIS = redis.parse_server("any")

# -- the clients: each asks one question of a host and gives the answer, or the failure


def ask_http(host: str, port: int) -> Any:
    err, response = http.request(f"http://{host}:{port}/", timeout=BRIEF, max_size=LIMIT)
    return err or response.content


def ask_http_later(host: str, port: int) -> Any:
    return told(
        lambda got: http.request(
            f"http://{host}:{port}/", timeout=BRIEF, max_size=LIMIT, callback=lambda err, code, body: got(err or body)
        )
    )


def ask_tcp_sync(host: str, port: int) -> Any:
    is_ok, conn = tcp_sync.connect(host, port, timeout=BRIEF)
    return conn.write("question\n").value or conn.read_until("\n", LIMIT).value if is_ok else conn


def ask_tcp(host: str, port: int) -> Any:
    def start(got: Callable[[Any], None]) -> bool:
        read = lambda err, data: got(err or data)  # noqa: E731
        return tcp.request(host, port, data="question\n", stop_pattern="\n", timeout=BRIEF, callback=read)

    return told(start)


def ask_socket(host: str, port: int) -> Any:
    sock = tcp.Socket()
    sock.settimeout(BRIEF)
    for step in (lambda: sock.connect(host, port), lambda: sock.send("question\n"), lambda: sock.receive("*l")):
        outcome: Any = step()
        if isinstance(outcome, tuple):
            return outcome[1]
    return outcome


def ask_redis(host: str, port: int) -> Any:
    return redis.request(REDIS, ["GET", "key"]).value


def ask_redis_alone(host: str, port: int) -> Any:
    """A command that leaves a state behind has a connection of its own."""
    conn = redis.connect(REDIS).unwrap()
    conn.add_cmd("WATCH", ["key"])
    return conn.exec().value


def ask_dns(host: str, port: int) -> Any:
    return dns.request("a.test", "a").value


def ask_udp(host: str, port: int) -> Any:
    return udp.sendto(host, port, "question", timeout=BRIEF).value


def told(start: Callable[[Callable[[Any], None]], bool]) -> Any:
    """What the callback is given, once."""
    heard: list[Any] = []
    done = gevent.event.Event()

    def got(value: Any) -> None:
        heard.append(value)
        done.set()

    assert start(got) is True
    done.wait()
    assert len(heard) == 1
    return heard[0]


CLIENTS: dict[str, tuple[Callable[[str, int], Any], str]] = {
    # how it asks, and whose counters count it
    "http": (ask_http, "http"),
    "http by callback": (ask_http_later, "http"),
    "tcp_sync": (ask_tcp_sync, "tcp"),
    "tcp.request": (ask_tcp, "tcp"),
    "tcp.Socket": (ask_socket, "tcp"),
    "redis": (ask_redis, "redis"),
    "redis alone": (ask_redis_alone, "redis"),
    "dns": (ask_dns, "dns"),
    "udp": (ask_udp, "udp"),
}
STREAMS = [name for name in CLIENTS if name not in ("dns", "udp")]

# -- the faults: each is there for as long as the block runs, and gives host and port


ANSWERS = {
    "http": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "tcp": b"half",
    "redis": b"$100\r\nhalf",
    "dns": b"\x00\x40half",
}


def after_question(talk: Callable[[Any], object]) -> Callable[[Any], None]:
    def answer(connection: Any) -> None:
        connection.recv(65536)
        talk(connection)

    return answer


def resets(half: bytes) -> Callable[[Any], None]:
    def talk(connection: Any) -> None:
        connection.recv(3)
        connection.sendall(half)
        gevent.sleep(0.02)
        reset(connection)

    return talk


def floods(head: bytes) -> Callable[[Any], None]:
    def talk(connection: Any) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x" * 65536)

    return after_question(talk)


FLOODS = {"http": b"HTTP/1.1 200 OK\r\n\r\n", "tcp": b"", "redis": b"$9999999\r\n", "dns": b""}
TALKS: dict[str, Callable[[str], Callable[[Any], Any]]] = {
    "silent": lambda protocol: silent,
    "dripping": lambda protocol: after_question(drip(ANSWERS[protocol] * 20, 0.01)),
    "garbage": lambda protocol: after_question(lambda connection: connection.sendall(b"\xff\x00\r\rnonsense" * 9)),
    "oversize": lambda protocol: floods(FLOODS[protocol]),
    "closed mid-answer": lambda protocol: after_question(lambda connection: connection.sendall(ANSWERS[protocol])),
    "reset mid-answer": lambda protocol: resets(ANSWERS[protocol]),
}
KINDS = {
    "refused": "connect",
    "unreachable": "connect",
    "silent": "timeout",
    "dripping": "timeout",
    "garbage": "protocol",
    "oversize": "limit",
    "closed mid-answer": "closed",
    "reset mid-answer": "closed",
}
# To a stream of bytes nothing is garbage; one that ends without the line asked for is cut off.
OTHERWISE = {(client, "garbage"): "closed" for client in ("tcp_sync", "tcp.request", "tcp.Socket")}
# Its timeout is about silence, as LuaSocket's is: a peer that drips is heard to its end, or to that of the task.
OTHERWISE["tcp.Socket", "dripping"] = "closed"
EVERYWHERE = "255.255.255.255"
"""The kernel says of it at once that no way leads there."""


@contextmanager
def address_of(fault: str, protocol: str) -> Iterator[tuple[str, int]]:
    if fault == "refused":
        with dead_port() as port:
            yield LOOPBACK, port
    elif fault == "unreachable":
        yield EVERYWHERE, 9
    else:
        with serving(TALKS[fault](protocol)) as peer:
            yield LOOPBACK, peer.port


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def failed(client: str, host: str, port: int) -> Failure:
    """Ask, and look at what is told, what is counted and what is left."""
    ask, counted = CLIENTS[client]
    network = Network(
        NetworkSettings(
            dns=ResolverSettings(((host, port),), timeout=0.05, retransmits=1),
            redis=RedisSettings(servers=((host, port),), timeout=BRIEF),
        )
    )
    before = descriptors()
    failure = run_in_scope(lambda: ask(host, port), network=network)
    assert isinstance(failure, Failure), failure
    stats = network.stats[counted].as_dict()
    late = failure.kind == "timeout"
    assert stats == {"requests": 1, "replies": 0, "errors": 0 if late else 1, "timeouts": int(late), "in_flight": 0}
    assert failure.peer == f"{host}:{port}"
    network.close()
    while descriptors() > before:  # the peer closes its end when it learns of ours
        gevent.sleep(0.005)
    return failure


@pytest.mark.parametrize("fault", KINDS)
@pytest.mark.parametrize("client", STREAMS)
def test_a_fault_of_a_connection_is_told_by_its_kind(client: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_wire, "MAX_REPLY", 300_000)
    with address_of(fault, CLIENTS[client][1]) as (host, port):
        failure = failed(client, host, port)
    assert failure.kind == OTHERWISE.get((client, fault), KINDS[fault]), failure
    assert failure.phase == ("connect" if fault in ("refused", "unreachable") else "read")


@pytest.mark.parametrize("fault", KINDS)
def test_a_name_server_with_a_fault_is_one_that_does_not_answer(fault: str) -> None:
    """It is asked by TCP first, then by UDP, where nobody is."""
    with address_of(fault, "dns") as (host, port):
        failure = failed("dns", host, port)
    assert (failure, failure.kind, failure.phase) == ("query timed out", "timeout", "dns")


@pytest.mark.parametrize(("fault", "kind"), [("refused", "timeout"), ("unreachable", "connect"), ("silent", "timeout")])
def test_a_datagram_that_nobody_answers(fault: str, kind: str) -> None:
    with serving_udp(lambda data: []) as peer, dead_port() as port:
        host = EVERYWHERE if fault == "unreachable" else LOOPBACK
        failure = failed("udp", host, peer.port if fault == "silent" else port)
    assert failure.kind == kind


# -- TLS: whom the peer claims to be


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The authority of the tests is one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    tls._context.cache_clear()
    yield
    tls._context.cache_clear()


def greet_http(port: int) -> Any:
    err, response = http.request(f"https://{LOOPBACK}:{port}/")
    return err or response.content


def greet_tcp_sync(port: int) -> Any:
    is_ok, conn = tcp_sync.connect(LOOPBACK, port, tls=True)
    return conn.read_bytes(5).value if is_ok else conn


def greet_starttls(port: int) -> Any:
    conn = tcp_sync.connect(LOOPBACK, port).unwrap()
    is_ok, failure = conn.starttls()
    return conn.read_bytes(5).value if is_ok else failure


def greet_tcp(port: int) -> Any:
    return told(lambda got: tcp.request(LOOPBACK, port, tls=True, callback=lambda err, data: got(err or data)))


def greet_tcp_starttls(port: int) -> Any:
    def start(got: Callable[[Any], None]) -> bool:
        def written(err: Failure | None, data: None, conn: tcp.Dialogue) -> None:
            conn.starttls()
            conn.add_read(lambda err, data: got(err or data))

        return tcp.request(LOOPBACK, port, read=False, callback=written)

    return told(start)


def greet_socket(port: int) -> Any:
    sock = tcp.Socket()
    outcome: Any = sock.connect_ssl(LOOPBACK, port)
    return sock.receive(5) if outcome == 1 else outcome[1]


def greet_redis(port: int) -> Any:
    return redis.request(REDIS, ["ECHO", "hello"]).value


GREETINGS: dict[str, tuple[Callable[[int], Any], bytes]] = {
    "http": (greet_http, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    "tcp_sync": (greet_tcp_sync, b"hello"),
    "tcp_sync starttls": (greet_starttls, b"hello"),
    "tcp.request": (greet_tcp, b"hello"),
    "tcp.request starttls": (greet_tcp_starttls, b"hello"),
    "tcp.Socket": (greet_socket, b"hello"),
    "redis": (greet_redis, b"+hello\r\n"),
}
VERDICTS: dict[Kind, str | None] = {
    "good": None,
    "wrong-name": "IP address mismatch",
    "expired": "certificate has expired",
    "self-signed": "self-signed certificate",
}


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", VERDICTS)
@pytest.mark.parametrize("client", GREETINGS)
def test_who_cannot_prove_to_be_the_one_asked_for_gets_no_word(client: str, kind: Kind, certificates: Certificates) -> None:
    greet, greeting = GREETINGS[client]
    heard: list[bytes] = []

    def talk(connection: Any) -> None:
        connection.sendall(greeting)
        heard.append(connection.recv(65536))

    with serving(talk, tls=certificates.server_context(kind)) as peer:
        settings = RedisSettings(servers=((LOOPBACK, peer.port),), timeout=5.0, tls=TlsSettings())
        network = Network(NetworkSettings(redis=settings))
        outcome = run_in_scope(lambda: greet(peer.port), network=network)
        network.close()
    verdict = VERDICTS[kind]
    if verdict is None:
        assert outcome in (b"hello", "hello")
        return
    assert (outcome.kind, outcome.phase, outcome.peer) == ("tls", "tls", f"{LOOPBACK}:{peer.port}")
    assert f"certificate verify failed: {verdict}" in outcome
    assert heard == []


# -- injection: what comes from mail stays one argument, whoever it is sent to

EVIL = "a\r\nX-Evil: 1\r\n\r\nDEL key\r\n"


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-A": EVIL}},
        {"headers": {"X-A": ["good", EVIL]}},
        {"headers": {EVIL: "x"}},
        {"headers": {"Host": EVIL}},
        {"method": EVIL},
        {"mime_type": EVIL, "body": "x"},
    ],
)
def test_http_sends_no_line_that_was_put_into_an_argument(options: Any) -> None:
    with serving(silent) as peer:
        with pytest.raises(ValueError, match=r"CR, LF or NUL|not a token"):
            run_in_scope(lambda: http.request(f"http://{LOOPBACK}:{peer.port}/", **options), network=Network())
        assert peer.accepted == 0


@pytest.mark.parametrize("where", ["http://{}/", "http://u{}:p@h.test/", "http://h.test/{}", "http://h.test/?q={}"])
def test_http_takes_no_address_with_a_line_in_it(where: str) -> None:
    err, _ = run_in_scope(lambda: http.request(where.format(EVIL)), network=Network())
    assert err is not None
    assert err.startswith("cannot create HTTP message from url")


def test_redis_and_dns_take_it_as_data(redis_server: RedisServer) -> None:
    def rule() -> None:
        conn = redis.connect(REDIS).unwrap()
        conn.add_cmd("SET", ["key", "kept"])
        conn.add_cmd("ECHO", [EVIL])
        conn.add_cmd("GET", ["key"])
        assert [one.value for one in conn.exec().unwrap()] == ["OK", EVIL, "kept"]
        assert not dns.request(f"{EVIL}.test", "a").is_ok

    network = Network(NetworkSettings(redis=RedisSettings(servers=((LOOPBACK, redis_server.port),))))
    run_in_scope(rule, network=network)
    assert network.redis.stats.replies == 1
    network.close()
