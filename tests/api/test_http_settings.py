"""http.Settings: keywords to be used again, and libcurl's rules for header lines."""

from types import SimpleNamespace
from typing import Any

import pytest

from filterd.api import http
from filterd.net.greenlets import Crew
from filterd.net.http import HttpClient
from filterd.net.http_call import HttpSettings
from tests.support.http_server import answer, http_serving
from tests.support.peers import Names
from tests.support.scopes import run_in_scope


def test_settings_are_keywords_for_request_and_query() -> None:
    settings = http.Settings(method="put", body="x", timeout=2.0)
    settings.append_header("X-One: 1")
    network = SimpleNamespace(crew=Crew(), http=HttpClient(HttpSettings(), resolver=Names()))
    with http_serving(lambda asked: answer(b"fine")) as server:
        assert run_in_scope(lambda: http.request(server.url(), **settings).unwrap().code, network=network) == 200
        query: Any = lambda: http.query(server.url(), route=lambda task, reply: None, **settings)  # noqa: E731
        assert run_in_scope(query, network=network).body == b"fine"
    assert [(asked.method, asked.body, asked.one("x-one")) for asked in server.asked] == [("PUT", b"x", "1")] * 2


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        (["X-Foo: bar"], {"X-Foo": ["bar"]}),
        (["X-Foo: bar", "x-foo:  baz "], {"X-Foo": ["bar", "baz"]}),
        (["Accept:"], {"Accept": None}),
        (["Accept:  "], {"Accept": None}),
        (["Accept:", "Accept: text/html"], {"Accept": ["text/html"]}),
        (["Accept: text/html", "Accept:"], {"Accept": ["text/html"]}),
        (["X-Empty;"], {"X-Empty": [""]}),
        (["X-Time: 12:30; x"], {"X-Time": ["12:30; x"]}),
    ],
)
def test_header_lines_follow_libcurls_rules(lines: list[str], headers: Any) -> None:
    settings = http.Settings()
    for line in lines:
        settings.append_header(line)
    assert dict(settings) == {"headers": headers}


def test_lines_come_on_top_of_the_headers_given() -> None:
    given = {"X-A": "1", "X-B": ["1", "2"]}
    settings = http.Settings(headers=given)
    settings.append_header("x-a: 2")
    settings.append_header("X-B: 3")
    assert settings["headers"] == {"X-A": ["1", "2"], "X-B": ["1", "2", "3"]}
    assert given == {"X-A": "1", "X-B": ["1", "2"]}


@pytest.mark.parametrize("line", ["no colon", "X-A; b", "", ": value", "X-A: b\r\nX-Evil: 1", "X A: b"])
def test_a_line_that_is_no_header_is_refused_and_changes_nothing(line: str) -> None:
    settings = http.Settings(timeout=1.0)
    with pytest.raises(ValueError, match=r".+"):
        settings.append_header(line)
    assert not settings.get("headers")
    assert len(settings) <= 2


def test_what_request_would_refuse_is_refused_at_once() -> None:
    wrong: dict[str, Any] = {"time_out": 1}
    with pytest.raises(TypeError, match="time_out"):
        http.Settings(**wrong)
    with pytest.raises(ValueError, match="timeout"):
        http.Settings(timeout=-1)


def test_a_password_is_not_shown() -> None:
    assert repr(http.Settings(user="me", password="secret")) == "http.Settings(user='me', password='…')"
