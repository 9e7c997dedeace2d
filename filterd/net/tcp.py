"""TCP conversations: connected by name, read by meaning (a line, so many bytes, all of it), counted.

Promises:

* A name with several addresses is tried address by address; a silent one leaves time for the next.
* What has arrived stays readable after a failure, and a copy of it is in `failure.partial`.
* Memory is bounded by the limit of each read.
* Each conversation is counted once: as a reply when it was closed with nothing failed, else as the first thing that did.
"""

from time import monotonic
from typing import TYPE_CHECKING

from filterd.net.counters import Counters
from filterd.net.greenlets import Stop
from filterd.net.stream import Buffer, Stream, failed, peer_name
from filterd.net.tls import TlsSettings, TlsStream
from filterd.outcome import Kind, RequestFailed

if TYPE_CHECKING:
    from filterd.net.resolver import Resolver

__all__ = ["TERMINATED", "Conversation", "TcpClient"]

TERMINATED = "connection terminated"
"""The text of the failure when the peer ended its side before the read was complete."""

ATTEMPT = 2.0
"""Seconds for one address of a name while there are others to try."""


class TcpClient:
    """Opens conversations. `stats` counts them."""

    def __init__(self, *, resolver: "Resolver") -> None:
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
    ) -> "Conversation":
        """A conversation with `host` (a name, an address, or `unix:/path`, which has no port).

        `source` is the local address to come from. Failures: `dns`, `connect`, `tls`, `timeout`.
        """
        self.stats.begin()
        try:
            conversation = Conversation(self._dial(host, port, until, source), host, self.stats)
        except BaseException as error:
            self.stats.end(_ending(error))
            raise
        try:
            if tls is not None:
                conversation.start_tls(tls, until=until)
        except BaseException:
            conversation.close()
            raise
        return conversation

    def _dial(self, host: str, port: int | None, until: float | None, source: str | None) -> Stream:
        if host.startswith("unix:"):
            return Stream.connect(host.removeprefix("unix:"), until=until)
        assert port is not None
        peer = peer_name((host.strip("[]"), port))
        addresses = self.resolver.addresses(host, until=until)
        for others in range(len(addresses) - 1, 0, -1):
            now = monotonic()
            share = ATTEMPT if until is None else min(ATTEMPT, (until - now) / (others + 1))
            try:
                return Stream.connect((addresses[-1 - others], port), until=now + share, peer=peer, source=source)
            except RequestFailed:
                pass
        return Stream.connect((addresses[-1], port), until=until, peer=peer, source=source)

    def close(self) -> None:
        """Nothing is kept between conversations, so there is nothing to close."""


class Conversation:
    """One connection and what has been read from it ahead of its use."""

    __slots__ = ("_asked", "_buffer", "_ending", "_stats", "host", "stream")

    def __init__(self, stream: Stream, host: str, stats: Counters) -> None:
        self.stream = stream
        self.host = host
        self._stats = stats
        self._buffer = bytearray()
        self._asked = False
        self._ending: str | None = None

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
        return self._take(len(self._buffer))

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
                return self._take(len(self._buffer))
        raise self._over(limit, f"more than {limit} bytes before the end of the stream")

    def write(self, data: Buffer, *, until: float | None) -> None:
        """Send all of it."""
        self._asked = True
        try:
            self.stream.write(data, until=until)
        except BaseException as error:
            self._note(error)
            raise

    def start_tls(self, settings: TlsSettings, *, server_name: str | None = None, until: float | None) -> None:
        """Go on in TLS; `server_name` is by default the host that was asked for.

        Bytes that were received before are dropped: nobody had vouched for them.
        """
        if isinstance(self.stream, TlsStream):
            raise failed("TLS has begun already", "tls", peer=self.peer, phase="tls", since=self.stream.began)
        if server_name is None and not self.host.startswith("unix:"):
            server_name = self.host.strip("[]")
        self._buffer.clear()
        try:
            self.stream.drop_received()
            self.stream = TlsStream(self.stream, settings.context(named=server_name is not None), server_name, until=until)
        except BaseException as error:
            self._note(error)
            raise

    def shutdown(self) -> None:
        """Say that nothing more will be sent; reading goes on."""
        self.stream.shutdown()

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        if self.stream.sock is not None or self._ending != "":
            self.stream.close()
            if self._ending != "":
                self._stats.end(self._ending or "replies")
                self._ending = ""

    def _more(self, until: float | None) -> bool:
        asked, self._asked = self._asked, False
        try:
            data = self.stream.read(until=until, expect_wait=asked)
        except RequestFailed as error:
            error.failure.partial = bytes(self._buffer)
            self._note(error)
            raise
        except BaseException as error:
            self._note(error)
            raise
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data
