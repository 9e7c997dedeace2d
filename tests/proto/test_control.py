"""The controller protocol's values: paths, passwords, forwarded addresses, pages of other sites, replies."""

import json
from collections.abc import Mapping
from math import inf
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto import control
from filterd.proto.http1 import Request


def request(target: str = "/stat", headers: Mapping[str, str | bytes] | None = None, method: str = "GET") -> Request:
    """A request as the parser makes it; several values of a header stand in one, with newlines between."""
    pairs = [
        (name.encode(), value)
        for name, values in (headers or {}).items()
        for value in (values if isinstance(values, bytes) else values.encode()).split(b"\n")
    ]
    return Request(method, target, "1.1", pairs, b"", False)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", ""),
        ("/stat", "stat"),
        ("/STAT?x=/y", "stat"),
        ("/plugins/selectors/list/", "plugins/selectors/list"),
        ("http://127.0.0.1:11334/Stat?a#b", "stat"),
        ("/auth#x?y", "auth"),
        ("*", ""),
    ],
)
def test_the_path_is_what_is_asked_for(target: str, path: str) -> None:
    assert control.path(request(target)) == path


def test_an_argument_is_a_header_or_else_in_the_query() -> None:
    asked = request("/getmap?map=q&x&Map=later&from=1%202&=nothing", {"map": "header"})
    assert control.argument(asked, "map") == "header"
    assert control.argument(request("/getmap?MAP=q+r"), "map") == "q r"
    assert control.argument(asked, "from") == "1 2"
    assert control.argument(asked, "x") == ""
    assert control.argument(asked, "to") is None
    assert control.argument(request("/x", {"map": b"\xff"}), "map") == "\ufffd"


@pytest.mark.parametrize(
    ("asked", "password"),
    [
        (request(), None),
        (request(headers={"password": b"s\xc3\xa4cret"}), b"s\xc3\xa4cret"),
        (request("/stat?password=s%C3%A4+cret"), "sä cret".encode()),
        (request("/stat?PassWord=x"), b"x"),
        (request("/stat?password="), None),
        (request("/stat?password=query", {"password": "header"}), b"header"),
        (request("/stat?password=query", {"password": ""}), None),
    ],
)
def test_the_password_is_in_a_header_or_in_the_query(asked: Request, password: bytes | None) -> None:
    assert control.password(asked) == password


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("/checkv2", "/checkv2"),
        ("/checkv2?password=s3cret", "/checkv2"),
        ("/checkv2?from=a%40b&pass%77ord=s3cret&ip=1.2.3.4", "/checkv2?from=a%40b&ip=1.2.3.4"),
        ("/checkv2?PASSWORD=s3cret#password=s3cret", "/checkv2"),
        ("/checkv2?", "/checkv2"),
    ],
)
def test_a_scan_sees_no_password(target: str, left: str) -> None:
    asked = request(target, {"password": "s3cret", "from": "a@example.org"})
    cleared = control.without_password(asked)
    assert (cleared.target, cleared.headers) == (left, [(b"from", b"a@example.org")])
    assert control.password(cleared) is None
    assert "s3cret" not in repr(cleared)


@pytest.mark.parametrize(
    ("headers", "addresses"),
    [
        ({}, []),
        ({"x-forwarded-for": "198.51.100.7"}, ["198.51.100.7"]),
        ({"x-forwarded-for": "127.0.0.1, 198.51.100.7"}, ["127.0.0.1", "198.51.100.7"]),
        ({"x-forwarded-for": "127.0.0.1\n198.51.100.7"}, ["127.0.0.1", "198.51.100.7"]),
        ({"x-forwarded-for": "198.51.100.7:4711, [2001:db8::1]:25, [2001:DB8::2], 2001:db8::3"},
         ["198.51.100.7", "2001:db8::1", "2001:db8::2", "2001:db8::3"]),
        ({"x-forwarded-for": '"198.51.100.7"'}, ["198.51.100.7"]),
        ({"x-forwarded-for": "unknown"}, [None]),
        ({"x-forwarded-for": ""}, [None]),
        ({"x-forwarded-for": "localhost, 127.0.0.1"}, [None, "127.0.0.1"]),
        ({"x-forwarded-for": "::ffff:10.0.0.1"}, ["10.0.0.1"]),
        ({"x-real-ip": "198.51.100.7"}, ["198.51.100.7"]),
        ({"x-real-ip": "198.51.100.7", "x-forwarded-for": "127.0.0.1"}, ["198.51.100.7", "127.0.0.1"]),
        ({"forwarded": "for=127.0.0.1"}, [None]),
        ({"forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"}, [None, "127.0.0.1"]),
    ],
)  # fmt: skip
def test_every_address_a_proxy_names_is_given_and_none_for_what_is_none(
    headers: dict[str, str], addresses: list[str | None]
) -> None:
    assert control.forwarded(request(headers=headers)) == addresses


@given(st.binary())
def test_garbage_in_a_forwarding_header_is_never_overlooked(value: bytes) -> None:
    found = control.forwarded(Request("GET", "/", "1.1", [(b"x-forwarded-for", value)], b"", False))
    assert len(found) == value.count(b",") + 1


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("192.0.2.1:25", "192.0.2.1"),
        ("[::1]:25", "::1"),
        ("[fe80::1%eth0]:25", "fe80::1"),
        ("[::ffff:127.0.0.1]:25", "127.0.0.1"),
        ("listen.control", None),
        ("unix:/run/filterd/x.sock", None),
        ("listen.odd:name", None),
    ],
)
def test_the_host_of_a_peer(peer: str, host: str | None) -> None:
    assert control.host_of(peer) == host


@pytest.mark.parametrize(
    ("headers", "is_foreign"),
    [
        ({}, False),
        ({"host": "127.0.0.1:11334", "origin": "http://127.0.0.1:11334"}, False),
        ({"host": "127.0.0.1:11334", "origin": "https://evil.example"}, True),
        ({"host": "127.0.0.1:11334", "origin": "null"}, True),
        ({"origin": "http://127.0.0.1:11334"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
    ],
)
def test_a_page_of_another_site_is_known(headers: dict[str, str], is_foreign: bool) -> None:
    assert control.is_foreign_page(request(headers=headers)) is is_foreign


def test_replies_say_that_they_are_not_to_be_stored() -> None:
    for reply in (control.as_json({}), control.error(404, "no"), control.success(), control.options()):
        assert ("Cache-Control", "no-store") in reply.headers


def test_values_are_rendered_whatever_they_are() -> None:
    reply = control.as_json({"a": MappingProxyType({1: inf}), "b": (1, None)}, 207)
    assert (reply.status, json.loads(reply.body)) == (207, {"a": {"1": None}, "b": [1, None]})
    with pytest.raises(TypeError):
        control.as_json({"a": object()})


def test_an_error_is_in_the_body_and_in_the_status_line() -> None:
    reply = control.error(401, "Unauthorized \udcff", headers=[("Retry-After", "3")])
    assert (reply.status, json.loads(reply.body), reply.reason) == (401, {"error": "Unauthorized ?"}, "Unauthorized ?")
    assert ("Retry-After", "3") in reply.headers


def test_no_other_site_is_invited() -> None:
    names = dict(control.options().headers)
    assert "Password" in names["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in names


def test_what_changes_something_needs_more_than_what_reads() -> None:
    changing = {path for path, level in control.ENDPOINTS.items() if level == "write"}
    assert {"statreset", "savemap", "learnspam", "historyreset", "saveactions", "fuzzydelhash"} <= changing
    assert {path for path, level in control.ENDPOINTS.items() if level == "open"} == {"ping", "healthy", "ready"}
    assert not control.SCANS & set(control.ENDPOINTS)
