"""The embedded store: one SQLite file that several workers write, in threads, and that nothing depends on.

Promises:

* The loop never waits for the disk, and no mail for the store: whoever asks gets None when the file is broken or locked or the
  disk full. That is said in the log once, and once more when it works again.
* What is committed survives the end of a worker, also a sudden one.
* The file is readable to its owner only.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from time import monotonic, sleep  # noqa: TID251 - in a thread, which gevent knows nothing of
from typing import TypeVar

from filterd.net.threads import OneThread

__all__ = ["Store"]

log = getLogger("filterd.store")

T = TypeVar("T")

LOCKED_FOR = 0.5
"""Seconds to wait, in a thread, for another worker's transaction."""


class Store:
    """`run(function)` gives the function the connection in a transaction. The file is opened when it is first needed."""

    def __init__(self, path: Path, schema: str) -> None:
        """`schema` are statements that may be repeated, run when the file is opened."""
        self.path = path
        self._schema = schema
        self._connection: sqlite3.Connection | None = None
        self._thread = OneThread()
        self._complaint: str | None = None

    def run(self, function: Callable[[sqlite3.Connection], T]) -> T | None:
        """What the function returns, in a thread and in one transaction; None where the store cannot be used now."""
        try:
            result: T = self._thread.run(self._run, function)
        except (sqlite3.Error, OSError) as error:
            self._complain(str(error))
            return None
        self._complain(None)
        return result

    def close(self) -> None:
        """Close the file; it may be used again."""
        self._thread.run(self._forget)
        self._thread.close()

    def _run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        # In the thread, one call at a time.
        try:
            if self._connection is None:
                self._connection = self._open()
            with self._connection:
                return function(self._connection)
        except sqlite3.DatabaseError as error:
            # Locked or full passes by itself; for the rest the file is opened anew, should somebody have put it right.
            if not isinstance(error, sqlite3.OperationalError) or not self.path.exists():
                self._forget()
            raise

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=LOCKED_FOR, check_same_thread=False, isolation_level="IMMEDIATE")
        try:
            _change_to_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(self._schema)
        except BaseException:
            connection.close()
            raise
        return connection

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _complain(self, text: str | None) -> None:
        if text is None:
            if self._complaint is not None:
                log.info("%s can be used again", self.path)
        elif text != self._complaint:
            log.warning("%s cannot be used (%s): filterd goes on without it", self.path, text)
        self._complaint = text


def _change_to_wal(connection: sqlite3.Connection) -> None:
    # A new file is changed by the first worker that opens it. Where several try at once each holds what the others need, and
    # SQLite then fails at once, without the time-out of the connection.
    give_up = monotonic() + LOCKED_FOR
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > give_up:
                raise
            sleep(0.01)
        else:
            return
