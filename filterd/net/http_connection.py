"""One connection to an HTTP server, kept from exchange to exchange.

Promises:

* While it is idle it watches itself: closed or spoken to by the server, it is given up before anyone sends a request on it.
* While it sends it listens: an answer that comes before the whole request was sent is taken, and ends the sending.
* After any failure it is closed; only a whole exchange that both sides want to keep it after leaves it open.
"""

import ssl
from errno import EAGAIN, EINTR
from time import monotonic
from typing import Any

from gevent import get_hub, getcurrent

from filterd.net.stream import READ_SIZE, Stream
from filterd.net.tls import TlsStream
from filterd.outcome import RequestFailed
from filterd.proto.http1 import ProtocolError, ResponseParser

__all__ = ["Connection"]


class _Watch:
    """Stands in for the stream's reading watcher, and stays armed where nobody waits: what comes then is `unexpected`.

    An armed watcher costs nothing. Stopping one and starting it again costs a system call each time.
    """

    __slots__ = ("_call", "_unexpected", "_watcher")

    def __init__(self, fileno: int, unexpected: Any) -> None:
        self._call: Any = None
        self._unexpected = unexpected
        self._watcher = get_hub().loop.io(fileno, 1)
        self._watcher.start(self._fire)

    @property
    def active(self) -> bool:
        return self._call is not None

    def start(self, call: Any, argument: Any) -> None:
        self._call = call  # a waiting greenlet's switch, always with True

    def stop(self) -> None:
        self._call = None

    def close(self) -> None:
        self._call = None
        self._unexpected = None
        self._watcher.close()

    def _fire(self) -> None:
        call = self._call
        if call is not None:
            call(True)
        else:
            self._unexpected()


class _Answered(Exception):
    """Thrown into who is sending: the answer is complete, the rest need not be sent."""


class Connection:
    """A connected stream and the parser of what comes on it.

    `opening` are the seconds that name, connect and TLS took, for the first exchange to tell. `on_lost` is called, from the
    hub, when the connection has closed itself while idle.
    """

    __slots__ = ("_sender", "began_answer", "idle_since", "is_used", "max_size", "on_lost", "opening", "parser", "stream")

    def __init__(self, stream: Stream, *, opening: tuple[float, float, float], max_size: int, on_lost: Any) -> None:
        self.stream = stream
        self.opening = opening
        self.on_lost = on_lost
        self.max_size = max_size
        self.parser = ResponseParser(max_body=max_size)
        self.is_used = False
        self.began_answer = False
        self.idle_since = 0.0
        self._sender: Any = None
        assert stream.sock is not None
        if stream._reader is not None:
            stream._reader.close()
        stream._reader = _Watch(stream.sock.fileno(), self._unexpected)

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        self.stream.close()

    @property
    def is_open(self) -> bool:
        return self.stream.sock is not None

    def looks_dead(self) -> bool:
        """The server has closed it or spoken: what the loop would tell in its next turn, asked for now."""
        return self._look() is not None

    def exchange(
        self,
        request: bytes,
        *,
        head: bool,
        max_size: int,
        began: float,
        write_until: float | None,
        read_until: tuple[float | None, float | None],
    ) -> tuple[bool, float, float]:
        """Send a whole request and read the whole answer, which is then in `parser`.

        `read_until` are the moment the answer must be there at the latest and the seconds it may take once all was sent
        (each None for no limit). Gives whether the connection may be used again, and the moments when sending and reading
        had ended. Raises RequestFailed, and ProtocolError where the answer is none; closed after either.
        """
        stream = self.stream
        stream.began = began
        parser = self._ready_parser(max_size, head=head)
        try:
            all_sent = self._send(request, write_until)
            sent = monotonic()
            until, seconds = read_until
            if seconds is not None:
                until = sent + seconds if until is None else min(until, sent + seconds)
            expect_wait = True
            while not parser.complete:
                data = stream.read(until=until, expect_wait=expect_wait)
                self.began_answer = self.began_answer or bool(data)
                expect_wait = len(data) < READ_SIZE
                parser.feed(data)
        except BaseException:
            self.close()
            raise
        reusable = all_sent and parser.keep_alive
        if reusable and isinstance(stream, TlsStream) and stream._incoming.pending:
            # What came in one piece with the answer: the loop will not tell of it.
            reusable = self._look() is None
        if not reusable:
            self.close()
        return reusable, sent, monotonic()

    def _ready_parser(self, max_size: int, *, head: bool) -> ResponseParser:
        self.began_answer = False
        if max_size != self.max_size:
            self.max_size = max_size
            self.parser = ResponseParser(max_body=max_size, head=head)
        elif self.is_used or head:
            self.parser.reset(head=head)
        self.is_used = True
        return self.parser

    def _send(self, request: bytes, until: float | None) -> bool:
        """False where the answer came first, and the connection is of no more use."""
        self._sender = getcurrent()
        try:
            self.stream.write(request, until=until)
        except _Answered:
            return False
        except RequestFailed as error:
            # A server that refuses a large body answers, closes, and resets because of what it left unread.
            if error.failure.kind != "closed" or not self._answered_before_the_end():
                raise
            return False
        finally:
            self._sender = None
        return True

    def _answered_before_the_end(self) -> bool:
        parser = self.parser
        try:
            while not parser.complete:
                data = self._look() or b""
                self.began_answer = self.began_answer or bool(data)
                parser.feed(data)
        except ProtocolError:
            return False
        return True

    def _unexpected(self) -> None:
        # In the hub: there is something to read and nobody waits for it.
        data = self._look()
        if data is None:
            return
        sender = self._sender
        if sender is None:
            self.close()
            self.on_lost(self)
            return
        self.began_answer = self.began_answer or bool(data)
        try:
            if self.parser.feed(data):
                sender.throw(_Answered())
        except ProtocolError as error:
            sender.throw(error)

    def _look(self) -> bytes | None:
        """What has come, without waiting: None for nothing, b"" for the end, and for a connection that is broken."""
        stream = self.stream
        if stream.sock is None:
            return b""
        data: bytes | None
        try:
            data = stream.sock.recv(READ_SIZE)
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                return b""
            data = None
        return _decrypted(stream, data) if isinstance(stream, TlsStream) else data


def _decrypted(stream: TlsStream, data: bytes | None) -> bytes | None:
    # TLS speaks for itself too (new session tickets, say): what carries no data is nothing to HTTP.
    if data == b"":
        return b""
    if data is not None:
        stream._incoming.write(data)
    pieces = []
    try:
        while piece := stream.session.read(READ_SIZE):
            pieces.append(piece)
    except ssl.SSLWantReadError:
        return b"".join(pieces) or None
    except ssl.SSLError:
        pass
    return b"".join(pieces)
