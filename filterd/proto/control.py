"""Rspamd's controller protocol as values: which path asks for what, who is behind a proxy, the password, the replies.

The document is Rspamd's own behaviour (3.4, and what 4.x added), as `rspamc`, its web interface and the exporters use it.

Promises:

* A password is taken out of a request before anything else sees it: `without_password`.
* `forwarded` gives every address a proxy names, and None among them for what is no address: whoever judges by them cannot be
  fooled by a header that only looks like none.
* An error is never an empty object, and every reply says that it is not to be stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote_plus

import orjson

from filterd.mail.ip import normalise_ip
from filterd.proto.http1 import Request

__all__ = [
    "ENDPOINTS",
    "JSON",
    "PLAIN",
    "SCANS",
    "Level",
    "Reply",
    "argument",
    "as_json",
    "error",
    "forwarded",
    "host_of",
    "is_foreign_page",
    "options",
    "password",
    "path",
    "success",
    "without_password",
]

Level = Literal["open", "read", "write"]
"""What a path asks for: nothing, the password, or the enable password."""

JSON = "application/json"
PLAIN = "text/plain"
NO_STORE = (("Cache-Control", "no-store"),)

ENDPOINTS: Mapping[str, Level] = {
    **dict.fromkeys(("ping", "healthy", "ready"), "open"),
    **dict.fromkeys(
        (
            "auth", "stat", "counters", "symbols", "actions", "maps", "getmap", "getkey", "mapedits", "history", "errors",
            "graph", "pie", "neighbours", "metrics", "bayes/classifiers",
        ),
        "read",
    ),
    **dict.fromkeys(
        (
            "statreset", "savemap", "setkey", "delkey", "undokey", "saveactions", "savesymbols", "historyreset",
            "learnspam", "learnham", "learnclass",
            "fuzzyadd", "fuzzydel", "fuzzydelhash",
        ),
        "write",
    ),
}  # fmt: skip
"""Paths by what they ask for; "plugins" and all below it is "read"."""

SCANS = frozenset(("checkv2", "check", "scan", "process", "report", "report_ifspam", "skip"))
"""Paths by which a message is judged, for who may read. "symbols" is not among them: here it lists the symbols."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. `reason` stands in the status line, where Rspamd's clients read what went wrong."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = NO_STORE
    reason: str | None = None


def path(request: Request) -> str:
    """What a request asks for: its path in lower case without slashes at the ends, "" for the root."""
    target = request.target.partition("#")[0].partition("?")[0]
    if not target.startswith("/"):  # RFC 9112 3.2.2: absolute form
        target = target.partition("://")[2].partition("/")[2]
    return target.strip("/").lower()


def argument(request: Request, name: str) -> str | None:
    """The first value of a header, else of a key in the query; None where there is neither. `name` is in lower case."""
    wanted = name.encode()
    for header, value in request.headers:
        if header == wanted:
            return value.decode("utf-8", "replace")
    return next((unquote_plus(value) for key, value in _query(request) if unquote_plus(key).lower() == name), None)


def password(request: Request) -> bytes | None:
    """The password of a request: header `Password`, else `password=` in the query, as `rspamc` and the web pages send it."""
    found = next((value for name, value in request.headers if name == b"password"), None)
    if found is None and (written := argument(request, "password")) is not None:
        found = written.encode()
    return found or None


def without_password(request: Request) -> Request:
    """The request as a scan may see it: what rules are told, and what may be logged, has no password in it."""
    headers = [(name, value) for name, value in request.headers if name != b"password"]
    target, question, _ = request.target.partition("#")[0].partition("?")
    if question:
        kept = "&".join(f"{key}={value}" for key, value in _query(request) if unquote_plus(key).lower() != "password")
        target = f"{target}?{kept}" if kept else target
    return replace(request, headers=headers, target=target)


def forwarded(request: Request) -> list[str | None]:
    """The addresses in X-Forwarded-For and X-Real-IP, in order, the nearest last; None for what is no address.

    The header `Forwarded` (RFC 7239) may name or hide anybody: it counts as one that is unknown.
    """
    found: list[str | None] = []
    for name in (b"x-real-ip", b"x-forwarded-for"):
        for header, value in request.headers:
            if header == name:
                found += [_address(one) for one in value.decode("latin-1").split(",")]
    if any(header == b"forwarded" for header, _ in request.headers):
        found.insert(0, None)
    return found


def host_of(peer: str) -> str | None:
    """The address in a peer's name (`192.0.2.1:25`, `[::1]:25`); None for a unix socket."""
    host, colon, _ = peer.rpartition(":")
    return normalise_ip(host) if colon else None


def is_foreign_page(request: Request) -> bool:
    """Whether a page of another site sends this through somebody's browser: then it is not the browser's machine that asks."""
    fields = dict(request.headers)
    origin = fields.get(b"origin")
    if origin is not None:
        return origin.partition(b"://")[2] != fields.get(b"host", b"")
    return fields.get(b"sec-fetch-site", b"none").lower() not in (b"none", b"same-origin")


def as_json(value: Any, status: int = 200) -> Reply:
    """A value as reply. Keys may be anything with a text, numbers that are not finite become null."""
    return Reply(status, orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=_plain))


def error(status: int, text: str, *, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """An error: Rspamd's clients read it from the body or from the status line."""
    text = text.encode("utf-8", "replace").decode()
    return Reply(status, orjson.dumps({"error": text}), reason=text, headers=(*NO_STORE, *headers))


def success() -> Reply:
    """Done."""
    return as_json({"success": True})


def options() -> Reply:
    """What a browser asks before it sends headers of its own. No other site is invited: there is no Allow-Origin."""
    allowed = (
        ("Access-Control-Allow-Methods", "POST, GET, OPTIONS"),
        ("Access-Control-Allow-Headers", "Content-Type,Password,Map,Weight,Flag"),
    )
    return Reply(200, b"", PLAIN, (*NO_STORE, *allowed))


def _query(request: Request) -> list[tuple[str, str]]:
    written = request.target.partition("#")[0].partition("?")[2]
    return [(key, value) for pair in written.split("&") for key, _, value in [pair.partition("=")] if pair]


def _address(text: str) -> str | None:
    text = text.strip().strip('"')
    # Some proxies add the port. An IPv6 address with one is in brackets.
    if text.startswith("["):
        text = text.partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return normalise_ip(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
