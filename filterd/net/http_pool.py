"""The connections of an HTTP client: how many there may be, which are idle, and for how long.

Promises:

* At most `max_connections` to one endpoint at a time; who comes later waits in order, until its own end.
* A connection that nobody used for `idle_timeout` seconds is closed, with traffic or without.
* At most `max_idle` connections are kept idle over all endpoints, so that many hosts (those of the addresses in mail, say) do
  not use up the process's descriptors.
"""

from collections import deque
from time import monotonic
from typing import Any, NamedTuple

from gevent import get_hub

from filterd.net.event import Event
from filterd.net.http_connection import Connection
from filterd.net.stream import failed, peer_name
from filterd.net.tls import TlsSettings

__all__ = ["Endpoint", "Pool", "Pools", "Proxy"]


class Proxy(NamedTuple):
    """An HTTP proxy; `authorization` is the value of Proxy-Authorization."""

    host: str
    port: int
    authorization: str | None = None


class Endpoint(NamedTuple):
    """Whom to connect to and how. Connections to equal endpoints are interchangeable.

    `server_name` is asked for and verified in TLS. `tunnel` is a proxy to be asked for a way through (CONNECT).
    """

    host: str
    port: int
    tls: TlsSettings | None = None
    server_name: str | None = None
    unix_socket: str | None = None
    tunnel: Proxy | None = None
    forbid_local: bool = False

    @property
    def peer(self) -> str:
        """Its name in texts."""
        return peer_name((self.host, self.port) if self.unix_socket is None else self.unix_socket)


class _Turn(Event):
    """A place in the queue for a connection: when it comes, `gift` is one, or None for leave to make one."""

    __slots__ = ("gift",)

    def __init__(self) -> None:
        super().__init__()
        self.gift: Connection | None = None


class Pool:
    """The connections to one endpoint. `open` counts those idle, in use and being made; while some wait none is idle."""

    __slots__ = ("endpoint", "idle", "open", "pools", "waiting")

    def __init__(self, endpoint: Endpoint, pools: "Pools") -> None:
        self.endpoint = endpoint
        self.pools = pools
        self.idle: list[Connection] = []
        self.open = 0
        self.waiting: deque[_Turn] = deque()

    def take(self, *, until: float | None, began: float, fresh: bool = False) -> Connection | None:
        """The connection used last (never where a `fresh` one is asked for); None is leave to make one.

        Either is given back by `put` or `forget`. Waits where there are too many; Failure: `timeout`, phase `pool`.
        """
        if self.idle and not fresh:
            self.pools.idle -= 1
            return self.idle.pop()
        if self.open < self.pools.max_connections:
            self.open += 1
            return None
        if self.idle:
            self.pools.idle -= 1
            connection: Connection | None = self.idle.pop(0)
        else:
            connection = self._wait(until, began)
        if connection is not None and (fresh or not connection.is_open):
            connection.close()
            return None
        return connection

    def _wait(self, until: float | None, began: float) -> Connection | None:
        turn = _Turn()
        self.waiting.append(turn)
        try:
            if not turn.wait(until=until, phase="pool", peer=self.endpoint.peer):
                spent = monotonic() - began
                text = f"timeout: all {self.open} connections to {self.endpoint.peer} were in use for {spent:.2f} s"
                raise failed(text, "timeout", peer=self.endpoint.peer, phase="pool", since=began)
        except BaseException:
            if not turn.happened:
                self.waiting.remove(turn)
            elif turn.gift is not None:
                self.put(turn.gift)
            else:
                self.forget()
            raise
        return turn.gift

    def put(self, connection: Connection) -> None:
        """It can be used again."""
        pools = self.pools
        if self.waiting:
            turn = self.waiting.popleft()
            turn.gift = connection
            turn.set()
        elif pools.idle >= pools.max_idle or pools.closed or not connection.is_open:
            connection.close()
            self.forget()
        else:
            connection.idle_since = monotonic()
            self.idle.append(connection)
            pools.idle += 1
            pools.watch_idle()

    def forget(self) -> None:
        """One that was taken is closed, or was not made after all."""
        if self.waiting:
            self.waiting.popleft().set()
            return
        self.open -= 1
        if not self.open:
            self.pools.drop(self)

    def lost(self, connection: Connection) -> None:
        """An idle connection has closed itself."""
        if connection in self.idle:  # else it is a gift on its way
            self.idle.remove(connection)
            self.pools.idle -= 1
            self.forget()

    def close_idle(self, before: float) -> None:
        """Close the connections that are idle since before that moment."""
        old = [connection for connection in self.idle if connection.idle_since < before]
        for connection in old:
            connection.close()
            self.lost(connection)


class Pools:
    """All pools of one client. `idle` counts the idle connections in them."""

    def __init__(self, *, max_connections: int, max_idle: int, idle_timeout: float) -> None:
        self.max_connections = max_connections
        self.max_idle = max_idle
        self.idle_timeout = idle_timeout
        self.idle = 0
        self.closed = False
        self._pools: dict[Endpoint, Pool] = {}
        self._timer: Any = None

    def __getitem__(self, endpoint: Endpoint) -> Pool:
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = Pool(endpoint, self)
        return pool

    def __len__(self) -> int:
        return len(self._pools)

    @property
    def open(self) -> int:
        """Connections idle, in use and being made, to all endpoints."""
        return sum(pool.open for pool in self._pools.values())

    def drop(self, pool: Pool) -> None:
        if self._pools.get(pool.endpoint) is pool:
            del self._pools[pool.endpoint]

    def watch_idle(self) -> None:
        """See to it that idle connections are closed in time."""
        if self._timer is None:
            # Two looks in each period: none is idle for more than one and a half. Not a reason to keep a loop running.
            self._timer = get_hub().loop.timer(self.idle_timeout / 2, ref=False)
            self._timer.start(self._sweep, update=True)

    def _sweep(self) -> None:
        self._timer.close()
        self._timer = None
        before = monotonic() - self.idle_timeout
        for pool in list(self._pools.values()):
            pool.close_idle(before)
        if self.idle:
            self.watch_idle()

    def close(self) -> None:
        """Close what is idle, and what is in use when its exchange ends."""
        self.closed = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        for pool in list(self._pools.values()):
            pool.close_idle(float("inf"))
