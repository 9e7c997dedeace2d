"""The unix socket by which `filterd reload`, `status` and `stop` speak to the supervisor: one JSON line each way.

Promises:

* Only root and the user who runs the supervisor are answered, whatever the permissions of the path are.
* Nobody holds up the supervisor: connections, lines and the time for a question are limited.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from logging import getLogger
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from filterd.daemon.loop import READ, WRITE, Loop
from filterd.net.plain import BindError, Socket, accept, open_socket, peer_uid
from filterd.proto.json_lines import JsonLines, ProtocolError, render

__all__ = ["Console", "Order", "default_places"]

log = getLogger("filterd.supervisor")

MOST_CONNECTIONS = 32
MOST_BYTES = 65536
ANSWER_TIME = 10.0
"""Seconds for a caller to take its answer."""

QUESTION_TIME = 5.0
"""Seconds from the connection to its question."""

Order = Callable[[Callable[[Mapping[str, Any]], object]], object]
"""Gets what sends the answer."""


def default_places(conf: str | os.PathLike[str]) -> list[Path]:
    """Where the socket may be if the configuration does not say, the best place first: each file of configuration has its own
    name, in the folder that systemd made, in /run, in the user's runtime folder, in one below the folder for temporary files.
    """
    name = f"{sha256(os.fsencode(Path(conf).resolve())).hexdigest()[:12]}.sock"
    folders = [os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0], "/run/filterd"]
    if os.environ.get("XDG_RUNTIME_DIR"):
        folders.append(os.path.join(os.environ["XDG_RUNTIME_DIR"], "filterd"))  # noqa: PTH118 - strings among strings
    folders.append(f"{tempfile.gettempdir()}/filterd-{os.geteuid()}")
    return [Path(folder) / name for folder in folders if folder]


def _usable(folder: Path) -> bool:
    """Whether the folder is ours alone to write into; it is made if that is possible."""
    try:
        folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


class Console:
    """Answers orders by their names."""

    def __init__(self, loop: Loop, orders: Mapping[str, Order]) -> None:
        self.path = ""
        self._loop = loop
        self._orders = orders
        self._socket: Socket | None = None
        self._inode = (0, 0)
        self._callers: dict[Socket, JsonLines] = {}
        self._unsent: dict[Socket, bytearray] = {}

    def open(self, path: str | None, conf: str | os.PathLike[str]) -> str:
        """Listen at the path, or at the first default place that will do; what prevents it, or ""."""
        places = [Path(path)] if path is not None else [one for one in default_places(conf) if _usable(one.parent)]
        if not places:
            return "there is no folder for the supervisor's socket (supervisor.socket)"
        try:
            self._socket = open_socket(str(places[0]), mode=0o600)
        except BindError as error:
            return str(error.strerror)
        self.path = str(places[0])
        entry = places[0].stat()
        self._inode = entry.st_dev, entry.st_ino
        self._loop.watch(self._socket, READ, lambda ready: self._accept())
        return ""

    def close(self) -> None:
        """Hang up on everybody, and go."""
        for caller in list(self._callers):
            self._end(caller)
        if self._socket is not None:
            self._loop.unwatch(self._socket)
            self._socket.close()
            self._socket = None
            path = Path(self.path)
            try:
                entry = path.lstat()
                if (entry.st_dev, entry.st_ino) == self._inode:
                    path.unlink()
            except OSError as error:
                log.warning("cannot remove %s: %s", self.path, error.strerror)

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            caller = accept(self._socket)
        except OSError:
            return
        uid = peer_uid(caller)
        if uid not in (0, os.geteuid()):
            log.warning("user %d may not give orders to filterd", uid)
            caller.close()
        elif len(self._callers) >= MOST_CONNECTIONS:
            caller.close()
        else:
            self._callers[caller] = JsonLines(limit=MOST_BYTES)
            self._loop.watch(caller, READ, lambda ready: self._read(caller))
            channel = self._callers[caller]
            self._loop.later(QUESTION_TIME, lambda: self._end(caller) if self._callers.get(caller) is channel else None)

    def _read(self, caller: Socket) -> None:
        try:
            messages = self._callers[caller].feed(caller.recv(MOST_BYTES))
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            self._end(caller)
            return
        if self._callers[caller].closed:
            self._end(caller)
        elif messages:
            # From now on it may wait as long as the order takes.
            self._callers[caller] = JsonLines(limit=MOST_BYTES)
            order = self._orders.get(str(messages[0].get("do")))
            if order is None:
                self._answer(caller, {"problems": [f"there is no order {messages[0].get('do')!r}"]})
            else:
                order(lambda answer: self._answer(caller, answer))

    def _answer(self, caller: Socket, answer: Mapping[str, Any]) -> None:
        if caller in self._callers:
            self._unsent[caller] = bytearray(render(answer))
            self._loop.later(ANSWER_TIME, lambda: self._end(caller) if self._unsent.get(caller) else None)
            self._send(caller)

    def _send(self, caller: Socket) -> None:
        unsent = self._unsent[caller]
        try:
            while unsent:
                del unsent[: caller.send(unsent)]
        except BlockingIOError:
            self._loop.watch(caller, WRITE, lambda ready: self._send(caller))
            return
        except OSError:
            self._end(caller)
            return
        self._loop.watch(caller, READ, lambda ready: self._read(caller))

    def _end(self, caller: Socket) -> None:
        self._unsent.pop(caller, None)
        if self._callers.pop(caller, None) is not None:
            self._loop.unwatch(caller)
            caller.close()
