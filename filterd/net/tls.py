"""TLS as the client, on top of a `Stream`, through memory: the same in a patched process and in a plain one.

Promises:

* Host and certificate are verified unless the settings say otherwise; TLS 1.2 at least.
* A `Context` is made once per settings, never per call (making one costs 22 ms).
* A handshake that fails is a `Failure` of kind `tls` naming what was wrong with the certificate.
"""

import ssl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from filterd.net.greenlets import Stop
from filterd.net.stream import READ_SIZE, Buffer, Stream, failed
from filterd.outcome import RequestFailed

__all__ = ["TlsSettings", "TlsStream"]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to trust a server. `ca_path` is a file or a directory of CA certificates, None for the system's."""

    verify_host: bool = True
    verify_peer: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    min_version: str = "1.2"

    def context(self) -> ssl.SSLContext:
        """The context made of these settings, the same object each time.

        Raises ValueError for an unknown version, OSError (ssl.SSLError is one) for files that cannot be used.
        """
        return _context(self)


@lru_cache(maxsize=64)
def _context(settings: TlsSettings) -> ssl.SSLContext:
    if settings.min_version not in _VERSIONS:
        raise ValueError(f'tls_min_version {settings.min_version!r} is not one of "1.2", "1.3"')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.check_hostname = settings.verify_host and settings.verify_peer
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify_peer else ssl.CERT_NONE
    if settings.ca_path is not None:
        if Path(settings.ca_path).is_dir():
            context.load_verify_locations(capath=settings.ca_path)
        else:
            context.load_verify_locations(cafile=settings.ca_path)
    elif settings.verify_peer:
        context.load_default_certs()
    if settings.client_cert is not None:
        context.load_cert_chain(settings.client_cert, settings.client_key)
    return context


class TlsStream(Stream):
    """A TLS session that has taken over the socket of a plain stream (which must not be used any more)."""

    __slots__ = ("_incoming", "_outgoing", "session")

    def __init__(self, plain: Stream, context: ssl.SSLContext, server_name: str | None, *, until: float | None) -> None:
        """Shakes hands. `server_name` is what the certificate must bear. Failures: `tls`, `timeout`."""
        assert plain.sock is not None
        super().__init__(plain.sock, plain.peer, began=plain.began)
        self._reader, self._writer = plain._reader, plain._writer
        plain.sock = plain._reader = plain._writer = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
            self._shake_hands(until)
        except ValueError as error:
            self.close()
            raise self._tls_failed(f"{server_name!r} is no name for a server: {error}", "tls") from None
        except BaseException:
            self.close()
            raise

    def _shake_hands(self, until: float | None) -> None:
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange(until)
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # which of them depends on the version of Python
                raise self._tls_failed("the peer closed the connection during the TLS handshake", "tls") from None
            except ssl.SSLError as error:
                self._flush_quietly()
                raise self._tls_failed(_reason(error), "tls") from None
            else:
                self._exchange(until, reply=False)
                return

    def _exchange(self, until: float | None, *, reply: bool = True) -> None:
        # One step of the handshake: what fails in it is a failure of TLS, whatever the socket was doing.
        try:
            self._flush(until)
            if reply:
                self._fill(until)
        except RequestFailed as error:
            if error.failure.kind == "timeout":
                raise self._late("tls") from None
            raise self._tls_failed(str(error.failure), "tls") from None
        except Stop as stop:
            stop.phase = "tls"
            raise

    def read(self, size: int = READ_SIZE, *, until: float | None = None, expect_wait: bool = False) -> bytes:
        while not self.eof:
            try:
                data = self.session.read(size)
            except ssl.SSLWantReadError:
                self._flush(until)
                self._fill(until)
                continue
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                data = b""
            except ssl.SSLError as error:
                raise self._tls_failed(_reason(error), "read") from None
            if data:
                return data
            self.eof = True
        return b""

    def write(self, data: Buffer, *, until: float | None = None) -> None:
        view = memoryview(data)
        written = self.written
        while view:
            try:
                size = self.session.write(view[:READ_SIZE])
            except ssl.SSLError as error:
                raise self._tls_failed(_reason(error), "write") from None
            try:
                self._flush(until)
                written += size
            finally:
                # What the socket has sent are records; what counts is what was in them.
                self.written = written
            view = view[size:]

    def shutdown(self) -> None:
        try:
            self.session.unwrap()
        except ssl.SSLError:
            pass  # the peer's farewell has not come yet; ours is in the buffer
        self._flush_quietly()
        super().shutdown()

    def _fill(self, until: float | None) -> None:
        data = super().read(READ_SIZE, until=until)
        if data:
            self._incoming.write(data)
        else:
            # The end of the socket is the end of the session only once the bytes before it were read.
            self.eof = False
            self._incoming.write_eof()

    def _flush(self, until: float | None) -> None:
        if self._outgoing.pending:
            try:
                super().write(self._outgoing.read(), until=until)
            except BaseException:
                # Nothing can follow a record that was cut off in the middle.
                self.close()
                raise

    def _flush_quietly(self) -> None:
        # An alert or a farewell: if it cannot be sent, what caused it is told all the same.
        if self._outgoing.pending and self.sock is not None:
            try:
                self.sock.send(self._outgoing.read())
            except OSError:
                pass

    def _tls_failed(self, text: str, phase: str) -> RequestFailed:
        return failed(text, "tls", peer=self.peer, phase=phase, since=self.began)


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
