"""The maps as a control listener shows and changes them: those that come from files, as text.

Promises:

* A new text takes a file's place as a whole or not at all, with the file's own permissions, and only if every line of it is
  good: what is wrong is told line by line and nothing changes.
* Only files that a map was configured with are read and written, never a path from a request.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import MapBroken
from filterd.net.map_sources import FileSource, MapFeed, MapFeeds
from filterd.net.threads import in_thread

__all__ = ["MapFiles", "MapRefused"]

_PIECE = 16 * 1024
_TOLD = 10
"""So many broken lines are told in a reply."""


class MapRefused(Exception):
    """What was asked cannot be done; `status` is that of the reply, the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class MapFiles:
    """The maps of a worker by number, as Rspamd has it, and by name. `descriptions` are those of the configuration."""

    def __init__(self, feeds: MapFeeds, descriptions: Mapping[str, str | None]) -> None:
        self._feeds = {feed.live.name: feed for feed in feeds.feeds if isinstance(feed.live, LiveMap)}
        self._maps = feeds.maps
        self._numbers = {crc32(name.encode()): name for name in feeds.maps}
        self._descriptions = descriptions

    def list(self) -> list[dict[str, Any]]:
        """What /maps shows."""
        return [self._told(number, name) for number, name in sorted(self._numbers.items(), key=lambda pair: pair[1])]

    def _told(self, number: int, name: str) -> dict[str, Any]:
        live, feed = self._maps[name], self._feeds.get(name)
        return {
            "map": number,
            "name": name,
            "description": self._descriptions.get(name) or name,
            "uri": "" if feed is None else feed.source.place,
            "type": live.value.type,
            "editable": feed is not None and isinstance(feed.source, FileSource),
            "keys": len(live),
            "version": live.version,
            "edits": len(live.edits),
        }

    def live(self, key: str | None) -> LiveMap:
        """A map by its number or name. Raises MapRefused."""
        if not key:
            raise MapRefused(400, "Id header missing")
        name = self._numbers.get(int(key)) if key.isdecimal() and key.isascii() and len(key) < 20 else None
        live = self._maps.get(key if name is None else name)
        if live is None:
            raise MapRefused(404, "Map id not found")
        return live

    def read(self, key: str | None) -> bytes:
        """The text of a map's file. Raises MapRefused."""
        feed, source = self._find(key)
        try:
            return in_thread(_read, source.place, source.max_size)
        except OSError as error:
            raise MapRefused(404, f"map {feed.live.name}: cannot be read: {error.strerror}") from None

    def save(self, key: str | None, text: bytes) -> int:
        """Write a new text and use it from now on; the number of its keys. Raises MapRefused."""
        feed, source = self._find(key)
        name = feed.live.name
        if len(text) > source.max_size:
            raise MapRefused(413, f"map {name}: {len(text)} bytes are more than max_size, which is {source.max_size}")
        try:
            keys = len(feed.read(text[at : at + _PIECE] for at in range(0, len(text), _PIECE)))
        except MapBroken as error:
            lines = "; ".join(f"line {one.line}: {one.text}" for one in error.problems[:_TOLD])
            raise MapRefused(400, f"map {name} is not changed: {lines}") from None
        try:
            in_thread(_write, source.place, text)
        except OSError as error:
            raise MapRefused(500, f"map {name}: cannot be written: {error.strerror}") from None
        feed.refresh()
        return keys

    def _find(self, key: str | None) -> tuple[MapFeed[LiveMap], FileSource]:
        name = self.live(key).name
        feed = self._feeds.get(name)
        if feed is None:
            raise MapRefused(404, f"map {name} has no source: /mapedits shows what was put into it")
        if not isinstance(feed.source, FileSource):
            raise MapRefused(404, f"map {feed.live.name} comes from {feed.source.place}: its text is not kept here")
        return feed, feed.source


def _read(path: str, most: int) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(most)


def _write(path: str, text: bytes) -> None:
    # Where the path leads: a link stays a link.
    target = Path(path).resolve()
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        have = target.stat()
        mode = have.st_mode & 0o777
    except FileNotFoundError:
        have, mode = None, 0o644
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            if have is not None:
                with suppress(PermissionError):  # only root gives files away
                    os.fchown(descriptor, have.st_uid, have.st_gid)
            os.fsync(descriptor)
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
