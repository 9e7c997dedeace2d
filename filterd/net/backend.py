"""The servers behind a stream listener: the first that can be reached is taken, and may be told for whom.

Promises:

* Servers are tried in their order; one that has been failing for some time is tried last (see `net.upstream`).
* Names are resolved when a connection is made, not before.
* With `send_proxy` a PROXY header goes before everything, in one write; a client whose address nobody knows is "unknown" in
  it, never ourselves.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Literal

from filterd.mail.ip import normalise_ip
from filterd.net.listen import Connection
from filterd.net.stream import Address, Stream
from filterd.net.tcp import TcpClient
from filterd.net.upstream import Upstreams
from filterd.outcome import RequestFailed
from filterd.proto.proxy import Header, render

__all__ = ["Backend", "proxy_header"]


class Backend:
    """Servers in their order, `(host, port)` or the path of a unix socket.

    `timeout` is for one try, in seconds; `send_proxy` is the version of the header, 0 for none.
    """

    def __init__(
        self, client: TcpClient, servers: Sequence[Address], *, timeout: float, send_proxy: Literal[0, 1, 2] = 0
    ) -> None:
        self._client = client
        self._servers = Upstreams(servers, rotation="master-slave")
        self.timeout = timeout
        self.send_proxy = send_proxy

    def connect(self, connection: Connection, until: float) -> Stream:
        """A connection for this client. Raises the RequestFailed of the last server that was tried."""
        tried: list[Address] = []
        header = proxy_header(connection, self.send_proxy) if self.send_proxy else b""
        while True:
            server = self._servers.pick(avoid=tried)
            try:
                stream = self._open(server, min(until, monotonic() + self.timeout), header)
            except RequestFailed:
                self._servers.fail(server)
                tried.append(server)
                if len(tried) == len(self._servers.servers) or monotonic() >= until:
                    raise
            else:
                self._servers.ok(server)
                return stream

    def _open(self, server: Address, until: float, header: bytes) -> Stream:
        host, port = (f"unix:{server}", None) if isinstance(server, str) else server
        stream = self._client.dial(host, port, until)
        try:
            if header:
                stream.write(header, until=until)
        except BaseException:
            stream.close()
            raise
        return stream


def proxy_header(connection: Connection, version: Literal[1, 2]) -> bytes:
    """The header that tells the server of this connection."""
    if connection.header is not None and connection.header.is_local:
        return render(Header(version=version, is_local=version == 2))
    ends = connection.ends()
    if ends is None or isinstance(ends[0], str) or isinstance(ends[1], str):
        return render(Header(version=version))
    destination, source = _plain(ends[0]), _plain(ends[1])
    family: Literal["inet", "inet6"] = "inet6" if ":" in source[0] else "inet"
    try:
        return render(Header(version=version, family=family, transport="stream", source=source, destination=destination))
    except ValueError:  # addresses of two families
        return render(Header(version=version))


def _plain(address: tuple[str, int]) -> tuple[str, int]:
    """An address of IPv4 as one, also where it came in the form of IPv6."""
    return normalise_ip(address[0]) or address[0], address[1]
