"""The keywords of `http.request`, and a set of them to be used again and again."""

from collections.abc import Mapping
from typing import Any, TypedDict

from filterd.net.http_call import Body, Upstream
from filterd.proto.http1 import HeaderValue

__all__ = ["Options"]


class Options(TypedDict, total=False):
    """The keywords that `http.request`, `http.query` and `http.Settings` share; rule-api.md section 2 says what they mean."""

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
