"""TCP as straight code: connect, then read and write line by line. `tcp_sync` in rule files.

Promises:

* Every call gives `(True, value)` or `(False, Failure)`; what had arrived before a read failed is in `failure.partial`, and
  still there to be read.
* `timeout` is one budget for the life of the connection. With any of `connect_timeout`, `read_timeout` and `write_timeout`
  each call has a budget of its own, and `timeout` is that of the phases not named.
* Texts are those of Rspamd where rules compare them: `IO timeout`, `IO read error: connection terminated`,
  `Socket error detected: Connection refused`. The rest is in the failure's attributes.
* A connection is closed at the end of the task, if the rule has not done it.
"""

from collections.abc import Callable
from ipaddress import ip_address
from time import monotonic
from typing import Any, TypeVar

from filterd.api._callback import scope_of
from filterd.net.stream import Data, gather
from filterd.net.tcp import TERMINATED, Conversation
from filterd.net.tls import TlsSettings
from filterd.net.upstream import Upstreams
from filterd.outcome import Failure, OkFirst, RequestFailed
from filterd.task import Scope

__all__ = ["END_OF_STREAM", "Budget", "Connection", "connect", "documented", "open_conversation"]

T = TypeVar("T")

END_OF_STREAM = f"IO read error: {TERMINATED}"
"""The text of the failure when the peer sends no more."""

LINE_LIMIT = 1024 * 1024
"""Bytes before a pattern: more than any protocol has in a line, too little to hurt."""

STREAM_LIMIT = 10 * 1024 * 1024
"""Bytes until the end of the stream: the size of large mail."""


class Budget:
    """How long the steps of one connection may take."""

    __slots__ = ("_end", "_phases", "_scope")

    def __init__(
        self, scope: Scope, timeout: float | None, *, connect: float | None, read: float | None, write: float | None
    ) -> None:
        self._scope = scope
        self._end = _after(timeout)
        self._phases: dict[str, float | None] | None = None
        if connect is not None or read is not None or write is not None:
            phases = {"connect": connect, "read": read, "write": write}
            self._phases = {phase: timeout if seconds is None else seconds for phase, seconds in phases.items()}

    def until(self, phase: str) -> float | None:
        """The moment a step that begins now must be over; None if the task's own budget is over before that."""
        end = self._end if self._phases is None else _after(self._phases[phase])
        return None if end >= self._scope.deadline.end else end


def _after(seconds: float | None) -> float:
    return float("inf") if seconds is None else monotonic() + seconds


def documented(failure: Failure, *, size: int = 0) -> Failure:
    """The failure with the text that rules know it by."""
    if failure.phase == "dns":
        return failure
    if failure.kind == "timeout":
        text = "IO timeout"
    elif failure.kind == "tls":
        text = f"ssl error: {failure}"
    elif failure.phase == "connect":
        text = f"Socket error detected: {failure}"
    elif failure.phase == "write":
        text = f"IO write error while trying to write {size} bytes: {failure}"
    elif failure == TERMINATED:
        text = END_OF_STREAM
    elif failure.kind == "closed":
        text = f"IO read error while trying to read data: {failure}"
    else:
        return failure
    return Failure(
        text, kind=failure.kind, peer=failure.peer, phase=failure.phase, elapsed=failure.elapsed, partial=failure.partial
    )


class Connection:
    """A connection of a rule. Lives as long as the task at most."""

    def __init__(self, conversation: Conversation, scope: Scope, budget: Budget) -> None:
        self._conversation = conversation
        self._scope = scope
        self._budget = budget
        scope.adopt(self)

    def __repr__(self) -> str:
        return f"<TCP connection to {self._conversation.peer}>"

    def write(self, data: Data) -> OkFirst[None]:
        """Send all of it: str (as UTF-8), bytes, or a list of both."""
        sent = gather(data)
        return self._outcome("write", self._conversation.write, sent, size=len(sent))

    def read_once(self) -> OkFirst[bytes]:
        """What is buffered, else what one read brings. The end of the stream is a failure of kind `closed`."""
        return self._outcome("read", self._conversation.read_once)

    def read_until(self, pattern: str | bytes, limit: int = LINE_LIMIT) -> OkFirst[bytes]:
        """The bytes before `pattern`, at most `limit`. The pattern is consumed, what follows stays buffered."""
        wanted = gather(pattern)
        if not wanted:
            raise ValueError("read_until needs a pattern")
        return self._outcome("read", self._conversation.read_until, wanted, limit)

    def read_bytes(self, n: int) -> OkFirst[bytes]:
        """Exactly `n` bytes."""
        if n < 0:
            raise ValueError(f"read_bytes cannot read {n} bytes")
        return self._outcome("read", self._conversation.read_bytes, n)

    def read_until_eof(self, limit: int = STREAM_LIMIT) -> OkFirst[bytes]:
        """All until the peer closes, at most `limit` bytes."""
        return self._outcome("read", self._conversation.read_until_eof, limit)

    def eof(self) -> bool:
        """True after a read saw that the peer sends no more."""
        return self._conversation.eof

    def starttls(self, no_verify: bool = False, server_name: str | None = None) -> OkFirst[None]:  # noqa: FBT001, FBT002 - as in Rspamd
        """Go on in TLS. Bytes buffered before the handshake are dropped; `server_name` is by default the host connected to."""
        settings = TlsSettings(verify_host=not no_verify, verify_peer=not no_verify)
        return self._outcome("connect", self._conversation.start_tls, settings, server_name)

    def shutdown(self) -> OkFirst[None]:
        """Say that nothing more will be written; reading goes on."""
        return self._outcome("write", lambda until: self._conversation.shutdown())

    def close(self) -> None:
        """Close at once; a second call does nothing."""
        self._scope.release(self)
        self._conversation.close()

    def _outcome(self, phase: str, step: Callable[..., T], *args: Any, size: int = 0) -> OkFirst[T]:
        try:
            return OkFirst(True, step(*args, until=self._budget.until(phase)))
        except RequestFailed as error:
            return OkFirst(False, documented(error.failure, size=size))


def open_conversation(
    scope: Scope,
    host: str,
    port: int | None,
    *,
    budget: Budget,
    tls: bool,
    tls_verify: bool,
    upstream: Upstreams | None = None,
    source: str | None = None,
) -> Conversation:
    """Connect as asked for. Raises RequestFailed, and ValueError for arguments that cannot be."""
    if upstream is None and not host.startswith("unix:") and (port is None or not 0 < port < 65536):
        raise ValueError(f"connecting to {host} needs a port from 1 to 65535, not {port}")
    if source is not None:
        ip_address(source)
    settings = TlsSettings(verify_host=tls_verify, verify_peer=tls_verify) if tls else None
    until = budget.until("connect")
    return scope.network.tcp.connect(host, port, until=until, source=source, tls=settings, upstream=upstream)


def connect(
    host: str,
    port: int | None = None,
    *,
    task: Scope | None = None,
    timeout: float | None = 5.0,
    connect_timeout: float | None = None,
    read_timeout: float | None = None,
    write_timeout: float | None = None,
    tls: bool = False,
    tls_verify: bool = True,
    upstream: Upstreams | None = None,
    source: str | None = None,
) -> OkFirst[Connection]:
    """A connection to `host`: a name, an address, or `unix:/path` (without `port`). Times are in seconds.

    `upstream` chooses the server and learns how it did: `host` is then the name a certificate is checked for. `source` is the
    local address to come from.
    """
    scope = scope_of(task, "tcp_sync.connect")
    budget = Budget(scope, timeout, connect=connect_timeout, read=read_timeout, write=write_timeout)
    try:
        conversation = open_conversation(
            scope, host, port, budget=budget, tls=tls, tls_verify=tls_verify, upstream=upstream, source=source
        )
    except RequestFailed as error:
        return OkFirst(False, documented(error.failure))
    return OkFirst(True, Connection(conversation, scope, budget))
