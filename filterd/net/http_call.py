"""One HTTP request as a rule asks for it, checked and turned into whom to connect to and what to send.

Promises:

* A mistake in the arguments is a ValueError (a bad address: BadUrl) here, before anything is sent.
* What the rule does not say comes from `HttpSettings`.
* A redirect that leads to another origin takes no credentials there.
"""

import zlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from filterd.net.event import Event
from filterd.net.http_pool import Endpoint, Proxy
from filterd.net.http_reply import Response
from filterd.net.http_url import BadUrl, Url, is_local, literal_address, parse_url
from filterd.net.stream import Address, gather
from filterd.net.tls import TlsSettings
from filterd.proto.http1 import HeaderValue, render_request

__all__ = ["Body", "Call", "HttpSettings", "Limits", "Upstream"]

Body = str | bytes | Iterable[str | bytes] | Mapping[str, Any]

MAX_SIZE = 10 * 2**20
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})  # RFC 9110 9.2.2
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What says who asks, and goes to nobody else.
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "host"})
_ABOUT_BODY = frozenset({"content-type", "content-length", "content-encoding", "content-language", "content-location"})
_SLICE = 256 * 1024  # what is compressed in one go: some 10 ms
_NO_TLS = TlsSettings()


class Upstream(Protocol):
    """Several servers for one service: says which is next, and hears how it went. `net.upstream.Upstreams` is one."""

    def pick(self) -> Address: ...

    def ok(self, server: Address) -> object: ...

    def fail(self, server: Address) -> object: ...


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """What a client does where a rule does not say. Times are seconds; `proxy` is an address such as `http://proxy:3128`.

    `connect_timeout` None: what `timeout` leaves. `max_connections` is for one endpoint; `max_idle`, and `max_detached` (calls
    that go on without their message), are for the whole client.
    """

    timeout: float = 5.0
    connect_timeout: float | None = None
    proxy: str | None = None
    tls: TlsSettings = _NO_TLS
    max_connections: int = 100
    max_idle: int = 256
    idle_timeout: float = 30.0
    max_detached: int = 256
    user_agent: str = "filterd"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that the phases of a call may take, each within its `timeout`; None for no narrower limit.

    `connect` is for all until there is a connection: a place in the pool, the name, TCP.
    """

    connect: float | None = None
    tls: float | None = None
    write: float | None = None
    read: float | None = None


_NO_LIMITS = Limits()


class Call:
    """A request ready to be sent. The keywords are those of `http.request`."""

    __slots__ = (
        "_body",
        "_extra",
        "_gzip",
        "_headers",
        "_mime_type",
        "_sni",
        "_tls",
        "endpoint",
        "forbid_local",
        "keepalive",
        "limits",
        "max_size",
        "method",
        "proxy",
        "redirects",
        "request",
        "settings",
        "timeout",
        "unix_socket",
        "upstream",
        "url",
    )

    def __init__(
        self,
        url: str,
        settings: HttpSettings,
        *,
        method: str | None = None,
        headers: Mapping[str, HeaderValue] | None = None,
        body: Body | None = None,
        json: Any = None,
        mime_type: str | None = None,
        timeout: float | None = None,
        connect_timeout: float | None = None,
        tls_timeout: float | None = None,
        write_timeout: float | None = None,
        read_timeout: float | None = None,
        user: str | None = None,
        password: str | None = None,
        keepalive: bool = True,
        gzip: bool = False,
        max_size: int = MAX_SIZE,
        proxy: str | None = None,
        follow_redirects: int = 0,
        forbid_local: bool = False,
        upstream: Upstream | None = None,
        unix_socket: str | None = None,
        tls_verify_host: bool | None = None,
        tls_verify_peer: bool | None = None,
        tls_ca_path: str | None = None,
        tls_client_cert: str | None = None,
        tls_client_key: str | None = None,
        tls_min_version: str | None = None,
        sni: str | None = None,
    ) -> None:
        self.url = parse_url(url)
        self.settings = settings
        self.timeout = settings.timeout if timeout is None else timeout
        if connect_timeout is None:
            connect_timeout = settings.connect_timeout
        if connect_timeout is tls_timeout is write_timeout is read_timeout is None:
            self.limits = _NO_LIMITS
        else:
            self.limits = Limits(connect_timeout, tls_timeout, write_timeout, read_timeout)
        for seconds in (self.timeout, connect_timeout, tls_timeout, write_timeout, read_timeout):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"a timeout is a number of seconds above 0, not {seconds!r}")
        if tls_min_version not in (None, "1.2", "1.3"):
            raise ValueError(f'tls_min_version {tls_min_version!r} is not one of "1.2", "1.3"')
        self.keepalive = keepalive
        self.max_size = max_size
        self.redirects = follow_redirects
        self.forbid_local = forbid_local
        self.upstream = upstream
        self.unix_socket = unix_socket
        self.proxy = settings.proxy if proxy is None else proxy
        self._sni = sni
        self._tls = tls_verify_host, tls_verify_peer, tls_ca_path, tls_client_cert, tls_client_key, tls_min_version
        self._headers = headers
        self._mime_type = mime_type
        self._body = self._content(body, json)
        self.method = ("GET" if self._body is None else "POST") if method is None else method.upper()
        if self.method == "CONNECT":
            raise ValueError("CONNECT asks for a tunnel, not for an answer: say proxy=")
        self._extra: dict[str, HeaderValue] = {}
        if user is None:
            user, password = self.url.user, self.url.password
        if user is not None:
            self._extra["Authorization"] = _basic(user, password or "")
        self._gzip = gzip and bool(self._body)
        self.endpoint = self._endpoint()
        self.request = self._render(self._body)

    def _content(self, body: Body | None, json: Any) -> bytes | None:
        kind = None
        content: bytes | None
        if json is not None:
            if body is not None:
                raise ValueError("a request has one body: say body= or json=")
            content, kind = orjson.dumps(json), "application/json"
        elif body is None:
            content = None
        elif isinstance(body, Mapping):
            content, kind = urlencode(body, doseq=True).encode("ascii"), "application/x-www-form-urlencoded"
        else:
            content, kind = gather(body), "text/plain"
        if self._mime_type is None:
            self._mime_type = kind
        return content

    # -- whom to connect to

    def _endpoint(self) -> Endpoint:
        url = self.url
        tls = server_name = None
        if url.scheme == "https":
            tls, server_name = _tls(self.settings.tls, self._tls), self._sni or url.host
        if self.unix_socket is not None:
            return Endpoint("", 0, tls, server_name, self.unix_socket, None, self.forbid_local)
        if self.proxy and self.upstream is None:
            proxy = _proxy(self.proxy)
            if tls is None:
                return Endpoint(proxy.host, proxy.port)
            return Endpoint(url.host, url.port, tls, server_name, None, proxy, self.forbid_local)
        return Endpoint(url.host, url.port, tls, server_name, None, None, self.forbid_local)

    def endpoint_at(self, server: Address) -> Endpoint:
        """The endpoint with the server an upstream has picked."""
        if isinstance(server, str):
            return self.endpoint._replace(unix_socket=server)
        return self.endpoint._replace(host=server[0], port=server[1], unix_socket=None)

    @property
    def forbidden(self) -> bool:
        """`forbid_local` forbids it, as can be told without asking for a name."""
        if not self.forbid_local:
            return False
        if self.unix_socket is not None:
            return True
        return literal_address(self.url.host) is not None and is_local(self.url.host)

    @property
    def is_relayed(self) -> bool:
        """A proxy gets the request itself, and not only bytes to carry."""
        return bool(self.proxy) and self.endpoint.tls is None and self.upstream is None and self.unix_socket is None

    # -- what to send

    def _render(self, body: bytes | None) -> bytes:
        headers = self._headers
        extra = self._extra
        target = self.url.target
        if self.is_relayed:
            assert self.proxy is not None
            target = f"http://{self.url.authority}{target}"  # RFC 9112 3.2.2
            authorization = _proxy(self.proxy).authorization
            if authorization is not None:
                extra = {**extra, "Proxy-Authorization": authorization}
        if self._gzip:
            assert body is not None
            extra = {**extra, "Content-Encoding": "gzip"}
            if len(body) <= _SLICE:
                body = b"".join(_gzipped(body))
        if extra:
            given = {name.lower() for name in headers or ()}
            headers = {name: value for name, value in extra.items() if name.lower() not in given} | dict(headers or {})
        return render_request(
            self.method,
            target,
            self.url.authority,
            headers=headers,
            body=body,
            content_type=self._mime_type,
            keep_alive=self.keepalive,
            user_agent=self.settings.user_agent,
        )

    def rendered(self) -> bytes:
        """The request; may wait, because compressing a large body is done in slices."""
        body = self._body
        if self._gzip and body is not None and len(body) > _SLICE:
            pieces = []
            for piece in _gzipped(body):
                pieces.append(piece)
                Event().wait(until=monotonic(), phase="gzip")
            self._gzip, self._body = False, b"".join(pieces)
            self._extra = {**self._extra, "Content-Encoding": "gzip"}
            self.request = self._render(self._body)
        return self.request

    @property
    def is_idempotent(self) -> bool:
        return self.method in _IDEMPOTENT

    # -- redirects

    def redirected(self, response: Response) -> "Call | None":
        """The call that the answer asks for instead; None where it asks for none, or for one that is not to be made."""
        if self.redirects <= 0 or response.code not in _REDIRECTS or "location" not in response.headers:
            return None
        try:
            url = self.url.joined(response.headers["location"])
        except BadUrl:
            return None
        call = copy(self)
        call.redirects -= 1
        call.url = url
        without: set[str] = set()
        if (response.code == 303 and self.method != "HEAD") or (response.code in (301, 302) and self.method == "POST"):
            call.method, call._body, call._mime_type, call._gzip = "GET", None, None, False  # RFC 9110 15.4
            without |= _ABOUT_BODY
        if url.origin != self.url.origin:
            call.upstream = call.unix_socket = call._sni = None
            call.endpoint = self.endpoint
            without |= _CREDENTIALS
        call._extra = {name: value for name, value in self._extra.items() if name.lower() not in without}
        if self._headers:
            call._headers = {name: value for name, value in self._headers.items() if name.lower() not in without}
        call.endpoint = call._endpoint()
        call.request = call._render(call._body)
        return call


_TlsOptions = tuple[bool | None, bool | None, str | None, str | None, str | None, str | None]


def _tls(settings: TlsSettings, given: _TlsOptions) -> TlsSettings:
    verify_host, verify_peer, ca_path, client_cert, client_key, min_version = given
    if client_cert is None:  # else a key of the settings is that of another certificate
        client_cert, client_key = settings.client_cert, client_key or settings.client_key
    return TlsSettings(
        settings.verify_host if verify_host is None else verify_host,
        settings.verify_peer if verify_peer is None else verify_peer,
        ca_path or settings.ca_path,
        client_cert,
        client_key,
        min_version or settings.min_version,
    )


def _basic(user: str, password: str) -> str:
    if ":" in user:
        raise ValueError("a user name cannot hold a colon (RFC 7617 2)")
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")


def _proxy(address: str) -> Proxy:
    url: Url = parse_url(address if "://" in address else f"http://{address}")
    if url.scheme != "http":
        raise ValueError(f"proxy {address!r}: proxies are spoken to by plain http")
    return Proxy(url.host, url.port, None if url.user is None else _basic(url.user, url.password or ""))


def _gzipped(body: bytes) -> Iterable[bytes]:
    packer = zlib.compressobj(wbits=31)
    for start in range(0, len(body), _SLICE):
        yield packer.compress(body[start : start + _SLICE])
    yield packer.flush()
