"""Rspamd's functional cases for HTTP, TCP, Redis, DNS and UDP, told as behaviour: the rule ported to Python, the daemon real.

Each message goes to the running daemon by /checkv2 with `Settings: {symbols_enabled = [NAME]}` in UCL; the symbols and options
are those of Rspamd's own suite (220_http, 230_tcp, 231_tcp_down, 240_redis, 241_redis_is_dead, 250_dns, 310_udp).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.pywsgi import WSGIServer
from gevent.server import DatagramServer, StreamServer

from tests.support.certificates import Certificates
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.partners import RedisServer, ask_redis, free_port

RULES = Path(__file__).parent / "rules"

FAKE = """
[[dns.fake_records]]
name = "site.resolveme"
replies = ["127.0.0.1"]
[[dns.fake_records]]
name = "example.com"
replies = ["93.184.216.34"]
[[dns.fake_records]]
name = "not-resolvable.com"
rcode = "noerror"
[limits]
task_timeout = "10s"
"""


@contextmanager
def daemon_with(folder: Path, rules: str, toml: str = "") -> Iterator[Daemon]:
    with running_daemon(folder, {rules: (RULES / f"{rules}.py").read_text()}, FAKE + toml) as daemon:
        yield daemon


def found(daemon: Daemon, *names: str, **headers: object) -> dict[str, list[str]]:
    """Symbols and their options, of a message for which only the named rules run."""
    settings = f"{{symbols_enabled = [{', '.join(names)}]}}"
    reply = daemon.scan(MAIL, Settings=settings, **{name: str(value) for name, value in headers.items()})
    assert "rule_failures" not in reply["messages"], reply["messages"]
    return {name: symbol.get("options", []) for name, symbol in reply["symbols"].items()}


# -- HTTP


def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/timeout":
        gevent.sleep(4)
    status = "403 Forbidden" if path == "/error_403" else "200 OK"
    body = environ["wsgi.input"].read() if path == "/" else {"GET": b"hello world", "POST": b"hello post"}[method]
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    server = WSGIServer(("127.0.0.1", 0), answer, log=None)
    server.start()
    yield int(server.address[1])
    server.stop()


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon_with(tmp_path_factory.mktemp("http"), "http") as daemon:
        yield daemon


WAYS = ("HTTP", "HTTP_DNS", "HTTP_CORO_DNS", "HTTP_CORO")


@pytest.mark.parametrize(("method", "text"), [("get", "hello world"), ("post", "hello post")])
@pytest.mark.parametrize(("path", "code"), [("/request", 200), ("/error_403", 403)])
def test_220_http_answers_come_in_every_way(http: Daemon, web: int, method: str, text: str, path: str, code: int) -> None:
    symbols = found(http, "SIMPLE_HTTP_TEST", Url=path, Method=method, Port=web)
    assert symbols == {**{f"{way}_{code}": [text] for way in WAYS}, f"method_{method}": []}


def test_220_http_a_backend_that_is_too_slow_is_a_timeout_in_every_way(http: Daemon, web: int) -> None:
    symbols = found(http, "SIMPLE_HTTP_TEST", Url="/timeout", Method="get", Port=web)
    assert symbols == {**{f"{way}_ERROR": ["timeout"] for way in WAYS}, "method_get": []}


def test_220_http_a_large_body_goes_out_and_comes_back_by_tls(http: Daemon, tmp_path: Path) -> None:
    context = Certificates(tmp_path).server_context("self-signed")
    server = WSGIServer(("127.0.0.1", 0), answer, log=None, ssl_context=context)
    server.start()
    try:
        symbols = found(http, "LARGE_HTTP_TEST", Queue_Id="SSL Large HTTP request", Port=server.server_port)
        assert symbols == {"HTTP_SSL_LARGE": ["True"]}
        assert found(http, "LARGE_HTTP_TEST", Queue_Id="another", Port=server.server_port) == {}
    finally:
        server.stop()


def test_220_http_local_addresses_can_be_forbidden(http: Daemon, web: int) -> None:
    symbols = found(http, "FORBID_LOCAL_TEST", Port=web)
    assert symbols == {"HTTP_FORBID_NUMERIC_DENIED": [], "HTTP_FORBID_DNS_ERROR": ["local"]}


# -- TCP


@pytest.fixture(scope="module")
def tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon_with(tmp_path_factory.mktemp("tcp"), "tcp") as daemon:
        yield daemon


def speak_http(sock: Any, address: Any) -> None:
    """HTTP in its simplest form: each reply in one piece, the connection kept unless the client closes it."""
    received = b""
    while piece := sock.recv(65536):
        received += piece
        while b"\r\n\r\n" in received:
            head, _, received = received.partition(b"\r\n\r\n")
            text = b"hello post" if head.startswith(b"POST") else b"hello world"
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))


@pytest.fixture(scope="module")
def plain() -> Iterator[int]:
    server = StreamServer(("127.0.0.1", 0), speak_http)
    server.start()
    yield int(server.address[1])
    server.stop(timeout=0)


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """Accepts, and never says a word."""
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: gevent.sleep(60))
    server.start()
    yield int(server.address[1])
    server.stop(timeout=0)


def test_230_tcp_a_conversation_by_callbacks(tcp: Daemon, plain: int) -> None:
    symbols = found(tcp, "SIMPLE_TCP_ASYNC_TEST", Port=plain)
    assert set(symbols) == {"HTTP_ASYNC_RESPONSE", "HTTP_ASYNC_RESPONSE_2"}
    assert symbols["HTTP_ASYNC_RESPONSE"][0].endswith("hello world")
    assert symbols["HTTP_ASYNC_RESPONSE_2"][0].endswith("hello post")


def test_230_tcp_the_same_conversation_straight(tcp: Daemon, plain: int) -> None:
    symbols = found(tcp, "SIMPLE_TCP_TEST", Port=plain)
    assert set(symbols) == {"HTTP_SYNC_RESPONSE", "HTTP_SYNC_RESPONSE_2"}
    assert symbols["HTTP_SYNC_RESPONSE"][0].endswith("hello world")
    assert symbols["HTTP_SYNC_RESPONSE_2"][0].endswith("hello post")


@pytest.mark.parametrize(("method", "text"), [("get", "hello world"), ("post", "hello post")])
def test_230_tcp_http_spoken_by_hand(tcp: Daemon, plain: int, method: str, text: str) -> None:
    assert found(tcp, "HTTP_TCP_TEST", Url="/request", Method=method, Port=plain) == {f"HTTP_SYNC_CONTENT_{method}": [text]}


def test_230_tcp_timeouts_by_phase(tcp: Daemon, plain: int) -> None:
    assert set(found(tcp, "PHASED_TIMEOUT_TEST", Port=plain)) == {"PHASED_TCP_OK"}


def test_230_tcp_on_error_hears_of_the_connection_and_callback_does_not(tcp: Daemon) -> None:
    assert set(found(tcp, "ON_ERROR_REFUSED_TEST", Dead_Port=free_port())) == {"ON_ERROR_FIRED"}


def test_230_tcp_after_the_connection_errors_go_to_the_callback(tcp: Daemon, silent: int) -> None:
    assert set(found(tcp, "ON_ERROR_POST_CONNECT_TEST", Silent_Port=silent)) == {"POST_CONNECT_READ_TIMEOUT"}


def test_231_tcp_down_says_connection_refused_in_both_ways(tcp: Daemon) -> None:
    symbols = found(tcp, "SIMPLE_TCP_ASYNC_TEST", "SIMPLE_TCP_TEST", Port=free_port())
    refused = ["Socket error detected: Connection refused"]
    assert symbols == {"HTTP_ASYNC_RESPONSE": refused, "HTTP_SYNC_WRITE_ERROR": refused}


# -- Redis


ALL_REDIS = ("REDIS_TEST", "SIMPLE_REDIS_ASYNC_TEST", "SIMPLE_REDIS_ASYNC201809_TEST")


def test_240_redis_scripts_and_requests_in_both_ways(tmp_path: Path, redis_server: RedisServer) -> None:
    ask_redis(redis_server.port, "SET", "test_key", "test value")
    with daemon_with(tmp_path, "redis", f'[redis]\nservers = "127.0.0.1:{redis_server.port}"\n') as daemon:
        assert found(daemon, *ALL_REDIS) == {
            "REDIS": ["hello from lua on redis"],
            "REDIS_ASYNC": ["test value"],
            "REDIS_ASYNC201809": ["test value"],
        }


def test_241_redis_is_dead(tmp_path: Path) -> None:
    with daemon_with(tmp_path, "redis", f'[redis]\nservers = "127.0.0.1:{free_port()}"\n') as daemon:
        refused = ["Connection refused"]
        assert found(daemon, *ALL_REDIS) == {
            "REDIS_ERROR_3": refused,
            "REDIS_ASYNC_ERROR": refused,
            "REDIS_ASYNC201809_ERROR": refused,
        }


# -- DNS


def test_250_dns_in_both_ways(tmp_path: Path) -> None:
    with daemon_with(tmp_path, "dns") as daemon:
        assert found(daemon, "SIMPLE_DNS", "SIMPLE_DNS_SYNC", To_Resolve="example.com") == {
            "DNS": ["93.184.216.34"],
            "DNS_SYNC": ["93.184.216.34"],
        }
        missing = ["requested record is not found"]
        assert found(daemon, "SIMPLE_DNS", "SIMPLE_DNS_SYNC", To_Resolve="not-resolvable.com") == {
            "DNS_ERROR": missing,
            "DNS_SYNC_ERROR": missing,
        }


# -- UDP


class Echo(DatagramServer):
    """Sends each datagram back."""

    def handle(self, data: Any, address: Any) -> None:
        self.socket.sendto(data, address)


class Deaf(DatagramServer):
    """Takes datagrams and answers none."""

    def handle(self, data: Any, address: Any) -> None:
        return None


def test_310_udp(tmp_path: Path) -> None:
    echo, deaf = Echo(("127.0.0.1", 0)), Deaf(("127.0.0.1", 0))
    echo.start()
    deaf.start()
    try:
        with daemon_with(tmp_path, "udp") as daemon:
            symbols = found(
                daemon,
                "UDP_SUCCESS_TEST",
                "UDP_SENDTO_TEST",
                "UDP_FAIL_TEST",
                Port=echo.server_port,
                Silent_Port=deaf.server_port,
            )
    finally:
        echo.stop()
        deaf.stop()
    assert symbols == {"UDP_SUCCESS": ["helloworld"], "UDP_SENDTO": [], "UDP_FAIL": ["read timeout"]}
