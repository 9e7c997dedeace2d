"""Changes of maps while filterd runs: told to the other workers, and kept over a restart where that is wanted.

Promises:

* A change is there in its own worker at once, in every other as soon as the bus has carried it; who changes does not wait.
* All workers end with the same map, whatever was changed where at the same time: the bus puts all edits into one order, the
  last of it counts, and what comes twice is taken once.
* A map with `persist = true` has its changes again after a restart. What was changed in the last moment before a crash may be
  lost; an end in good order loses nothing.

An edit is a JSON object: `map`, `origin` (who made it), `number` (its how manieth), `changes` (pairs of key and value, as
`mail.live_map.Change` has them), and from the bus `seq`, its place in the order.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from logging import getLogger
from time import monotonic, time
from typing import Any, Protocol
from uuid import uuid4

import gevent

from filterd.daemon.map_journal import next_place
from filterd.daemon.store import Store
from filterd.mail.live_map import Change, LiveMap

__all__ = ["SCHEMA", "LineBus", "LocalBus", "MapBus", "MapEdits"]

log = getLogger("filterd.maps")

Edit = Mapping[str, Any]

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS map_edits "
    "(map TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (map, key)) WITHOUT ROWID"
)
_PUT = (
    "INSERT INTO map_edits VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, seq = excluded.seq "
    "WHERE excluded.seq > seq"
)
PAUSE = 1.0
"""Seconds until the store is tried again when it could not be written."""
UNDONE_FOR = 86400 * 10**6
"""Microseconds for which a row is kept that says a change was undone: another worker may be about to write an older one."""


class MapBus(Protocol):
    """Carries edits. Both never wait, and may be called from any code of a rule."""

    def publish(self, edit: Edit) -> None:
        """Carry an edit to every worker, this one too, in one order for all."""

    def on_edit(self, callback: Callable[[Edit], object]) -> None:
        """Call it with each edit, with those that came before too."""


class LocalBus:
    """The bus of a process that is alone."""

    def __init__(self) -> None:
        self._seq = 0
        self._callback: Callable[[Edit], object] = lambda edit: None

    def publish(self, edit: Edit) -> None:
        self._seq = next_place(self._seq)
        self._callback({**edit, "seq": self._seq})

    def on_edit(self, callback: Callable[[Edit], object]) -> None:
        self._callback = callback


class LineBus:
    """A bus over a line to somebody who has the journal (`daemon.map_journal`): `tell` sends one edit and may wait, `hear` is
    called with each that comes back, in the order they come.
    """

    def __init__(self, tell: Callable[[Edit], object]) -> None:
        self._tell = tell
        self._unsent: list[Edit] = []
        self._is_sending = False
        self._early: list[Edit] = []
        self._callback: Callable[[Edit], object] = self._early.append

    def publish(self, edit: Edit) -> None:
        self._unsent.append(edit)
        if not self._is_sending:
            # Whoever publishes may be an extractor, which must not wait.
            self._is_sending = True
            gevent.spawn(self._send)

    def _send(self) -> None:
        try:
            while self._unsent:
                self._tell(self._unsent.pop(0))
        finally:
            self._is_sending = False

    def on_edit(self, callback: Callable[[Edit], object]) -> None:
        self._callback = callback
        for edit in self._early:
            callback(edit)

    def hear(self, edit: Edit) -> None:
        """An edit has come."""
        self._callback(edit)


class MapEdits:
    """The changes of one worker's maps. From when this is made on, rules may change them.

    Those of the maps in `kept` are taken from the `store`, which is waited for, and written there from now on.
    """

    def __init__(
        self, maps: Mapping[str, LiveMap], bus: MapBus, store: Store | None = None, kept: Collection[str] = ()
    ) -> None:
        self._maps = maps
        self._bus = bus
        self._origin = f"{os.getpid()}-{uuid4().hex[:8]}"
        self._number = 0
        self._seq = 0
        # By map and key, our latest edit that the bus has not brought back: until then what others did is older.
        self._ahead: dict[tuple[str, str], int] = {}
        self._store = store if kept else None
        self._kept = frozenset(kept)
        self._unstored: dict[tuple[str, str], tuple[str, int]] = {}
        self._writer: Any = None
        if self._store is not None:
            # Before the bus: what it brings is newer.
            self._load(self._store)
        for name, live in maps.items():
            live.tell = partial(self._tell, name)
        bus.on_edit(self._on_edit)

    def _load(self, store: Store) -> None:
        found: dict[str, int] = {}
        for name, key, value in store.run(_stored) or []:
            if name in self._kept and self._take(name, [(key, json.loads(value))]):
                found[name] = found.get(name, 0) + 1
        for name, count in found.items():
            log.info("map %s: %d changes from before the restart", name, count)

    def finish(self, seconds: float = 5.0) -> None:
        """Write what is left, within so many seconds, and close the store."""
        store, self._store = self._store, None
        if store is None:
            return
        if self._writer is not None:
            self._writer.kill()
        end = monotonic() + seconds
        while self._unstored and monotonic() < end and not self._write(store):
            gevent.sleep(min(PAUSE, 0.1))
        if self._unstored:
            log.error("%d changes of maps could not be written to %s and are lost", len(self._unstored), store.path)
        store.close()

    def _tell(self, name: str, changes: list[Change]) -> None:
        self._number += 1
        for key, _ in changes:
            self._ahead[name, key] = self._number
        self._bus.publish({"map": name, "origin": self._origin, "number": self._number, "changes": changes})

    def _on_edit(self, edit: Edit) -> None:
        name, seq = edit["map"], edit["seq"]
        is_picture = edit["origin"] is None
        if seq < self._seq or (seq == self._seq and not is_picture):
            return
        self._seq = seq
        if edit["origin"] == self._origin:
            for key, value in edit["changes"]:
                if self._ahead.get((name, key)) == edit["number"]:
                    del self._ahead[name, key]
                self._remember(name, key, value, seq)
            return
        self._take(name, [(key, value) for key, value in edit["changes"] if (name, key) not in self._ahead])

    def _take(self, name: str, changes: Iterable[tuple[str, object]]) -> bool:
        live = self._maps.get(name)
        if live is None:
            return False  # of another configuration, in the middle of a reload
        try:
            live.apply(changes)
        except (ValueError, TypeError) as error:
            log.warning("a change that was made elsewhere is not for this map: %s", error)
            return False
        return True

    # ---------------------------------------------------------------------------------------------------------- on the disk

    def _remember(self, name: str, key: str, value: object, seq: int) -> None:
        if self._store is None or name not in self._kept:
            return
        self._unstored[name, key] = json.dumps(value), seq
        if self._writer is None or self._writer.dead:
            self._writer = gevent.spawn(self._write_on, self._store)

    def _write_on(self, store: Store) -> None:
        while self._unstored:
            if not self._write(store):
                gevent.sleep(PAUSE)

    def _write(self, store: Store) -> bool:
        batch = dict(self._unstored)
        rows = [(name, key, value, seq) for (name, key), (value, seq) in batch.items()]
        if store.run(lambda connection: bool(connection.executemany(_PUT, rows))) is None:
            return False
        for place, written in batch.items():
            if self._unstored.get(place) == written:
                del self._unstored[place]
        return True


def _stored(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    connection.execute("DELETE FROM map_edits WHERE value = 'null' AND seq < ?", (time() * 10**6 - UNDONE_FOR,))
    return list(connection.execute("SELECT map, key, value FROM map_edits WHERE value <> 'null' ORDER BY seq"))
