"""The last messages as /history shows them: kept in memory, and in the store where there is one.

Promises:

* Adding a message costs a microsecond: its row is made later, in a thread, and only if it is still among the last ones then.
* There are never more rows than asked for, in memory or on disk, and nothing of a message's body is among them.
* Several workers write into the same store and each sees all rows. A store that fails costs nothing but that.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from logging import getLogger
from time import time
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from filterd.daemon.store import Store
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.threads import in_thread
from filterd.proto.history import Judged, head_of, render_row

__all__ = ["SCHEMA", "History"]

log = getLogger("filterd.history")

PAUSE = 1.0
"""Seconds between two batches."""
LAST_WORDS = 5.0

SCHEMA = "CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY AUTOINCREMENT, row BLOB NOT NULL)"


class History:
    """The last `rows` messages. `start` begins to write batches, `finish` writes what is left."""

    def __init__(self, rows: int, store: Store | None = None) -> None:
        self._most = rows
        self._store = store
        self._new: deque[Judged] = deque(maxlen=rows)
        # Rendered, oldest first: all that this worker knows, and what the store has not taken yet.
        self._rows: deque[bytes] = deque(maxlen=rows)
        self._unstored: deque[bytes] = deque(maxlen=rows)
        self._writer: Any = None
        self._ending = Event()
        self._turn = BoundedSemaphore(1)

    def add(self, request: ScanRequest, verdict: Verdict) -> None:
        """Remember a message, unless its client asked that it leaves no trace."""
        envelope = request.envelope
        if not self._most or "no_log" in envelope.flags:
            return
        self._new.append(
            Judged(
                time(),
                head_of(request.message),
                request.message.size,
                envelope,
                request.door,
                verdict.action,
                verdict.score,
                verdict.required_score,
                verdict.is_skipped,
                verdict.timed_out,
                verdict.symbols,
                verdict.failures,
                verdict.timings,
                verdict.seconds,
                verdict.task_id,
                verdict.message_id,
            )
        )

    def start(self) -> None:
        """From now on write what is new each second."""
        self._writer = gevent.spawn(self._write)

    def finish(self) -> None:
        """Write what is left and close the store; a disk that hangs is waited for `LAST_WORDS` seconds."""
        self._ending.set()
        gevent.spawn(self._finish).join(LAST_WORDS)

    def _finish(self) -> None:
        gevent.joinall([] if self._writer is None else [self._writer])
        self.flush()
        if self._store is not None:
            self._store.close()

    def flush(self) -> None:
        """Render what is new, and store it."""
        with self._turn:
            new = list(self._new)
            self._new.clear()
            if new:
                rendered = in_thread(_render, new)
                self._rows.extend(rendered)
                if self._store is not None:
                    self._unstored.extend(rendered)
            if self._store is not None and self._unstored:
                batch = list(self._unstored)
                if self._store.run(lambda connection: _insert(connection, batch, self._most)):
                    self._unstored.clear()

    def rows(self, first: int, last: int) -> list[bytes]:
        """Rendered rows, the newest is row 0; `last` is included."""
        # In a greenlet of its own: whoever asks may be stopped, and what is written half would be written twice.
        gevent.spawn(self.flush).join()
        count = max(last - first + 1, 0)
        if self._store is not None and not self._unstored:
            stored = self._store.run(lambda connection: _select(connection, first, min(count, self._most)))
            if stored is not None:
                return stored
        return list(reversed(self._rows))[first : first + count]

    def clear(self) -> None:
        """Forget all rows."""
        gevent.spawn(self._clear).join()

    def _clear(self) -> None:
        with self._turn:
            self._new.clear()
            self._rows.clear()
            self._unstored.clear()
            if self._store is not None:
                self._store.run(_delete)

    def _write(self) -> None:
        while not self._ending.wait(PAUSE):
            if self._new or self._unstored:
                try:
                    self.flush()
                except Exception:
                    # A fault of ours in one batch must not be the last batch.
                    log.exception("the history could not be written")


def _render(new: Sequence[Judged]) -> list[bytes]:
    # In a thread.
    return [render_row(one) for one in new]


def _insert(connection: sqlite3.Connection, rows: Sequence[bytes], most: int) -> bool:
    connection.executemany("INSERT INTO history (row) VALUES (?)", [(row,) for row in rows])
    connection.execute("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (most,))
    return True


def _select(connection: sqlite3.Connection, first: int, count: int) -> list[bytes]:
    found = connection.execute("SELECT row FROM history ORDER BY id DESC LIMIT ? OFFSET ?", (count, first))
    return [row for (row,) in found]


def _delete(connection: sqlite3.Connection) -> bool:
    connection.execute("DELETE FROM history")
    return True
