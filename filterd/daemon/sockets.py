"""The listening sockets of all workers: opened and kept by the supervisor, so that none closes while somebody may call.

Promises:

* A reload opens what is new before anything changes, keeps what stays, and closes what is gone after its last worker has.
* A unix socket has its mode and owner from the beginning of its service, and its path is removed with it if it still is ours.
"""

import os
import shutil
from collections.abc import Iterable
from logging import getLogger
from pathlib import Path

from filterd.daemon.account import Account
from filterd.daemon.plan import Door
from filterd.net.plain import BACKLOG, BindError, Socket, open_socket, peer_name

__all__ = ["Sockets"]

log = getLogger("filterd.supervisor")

DEFAULT_MODE = 0o600


class Sockets:
    """Open sockets by the key of their door."""

    def __init__(self) -> None:
        self._open: dict[str, Socket] = {}
        self._made: dict[str, tuple[str, int, int]] = {}
        self._fresh: set[str] = set()

    def open(self, doors: Iterable[Door], account: Account | None = None) -> list[str]:
        """Take the addresses that are not taken yet, without serving there; what cannot be had is told, and none is kept then.

        A unix socket without an owner belongs to the account.
        """
        refused: list[str] = []
        fresh: list[str] = []
        for door in doors:
            if door.key in self._open:
                continue
            try:
                sock = open_socket(door.address, mode=door.mode, backlog=None)
            except BindError as error:
                refused.append(str(error.strerror))
                continue
            self._open[door.key] = sock
            fresh.append(door.key)
            if door.path:
                entry = Path(door.path).stat()
                self._made[door.key] = door.path, entry.st_dev, entry.st_ino
                refused += _give(door, account)
        if refused:
            self._close(fresh)
        else:
            self._fresh.update(fresh)
        return refused

    def listen(self, doors: Iterable[Door], account: Account | None = None) -> list[str]:
        """From now on callers may wait there. Mode and owner of those that were open before follow the configuration.

        What prevents it is told: somebody else may have been faster since the address was taken, and listens there.
        """
        refused: list[str] = []
        for door in doors:
            if door.key in self._fresh:
                try:
                    self._open[door.key].listen(BACKLOG)
                except OSError as error:
                    refused.append(f"cannot listen on {peer_name(door.address)}: {error.strerror}")
                    continue
                self._fresh.discard(door.key)
                log.info("listen.%s: %s on %s", door.name, door.protocol, self.told(door))
            elif door.path and self._is_ours(door.key):
                Path(door.path).chmod(DEFAULT_MODE if door.mode is None else door.mode)
                for problem in _give(door, account):
                    log.error("%s", problem)
        return refused

    def told(self, door: Door) -> str:
        """Where it is, with the port that the kernel chose."""
        if door.path:
            mode = "" if door.mode is None else f" mode={door.mode:04o}"
            return f"unix:{door.path}{mode}"
        host, port = self._open[door.key].getsockname()[:2]
        return peer_name((host, port))

    def descriptor(self, door: Door) -> int:
        return self._open[door.key].fileno()

    def unkept(self, doors: Iterable[Door], kept: Iterable[Door]) -> list[Door]:
        """Those of the first doors that are not among the second."""
        keys = {door.key for door in kept}
        return [door for door in doors if door.key not in keys]

    def keep(self, doors: Iterable[Door]) -> None:
        """Close all but these."""
        kept = {door.key for door in doors}
        gone = [key for key in self._open if key not in kept]
        self._close(gone)
        for key in gone:
            log.info("no longer listening on %s", key)

    def close(self) -> None:
        self._close(list(self._open))

    def _close(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key in self._made and self._is_ours(key):
                Path(self._made[key][0]).unlink(missing_ok=True)
            self._made.pop(key, None)
            self._fresh.discard(key)
            self._open.pop(key).close()

    def _is_ours(self, key: str) -> bool:
        path, device, inode = self._made[key]
        try:
            entry = os.lstat(path)
        except OSError:
            return False
        return (entry.st_dev, entry.st_ino) == (device, inode)


def _give(door: Door, account: Account | None) -> list[str]:
    owner: str | int | None = door.owner
    group: str | int | None = door.group
    if account is not None:
        owner = account.uid if owner is None else owner
        group = account.gid if group is None else group
    if owner is None and group is None:
        return []
    try:
        shutil.chown(door.path, owner, group)  # type: ignore[arg-type]  # None for one of them leaves it as it is
    except (OSError, LookupError) as error:
        return [f"cannot give {door.path} to {owner or ''}:{group or ''}: {error}"]
    return []
