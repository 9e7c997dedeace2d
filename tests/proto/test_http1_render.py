"""HTTP/1 on its way out: exact bytes, and nothing that leaves its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.http1_render import HeaderValue, render_request, render_response

DEFAULTS = "Host: h:80\r\nUser-Agent: filterd\r\nAccept: */*\r\n"


def request(headers: dict[str, HeaderValue] | None = None, *, method: str = "GET", body: bytes | None = None) -> str:
    return render_request(method, "/p?q", "h:80", headers=headers, body=body).decode()


def test_a_request_has_host_agent_and_accept() -> None:
    assert request() == f"GET /p?q HTTP/1.1\r\n{DEFAULTS}\r\n"


@pytest.mark.parametrize(
    ("method", "body", "expected"),
    [
        ("POST", b"ab", "Content-Length: 2\r\n\r\nab"),
        ("POST", b"", "Content-Length: 0\r\n\r\n"),
        ("POST", None, "Content-Length: 0\r\n\r\n"),
        ("PUT", None, "Content-Length: 0\r\n\r\n"),
        ("GET", b"ab", "Content-Length: 2\r\n\r\nab"),
        ("GET", b"", "Content-Length: 0\r\n\r\n"),
        ("DELETE", None, "\r\n"),
    ],
)
def test_a_body_is_framed_by_its_length(method: str, body: bytes | None, expected: str) -> None:
    assert request(method=method, body=body) == f"{method} /p?q HTTP/1.1\r\n{DEFAULTS}{expected}"


def test_type_agent_and_close_are_told_when_asked_for() -> None:
    rendered = render_request("GET", "/", "h", body=b"{}", content_type="application/json", keep_alive=False, user_agent="me")
    assert rendered == (
        b"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: me\r\nAccept: */*\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-A": "b"}, DEFAULTS + "X-A: b\r\n"),
        ({"X-A": ["b", "c"], "x-a": ("d",)}, DEFAULTS + "X-A: b\r\nX-A: c\r\nx-a: d\r\n"),
        ({"X-A": []}, DEFAULTS),
        ({"X-A": ""}, DEFAULTS + "X-A: \r\n"),
        ({"X-A": None}, DEFAULTS),
        ({"accept": None, "USER-AGENT": None}, "Host: h:80\r\n"),
        ({"accept": "text/plain"}, "Host: h:80\r\nUser-Agent: filterd\r\naccept: text/plain\r\n"),
        ({"Host": "", "User-Agent": ""}, "Accept: */*\r\nHost: \r\nUser-Agent: \r\n"),
        ({"X-A": 1, "X-B": 2.5, "X-C": "ä", "X-D": "ä".encode()}, DEFAULTS + "X-A: 1\r\nX-B: 2.5\r\nX-C: ä\r\nX-D: ä\r\n"),
    ],
)
def test_given_headers_repeat_replace_suppress_and_may_be_empty(headers: dict[str, HeaderValue], expected: str) -> None:
    assert request(headers) == f"GET /p?q HTTP/1.1\r\n{expected}\r\n"


def test_octets_of_a_value_are_sent_as_they_are() -> None:
    assert b"\r\nX-A: \xff\xfe\r\n" in render_request("GET", "/", "h", headers={"X-A": b"\xff\xfe"})


def test_a_value_that_is_refused_is_not_shown() -> None:
    """A token read from a file has a newline more often than not, and the text ends up in logs and replies."""
    with pytest.raises(ValueError, match="header Authorization") as told:
        request({"Authorization": "Bearer s3cret\n"})
    assert "s3cret" not in str(told.value)


def test_a_content_length_may_be_given_when_it_is_true() -> None:
    assert request({"content-length": 2}, body=b"ab").count("ength: 2\r\n") == 1
    assert request({"Content-Length": "0"}).endswith("Content-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("GET /x", "/", "h", {}), "method 'GET /x'"),
        (("", "/", "h", {}), "method ''"),
        (("GET", "/a b", "h", {}), "target '/a b'"),
        (("GET", "/\r\nX: y", "h", {}), "target"),
        (("GET", "/é", "h", {}), "target"),
        (("GET", "", "h", {}), "target ''"),
        (("GET", "/", "h\r\nX: y", {}), "NUL in the value of header Host"),
        (("GET", "/", "h", {"X": "a\nb"}), "NUL in the value of header X"),
        (("GET", "/", "h", {"X": "a\rb"}), "NUL in the value of header X"),
        (("GET", "/", "h", {"X": b"a\0b"}), "NUL in the value of header X"),
        (("GET", "/", "h", {"X": ["a", "b\r\n"]}), "NUL in the value of header X"),
        (("GET", "/", "h", {"X Y": "a"}), "name 'X Y'"),
        (("GET", "/", "h", {"X:": "a"}), "name 'X:'"),
        (("GET", "/", "h", {"": "a"}), "name ''"),
        (("GET", "/", "h", {"É": "a"}), "name 'É'"),
        (("GET", "/", "h", {"Content-Length": 1}), "header Content-Length: the body is framed by its own length"),
        (("GET", "/", "h", {"content-length": None}), "header content-length"),
        (("GET", "/", "h", {"Transfer-Encoding": "chunked"}), "header Transfer-Encoding"),
    ],
)
def test_what_would_not_stay_in_its_place_is_refused(
    arguments: tuple[str, str, str, dict[str, HeaderValue]], text: str
) -> None:
    method, target, host, headers = arguments
    with pytest.raises(ValueError, match=r"^(HTTP|request|header|CR)") as told:
        render_request(method, target, host, headers=headers)
    assert text in str(told.value)


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.lists(st.text(max_size=8)) | st.none(), max_size=3),
    st.text(max_size=5),
)
def test_no_header_value_makes_a_line_of_its_own(headers: dict[str, HeaderValue], host: str) -> None:
    values = [value for each in headers.values() if each is not None for value in (each if isinstance(each, list) else [each])]
    try:
        rendered = render_request("GET", "/", host, headers=headers)
    except ValueError:
        return
    assert rendered.count(b"\n") <= 2 + 3 + len(values)
    assert rendered.index(b"\r\n\r\n") == len(rendered) - 4


DATE = b"Tue, 15 Nov 1994 08:12:31 GMT"


def test_a_response_has_its_headers_in_order_and_the_extra_ones_last() -> None:
    rendered = render_response(
        200, body=b"{}", keep_alive=True, server="filterd/0.1", date=DATE, headers=[("X-A", "b"), ("X-A", "c")]
    )
    assert rendered == (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nServer: filterd/0.1\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n"
        b"Content-Length: 2\r\nContent-Type: application/json\r\nX-A: b\r\nX-A: c\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (413, None, b"413 Content Too Large"),
        (299, None, b"299 "),
        (500, "invalid command", b"500 invalid command"),
        (500, "two\r\nlines\0 and\ttabs", b"500 two lines  and tabs"),
        (500, "half a \ud800 pair", b"500 half a   pair"),
        (500, "não", "500 não".encode()),
    ],
)
def test_any_text_may_be_the_reason(status: int, reason: str | None, line: bytes) -> None:
    rendered = render_response(status, content_type="text/plain", reason=reason)
    start, _, rest = rendered.partition(b"\r\n")
    assert start in (b"HTTP/1.1 " + line, b"HTTP/1.1 413 Request Entity Too Large")  # its name until Python 3.12
    assert rest == b"Connection: close\r\nServer: filterd\r\nContent-Length: 0\r\nContent-Type: text/plain\r\n\r\n"


def test_the_answer_to_head_tells_the_length_and_has_no_body() -> None:
    whole = render_response(200, body=b"pong\r\n")
    assert render_response(200, body=b"pong\r\n", head=True) + b"pong\r\n" == whole
    assert b"Content-Length: 6\r\n" in whole


@pytest.mark.parametrize("pair", [("X", "a\r\nb"), ("X", "a\0"), ("X Y", "a")])
def test_a_response_header_that_would_not_stay_in_its_place_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"CR, LF or NUL in the value of header X$|header name 'X Y'"):
        render_response(200, headers=[pair])
