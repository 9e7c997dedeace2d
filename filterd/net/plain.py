"""Sockets without a loop: addresses by name, listening sockets, and what a process needs that has no hub.

Promises:

* Nothing of gevent is imported: the supervisor lives on this alone.
* A unix socket nobody listens on any more is replaced, nothing else is.
* What cannot be listened on raises BindError, which names the address.
"""

import os
import struct
from _socket import socket as Socket  # noqa: N812 - it is a class
from _socket import socketpair
from errno import EADDRINUSE
from pathlib import Path
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_TCP,
    SO_PEERCRED,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from stat import S_ISSOCK

__all__ = [
    "BACKLOG",
    "Address",
    "BindError",
    "Socket",
    "accept",
    "adopt",
    "ask_unix",
    "open_socket",
    "pair",
    "peer_name",
    "peer_uid",
    "send_datagram",
]

Address = tuple[str, int] | str
"""`(ip, port)` or the path of a unix socket. Names are resolved before they come here."""

BACKLOG = 1024

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7)


class BindError(OSError):
    """A listening address cannot be used; `strerror` names it."""


def peer_name(address: Address) -> str:
    """How a peer is called in texts: `127.0.0.1:6379`, `[::1]:6379`, `unix:/run/x.sock`."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_socket(address: Address, *, mode: int | None = None, backlog: int | None = BACKLOG) -> Socket:
    """A listening socket; with a `backlog` of None the address is taken but nobody can connect yet. Raises BindError.

    Its `mode` (0600 if none is given) is there from the first moment on.
    """
    family = AF_UNIX if isinstance(address, str) else AF_INET6 if ":" in address[0] else AF_INET
    sock = Socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    try:
        if isinstance(address, str):
            _clear_stale(address)
            before = os.umask(0o777 & ~(0o600 if mode is None else mode))
            try:
                sock.bind(address)
            finally:
                os.umask(before)
        else:
            sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            # Linux hands this down to every connection that is accepted, which spares a system call for each.
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            sock.bind(address)
        if backlog is not None:
            sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise BindError(error.errno, f"cannot listen on {peer_name(address)}: {error.strerror or error}") from None
    return sock


def _clear_stale(path: str) -> None:
    try:
        if not S_ISSOCK(Path(path).stat().st_mode):
            raise OSError(EADDRINUSE, "there is a file at that path, and it is no socket")
    except FileNotFoundError:
        return
    probe = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        if probe.connect_ex(path) == 0:
            raise OSError(EADDRINUSE, "somebody is listening there")
    finally:
        probe.close()
    Path(path).unlink(missing_ok=True)


def adopt(descriptor: int) -> Socket:
    """The socket that a descriptor inherited from the parent is; it blocks nobody, and is not inherited further."""
    os.set_inheritable(descriptor, False)
    sock = Socket(fileno=descriptor)
    sock.setblocking(False)
    return sock


def pair() -> tuple[Socket, Socket]:
    """Two connected sockets that block nobody."""
    one, other = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    return one, other


def accept(listening: Socket) -> Socket:
    """The next connection. Raises OSError, BlockingIOError where there is none."""
    descriptor, _ = listening._accept()  # type: ignore[attr-defined]  # what socket.socket.accept calls, without its wrapper
    sock = Socket(listening.family, SOCK_STREAM, 0, fileno=descriptor)
    sock.setblocking(False)
    return sock


def peer_uid(sock: Socket) -> int:
    """The user who is at the other end of a unix socket."""
    uid: int = _CREDENTIALS.unpack(sock.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))[1]
    return uid


def ask_unix(path: str) -> Socket:
    """A connection to a unix socket, for a program that does nothing else and may wait. Raises OSError."""
    sock = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def send_datagram(path: str, data: bytes) -> None:
    """One datagram to a unix socket; a path beginning with @ is a name in the abstract namespace. Raises OSError."""
    sock = Socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
    try:
        sock.connect("\0" + path[1:] if path.startswith("@") else path)
        sock.send(data)
    finally:
        sock.close()
