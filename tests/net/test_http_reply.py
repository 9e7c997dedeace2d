"""What a server answered, as rules see it."""

import pytest

from filterd.net.http_reply import Elapsed, Headers, Response

PAIRS = [(b"set-cookie", b"a"), (b"x-name", "grün".encode()), (b"set-cookie", b"b"), (b"x-old", b"gr\xfcn")]
TIMES = Elapsed(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def response(content: bytes, kind: bytes | None = None, code: int = 200) -> Response:
    return Response(code, "OK", Headers([] if kind is None else [(b"content-type", kind)]), content, TIMES)


def test_headers_are_a_mapping_without_regard_to_case() -> None:
    headers = Headers(PAIRS)
    assert headers["SET-Cookie"] == "a"
    assert headers.get_all("Set-Cookie") == ["a", "b"]
    assert headers.get_all("absent") == []
    assert "X-Name" in headers
    assert "X-Näme" not in headers
    assert (list(headers), len(headers)) == (["set-cookie", "x-name", "x-old"], 3)
    assert dict(headers)["x-name"] == "grün"
    assert headers["x-old"] == "grün"
    assert repr(headers) == "Headers([('set-cookie', 'a'), ('x-name', 'grün'), ('set-cookie', 'b'), ('x-old', 'grün')])"


def test_a_header_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="absent"):
        Headers(PAIRS)["absent"]


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ("grün".encode(), None, "grün"),
        ("grün".encode("latin-1"), b"text/plain; Charset=ISO-8859-1", "grün"),
        ("grün".encode("utf-16"), b'text/plain; charset="utf-16"; x=y', "grün"),
        (b"gr\xfcn", b"text/plain", "gr\ufffdn"),
        ("grün".encode(), b"text/plain; charset=no-such", "grün"),
        (b"YQ==", b"text/plain; charset=base64", "YQ=="),
        (b"a", b"text/plain; charset=a\x00b", "a"),
        (b"a", b"text/plain; charset=", "a"),
    ],
)
def test_text_obeys_the_charset_where_it_can(content: bytes, kind: bytes | None, text: str) -> None:
    assert response(content, kind).text == text


def test_json_that_is_none_is_a_value_error() -> None:
    assert response(b'{"a":1}').json() == {"a": 1}
    with pytest.raises(ValueError, match=r".+"):
        response(b"<html>").json()


@pytest.mark.parametrize(("code", "success"), [(199, False), (200, True), (299, True), (300, False)])
def test_success_is_2xx(code: int, success: bool) -> None:
    assert response(b"", code=code).is_success is success


def test_it_shows_what_it_is() -> None:
    assert repr(response(b"abc")) == "Response(200 OK, 3 bytes)"
