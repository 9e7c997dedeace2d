"""The embedded store over a real file: shared, private, and nothing that can stop mail."""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from filterd.daemon.store import Store

SCHEMA = "CREATE TABLE IF NOT EXISTS things (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)"


def add(name: str) -> Callable[[sqlite3.Connection], bool]:
    def insert(connection: sqlite3.Connection) -> bool:
        connection.execute("INSERT INTO things (name) VALUES (?)", (name,))
        return True

    return insert


def names(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    one = Store(path, SCHEMA)
    yield one
    one.close()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "filterd.store"]


def test_what_was_written_is_there_after_a_restart(store: Store, path: Path) -> None:
    assert store.run(add("a")) is True
    store.close()
    another = Store(path, SCHEMA)
    assert another.run(names) == ["a"]
    another.close()


def test_nothing_is_opened_before_it_is_needed(store: Store, path: Path) -> None:
    assert not path.exists()


def test_only_its_owner_can_read_it(store: Store, path: Path) -> None:
    store.run(add("a"))
    files = list(path.parent.iterdir())
    assert len(files) == 3  # the write-ahead log and its index too
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_function_that_raises_leaves_nothing_behind(store: Store) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO things (name) VALUES ('half')")
        raise sqlite3.IntegrityError("no")

    assert store.run(half) is None
    assert store.run(names) == []


def test_the_loop_turns_while_the_disk_works(store: Store) -> None:
    reading, writing = os.pipe()
    gevent.spawn(os.write, writing, b"x")

    def slow(connection: sqlite3.Connection) -> bytes:
        return os.read(reading, 1)

    assert store.run(slow) == b"x"
    os.close(reading)
    os.close(writing)


def test_a_file_that_another_holds_is_told_once_and_used_again_later(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filterd.daemon.store.LOCKED_FOR", 0.05)
    caplog.set_level(logging.INFO, logger="filterd.store")
    store.run(add("a"))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert [store.run(add("b")) for _ in range(3)] == [None, None, None]
    assert store.run(names) == ["a"]  # readers are not held up
    holder.execute("COMMIT")
    assert store.run(add("c")) is True
    assert store.run(names) == ["a", "c"]
    holder.close()
    locked = f"{path} cannot be used (database is locked): filterd goes on without it"
    assert told(caplog) == [locked, f"{path} can be used again"]


def test_a_new_file_that_another_is_just_opening_is_waited_for(store: Store, path: Path) -> None:
    # As it is between another worker's opening and its change to a write-ahead log: no time-out of SQLite's own waits for that.
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE others (id)")
    holder.execute("BEGIN IMMEDIATE")
    waiting = gevent.spawn(store.run, add("a"))
    gevent.sleep(0.1)
    assert not waiting.ready()
    holder.execute("COMMIT")
    assert waiting.get(timeout=5) is True
    holder.close()


def test_several_stores_write_into_one_file(path: Path) -> None:
    stores = [Store(path, SCHEMA) for _ in range(3)]
    jobs = [gevent.spawn(store.run, add(f"{number}")) for number in range(20) for store in stores]
    gevent.joinall(jobs, raise_error=True)
    assert [job.value for job in jobs] == [True] * 60
    assert len(stores[0].run(names) or []) == 60
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "content", [b"no database at all, but text that is long enough to be one" * 20, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_broken_file_is_told_once_and_left_as_it_is(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(content)
    store = Store(path, SCHEMA)
    assert [store.run(names) for _ in range(3)] == [None, None, None]
    assert len(told(caplog)) == 1
    assert str(path) in told(caplog)[0]
    assert path.read_bytes() == content
    # Somebody puts it right while filterd runs.
    path.unlink()
    assert store.run(add("a")) is True
    store.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "gone" / "state.sqlite", SCHEMA)
    assert store.run(names) is None
    assert "No such file or directory" in told(caplog)[0]
    (tmp_path / "gone").mkdir()
    assert store.run(add("a")) is True
    store.close()


def test_a_full_disk_is_told_and_costs_only_what_does_not_fit(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(path, SCHEMA)
    store.run(lambda connection: connection.execute("PRAGMA max_page_count = 8").fetchone())
    assert store.run(add("x" * 100_000)) is None
    assert told(caplog) == [f"{path} cannot be used (database or disk is full): filterd goes on without it"]
    assert store.run(add("small")) is True
    assert store.run(names) == ["small"]
    store.close()


def test_it_may_be_closed_without_having_been_used(path: Path) -> None:
    store = Store(path, SCHEMA)
    store.close()
    store.close()
