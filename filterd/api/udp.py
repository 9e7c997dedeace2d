"""UDP for rules: one datagram, and the answer to it. `udp` in rule files."""

from collections.abc import Callable
from typing import Any, overload

from filterd.api._callback import later, scope_of
from filterd.net.stream import Data, gather
from filterd.outcome import OkFirst, RequestFailed
from filterd.task import Scope

__all__ = ["sendto"]


@overload
def sendto(
    host: str,
    port: int,
    data: Data,
    *,
    read: bool = True,
    timeout: float = 1.0,
    retransmits: int = 0,
    task: Scope | None = None,
    callback: None = None,
) -> OkFirst[bytes]: ...


@overload
def sendto(
    host: str,
    port: int,
    data: Data,
    *,
    read: bool = True,
    timeout: float = 1.0,
    retransmits: int = 0,
    task: Scope | None = None,
    callback: Callable[..., Any],
) -> bool: ...


def sendto(
    host: str,
    port: int,
    data: Data,
    *,
    read: bool = True,
    timeout: float = 1.0,
    retransmits: int = 0,
    task: Scope | None = None,
    callback: Callable[..., Any] | None = None,
) -> OkFirst[bytes] | bool:
    """Send a datagram to a name or an address and wait for one in answer: `(True, data)` or `(False, Failure)`.

    `timeout` is in seconds, for each of the `retransmits` + 1 tries; without an answer the failure reads `read timeout`.
    With `read=False` nothing is waited for: `(True, b"")` says that it was sent. `callback(is_ok, data_or_err)` makes it return
    at once: True, or False if it could not be started.
    """
    scope = scope_of(task, "udp.sendto", waits=callback is None)
    if not 0 < port < 65536:
        raise ValueError(f"sending to {host} needs a port from 1 to 65535, not {port}")
    sent = gather(data)

    def ask() -> OkFirst[bytes]:
        client = scope.network.udp
        try:
            return OkFirst(True, client.ask(host, port, sent, timeout=timeout, retransmits=retransmits, answer=read))
        except RequestFailed as error:
            return OkFirst(False, error.failure)

    return ask() if callback is None else later(scope, callback, ask)
