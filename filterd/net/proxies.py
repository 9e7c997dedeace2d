"""Proxies in front of a listener: from whom a PROXY header is believed, and the reading of it before any protocol.

Promises:

* A header is read from trusted addresses only, and there it must come: nothing is guessed, and no protocol sees a byte of it.
* From any other address it is a fault: the connection is closed, and the log says why. It is never believed.
* It must be whole within HEADER_TIMEOUT, however slowly it drips. Of what follows it no byte is taken.
* A client whose address the proxy does not tell has none: it is never taken for the proxy.
"""

from collections.abc import Iterable
from time import monotonic

from filterd.mail.ip import normalise_ip
from filterd.mail.maps import IpMap
from filterd.net.stream import Address, Stream, failed
from filterd.outcome import RequestFailed
from filterd.proto.proxy import MAX_SIZE, Header, HeaderParser, ProtocolError, begins_header

__all__ = ["HEADER_TIMEOUT", "UNIX", "FirstBytes", "Proxies"]

HEADER_TIMEOUT = 5.0
"""Seconds for the header. It comes in one packet with the first data; three cover that this one is lost once (section 2)."""

UNIX = "unix:"
"""Stands for everyone who may connect to a unix socket."""

_ENOUGH = 12
"""Bytes that tell whether a header begins."""


class Proxies:
    """The trusted addresses and networks (`"10.0.0.0/8"`), and "unix:" for what comes through unix sockets. Raises BadKey."""

    def __init__(self, trusted: Iterable[str], *, timeout: float = HEADER_TIMEOUT, max_size: int = MAX_SIZE) -> None:
        self._networks = IpMap()
        self._trusts_unix = False
        for one in trusted:
            if one == UNIX:
                self._trusts_unix = True
            else:
                self._networks.add(one, True)
        self._networks.finish()
        self.timeout = timeout
        self.max_size = max_size

    def trusts(self, address: Address) -> bool:
        """Whether a connection from this address begins with a header."""
        return self._trusts_unix if isinstance(address, str) else address[0] in self._networks

    def receive(self, connection: Stream) -> Header | None:
        """The header at the beginning of the connection; None when it is closed before a byte came, as by a health check.

        Raises RequestFailed (`protocol`, `timeout`, `closed`) with the phase `proxy`.
        """
        until = monotonic() + self.timeout
        parser = HeaderParser(max_size=self.max_size)
        is_begun = False
        while True:
            # Only looked at: what belongs to the header is known afterwards.
            try:
                data = connection.peek(self.max_size, until=until)
            except RequestFailed as error:
                if error.failure.kind != "timeout":
                    raise
                text = f"no whole PROXY header within {self.timeout:g} s"
                raise failed(text, "timeout", peer=connection.peer, phase="proxy", since=connection.began) from None
            if not data and not is_begun:
                return None
            is_begun = True
            try:
                header = parser.feed(data)
            except ProtocolError as error:
                raise failed(str(error), "protocol", peer=connection.peer, phase="proxy", since=connection.began) from None
            connection.read(len(data) - len(parser.rest), until=until)
            if header is not None:
                return header


def client_of(header: Header) -> Address | None:
    """Whom the connection is forwarded for; None where the header does not say."""
    source = header.source
    if isinstance(source, tuple):
        return normalise_ip(source[0]) or source[0], source[1]
    return source


class FirstBytes:
    """Looks at the first bytes of a connection from an address that no header is believed from."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        self._head: bytes | None = b""

    def look(self, data: bytes, connection: Stream) -> None:
        """The next bytes that came. Raises RequestFailed when they, or what came before them, begin a header."""
        if self._head is None:
            return
        self._head += data[:_ENOUGH]
        begins = begins_header(self._head[:_ENOUGH])
        if begins:
            text = f"a PROXY header from {connection.peer}, which accept_proxy does not name"
            raise failed(text, "protocol", peer=connection.peer, phase="proxy", since=connection.began)
        if begins is not None or not data:
            self._head = None
