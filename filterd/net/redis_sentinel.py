"""Redis servers found through Sentinel.

Promises:

* Writes go to the masters that Sentinel names, reads to these and to their replicas that are well.
* Sentinel is asked again every minute, and at once when a call fails or a server says that it is no master: after a failover
  the first failed call is what it takes to find the new master.

Follows the Sentinel client specification, but asks for all masters, because a pattern chooses among them.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from time import monotonic
from typing import Any

from filterd.net.redis_commands import Command
from filterd.net.redis_listed import Listed
from filterd.net.redis_picture import Picture
from filterd.net.redis_server import Private, Server
from filterd.net.redis_settings import Key, RedisSettings, ServerOf
from filterd.net.stream import Address, failed
from filterd.outcome import Failure, RequestFailed

__all__ = ["Sentinels"]

_NOT_WELL = ("s_down", "o_down", "disconnected")
_NO_MASTER = ("READONLY", "MASTERDOWN")


class Sentinels:
    """A target whose servers are those that Sentinel names."""

    def __init__(self, settings: RedisSettings, server: ServerOf) -> None:
        self.settings = settings
        self._server = server
        self._sentinels = [server(address, settings.sentinel_login) for address in settings.sentinels]
        self._listed: Listed | None = None
        self._picture = Picture(self._draw, peer=self._sentinels[0].peer)

    def execute(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> list[Any]:
        listed = self._picture.get(until)
        try:
            replies = listed.execute(commands, key=key, is_write=is_write, until=until)
        except RequestFailed:
            self._picture.doubt()
            raise
        if any(isinstance(reply, Failure) and reply.startswith(_NO_MASTER) for reply in replies):
            self._picture.doubt()
        return replies

    def private(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> Private:
        listed = self._picture.get(until)
        try:
            return listed.private(commands, key=key, is_write=is_write, until=until)
        except RequestFailed:
            self._picture.doubt()
            raise

    def _draw(self) -> Listed:
        first: RequestFailed | None = None
        for sentinel in tuple(self._sentinels):
            try:
                masters, replicas = self._ask(sentinel)
            except RequestFailed as error:
                first = first or error
                # The next drawing begins with one that answers.
                self._sentinels.append(self._sentinels.pop(self._sentinels.index(sentinel)))
                continue
            readers = [*masters, *replicas]
            listed = self._listed
            if listed is None or (listed.writing, listed.reading) != (tuple(masters), tuple(readers)):
                listed = self._listed = Listed(self.settings, self._server, reading=readers, writing=masters)
            return listed
        assert first is not None
        raise first

    def _ask(self, sentinel: Server) -> tuple[list[Address], list[Address]]:
        until = monotonic() + self.settings.timeout
        pattern = self.settings.sentinel_masters
        masters = [one for one in _told(sentinel, until, "MASTERS") if fnmatchcase(one.get("name", ""), pattern)]
        if not masters:
            text = f"the Sentinel {sentinel.peer} knows no master named {pattern!r}"
            raise failed(text, "server", peer=sentinel.peer, phase="connect", since=monotonic())
        replicas = [one for master in masters for one in _told(sentinel, until, "SLAVES", master["name"])]
        linked = [one for one in replicas if one.get("master-link-status") == "ok"]
        return _addresses(masters) or _addresses(masters, anyhow=True), _addresses(linked)


def _told(sentinel: Server, until: float, *words: str) -> list[dict[str, str]]:
    reply = sentinel.execute([Command(["SENTINEL", *words])], until=until)[0]
    if not isinstance(reply, list):
        raise failed(f"the Sentinel {sentinel.peer} said: {reply}", "server", peer=sentinel.peer, phase="connect", since=until)
    return [dict(zip(one[::2], one[1::2], strict=False)) for one in reply]


def _addresses(told: list[dict[str, str]], *, anyhow: bool = False) -> list[Address]:
    return [
        (one["ip"], int(one["port"]))
        for one in told
        if anyhow or not any(flag in _NOT_WELL for flag in one.get("flags", "").split(","))
    ]
