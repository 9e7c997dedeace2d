"""http.request where it goes further than one server and one answer: proxies, redirects, early answers, limits, local hosts."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from filterd.api import http
from filterd.net.greenlets import Crew, Stop
from filterd.net.http import HttpClient
from filterd.net.http_call import HttpSettings
from filterd.net.upstream import Upstreams
from filterd.outcome import ErrorFirst, Failure
from filterd.task import current
from tests.support.certificates import Certificates
from tests.support.http_server import Asked, answer, http_serving, read_request, tunnels
from tests.support.peers import LOOPBACK, Names, dead_port, full_queue, serving, silent
from tests.support.scopes import run_in_scope

NAMES = {
    "site.test": [LOOPBACK],
    "mixed.test": ["8.8.8.8", LOOPBACK],
    "mapped.test": ["::ffff:127.0.0.1"],
    "empty.test": [],
    "global.test": ["8.8.8.8"],
}
BIG = b"x" * 8_000_000


def client_of(**settings: Any) -> Any:
    return SimpleNamespace(crew=Crew(), http=HttpClient(HttpSettings(**settings), resolver=Names(NAMES)))


@pytest.fixture
def network() -> Iterator[Any]:
    network = client_of()
    yield network
    network.http.close()
    assert network.http.stats.in_flight == 0


@pytest.fixture
def run(network: Any) -> Callable[[Callable[[], Any]], Any]:
    return lambda function: run_in_scope(function, network=network)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def echo(asked: Asked) -> bytes:
    return answer(asked.method.encode() + b" " + asked.body)


def failure_of(outcome: ErrorFirst[Any]) -> Failure:
    assert outcome.value is None
    assert outcome.error is not None
    return outcome.error


# -- other ways to a server


def test_a_unix_socket(run: Any, tmp_path: Path) -> None:
    with http_serving(echo, unix=tmp_path / "s") as server:
        path = str(tmp_path / "s")
        assert run(lambda: http.request("http://whoever/a", unix_socket=path).unwrap().content) == b"GET "
        failure = failure_of(run(lambda: http.request("http://whoever/a", unix_socket=path + "x")))
    assert (server.asked[0].target, server.asked[0].one("host")) == ("/a", "whoever")
    assert (failure.kind, failure.peer) == ("connect", f"unix:{path}x")


def test_a_proxy_gets_the_whole_address(run: Any) -> None:
    with http_serving(echo) as proxy:
        url = "http://far.test/a?b"
        run(lambda: http.request(url, proxy=f"http://me:secret@127.0.0.1:{proxy.port}").unwrap())
        run(lambda: http.request(url, proxy=f"127.0.0.1:{proxy.port}").unwrap())
    assert [asked.target for asked in proxy.asked] == ["http://far.test/a?b"] * 2
    assert [asked.one("host") for asked in proxy.asked] == ["far.test"] * 2
    assert [asked.one("proxy-authorization") for asked in proxy.asked] == ["Basic bWU6c2VjcmV0", None]
    assert [asked.one("authorization") for asked in proxy.asked] == [None, None]


def test_the_settings_proxy_is_for_all_calls_but_those_that_want_none() -> None:
    with http_serving(echo) as server, http_serving(echo) as proxy:
        network = client_of(proxy=proxy.url())
        run_in_scope(lambda: http.request(server.url("/a")).unwrap(), network=network)
        run_in_scope(lambda: http.request(server.url("/b"), proxy="").unwrap(), network=network)
    assert [asked.target for asked in server.asked] == ["/b"]
    assert [asked.target for asked in proxy.asked] == [server.url("/a")]


def test_tls_goes_through_a_tunnel_of_the_proxy(run: Any, certificates: Certificates) -> None:
    with http_serving(echo, tls=certificates.server_context()) as server, serving(tunnels) as proxy:
        options: Any = {"proxy": f"http://127.0.0.1:{proxy.port}", "tls_ca_path": str(certificates.ca_file)}
        for _ in range(2):
            assert run(lambda: http.request(server.url("/a", "mx.test"), body=b"x", **options).unwrap().content) == b"POST x"
    assert [asked.target for asked in server.asked] == ["/a", "/a"]
    assert (server.accepted, proxy.accepted) == (1, 1)


def test_a_proxy_that_refuses_a_tunnel(run: Any) -> None:
    with http_serving(lambda asked: answer(b"no", "407 Login first")) as proxy:
        failure = failure_of(run(lambda: http.request("https://far.test/", proxy=proxy.url())))
        assert proxy.asked[0].target == "far.test:443"
    assert failure.kind == "refused"
    assert "407 Login first" in failure


def test_a_proxy_that_is_none(run: Any) -> None:
    with serving(lambda connection: connection.sendall(b"220 mail\r\n")) as proxy:
        failure = failure_of(run(lambda: http.request("https://far.test/", proxy=f"127.0.0.1:{proxy.port}")))
    assert failure.kind == "protocol"
    assert failure.startswith("protocol: proxy: ")


def test_an_upstream_says_where_to_and_hears_how_it_went(run: Any) -> None:
    heard: list[Any] = []

    class Listening(Upstreams):
        def ok(self, server: Any) -> None:
            heard.append(("ok", server))

        def fail(self, server: Any) -> None:
            heard.append(("fail", server))

    with http_serving(echo) as server, dead_port() as port:
        here, there = (LOOPBACK, server.port), (LOOPBACK, port)
        upstream = Listening([here, there])
        outcomes = [run(lambda: http.request("http://far.test/a", upstream=upstream)) for _ in range(2)]
    assert sorted(heard) == [("fail", there), ("ok", here)]
    assert sorted(error is None for error, _ in outcomes) == [False, True]
    assert server.asked[0].one("host") == "far.test"


# -- what is sent


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_gzip_compresses_the_body(run: Any, size: int, hub_free: None) -> None:
    body = b"spam" * (size // 4)
    with http_serving(lambda asked: answer(b"%d" % len(gzip.decompress(asked.body)))) as server:
        response = run(lambda: http.request(server.url(), body=body, gzip=True).unwrap())
    assert response.content == b"%d" % size
    assert server.asked[0].one("content-encoding") == "gzip"
    assert len(server.asked[0].body) < size


def test_gzip_of_nothing_is_nothing(run: Any) -> None:
    with http_serving(echo) as server:
        run(lambda: http.request(server.url(), gzip=True).unwrap())
    assert server.asked[0].one("content-encoding") is None


# -- redirects


def redirects(status: str, location: str) -> Callable[[Asked], bytes]:
    def respond(asked: Asked) -> bytes:
        return answer(b"", status, f"Location: {location}") if asked.target == "/from" else echo(asked)

    return respond


def test_redirects_are_not_followed_unless_asked(run: Any) -> None:
    with http_serving(redirects("302 Found", "/to")) as server:
        assert run(lambda: http.request(server.url("/from")).unwrap().code) == 302


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        ("301 Moved", "POST", b"GET "),
        ("302 Found", "POST", b"GET "),
        ("303 See Other", "PUT", b"GET "),
        ("307 Temporary", "POST", b"POST x"),
        ("308 Permanent", "PUT", b"PUT x"),
    ],
)
def test_a_redirect_keeps_or_changes_the_method(run: Any, status: str, method: str, then: bytes) -> None:
    with http_serving(redirects(status, "to?a")) as server:
        response = run(lambda: http.request(server.url("/from"), method=method, body="x", follow_redirects=1).unwrap())
    assert response.content == then
    assert server.asked[1].target == "/to?a"
    assert (server.asked[1].one("content-type") is None) is (then == b"GET ")


def test_as_many_redirects_as_asked_and_the_last_one_is_given(run: Any, network: Any) -> None:
    with http_serving(lambda asked: answer(b"", "302 Found", "Location: /again")) as server:
        assert run(lambda: http.request(server.url(), follow_redirects=3).unwrap().code) == 302
    assert len(server.asked) == 4
    assert network.http.stats.requests == 1


@pytest.mark.parametrize("location", ["ftp://else.test/", "http://[bad/", "//a b/"])
def test_a_redirect_to_nowhere_is_given_as_it_is(run: Any, location: str) -> None:
    with http_serving(redirects("302 Found", location)) as server:
        assert run(lambda: http.request(server.url("/from"), follow_redirects=3).unwrap().code) == 302


@pytest.mark.parametrize("elsewhere", [True, False])
def test_credentials_go_to_no_other_origin(run: Any, elsewhere: bool) -> None:
    with http_serving(echo) as other:
        host = f"http://127.0.0.1:{other.port}" if elsewhere else ""
        with http_serving(redirects("307 Temporary", f"{host}/to")) as server:
            options: Any = {"user": "me", "password": "secret", "headers": {"Cookie": "c=1", "X-Other": "kept"}}
            run(lambda: http.request(server.url("/from"), follow_redirects=1, **options).unwrap())
            asked = other.asked[0] if elsewhere else server.asked[1]
    assert asked.one("x-other") == "kept"
    assert asked.one("authorization") == (None if elsewhere else "Basic bWU6c2VjcmV0")
    assert asked.one("cookie") == (None if elsewhere else "c=1")


def test_a_redirect_does_not_get_around_forbid_local(run: Any) -> None:
    # The first hop goes by a proxy, which is the administrator's choice and may be local.
    with http_serving(lambda asked: answer(b"", "302 Found", "Location: http://127.0.0.1/")) as proxy:
        failure = failure_of(
            run(lambda: http.request("http://8.8.8.8/", proxy=proxy.url(), follow_redirects=1, forbid_local=True))
        )
    assert failure.kind == "local"
    assert len(proxy.asked) == 1


# -- local addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.0.0.1", "[::ffff:127.0.0.1]", "169.254.1.1", "0.0.0.0"])
def test_a_numeric_local_host_is_forbidden_before_any_callback(run: Any, network: Any, host: str) -> None:
    failure = failure_of(run(lambda: http.request(f"http://{host}/", forbid_local=True)))
    assert (failure.kind, failure.phase) == ("local", "connect")
    assert run(lambda: http.request(f"http://{host}/", forbid_local=True, callback=pytest.fail)) is False


@pytest.mark.parametrize("host", ["site.test", "mixed.test", "mapped.test"])
def test_a_name_with_a_local_address_is_forbidden_after_resolution(run: Any, host: str) -> None:
    seen: list[Any] = []
    with http_serving(echo) as server:
        url = server.url(host=host)
        run(lambda: http.request(url, proxy="").unwrap() if host == "site.test" else None)
        assert run(lambda: http.request(url, forbid_local=True, callback=lambda err, code: seen.append((err.kind, code))))
    assert seen == [("local", None)]


def test_a_unix_socket_is_local(run: Any, tmp_path: Path) -> None:
    with http_serving(echo, unix=tmp_path / "s"):
        outcome = run(lambda: http.request("http://a/", unix_socket=str(tmp_path / "s"), forbid_local=True))
    assert failure_of(outcome).kind == "local"


def test_a_tunnel_leads_to_the_address_that_was_looked_at(run: Any) -> None:
    with http_serving(lambda asked: answer(b"", "403 No")) as proxy:
        run(lambda: http.request("https://global.test/", proxy=proxy.url(), forbid_local=True))
    assert proxy.asked[0].target == "8.8.8.8:443"


def test_through_a_proxy_names_are_looked_up_here_too_where_local_ones_are_forbidden(run: Any) -> None:
    with http_serving(echo) as proxy:
        failure = failure_of(run(lambda: http.request("http://site.test/", proxy=proxy.url(), forbid_local=True)))
        assert failure.kind == "local"
        failure = failure_of(run(lambda: http.request("https://site.test/", proxy=proxy.url(), forbid_local=True)))
        assert failure.kind == "local"
    assert proxy.asked == []


# -- answers that come early


def refuses(then: Callable[[Any], object], wire: bytes = answer(b"too large", "413 No")) -> Callable[[Any], None]:
    def talk(connection: Any) -> None:
        connection.recv(1000)
        connection.sendall(wire)
        then(connection)

    return talk


def test_an_answer_that_comes_while_the_body_is_sent_is_taken(run: Any, hub_free: None) -> None:
    with serving(refuses(lambda connection: gevent.sleep(5))) as server:
        response = run(lambda: http.request(f"http://127.0.0.1:{server.port}/", body=BIG).unwrap())
    assert (response.code, response.content) == (413, b"too large")


def test_an_early_answer_through_tls(run: Any, certificates: Certificates) -> None:
    with serving(refuses(lambda connection: gevent.sleep(5)), tls=certificates.server_context()) as server:
        options: Any = {"tls_ca_path": str(certificates.ca_file), "body": BIG}
        assert run(lambda: http.request(f"https://127.0.0.1:{server.port}/", **options).unwrap().code) == 413


def test_an_answer_from_a_server_that_then_closes_and_resets(run: Any) -> None:
    def close(connection: Any) -> None:
        gevent.sleep(0.01)  # the answer has arrived when the reset does

    with serving(refuses(close)) as server:
        outcomes = [run(lambda: http.request(f"http://127.0.0.1:{server.port}/", body=BIG)) for _ in range(5)]
    assert [error or response.code for error, response in outcomes] == [413] * 5


def test_an_early_answer_in_pieces(run: Any) -> None:
    def rest(connection: Any) -> None:
        gevent.sleep(0.02)
        connection.sendall(b"rest")
        gevent.sleep(5)

    with serving(refuses(rest, b"HTTP/1.1 400 Bad\r\nContent-Length: 8\r\n\r\nhalf")) as server:
        assert run(lambda: http.request(f"http://127.0.0.1:{server.port}/", body=BIG).unwrap().content) == b"halfrest"


@pytest.mark.parametrize(
    ("wire", "kind"), [(b"nonsense\r\n\r\n", "protocol"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "closed")]
)
def test_an_early_answer_that_is_none(run: Any, wire: bytes, kind: str) -> None:
    with serving(refuses(lambda connection: None, wire)) as server:
        assert failure_of(run(lambda: http.request(f"http://127.0.0.1:{server.port}/", body=BIG))).kind == kind


def test_a_begun_answer_does_not_keep_the_body_from_being_sent(run: Any) -> None:
    def talk(connection: Any) -> None:
        buffer = bytearray(connection.recv(1000))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
        gevent.sleep(0.02)
        asked = read_request(connection, buffer)
        assert asked is not None
        connection.sendall(b"%d" % len(asked.body))

    with serving(talk) as server:
        assert run(lambda: http.request(f"http://127.0.0.1:{server.port}/", body=BIG).unwrap().content) == b"8000000"
    assert server.errors == []


def test_an_early_answer_is_not_followed_by_another_request_on_the_connection(run: Any) -> None:
    with serving(refuses(lambda connection: gevent.sleep(5))) as server:
        for _ in range(2):
            assert run(lambda: http.request(f"http://127.0.0.1:{server.port}/", body=BIG).unwrap().code) == 413
    assert server.accepted == 2


# -- how many connections


def at_once(number: int, ask: Callable[[], Any]) -> Callable[[], list[Any]]:
    def rule() -> list[Any]:
        scope = current()
        assert scope is not None
        return [child.get() for child in [scope.start(ask) for _ in range(number)]]

    return rule


def test_there_are_no_more_connections_than_allowed_and_all_get_their_turn() -> None:
    network = client_of(max_connections=2)
    with http_serving(echo) as server:
        outcomes = run_in_scope(at_once(20, lambda: http.request(server.url(), body="x").unwrap().content), network=network)
        assert outcomes == [b"POST x"] * 20
        outcomes = run_in_scope(at_once(20, lambda: http.request(server.url(), keepalive=False).unwrap().code), network=network)
        assert outcomes == [200] * 20
    assert server.accepted == 22


def test_who_waits_for_a_connection_for_too_long_is_told_so() -> None:
    network = client_of(max_connections=1)
    with serving(silent) as server:
        url = f"http://127.0.0.1:{server.port}/"

        def rule() -> ErrorFirst[Any]:
            assert http.request(url, timeout=0.5, callback=lambda err: None)
            gevent.sleep(0.01)
            return http.request(url, timeout=0.1)

        failure = failure_of(run_in_scope(rule, network=network))
    assert (failure.kind, failure.phase) == ("timeout", "pool")
    assert f"all 1 connections to 127.0.0.1:{server.port} were in use" in failure
    assert network.http.stats.timeouts == 2


def test_a_place_is_free_again_whatever_happened_to_who_had_it() -> None:
    network = client_of(max_connections=1)
    with dead_port() as port:
        for _ in range(3):
            assert (
                failure_of(run_in_scope(lambda: http.request(f"http://127.0.0.1:{port}/"), network=network)).kind == "connect"
            )
    with serving(silent) as server:
        url = f"http://127.0.0.1:{server.port}/"
        for _ in range(2):
            with pytest.raises(Stop):
                run_in_scope(at_once(2, lambda: http.request(url)), network=network, budget=0.05)
        assert failure_of(run_in_scope(lambda: http.request(url, timeout=0.05), network=network)).phase == "read"


def test_a_connect_that_takes_too_long(run: Any) -> None:
    with full_queue() as (address, _):
        failure = failure_of(run(lambda: http.request(f"http://127.0.0.1:{address[1]}/", connect_timeout=0.1)))
    assert (failure.kind, failure.phase) == ("timeout", "connect")


def test_a_name_that_has_no_address_at_all(run: Any) -> None:
    assert failure_of(run(lambda: http.request("http://empty.test/"))).kind == "dns"


def test_the_statistics_are_there_for_rules(run: Any) -> None:
    assert run(http.statistics) == {"requests": 0, "replies": 0, "errors": 0, "timeouts": 0, "in_flight": 0}
