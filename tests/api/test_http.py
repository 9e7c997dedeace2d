"""http.request: each keyword and each promise of the rule API's section 2, against real servers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import gevent
import pytest

from filterd.api import http
from filterd.net.greenlets import Crew, Stop
from filterd.net.http import HttpClient
from filterd.net.http_call import HttpSettings
from filterd.outcome import ErrorFirst, Failure
from tests.support.certificates import Certificates, Kind
from tests.support.http_server import Asked, answer, http_serving
from tests.support.peers import LOOPBACK, Names, dead_port, drip, reset, serving, silent
from tests.support.scopes import run_in_scope

T = TypeVar("T")
Run = Callable[[Callable[[], T]], T]

NAMES = {"site.test": [LOOPBACK], "two.test": ["127.0.0.2", LOOPBACK], "localhost": [LOOPBACK], "mx.test": [LOOPBACK]}


@pytest.fixture
def network() -> Iterator[Any]:
    client = HttpClient(HttpSettings(), resolver=Names(NAMES))
    yield SimpleNamespace(crew=Crew(), http=client)
    client.close()
    assert client.stats.in_flight == 0


@pytest.fixture
def run(network: Any) -> Run[Any]:
    return lambda function: run_in_scope(function, network=network)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def echo(asked: Asked) -> bytes:
    """Says what was asked: the method, then the body."""
    return answer(asked.method.encode() + b" " + asked.body, "200 Fine", "X-One: a", "X-One: b", "Content-Type: text/plain")


def failure_of(outcome: ErrorFirst[Any]) -> Failure:
    assert outcome.value is None
    failure = outcome.error
    assert failure is not None
    return failure


def says(data: bytes) -> Callable[[Any], None]:
    def talk(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return talk


# -- what comes back


def test_a_response_has_code_reason_content_headers_and_times(run: Any, hub_free: None) -> None:
    with http_serving(echo) as server:
        err, response = run(lambda: http.request(server.url("/abc")))
    assert err is None
    assert (response.code, response.reason, response.content, response.text) == (200, "Fine", b"GET ", "GET ")
    assert response.is_success
    assert response.headers["x-ONE"] == "a"
    assert response.headers.get_all("X-One") == ["a", "b"]
    assert response.headers.get("absent") is None
    assert response.elapsed.total >= response.elapsed.read >= 0
    assert server.asked[0].target == "/abc"


@pytest.mark.parametrize("status", ["204 No Content", "302 Found", "403 Forbidden", "503 Down"])
def test_any_status_is_a_response(run: Any, status: str) -> None:
    with http_serving(lambda asked: answer(b"", status)) as server:
        err, response = run(lambda: http.request(server.url()))
    assert err is None
    assert f"{response.code} {response.reason}" == status
    assert response.content == b""
    assert response.is_success is status.startswith("2")


def test_json_is_read(run: Any) -> None:
    with http_serving(lambda asked: answer(b'{"a": [1, null]}')) as server:
        assert run(lambda: http.request(server.url()).unwrap().json()) == {"a": [1, None]}


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        b"HTTP/1.0 200 OK\r\n\r\nhello world",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world",
    ],
)
def test_every_framing_of_a_body_is_read(run: Any, wire: bytes) -> None:
    with serving(says(wire)) as server:
        assert run(lambda: http.request(f"http://127.0.0.1:{server.port}/").unwrap().content) == b"hello world"


def test_a_response_to_head_has_no_content(run: Any) -> None:
    with http_serving(lambda asked: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as server:
        response = run(lambda: http.request(server.url(), method="head").unwrap())
    assert (response.content, response.headers["content-length"]) == (b"", "5")


# -- what is sent


@pytest.mark.parametrize(
    ("options", "method", "kind", "body"),
    [
        ({}, "GET", None, b""),
        ({"body": "grüße"}, "POST", "text/plain", "grüße".encode()),
        ({"body": b""}, "POST", "text/plain", b""),
        ({"body": ["a", b"b"]}, "POST", "text/plain", b"ab"),
        ({"body": {"a": "1 2", "b": ["x", "y"]}}, "POST", "application/x-www-form-urlencoded", b"a=1+2&b=x&b=y"),
        ({"json": {"a": 1}}, "POST", "application/json", b'{"a":1}'),
        ({"body": "x", "mime_type": "image/x"}, "POST", "image/x", b"x"),
        ({"body": "x", "method": "put"}, "PUT", "text/plain", b"x"),
        ({"method": "Purge"}, "PURGE", None, b""),
    ],
)
def test_method_and_body(run: Any, options: Any, method: str, kind: str | None, body: bytes) -> None:
    with http_serving(echo) as server:
        run(lambda: http.request(server.url(), **options).unwrap())
    asked = server.asked[0]
    assert (asked.method, asked.one("content-type"), asked.body) == (method, kind, body)


def test_headers_repeat_vanish_and_may_be_empty(run: Any) -> None:
    headers = {"X-Many": ["1", "2"], "Accept": None, "X-Empty": "", "Content-Type": "application/x-own", "X-Gone": None}
    with http_serving(echo) as server:
        run(lambda: http.request(server.url(), body="x", headers=headers).unwrap())
    asked = server.asked[0]
    assert asked.all("x-many") == ["1", "2"]
    assert (asked.one("accept"), asked.one("x-empty"), asked.one("x-gone")) == (None, "", None)
    assert asked.one("content-type") == "application/x-own"


@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\rb"])
@pytest.mark.parametrize("callback", [None, lambda err: None])
def test_nothing_gets_out_of_its_header(run: Any, bad: str, callback: Any) -> None:
    with http_serving(echo) as server:
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            run(lambda: http.request(server.url(), headers={"X-A": bad}, callback=callback))
        with pytest.raises(ValueError, match="not a token"):
            run(lambda: http.request(server.url(), headers={bad: "x"}, callback=callback))
    assert server.accepted == 0


@pytest.mark.parametrize(
    "options",
    [
        {"body": "x", "json": 1},
        {"timeout": 0},
        {"read_timeout": -1.0},
        {"method": "CONNECT"},
        {"method": "A B"},
        {"user": "a:b", "password": "c"},
        {"proxy": "https://proxy.test/"},
        {"tls_min_version": "1.1"},
    ],
)
def test_arguments_that_cannot_be_right_are_refused_at_the_call(run: Any, options: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        run(lambda: http.request("http://site.test/", **options))


@pytest.mark.parametrize("url", ["", "ftp://site.test/", "http://", "http://a b/", "http://site.test:0/", "http://h/\r\nX: y"])
def test_an_address_that_is_none_is_a_failure(run: Any, url: str) -> None:
    failure = failure_of(run(lambda: http.request(url)))
    assert failure.startswith("cannot create HTTP message from url")
    assert failure.kind == "protocol"
    assert run(lambda: http.request(url, callback=pytest.fail)) is False


@pytest.mark.parametrize(
    ("address", "options"),
    [("http://127.0.0.1", {"user": "me", "password": "pä"}), ("http://me:p%C3%A4@127.0.0.1", {})],
)
def test_basic_authorization(run: Any, address: str, options: Any) -> None:
    with http_serving(echo) as server:
        run(lambda: http.request(f"{address}:{server.port}/", **options).unwrap())
    assert server.asked[0].one("authorization") == "Basic bWU6cMOk"
    assert server.asked[0].one("host") == f"127.0.0.1:{server.port}"


# -- callbacks


def test_a_callback_gets_error_code_body_and_headers(run: Any) -> None:
    seen: list[Any] = []

    def rule() -> None:
        started = http.request(server.url(), body="x", callback=lambda *args: seen.append(args))
        seen.append(started)

    with http_serving(echo) as server:
        run(rule)
    assert seen[0] is True
    error, code, body, headers = seen[1]
    assert (error, code, body, headers["x-one"]) == (None, 200, b"POST x", "a")


def test_on_a_network_error_a_callback_gets_only_the_error(run: Any) -> None:
    seen: list[Any] = []
    with dead_port() as port:
        run(lambda: http.request(f"http://127.0.0.1:{port}/", callback=lambda err, code, body: seen.append((err, code, body))))
    [(error, code, body)] = seen
    assert (error.kind, code, body) == ("connect", None, None)


def test_an_exception_in_a_callback_is_the_rules(run: Any) -> None:
    def callback(err: Any) -> None:
        raise LookupError("mine")

    with http_serving(echo) as server, pytest.raises(LookupError, match="mine"):
        run(lambda: http.request(server.url(), callback=callback))


def test_outside_of_any_rule_it_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"http\.request was called outside of any rule"):
        http.request("http://127.0.0.1/")


# -- connections


def test_connections_are_kept_and_used_again(run: Any) -> None:
    def rule() -> Any:
        return [http.request(server.url(f"/{n}")).unwrap() for n in range(3)]

    with http_serving(echo) as server:
        first, second, third = run(rule)
    assert server.connections == [1, 1, 1]
    assert first.elapsed.connect > 0
    assert (second.elapsed.connect, third.elapsed.dns) == (0, 0)


def test_without_keepalive_each_call_has_a_connection_of_its_own(run: Any) -> None:
    with http_serving(echo) as server:
        run(lambda: [http.request(server.url(), keepalive=False).unwrap() for _ in range(2)])
    assert server.connections == [1, 2]
    assert server.asked[0].one("connection") == "close"


def test_a_kept_connection_that_the_server_closes_is_not_used_again(run: Any) -> None:
    def rule() -> None:
        http.request(url, body="x").unwrap()
        gevent.sleep(0.02)
        http.request(url, body="x").unwrap()

    def once(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(answer(b"x"))

    with serving(once) as server:
        url = f"http://127.0.0.1:{server.port}/"
        run(rule)
    assert server.accepted == 2


@pytest.mark.parametrize(("method", "works"), [("GET", True), ("PUT", True), ("POST", False)])
def test_only_idempotent_methods_are_repeated_on_a_stale_connection(run: Any, method: str, works: bool) -> None:
    # The server closes upon the second request, which is the moment the client cannot know of beforehand.
    def twice(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(answer(b"x"))
        connection.recv(65536)

    def rule() -> Any:
        http.request(url, method=method, body="x").unwrap()
        return http.request(url, method=method, body="x")

    with serving(twice) as server:
        url = f"http://127.0.0.1:{server.port}/"
        outcome = run(rule)
    assert server.accepted == (2 if works else 1)
    if not works:
        failure = failure_of(outcome)
        assert (failure.kind, failure.phase) == ("closed", "read")


def test_all_addresses_of_a_name_are_tried(run: Any) -> None:
    with http_serving(echo) as server:
        assert run(lambda: http.request(server.url(host="two.test")).unwrap().code) == 200
    assert server.asked[0].one("host") == f"two.test:{server.port}"


# -- what goes wrong


def test_refused(run: Any) -> None:
    with dead_port() as port:
        failure = failure_of(run(lambda: http.request(f"http://127.0.0.1:{port}/")))
    assert (failure.kind, failure.phase, failure.peer) == ("connect", "connect", f"127.0.0.1:{port}")
    assert "Connection refused" in failure
    assert f"127.0.0.1:{port}" in failure


def test_a_name_without_address(run: Any) -> None:
    failure = failure_of(run(lambda: http.request("http://none.test/")))
    assert (failure.kind, failure.phase) == ("dns", "dns")
    assert "no records with this name" in failure


@pytest.mark.parametrize(
    ("talk", "kind"),
    [
        (says(b"SSH-2.0-nothing\r\n"), "protocol"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), "closed"),
        (says(b""), "closed"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "limit"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "protocol"),
    ],
    ids=["garbage", "closed in the body", "closed at once", "oversize", "smuggling"],
)
def test_a_peer_that_breaks_the_protocol(run: Any, talk: Any, kind: str) -> None:
    with serving(talk) as server:
        failure = failure_of(run(lambda: http.request(f"http://127.0.0.1:{server.port}/", max_size=1000)))
    assert (failure.kind, failure.phase, failure.peer) == (kind, "read", f"127.0.0.1:{server.port}")
    assert f"127.0.0.1:{server.port}" in failure


def test_a_body_that_turns_out_too_large_is_cut_off(run: Any) -> None:
    def endless(connection: Any) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with serving(endless) as server:
        failure = failure_of(run(lambda: http.request(f"http://127.0.0.1:{server.port}/", max_size=200_000)))
    assert failure.kind == "limit"
    assert "Response entity too large" in failure


def test_a_reset(run: Any) -> None:
    def talk(connection: Any) -> None:
        connection.recv(10)
        reset(connection)

    with serving(talk) as server:
        assert failure_of(run(lambda: http.request(f"http://127.0.0.1:{server.port}/"))).kind == "closed"


@pytest.mark.parametrize("talk", [silent, drip(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 1000)], ids=["silent", "dripping"])
@pytest.mark.parametrize("options", [{"timeout": 0.1}, {"timeout": 4.0, "read_timeout": 0.1}], ids=["timeout", "read_timeout"])
def test_no_peer_outlives_the_timeout(run: Any, talk: Any, options: Any) -> None:
    with serving(talk) as server:
        failure = failure_of(run(lambda: http.request(f"http://127.0.0.1:{server.port}/", **options)))
    assert (failure.kind, failure.phase) == ("timeout", "read")
    assert failure.startswith(f"timeout: read from 127.0.0.1:{server.port} after 0.1")
    assert "(rule TEST, " in failure
    assert failure.elapsed < 2


def test_a_peer_that_takes_nothing_is_given_up(run: Any) -> None:
    def deaf(connection: Any) -> None:
        gevent.sleep(5)

    with serving(deaf) as server:
        url = f"http://127.0.0.1:{server.port}/"
        failure = failure_of(run(lambda: http.request(url, body=b"x" * 20_000_000, write_timeout=0.1)))
    assert (failure.kind, failure.phase) == ("timeout", "write")


def test_a_call_ends_with_its_task(network: Any) -> None:
    with serving(silent) as server, pytest.raises(Stop) as caught:
        run_in_scope(lambda: http.request(f"http://127.0.0.1:{server.port}/"), network=network, budget=0.1)
    assert (caught.value.phase, caught.value.peer) == ("read", f"127.0.0.1:{server.port}")
    assert network.http.stats.timeouts == 1


def test_counts_add_up(run: Any, network: Any) -> None:
    def rule() -> None:
        http.request(server.url()).unwrap()
        http.request(server.url()).unwrap()
        http.request(f"http://127.0.0.1:{port}/")
        http.request(f"http://127.0.0.1:{mute.port}/", timeout=0.05)

    with http_serving(echo) as server, dead_port() as port, serving(silent) as mute:
        run(rule)
    assert network.http.stats.as_dict() == {"requests": 4, "replies": 2, "errors": 1, "timeouts": 1, "in_flight": 0}


# -- TLS


def test_tls_is_verified_against_the_authorities_given(run: Any, certificates: Certificates) -> None:
    with http_serving(echo, tls=certificates.server_context()) as server:
        ca = str(certificates.ca_file)
        responses = run(
            lambda: [http.request(server.url(host="mx.test"), tls_ca_path=ca, body=b"x" * 300_000).unwrap() for _ in range(2)]
        )
    assert [len(response.content) for response in responses] == [300_005, 300_005]
    assert server.connections == [1, 1]
    assert responses[0].elapsed.tls > 0
    assert responses[1].elapsed.tls == 0


@pytest.mark.parametrize(
    ("kind", "text"),
    [("wrong-name", "mx.test"), ("expired", "expired"), ("self-signed", "self-signed certificate")],
)
def test_a_certificate_with_a_fault_is_refused_unless_told_otherwise(
    run: Any, certificates: Certificates, kind: Kind, text: str
) -> None:
    with http_serving(echo, tls=certificates.server_context(kind)) as server:
        url = server.url(host="mx.test")
        failure = failure_of(run(lambda: http.request(url, tls_ca_path=str(certificates.ca_file))))
        assert run(lambda: http.request(url, tls_verify_peer=False).unwrap().code) == 200
    assert (failure.kind, failure.phase) == ("tls", "tls")
    assert text in failure


def test_the_name_alone_may_go_unverified(run: Any, certificates: Certificates) -> None:
    with http_serving(echo, tls=certificates.server_context("wrong-name")) as server:
        ca = str(certificates.ca_file)
        assert run(lambda: http.request(server.url(), tls_ca_path=ca, tls_verify_host=False).unwrap().code) == 200
        assert run(lambda: http.request(server.url(), tls_ca_path=ca, sni="elsewhere.test").unwrap().code) == 200


def test_a_server_may_ask_for_our_certificate(run: Any, certificates: Certificates) -> None:
    cert, key = str(certificates.certificate("client")), str(certificates.key("client"))
    with http_serving(echo, tls=certificates.server_context(ask_client=True)) as server:
        options: Any = {"tls_ca_path": str(certificates.ca_file)}
        assert run(lambda: http.request(server.url(), tls_client_cert=cert, tls_client_key=key, **options).unwrap().code) == 200
        assert failure_of(run(lambda: http.request(server.url(), **options))).kind in ("tls", "closed")


@pytest.mark.parametrize(("options", "kind"), [({"timeout": 0.1}, "timeout"), ({"tls_timeout": 0.1}, "timeout")])
def test_a_handshake_that_is_not_answered(run: Any, options: Any, kind: str) -> None:
    with serving(silent) as server:
        failure = failure_of(run(lambda: http.request(f"https://127.0.0.1:{server.port}/", **options)))
    assert (failure.kind, failure.phase) == (kind, "tls")


def test_tls_settings_that_cannot_be_used_are_a_failure(run: Any, tmp_path: Path) -> None:
    with serving(silent) as server:
        failure = failure_of(run(lambda: http.request(f"https://127.0.0.1:{server.port}/", tls_ca_path=str(tmp_path / "none"))))
    assert failure.kind == "tls"
