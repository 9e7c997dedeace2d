"""A request as a rule asks for it: whom it goes to, and what is sent."""

from typing import Any

import pytest

from filterd.net.http_call import Call, HttpSettings
from filterd.net.http_pool import Endpoint, Proxy
from filterd.net.tls import TlsSettings

SETTINGS = HttpSettings()
TLS = TlsSettings()
PROXY = Proxy("p.test", 3128, None)


@pytest.mark.parametrize(
    ("url", "options", "endpoint"),
    [
        ("http://a.test/", {}, Endpoint("a.test", 80)),
        ("http://a.test:81/x", {"sni": "b.test", "tls_verify_peer": False}, Endpoint("a.test", 81)),
        ("https://a.test/", {}, Endpoint("a.test", 443, TLS, "a.test")),
        ("https://a.test/", {"tls_verify_host": True, "tls_min_version": "1.2"}, Endpoint("a.test", 443, TLS, "a.test")),
        ("https://a.test/", {"sni": "b.test"}, Endpoint("a.test", 443, TLS, "b.test")),
        ("https://a.test/", {"tls_min_version": "1.3"}, Endpoint("a.test", 443, TlsSettings(min_version="1.3"), "a.test")),
        ("http://a.test/", {"unix_socket": "/s"}, Endpoint("", 0, unix_socket="/s")),
        ("https://a.test/", {"unix_socket": "/s", "proxy": "p.test"}, Endpoint("", 0, TLS, "a.test", "/s")),
        ("http://a.test/", {"forbid_local": True}, Endpoint("a.test", 80, forbid_local=True)),
        ("http://a.test/", {"proxy": "p.test:3128"}, Endpoint("p.test", 3128)),
        ("https://a.test/", {"proxy": "p.test:3128"}, Endpoint("a.test", 443, TLS, "a.test", None, PROXY)),
    ],
)
def test_whom_to_connect_to(url: str, options: Any, endpoint: Endpoint) -> None:
    assert Call(url, SETTINGS, **options).endpoint == endpoint


def test_an_endpoint_has_a_name_for_texts() -> None:
    assert Endpoint("::1", 80).peer == "[::1]:80"
    assert Endpoint("", 0, unix_socket="/s").peer == "unix:/s"


def test_what_is_not_said_comes_from_the_settings() -> None:
    tls = TlsSettings(client_cert="cert", client_key="key", verify_host=False)
    settings = HttpSettings(timeout=3.0, connect_timeout=1.0, proxy="p.test", tls=tls, user_agent="me/1")
    call = Call("https://a.test/", settings)
    assert (call.timeout, call.limits.connect, call.endpoint.tls) == (3.0, 1.0, tls)
    assert call.endpoint.tunnel == Proxy("p.test", 80)
    assert b"\r\nUser-Agent: me/1\r\n" in call.request
    own = Call("https://a.test/", settings, timeout=1.0, connect_timeout=0.5, proxy="", tls_client_cert="mine")
    assert (own.timeout, own.limits.connect, own.endpoint.tunnel) == (1.0, 0.5, None)
    # A key belongs to its certificate.
    assert own.endpoint.tls == TlsSettings(client_cert="mine", client_key=None, verify_host=False)


@pytest.mark.parametrize(
    ("server", "endpoint"),
    [(("10.0.0.1", 99), Endpoint("10.0.0.1", 99, TLS, "a.test")), ("/s", Endpoint("a.test", 443, TLS, "a.test", "/s"))],
)
def test_an_upstream_changes_the_address_and_not_the_name(server: Any, endpoint: Endpoint) -> None:
    assert Call("https://a.test/", SETTINGS).endpoint_at(server) == endpoint


@pytest.mark.parametrize(
    ("options", "forbidden"),
    [
        ({"url": "http://127.0.0.1/"}, True),
        ({"url": "http://a.test/"}, False),
        ({"url": "http://8.8.8.8/"}, False),
        ({"url": "http://127.0.0.1/", "forbid_local": False}, False),
        ({"url": "http://a.test/", "unix_socket": "/s"}, True),
    ],
)
def test_what_can_be_forbidden_without_a_lookup(options: Any, forbidden: bool) -> None:
    assert Call(**{"settings": SETTINGS, "forbid_local": True, **options}).forbidden is forbidden


def test_a_header_given_goes_before_one_we_make() -> None:
    options: Any = {"user": "me", "password": "x", "headers": {"authorization": "Bearer y", "X-A": "1"}}
    request = Call("http://a.test/", SETTINGS, **options).request
    assert request.lower().count(b"authorization:") == 1
    assert b"authorization: Bearer y\r\n" in request


@pytest.mark.parametrize("method", ["GET", "put", "HEAD", "Delete", "OPTIONS", "TRACE"])
def test_which_methods_may_be_repeated(method: str) -> None:
    assert Call("http://a.test/", SETTINGS, method=method).is_idempotent
    assert not Call("http://a.test/", SETTINGS, method="POST").is_idempotent
