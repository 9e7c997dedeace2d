"""Changes of maps among workers and over a restart."""

import json
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest

from filterd.daemon.map_edits import SCHEMA, LineBus, LocalBus, MapEdits
from filterd.daemon.map_journal import MapJournal
from filterd.daemon.store import Store
from filterd.engine.loader import LoadError
from filterd.mail.envelope import Envelope
from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import new_map
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.proto.passwords import hash_password
from tests.support.control import ask, reachable
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.partners import free_port
from tests.support.rules import assembled


class Hall:
    """A supervisor with a journal and workers on slow lines: nothing arrives before `deliver`, each line keeps its order."""

    def __init__(self) -> None:
        self.journal = MapJournal()
        self.lines: list[deque[Callable[[], object]]] = []
        self.buses: list[LineBus] = []

    def worker(self, *names: str) -> dict[str, LiveMap]:
        up: deque[Callable[[], object]] = deque()
        down: deque[Callable[[], object]] = deque()

        def tell(edit: Mapping[str, Any]) -> None:
            text = json.dumps(edit)
            up.append(lambda: self.take(json.loads(text)))

        bus = LineBus(tell)
        bus.down = down  # type: ignore[attr-defined]
        for piece in self.journal.picture():
            self.send(bus, piece)
        self.buses.append(bus)
        self.lines += [up, down]
        maps = {name: LiveMap(name, new_map("map"), has_source=False) for name in names or ("m",)}
        MapEdits(maps, bus)
        return maps

    def send(self, bus: LineBus, edit: Mapping[str, Any]) -> None:
        text = json.dumps(edit)
        bus.down.append(lambda: bus.hear(json.loads(text)))  # type: ignore[attr-defined]

    def take(self, edit: Mapping[str, Any]) -> None:
        placed = self.journal.take(edit)
        for bus in self.buses:
            self.send(bus, placed)

    def deliver(self, *, chance: random.Random | None = None, most: int = 10**6) -> None:
        for _ in range(most):
            gevent.sleep(0)  # what was published is told by a greenlet of its own
            waiting = [line for line in self.lines if line]
            if not waiting:
                return
            (chance.choice(waiting) if chance else waiting[0]).popleft()()


def test_a_change_is_there_at_once_and_in_every_worker_soon() -> None:
    hall = Hall()
    one, two = hall.worker()["m"], hall.worker()["m"]
    with one.edit() as edit:
        edit["k"] = "1"
        edit.add("l")
    assert (one["k"], two.get("k")) == ("1", None)
    hall.deliver()
    assert (one["k"], two["k"], two["l"]) == ("1", "1", True)
    two.discard("k")
    hall.deliver()
    assert (one.get("k"), two.get("k")) == (None, None)


def test_a_worker_that_comes_later_has_it_too() -> None:
    hall = Hall()
    one = hall.worker()["m"]
    one["k"] = "1"
    one["gone"] = "1"
    one.discard("gone")
    hall.deliver()
    late = hall.worker()["m"]
    late["own"] = "2"
    hall.deliver()
    assert dict(late.edits) == dict(one.edits) == {"k": "1", "own": "2"}


def test_what_is_heard_before_the_maps_are_there_is_not_lost() -> None:
    bus = LineBus(lambda edit: None)
    journal = MapJournal()
    for value in ("1", "2"):
        bus.hear(journal.take({"map": "m", "origin": "another", "number": 1, "changes": [["k", value]]}))
    live = LiveMap("m", new_map("map"), has_source=False)
    MapEdits({"m": live}, bus)
    assert live["k"] == "2"


def test_what_comes_twice_is_taken_once() -> None:
    bus = LineBus(lambda edit: None)
    live = LiveMap("m", new_map("map"), has_source=False)
    MapEdits({"m": live}, bus)
    journal = MapJournal()
    first, second = (
        journal.take({"map": "m", "origin": "another", "number": 1, "changes": [["k", value]]}) for value in ("1", "2")
    )
    for edit in (first, second, first, second, first):
        bus.hear(edit)
    assert live["k"] == "2"


def test_ones_own_change_is_not_taken_back_by_an_older_one() -> None:
    hall = Hall()
    one, two = hall.worker()["m"], hall.worker()["m"]
    one["k"] = "older"
    gevent.sleep(0)
    hall.lines[0].popleft()()  # the supervisor has it
    two["k"] = "newer"
    gevent.sleep(0)
    hall.lines[3].popleft()()  # and it comes to the other
    assert two["k"] == "newer"
    hall.deliver()
    assert one["k"] == two["k"] == "newer"


@pytest.mark.parametrize("seed", range(40))
def test_all_workers_end_with_the_same_map_whatever_happens_when(seed: int) -> None:
    chance = random.Random(seed)
    hall = Hall()
    workers = [hall.worker()["m"] for _ in range(3)]
    for _ in range(60):
        live = chance.choice(workers)
        key = chance.choice("abc")
        match chance.randrange(5):
            case 0:
                live.discard(key)
            case 1:
                with live.edit() as edit:
                    edit.clear()
                    edit[key] = str(chance.randrange(9))
            case 2 if len(workers) < 5:
                workers.append(hall.worker()["m"])
            case _:
                live[key] = str(chance.randrange(9))
        hall.deliver(chance=chance, most=chance.randrange(4))
    hall.deliver(chance=chance)
    assert [dict(live.edits) for live in workers] == [dict(workers[0].edits)] * len(workers)


def test_in_the_middle_of_a_reload_the_maps_may_differ(caplog: pytest.LogCaptureFixture) -> None:
    hall = Hall()
    old = hall.worker("gone", "m")
    new = LiveMap("m", new_map("ip"), has_source=False)
    MapEdits({"m": new}, hall.buses[0])
    old["gone"]["k"] = "1"
    old["m"]["no address"] = "1"
    old["m"]["192.0.2.1"] = "1"
    hall.deliver()
    assert dict(new.edits) == {"192.0.2.1": "1"}
    assert "a change that was made elsewhere is not for this map: map 'm': 'no address' is neither" in caplog.text


# -- over a restart


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


def worker_of(path: Path, *kept: str, type: Any = "map") -> tuple[MapEdits, dict[str, LiveMap]]:
    maps = {name: LiveMap(name, new_map(type), has_source=False) for name in ("kept", "lost")}
    return MapEdits(maps, LocalBus(), Store(path, SCHEMA), kept), maps


def test_changes_of_a_map_that_persists_are_there_again(path: Path) -> None:
    edits, maps = worker_of(path, "kept")
    for live in maps.values():
        live["a"] = "1"
        live["a"] = "2"
        live["b"] = "1"
        live.discard("b")
        live.add("ü\n'")
    edits.finish()
    edits, maps = worker_of(path, "kept")
    assert {name: dict(live.edits) for name, live in maps.items()} == {"kept": {"a": "2", "ü\n'": True}, "lost": {}}
    maps["kept"].discard("a")
    edits.finish()
    assert dict(worker_of(path, "kept")[1]["kept"].edits) == {"ü\n'": True}


def test_they_are_written_soon_and_not_only_at_the_end(path: Path) -> None:
    edits, maps = worker_of(path, "kept")
    maps["kept"]["a"] = "1"
    while not worker_of(path, "kept")[1]["kept"].edits:
        gevent.sleep(0.01)
    edits.finish()


def test_of_two_workers_the_later_change_stays(path: Path) -> None:
    """Whoever comes to the disk first."""
    store = Store(path, SCHEMA)
    edits = MapEdits({"kept": LiveMap("kept", new_map("map"), has_source=False)}, LocalBus(), store, ["kept"])
    for value, seq in (("1", 10**16 + 2), ("2", 10**16 + 1)):
        edits._remember("kept", "k", value, seq)
        edits._write(store)
    edits.finish()
    assert worker_of(path, "kept")[1]["kept"]["k"] == "1"


def test_a_map_that_has_another_type_now_takes_what_fits(path: Path) -> None:
    edits, maps = worker_of(path, "kept")
    maps["kept"]["192.0.2.1"] = "1"
    maps["kept"]["no address"] = "1"
    edits.finish()
    assert dict(worker_of(path, "kept", type="ip")[1]["kept"].edits) == {"192.0.2.1": "1"}


def test_nothing_is_opened_where_nothing_persists(path: Path) -> None:
    edits, maps = worker_of(path)
    maps["kept"]["a"] = "1"
    edits.finish()
    assert not path.exists()


def test_a_disk_that_is_in_the_way_is_written_when_it_is_out_of_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    edits, maps = worker_of(path, "kept")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    maps["kept"]["a"] = "1"
    while "cannot be used (database is locked)" not in caplog.text:
        gevent.sleep(0.01)
    other.execute("ROLLBACK")
    edits.finish()
    assert "lost" not in caplog.text
    assert worker_of(path, "kept")[1]["kept"]["a"] == "1"


def test_what_could_not_be_written_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    edits, maps = worker_of(path, "kept")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    maps["kept"]["a"] = "1"
    edits.finish(0.0)
    assert f"1 changes of maps could not be written to {path} and are lost" in caplog.text
    other.close()


# -- in rules


CHANGES = """
from filterd import Task, extractor, maps, on_load, rule

SEEN = maps["seen"]


@on_load
def begin():
    SEEN.add("10.0.0.0/8", "from the beginning")


@extractor("remembered", returns=str)
def remembered(task: Task) -> str:
    SEEN["2001:db8::1"] = "by an extractor"
    return SEEN["2001:db8::1"]


@rule("CHANGES", score=1.0)
def changes(task: Task):
    if task.ip:
        SEEN[task.ip] = "seen"
    return True, task.get("remembered"), SEEN.get("10.1.2.3")


@rule("NEXT", score=1.0, after=("CHANGES",))
def next_(task: Task):
    return SEEN.get(task.ip) is not None
"""


def test_rules_hooks_and_extractors_change_maps_and_the_next_condition_sees_it(tmp_path: Path) -> None:
    rule = tmp_path / "changes.py"
    rule.write_text(CHANGES)
    toml = """
    [maps.seen]
    type = "ip"
    [composites.KNOWN]
    expression = "CHANGES and ip in seen"
    policy = "leave"
    """
    with assembled(tmp_path, [rule], toml) as assembly:
        assembly.hooks.load()
        verdict = assembly.engine.scan(ScanRequest(Message(MAIL), Envelope.of(ip="192.0.2.77")))
    assert verdict.failures == ()
    assert verdict.symbols["CHANGES"].options == ("by an extractor", "from the beginning")
    assert {"NEXT", "KNOWN"} <= set(verdict.symbols)


PERSISTS = """
from filterd import Task, maps, rule

@rule("KNOWN", score=1.0)
def known(task: Task):
    return maps["known"].get(task.ip) and (True, str(maps["known"].get(task.ip)))
"""


def test_in_a_daemon_a_key_is_set_by_control_and_is_there_after_a_restart(tmp_path: Path) -> None:
    port = free_port()
    for name, password in (("enable", b"secret"), ("read", b"read")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(hash_password(password, b"salt salt salt 1") + "\n")
    (tmp_path / "known.txt").write_text("192.0.2.1 file\n192.0.2.2 file\n")
    toml = f"""
    [store]
    path = "{tmp_path}/state.sqlite"
    [maps.known]
    type = "ip"
    source = "file:known.txt"
    persist = true
    [maps.plain]
    type = "set"
    [listen.control]
    protocol = "control"
    bind = "127.0.0.1:{port}"
    password_file = "read"
    enable_password_file = "enable"
    trusted = []
    """

    def of(daemon: Daemon, ip: str) -> list[str] | None:
        hit = daemon.scan(MAIL, IP=ip)["symbols"].get("KNOWN")
        return None if hit is None else list(hit["options"])

    enabled = {"Password": "secret"}
    with running_daemon(tmp_path, {"known": PERSISTS}, toml) as daemon:
        reachable(port)
        assert ask(port, "/setkey?map=known&key=192.0.2.3", {"Password": "read"}, body=b"x").status in (401, 403)
        assert ask(port, "/setkey?map=known&key=192.0.2.3", enabled, method="GET").status == 405
        assert ask(port, "/setkey?map=known&key=192.0.2.3", enabled, body=b"by hand\n").json == {"success": True, "keys": 3}
        assert ask(port, "/setkey?map=known&key=192.0.2.2&value=changed", enabled, body=b"").status == 200
        assert ask(port, "/delkey?map=known&key=192.0.2.1", enabled, body=b"").json == {"success": True, "keys": 2}
        bad = ask(port, "/setkey?map=known&key=ann", enabled, body=b"")
        assert (bad.status, "neither an IP address" in bad.body.decode()) == (400, True)
        assert ask(port, "/delkey?map=known&key=192.0.2.9", enabled, body=b"").status == 404
        assert ask(port, "/setkey?map=known", enabled, body=b"").status == 400
        assert ask(port, "/setkey?map=nobody&key=a", enabled, body=b"").status == 404
        assert ask(port, "/getkey?map=known&key=192.0.2.2", {"Password": "read"}).json["value"] == "changed"
        assert ask(port, "/getkey?map=known&key=192.0.2.1", {"Password": "read"}).status == 404
        assert ask(port, "/setkey?map=plain&key=A", enabled, body=b"").status == 200
        found = {one["name"]: one for one in ask(port, "/maps", {"Password": "read"}).json}
        assert (found["plain"]["uri"], found["plain"]["editable"], found["plain"]["edits"]) == ("", False, 1)
        assert (found["known"]["editable"], found["known"]["edits"]) == (True, 3)
        assert ask(port, "/getmap?map=plain", {"Password": "read"}).status == 404
        assert [of(daemon, f"192.0.2.{last}") for last in (1, 2, 3)] == [None, ["changed"], ["by hand"]]
        assert "map known: setkey '192.0.2.3' by 127.0.0.1" in daemon.process.output()
    with running_daemon(tmp_path, {"known": PERSISTS}, toml) as daemon:
        reachable(port)
        assert ask(port, "/mapedits?map=known", {"Password": "read"}).json == {
            "map": "known",
            "type": "ip",
            "keys": 2,
            "has_source": True,
            "edits": {"192.0.2.3": "by hand", "192.0.2.2": "changed", "192.0.2.1": False},
        }
        assert ask(port, "/mapedits?map=plain", {"Password": "read"}).json["edits"] == {}
        assert ask(port, "/undokey?map=known&key=192.0.2.1", enabled, body=b"").status == 200
        assert ask(port, "/undokey?map=known&key=192.0.2.1", enabled, body=b"").status == 404
        assert [of(daemon, f"192.0.2.{last}") for last in (1, 2, 3)] == [["file"], ["changed"], ["by hand"]]


def test_persist_without_a_store_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(LoadError, match=r"filterd.toml: maps.m.persist: there is no store.path to keep the changes in"),
        assembled(tmp_path, [], "[maps.m]\ntype = 'set'\npersist = true\n"),
    ):
        pass
