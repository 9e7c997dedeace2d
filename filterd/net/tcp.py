"""TCP conversations: connected by name, read by meaning (a line, so many bytes, all of it), counted.

Promises:

* A name with several addresses is tried address by address; a silent one leaves time for the next.
* What has arrived stays readable after a failure, and a copy of it is in `failure.partial`.
* Memory is bounded by the limit of each read.
* Each conversation is counted once: when something in it fails, else as a reply when it is closed.
"""

from dataclasses import replace
from time import monotonic

from filterd.net.counters import Counters
from filterd.net.resolver import Resolver
from filterd.net.stream import Address, Buffer, Stream, failed, peer_name
from filterd.net.tls import TlsSettings, TlsStream
from filterd.net.upstream import Upstreams
from filterd.outcome import Failure, RequestFailed

__all__ = ["TERMINATED", "Conversation", "TcpClient"]

TERMINATED = "connection terminated"
"""The text of the failure when the peer ended its side before the read was complete."""

ATTEMPT = 2.0
"""Seconds for one address of a name while there are others to try."""


class TcpClient:
    """Opens conversations. `stats` counts them."""

    def __init__(self, *, resolver: Resolver) -> None:
        self.resolver = resolver
        self.stats = Counters()

    def connect(
        self,
        host: str,
        port: int | None,
        *,
        until: float | None,
        source: str | None = None,
        tls: TlsSettings | None = None,
        upstream: Upstreams | None = None,
    ) -> "Conversation":
        """A conversation with `host` (a name, an address, or `unix:/path`, which has no port).

        `source` is the local address to come from. `upstream` chooses another server, and learns whether it did well; `host`
        is then only the name its certificate must bear. Failures: `dns`, `connect`, `tls`, `timeout`.
        """
        began = monotonic()
        report = _Report(self.stats, upstream)
        dialled = (host, port) if report.server is None else _host_and_port(report.server)
        try:
            stream = self.dial(*dialled, until, source)
        except BaseException as error:
            report.failed(error)
            if isinstance(error, RequestFailed):
                error.failure.elapsed = monotonic() - began
            raise
        stream.began = began
        conversation = Conversation(stream, host, report)
        try:
            if tls is not None:
                conversation.start_tls(tls, until=until)
        except BaseException:
            conversation.close()
            raise
        return conversation

    def dial(self, host: str, port: int | None, until: float | None, source: str | None = None) -> Stream:
        """A bare connection, in no statistics. Failures: `dns`, `connect`, `timeout`."""
        if host.startswith("unix:"):
            return Stream.connect(host.removeprefix("unix:"), until=until)
        assert port is not None
        peer = peer_name((host.strip("[]"), port))
        addresses = self._resolve(host, peer, until)
        for others in range(len(addresses) - 1, 0, -1):
            now = monotonic()
            share = ATTEMPT if until is None else min(ATTEMPT, (until - now) / (others + 1))
            try:
                return Stream.connect((addresses[-1 - others], port), until=now + share, peer=peer, source=source)
            except RequestFailed:
                pass
        return Stream.connect((addresses[-1], port), until=until, peer=peer, source=source)

    def _resolve(self, host: str, peer: str, until: float | None) -> list[str]:
        try:
            return self.resolver.addresses(host, until=until)
        except RequestFailed as error:
            text = f"unable to resolve host: {host}: {error.failure}"
            raise RequestFailed(Failure(text, kind=error.failure.kind, peer=peer, phase="dns")) from None

    def close(self) -> None:
        """Nothing is kept between conversations, so there is nothing to close."""


class _Report:
    """Says once how a conversation went: to the counters, and to the list its server is from."""

    __slots__ = ("_open", "server", "stats", "upstream")

    def __init__(self, stats: Counters, upstream: Upstreams | None) -> None:
        self.stats = stats
        self.upstream = upstream
        self.server: Address | None = None if upstream is None else upstream.pick()
        self._open = True
        stats.requests += 1

    def failed(self, error: BaseException) -> None:
        if self._open:
            self._open = False
            self.stats.failed(error)
            if self.upstream is not None and self.server is not None:
                self.upstream.fail(self.server)

    def done(self) -> None:
        if self._open:
            self._open = False
            self.stats.replies += 1
            if self.upstream is not None and self.server is not None:
                self.upstream.ok(self.server)


def _host_and_port(server: Address) -> tuple[str, int | None]:
    return (f"unix:{server}", None) if isinstance(server, str) else server


class Conversation:
    """One connection and what has been read from it ahead of its use."""

    __slots__ = ("_asked", "_buffer", "_report", "host", "idle", "stream")

    def __init__(self, stream: Stream, host: str, report: _Report) -> None:
        self.stream = stream
        self.host = host
        self._report = report
        self._buffer = bytearray()
        self.idle: float | None = None
        """Seconds without a byte after which a read gives up, whatever its `until`."""
        self._asked = False

    @property
    def peer(self) -> str:
        return self.stream.peer

    @property
    def eof(self) -> bool:
        """A read has seen the end of what the peer sends."""
        return self.stream.eof

    def read_once(self, *, until: float | None) -> bytes:
        """What is buffered, else what one read brings."""
        if not self._buffer and not self._more(until):
            raise self._terminated()
        return self.take_buffered()

    def read_until(self, pattern: bytes, limit: int, *, until: float | None) -> bytes:
        """The bytes before the pattern, at most `limit`; the pattern is consumed."""
        searched = 0
        while True:
            # The pattern may have begun in the bytes searched before.
            place = self._buffer.find(pattern, max(searched - len(pattern) + 1, 0))
            if 0 <= place <= limit:
                data = self._take(place)
                del self._buffer[: len(pattern)]
                return data
            searched = len(self._buffer)
            if place > limit or searched >= limit + len(pattern):
                raise self._over(limit, f"no {pattern!r} within {limit} bytes")
            if not self._more(until):
                raise self._cut_short()

    def read_bytes(self, size: int, *, until: float | None) -> bytes:
        """Exactly so many bytes."""
        while len(self._buffer) < size:
            if not self._more(until):
                raise self._cut_short()
        return self._take(size)

    def read_until_eof(self, limit: int, *, until: float | None) -> bytes:
        """All until the peer ends its side, at most `limit` bytes."""
        while len(self._buffer) <= limit:
            if not self._more(until):
                return self.take_buffered()
        raise self._over(limit, f"more than {limit} bytes before the end of the stream")

    def take_buffered(self) -> bytes:
        """What was read ahead, and may be none."""
        return self._take(len(self._buffer))

    def write(self, data: Buffer, *, until: float | None) -> None:
        """Send all of it."""
        self._asked = True
        try:
            self.stream.write(data, until=until)
        except BaseException as error:
            self._report.failed(error)
            raise

    def start_tls(self, settings: TlsSettings, server_name: str | None = None, *, until: float | None) -> None:
        """Go on in TLS; `server_name` is by default the host that was asked for.

        Bytes that were received before are dropped: nobody had vouched for them. Where there is no name (a unix socket) the
        certificate is verified, but not the name in it.
        """
        if isinstance(self.stream, TlsStream):
            raise failed("TLS has begun already", "tls", peer=self.peer, phase="tls", since=self.stream.began)
        if server_name is None and not self.host.startswith("unix:"):
            server_name = self.host.strip("[]")
        self._buffer.clear()
        try:
            self.stream.drop_received()
            if server_name is None:
                settings = replace(settings, verify_host=False)
            self.stream = TlsStream(self.stream, settings.context(), server_name, until=until)
        except BaseException as error:
            self._report.failed(error)
            raise

    def shutdown(self) -> None:
        """Say that nothing more will be sent; reading goes on."""
        self.stream.shutdown()

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        self.stream.close()
        self._buffer.clear()
        self._report.done()

    def _more(self, until: float | None) -> bool:
        asked, self._asked = self._asked, False
        if self.idle is not None:
            until = min(monotonic() + self.idle, float("inf") if until is None else until)
        try:
            data = self.stream.read(until=until, expect_wait=asked)
        except RequestFailed as error:
            error.failure.partial = bytes(self._buffer)
            self._report.failed(error)
            raise
        except BaseException as error:
            self._report.failed(error)
            raise
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _terminated(self) -> RequestFailed:
        return failed(TERMINATED, "closed", peer=self.peer, phase="read", since=self.stream.began, partial=bytes(self._buffer))

    def _cut_short(self) -> RequestFailed:
        error = self._terminated()
        self._report.failed(error)
        return error

    def _over(self, limit: int, text: str) -> RequestFailed:
        partial = bytes(self._buffer[:limit])
        error = failed(text, "limit", peer=self.peer, phase="read", since=self.stream.began, partial=partial)
        self._report.failed(error)
        return error
