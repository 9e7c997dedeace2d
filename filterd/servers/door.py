"""A front door: the first bytes of a connection decide which server gets it, and who is at the wrong door is told.

Promises:

* Each connection goes to the server of its dialect, as if that had read it from the start.
* A client of another protocol gets the answer that its own protocol has for that, where it has one; the log names it, once for
  each connection, and never takes it for a scan.
"""

from collections.abc import Callable, Mapping
from logging import getLogger
from time import monotonic

from filterd.net.linger import answer_and_end
from filterd.net.listen import Connection
from filterd.proto import http1, rspamc_reply, rspamd, spamc_reply
from filterd.proto.dialect import Dialect, dialect

__all__ = ["Door", "Server"]

log = getLogger("filterd.door")

Server = Callable[[Connection, bytes], None]
"""Serves a connection from which some bytes have been read already: none (b"") when the client has closed at once."""

_NAMES: dict[Dialect, str] = {
    "http": "HTTP",
    "rspamc": "RSPAMC",
    "spamc": "SPAMC",
    "milter": "the milter protocol",
    "smtp": "SMTP",
    "tls": "TLS",
    "http/2": "HTTP/2",
    "proxy": "the PROXY protocol",
}
_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x0a"  # RFC 8446 6: fatal, unexpected_message
_HTTP2_GO_AWAY = (
    b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\x0d"
)  # RFC 9113 6.8: HTTP_1_1_REQUIRED


class Door:
    """What serves a listener: `servers` by dialect. `timeout` is in seconds, from the first byte on."""

    def __init__(self, servers: Mapping[Dialect, Server], *, timeout: float = 60.0) -> None:
        self.servers = servers
        self.timeout = timeout
        self.spoken = " and ".join(_NAMES[name] for name in servers)

    def serve(self, connection: Connection) -> None:
        """Find out who it is and let it be served."""
        until = monotonic() + self.timeout
        first = b""
        found: Dialect | None = None
        while found is None:
            data = connection.read(until=until)
            if not connection.busy:
                connection.busy = True
                until = monotonic() + self.timeout
            first += data
            # Who ends before it is clear has sent a beginning of nothing: any server says so.
            found = dialect(first) if data else next(iter(self.servers))
        server = self.servers.get(found)
        if server is not None:
            server(connection, first)
        else:
            self._refuse(connection, found)

    def _refuse(self, connection: Connection, found: Dialect) -> None:
        text = f"this port speaks {self.spoken}, not {_NAMES[found]}"
        log.warning("%s: wrong protocol from %s: %s", connection.listener.name, connection.peer, text)
        answer_and_end(connection, _answer(found, text))


def _answer(found: Dialect, text: str) -> bytes:
    """What the other protocol has for this. Nothing in the milter's and the PROXY protocol: there a close is a failure."""
    match found:
        case "http":
            return http1.render_response(400, body=rspamd.render_error(text), reason=text)
        case "smtp":
            return f"554 5.5.1 {text}\r\n".encode()
        case "spamc":
            return spamc_reply.render_failure(76, text)
        case "rspamc":
            return rspamc_reply.render_failure(76, text)
        case "tls":
            return _TLS_ALERT
        case "http/2":
            return _HTTP2_GO_AWAY
        case _:
            return b""
