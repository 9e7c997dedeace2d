"""HTTP/1.1 messages as bytes (RFC 9110, RFC 9112): the writing half of `http1`, which offers these names too.

Promises: what is given as a header stays in its header (ValueError for CR, LF or NUL anywhere and for a name that is no
token), the body is always framed by its own length, and nothing is read from a clock.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import TypeAlias

__all__ = ["CONTINUE", "SAYS_LENGTH", "HeaderValue", "render_request", "render_response"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # RFC 9110 15.2.1

HeaderValue: TypeAlias = str | bytes | float | Sequence[str | bytes | float] | None

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_TARGET = re.compile(r"[!-~]+")
_BREAKS = re.compile(r"[\r\n\0]")
_NOT_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]+")  # RFC 9112 4: what a reason phrase cannot hold
# Methods whose requests say how long their content is, were it 0 (RFC 9110 8.6).
SAYS_LENGTH = frozenset({"POST", "PUT", "PATCH"})


def render_request(
    method: str,
    target: str,
    host: str,
    *,
    headers: Mapping[str, HeaderValue] | None = None,
    body: bytes | None = None,
    content_type: str | None = None,
    keep_alive: bool = True,
    user_agent: str = "filterd",
) -> bytes:
    """A whole request, framed by Content-Length.

    `target` is percent-encoded ASCII, `host` the value of the Host header. `headers` replace the defaults of the same name: a
    list repeats the header, None leaves it out, "" sends it empty; str is sent as UTF-8. Raises ValueError for what would
    not stay in its place, for a Content-Length that is not the body's and for any Transfer-Encoding.
    """
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"HTTP method {method!r} is not a token")
    if not _TARGET.fullmatch(target):
        raise ValueError(f"request target {target!r} is not percent-encoded ASCII")
    content = body or b""
    fields = {"host": f"Host: {host}", "user-agent": f"User-Agent: {user_agent}", "accept": "Accept: */*"}
    if not keep_alive:
        fields["connection"] = "Connection: close"
    if content_type is not None:
        fields["content-type"] = f"Content-Type: {content_type}"
    if body is not None or method in SAYS_LENGTH:
        fields["content-length"] = f"Content-Length: {len(content)}"
    lines = []
    for name, value in (headers or {}).items():
        key = name.lower()
        if key == "transfer-encoding" or (key == "content-length" and str(value) != str(len(content))):
            raise ValueError(f"header {name}: the body is framed by its own length")
        fields.pop(key, None)
        if value is not None:
            values = [value] if isinstance(value, (str, bytes, int, float)) else value
            lines += [_line(name, each) for each in values]
    return _head(f"{method} {target} HTTP/1.1", [*fields.values(), *lines]) + content


def render_response(
    status: int,
    *,
    body: bytes = b"",
    content_type: str = "application/json",
    keep_alive: bool = False,
    headers: Iterable[tuple[str, str]] = (),
    reason: str | None = None,
    server: str = "filterd",
    date: bytes | None = None,
    head: bool = False,
) -> bytes:
    """A whole final response with its headers in Rspamd's order, `headers` last.

    `date` is the value of the Date header (RFC 9110 5.6.7). `reason` may be any text: what a status line cannot hold becomes a
    blank. With `head`, for the answer to HEAD, the body is left out and its length told (RFC 9110 9.3.2). Raises ValueError
    for CR, LF or NUL in a header.
    """
    phrase = _PHRASES.get(status, "") if reason is None else _NOT_TEXT.sub(" ", reason)
    lines = [f"Connection: {'keep-alive' if keep_alive else 'close'}", f"Server: {server}"]
    if date is not None:
        lines.append(f"Date: {date.decode('ascii')}")
    lines += [f"Content-Length: {len(body)}", f"Content-Type: {content_type}"]
    lines += [_line(name, value) for name, value in headers]
    rendered = _head(f"HTTP/1.1 {status} {phrase}", lines)
    return rendered if head else rendered + body


def _line(name: str, value: object) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"header name {name!r} is not a token")
    return f"{name}: {value.decode('utf-8', 'surrogateescape') if isinstance(value, bytes) else value}"


def _head(start: str, lines: list[str]) -> bytes:
    text = "\r\n".join((start, *lines, "", ""))
    breaks = len(lines) + 2
    # Counting costs less than a look at each value: a line break from inside a value is one too many.
    if text.count("\r") != breaks or text.count("\n") != breaks or "\0" in text:
        # Its name only: the value may be a key or a password, read from a file with its newline.
        wrong = next(line for line in lines if _BREAKS.search(line))
        raise ValueError(f"CR, LF or NUL in the value of header {wrong.partition(':')[0]}")
    return text.encode("utf-8", "surrogateescape")
