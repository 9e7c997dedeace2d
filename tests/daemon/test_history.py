"""The history of messages: bounded, in memory or in the store, and never in a message's way."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from filterd.daemon.history import SCHEMA, History
from filterd.daemon.store import Store
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import Stop
from filterd.proto.history import Judged
from tests.support.engine import MAIL


def add(history: History, number: int, raw: bytes = MAIL, **headers: str) -> None:
    request = ScanRequest(Message(raw), Envelope({name: [value] for name, value in headers.items()}), "http")
    history.add(request, Verdict("no action", float(number), 15.0, task_id=str(number)))


def ids(history: History, first: int = 0, last: int = 10_000) -> list[int]:
    return [int(json.loads(row)["task_id"]) for row in history.rows(first, last)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


@pytest.fixture(params=["memory", "store"])
def history(request: Any, path: Path) -> Iterator[History]:
    one = History(5, Store(path, SCHEMA) if request.param == "store" else None)
    yield one
    one.finish()


def test_the_last_messages_are_there_newest_first(history: History) -> None:
    assert ids(history) == []
    for number in range(3):
        add(history, number)
    assert ids(history) == [2, 1, 0]
    for number in range(3, 12):
        add(history, number)
    assert ids(history) == [11, 10, 9, 8, 7]


def test_a_range_can_be_asked_for(history: History) -> None:
    for number in range(5):
        add(history, number)
    assert ids(history, 1, 2) == [3, 2]
    assert ids(history, 4, 9) == [0]
    assert ids(history, 9, 12) == []
    assert ids(history, 3, 1) == []


def test_it_can_be_forgotten(history: History) -> None:
    add(history, 1)
    history.flush()
    add(history, 2)
    history.clear()
    assert ids(history) == []
    add(history, 3)
    assert ids(history) == [3]


def test_who_wants_no_trace_leaves_none(history: History) -> None:
    add(history, 1, flags="no_log")
    add(history, 2, log="no")
    assert ids(history) == []


def test_nothing_of_the_body_is_kept_anywhere(path: Path) -> None:
    history = History(5, Store(path, SCHEMA))
    add(history, 1, b"Subject: hi\r\n\r\nthe s3cret body\r\n")
    assert b"s3cret" not in repr(list(history._new)).encode()
    assert "s3cret" not in str(history.rows(0, 9))
    history.finish()
    assert b"s3cret" not in path.read_bytes()


def test_it_is_there_after_a_restart(path: Path) -> None:
    first = History(5, Store(path, SCHEMA))
    first.start()
    add(first, 1)
    first.finish()
    second = History(5, Store(path, SCHEMA))
    assert ids(second) == [1]
    add(second, 2)
    assert ids(second) == [2, 1]
    second.finish()


def test_batches_are_written_without_being_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.daemon.history.PAUSE", 0.02)
    history = History(5, Store(path, SCHEMA))
    history.start()
    add(history, 1)
    other = Store(path, SCHEMA)
    while not (found := other.run(lambda connection: connection.execute("SELECT count(*) FROM history").fetchone()[0])):
        gevent.sleep(0.01)
    assert found == 1
    history.finish()
    other.close()


def test_several_workers_see_each_others_rows_and_keep_the_bound(path: Path) -> None:
    workers = [History(5, Store(path, SCHEMA)) for _ in range(3)]
    for number in range(9):
        add(workers[number % 3], number)
    gevent.joinall([gevent.spawn(worker.flush) for worker in workers], raise_error=True)
    seen = [sorted(ids(worker)) for worker in workers]
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 5
    for worker in workers:
        worker.finish()


def test_what_cannot_be_stored_is_shown_from_memory_and_stored_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"this is no database, whatever its name says" * 50)
    history = History(5, Store(path, SCHEMA))
    for number in range(8):
        add(history, number)
        history.flush()
    assert ids(history) == [7, 6, 5, 4, 3]
    assert [record.name for record in caplog.records] == ["filterd.store"]
    path.unlink()
    add(history, 8)
    assert ids(history) == [8, 7, 6, 5, 4]
    history.finish()
    rows = sqlite3.connect(path).execute("SELECT row FROM history ORDER BY id").fetchall()
    assert [int(json.loads(row)["task_id"]) for (row,) in rows] == [4, 5, 6, 7, 8]


def test_a_reader_that_is_stopped_makes_no_row_twice(path: Path) -> None:
    history = History(50, Store(path, SCHEMA))
    for number in range(20):
        add(history, number)
        reader = gevent.spawn(history.rows, 0, 9)
        gevent.sleep(0.0005 * (number % 4))
        reader.kill(Stop("the worker ends", "cancelled"))
    assert ids(history) == list(reversed(range(20)))
    history.finish()


def test_only_what_is_still_among_the_last_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []

    def render(one: Judged) -> bytes:
        rendered.append(int(one.task_id))
        return b"{}"

    monkeypatch.setattr("filterd.daemon.history.render_row", render)
    history = History(3)
    for number in range(1000):
        add(history, number)
    history.flush()
    assert rendered == [997, 998, 999]


def test_no_rows_is_no_history() -> None:
    history = History(0)
    add(history, 1)
    assert history.rows(0, 10) == []


def test_a_fault_in_one_batch_is_told_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("filterd.daemon.history.PAUSE", 0.01)

    def broken(one: object) -> bytes:
        raise RuntimeError("a fault of ours")

    history = History(5)
    with monkeypatch.context() as patched:
        patched.setattr("filterd.daemon.history.render_row", broken)
        history.start()
        add(history, 1)
        while "a fault of ours" not in caplog.text:
            gevent.sleep(0.01)
    add(history, 2)
    while not history._rows:
        gevent.sleep(0.01)
    assert ids(history) == [2]
    history.finish()
