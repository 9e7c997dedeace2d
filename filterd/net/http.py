"""The HTTP client: sends calls over kept connections and gives back whole answers.

Promises:

* Nothing outlives its `until`: not a name, not a connect, not a peer that sends one byte at a time.
* Every failure is a `RequestFailed` whose `Failure` names kind, peer, phase and seconds.
* A kept connection that turns out to be closed is replaced once, if the request may be repeated (RFC 9110 9.2.2).
* With `forbid_local` the address that is checked is the one that is connected to.
"""

import ssl
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from filterd.net.counters import Counters
from filterd.net.http_call import Call, HttpSettings, Limits
from filterd.net.http_connection import Connection
from filterd.net.http_pool import Endpoint, Pool, Pools, Proxy
from filterd.net.http_reply import Elapsed, Headers, Response
from filterd.net.http_url import is_local
from filterd.net.stream import Stream, failed, peer_name
from filterd.net.tls import TlsStream
from filterd.outcome import RequestFailed
from filterd.proto.http1 import ProtocolError, ResponseParser, render_request

__all__ = ["Addresses", "HttpClient"]

_TUNNEL_REPLY = 64 * 1024


class Addresses(Protocol):
    """What resolves host names; numeric hosts come back as they are."""

    def addresses(self, host: str, *, until: float | None) -> list[str]: ...


class HttpClient:
    """The HTTP side of one worker. `stats` counts calls, whatever redirects and repetitions they took."""

    def __init__(self, settings: HttpSettings, *, resolver: Addresses) -> None:
        self.settings = settings
        self.resolver = resolver
        self.stats = Counters()
        self.detached = 0
        """Calls that go on without their message."""
        self.routes: Mapping[str, Callable[[Any, Any], Any]] = {}
        """Functions that answers may be handed to by name (`http.query`): those of all rule files."""
        self._pools = Pools(
            max_connections=settings.max_connections, max_idle=settings.max_idle, idle_timeout=settings.idle_timeout
        )

    @property
    def connections(self) -> int:
        """Connections that are idle, in use, or being made."""
        return self._pools.open

    def close(self) -> None:
        """Close idle connections; those in use end with their exchange."""
        self._pools.close()

    def send(self, call: Call, *, until: float | None = None) -> Response:
        """The answer to the call. `until` is the latest moment (of `time.monotonic()`). Raises RequestFailed."""
        stats = self.stats
        stats.requests += 1
        try:
            response = self._exchange(call, until)
            following = call.redirected(response) if call.redirects else None
            while following is not None:
                response = self._exchange(following, until)
                following = following.redirected(response)
        except BaseException as error:
            stats.failed(error)
            raise
        stats.replies += 1
        return response

    def _exchange(self, call: Call, until: float | None) -> Response:
        began = monotonic()
        if call.forbidden:
            raise failed("local address is forbidden", "local", peer=call.endpoint.peer, phase="connect", since=began)
        endpoint = call.endpoint
        if call.forbid_local and call.is_relayed:
            # The proxy will look the name up once more: this is as much as can be known from here.
            self._addresses(call.url.host, forbid_local=True, peer=call.url.authority, began=began, until=until)
        request = call.rendered()
        upstream = call.upstream
        if upstream is None:
            return self._attempts(call, endpoint, request, began, until)
        server = upstream.pick()
        try:
            response = self._attempts(call, call.endpoint_at(server), request, began, until)
        except RequestFailed as error:
            if error.failure.kind not in ("limit", "local"):
                upstream.fail(server)
            raise
        upstream.ok(server)
        return response

    def _attempts(self, call: Call, endpoint: Endpoint, request: bytes, began: float, until: float | None) -> Response:
        pool = self._pools[endpoint]
        fresh = not call.keepalive
        while True:
            connection = self._connection(pool, call, began, until, fresh=fresh)
            stale = connection.is_used
            try:
                return self._talk(pool, connection, call, request, began, until)
            except RequestFailed as error:
                if not stale or connection.began_answer or error.failure.kind != "closed" or not call.is_idempotent:
                    raise
                fresh = True

    def _talk(
        self, pool: Pool, connection: Connection, call: Call, request: bytes, began: float, until: float | None
    ) -> Response:
        limits = call.limits
        opening = (0.0, 0.0, 0.0) if connection.is_used else connection.opening
        start = monotonic()
        try:
            reusable, sent, done = connection.exchange(
                request,
                head=call.method == "HEAD",
                max_size=call.max_size,
                began=began,
                write_until=_sooner(until, start, limits.write),
                read_until=(until, limits.read),
            )
        except ProtocolError as error:
            pool.forget()
            peer = connection.stream.peer
            raise failed(str(error), error.kind, peer=peer, phase="read", since=began) from None
        except BaseException:
            pool.forget()
            raise
        if reusable and call.keepalive:
            pool.put(connection)
        else:
            connection.close()
            pool.forget()
        parser = connection.parser
        elapsed = Elapsed(*opening, sent - start, done - sent, done - began)
        return Response(parser.status, parser.reason, Headers(parser.headers), parser.body, elapsed)

    def _connection(self, pool: Pool, call: Call, began: float, until: float | None, *, fresh: bool) -> Connection:
        limits = call.limits
        connect_until = _sooner(until, began, limits.connect)
        connection = pool.take(until=connect_until, began=began, fresh=fresh)
        if connection is not None:
            # What must not be sent twice is not sent on a connection that was closed a moment ago.
            if call.is_idempotent or not connection.looks_dead():
                return connection
            connection.close()
        try:
            return self._open(pool, limits, call.max_size, began, connect_until, until)
        except BaseException:
            pool.forget()
            raise

    def _open(
        self, pool: Pool, limits: Limits, max_size: int, began: float, connect_until: float | None, until: float | None
    ) -> Connection:
        endpoint = pool.endpoint
        start = monotonic()
        stream, dns = self._connect(endpoint, began, connect_until)
        connected = monotonic()
        stream.began = began
        try:
            tls_until = _sooner(until, connected, limits.tls)
            if endpoint.tunnel is not None:
                host = endpoint.host
                if endpoint.forbid_local:
                    host = self._addresses(host, forbid_local=True, peer=endpoint.peer, began=began, until=tls_until)[0]
                _ask_for_tunnel(stream, endpoint.tunnel, peer_name((host, endpoint.port)), tls_until)
            if endpoint.tls is not None:
                stream = _encrypted(stream, endpoint, tls_until)
            opening = (dns, connected - start - dns, monotonic() - connected)
            return Connection(stream, opening=opening, max_size=max_size, on_lost=pool.lost)
        except BaseException:
            stream.close()
            raise

    def _connect(self, endpoint: Endpoint, began: float, until: float | None) -> tuple[Stream, float]:
        if endpoint.unix_socket is not None:
            return Stream.connect(endpoint.unix_socket, until=until), 0.0
        host, port = endpoint.host, endpoint.port
        if endpoint.tunnel is not None:
            host, port = endpoint.tunnel.host, endpoint.tunnel.port
        start = monotonic()
        forbid_local = endpoint.forbid_local and endpoint.tunnel is None
        addresses = self._addresses(host, forbid_local=forbid_local, peer=peer_name((host, port)), began=began, until=until)
        dns = monotonic() - start
        while True:
            address = addresses.pop(0)
            try:
                stream = Stream.connect(
                    (address, port),
                    # One address that is silent must not use up the time of the others.
                    until=until if until is None or not addresses else _share(until, len(addresses) + 1),
                    peer=peer_name((address, port)) if address == host else f"{host}:{port} ({address})",
                )
            except RequestFailed:
                if not addresses:
                    raise
            else:
                return stream, dns

    def _addresses(self, host: str, *, forbid_local: bool, peer: str, began: float, until: float | None) -> list[str]:
        addresses = list(self.resolver.addresses(host, until=until))
        if not addresses:
            raise failed(f"{host} has no address", "dns", peer=host, phase="dns", since=began)
        if forbid_local:
            for address in addresses:
                if is_local(address):
                    peer = f"{peer} ({address})"
                    raise failed("local address is forbidden", "local", peer=peer, phase="connect", since=began)
        return addresses


def _sooner(until: float | None, start: float, seconds: float | None) -> float | None:
    if seconds is None:
        return until
    return start + seconds if until is None else min(until, start + seconds)


def _share(until: float, parts: int) -> float:
    now = monotonic()
    return now + max(until - now, 0.0) / parts


def _encrypted(stream: Stream, endpoint: Endpoint, until: float | None) -> TlsStream:
    assert endpoint.tls is not None
    try:
        context = endpoint.tls.context()
    except (OSError, ValueError, ssl.SSLError) as error:
        text = f"TLS settings cannot be used: {error}"
        raise failed(text, "tls", peer=stream.peer, phase="tls", since=stream.began) from None
    return TlsStream(stream, context, endpoint.server_name, until=until)


def _ask_for_tunnel(stream: Stream, proxy: Proxy, authority: str, until: float | None) -> None:
    """CONNECT (RFC 9110 9.3.6): what follows a 2xx belongs to the tunnel."""
    headers = {} if proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}
    stream.write(render_request("CONNECT", authority, authority, headers=headers), until=until)
    parser = ResponseParser(max_body=_TUNNEL_REPLY, head=True)
    try:
        while not parser.feed(stream.read(until=until, expect_wait=True)):
            pass
    except ProtocolError as error:
        raise failed(f"proxy: {error}", error.kind, peer=stream.peer, phase="connect", since=stream.began) from None
    if not 200 <= parser.status < 300:
        text = f"the proxy refused: {parser.status} {parser.reason}"
        raise failed(text, "refused", peer=stream.peer, phase="connect", since=stream.began)
