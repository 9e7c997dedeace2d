"""The keywords of `http.request`, and a set of them to be used again and again.

Promises: a set that cannot be right is refused when it is made, and `append_header` follows libcurl's rules
(CURLOPT_HTTPHEADER).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict, Unpack

from filterd.net.http_call import Body, Call, HttpSettings, Upstream
from filterd.proto.http1 import HeaderValue

__all__ = ["Options", "Settings"]

_LINE = re.compile(r"([^:;]+)(:|;\s*$)(.*)", re.DOTALL)


class Options(TypedDict, total=False):
    """The keywords that `http.request`, `http.query` and `http.Settings` share; `http.request` says what they mean."""

    method: str | None
    headers: Mapping[str, HeaderValue] | None
    body: Body | None
    json: Any
    mime_type: str | None
    timeout: float | None
    connect_timeout: float | None
    tls_timeout: float | None
    write_timeout: float | None
    read_timeout: float | None
    user: str | None
    password: str | None
    keepalive: bool
    gzip: bool
    max_size: int
    proxy: str | None
    follow_redirects: int
    forbid_local: bool
    upstream: Upstream | None
    unix_socket: str | None
    tls_verify_host: bool | None
    tls_verify_peer: bool | None
    tls_ca_path: str | None
    tls_client_cert: str | None
    tls_client_key: str | None
    tls_min_version: str | None
    sni: str | None


class Settings(Mapping[str, Any]):
    """Keywords for many requests: `http.request(url, **settings)`.

    Raises ValueError or TypeError for what `http.request` would refuse.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._options: dict[str, Any] = dict(options)
        self._check()

    def append_header(self, line: str) -> None:
        """Add a line: `Name: value` adds a header or replaces a default one, a name given again is sent again; `Name:` removes
        a default header; `Name;` sends an empty one. Raises ValueError for any other line.
        """  # fmt: skip
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"{line!r} is none of 'Name: value', 'Name:' and 'Name;'")
        name, sign, value = found[1].strip(), found[2], found[3].strip(" \t")
        before = self._options.get("headers")
        headers = dict(before or {})
        known = next((key for key in headers if key.lower() == name.lower()), name)
        if sign == ":" and not value:
            headers.setdefault(known, None)
        else:
            have = headers.get(known)
            earlier = [] if have is None else [have] if isinstance(have, (str, bytes, int, float)) else list(have)
            headers[known] = [*earlier, value]
        self._options["headers"] = headers
        try:
            self._check()
        except ValueError:
            self._options["headers"] = before
            raise

    def _check(self) -> None:
        Call("http://localhost/", HttpSettings(), **self._options)

    def __getitem__(self, keyword: str) -> Any:
        return self._options[keyword]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __repr__(self) -> str:
        shown = {keyword: "…" if keyword == "password" else value for keyword, value in self._options.items()}
        return f"http.Settings({', '.join(f'{keyword}={value!r}' for keyword, value in shown.items())})"
