"""Maps seen and changed through a control listener: whole and good, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import new_map
from filterd.mail.maps import MapType
from filterd.net.http import HttpClient
from filterd.net.http_call import HttpSettings
from filterd.net.listen import Listener
from filterd.net.map_sources import FileSource, HttpSource, MapFeed, MapFeeds
from filterd.net.resolver import Resolver, ResolverSettings
from tests.support.control import READ, WRITE, Answer, ask, serving_control


def feeds_of(path: Path, type: MapType = "set", **options: Any) -> MapFeeds:
    feed = MapFeed(LiveMap("friends", new_map(type)), FileSource(str(path), **options))
    feed.refresh()
    resolver = Resolver(ResolverSettings())
    client = HttpClient(HttpSettings(), resolver=resolver)
    remote = MapFeed(LiveMap("remote", new_map("set")), HttpSource("http://127.0.0.1:1/list", client))
    return MapFeeds({"friends": feed.live, "remote": remote.live}, [feed, remote])


@contextmanager
def serving(path: Path, type: MapType = "set", **options: Any) -> Iterator[tuple[Listener, MapFeeds]]:
    feeds = feeds_of(path, type, **options)
    with serving_control(feeds=feeds, passwords=(READ, WRITE)) as listener:
        yield listener, feeds


def save(listener: Listener, text: bytes, key: str = "friends") -> Answer:
    return ask(listener, "/savemap", {"Map": key}, body=text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "friends.txt"
    file.write_text("ann@example.org\n")
    return file


def test_maps_are_listed_with_a_number_and_where_they_come_from(path: Path) -> None:
    with serving(path) as (listener, _):
        friends, remote = ask(listener, "/maps").json
    assert (friends["name"], friends["uri"], friends["editable"], friends["keys"]) == ("friends", str(path), True, 1)
    assert (remote["name"], remote["uri"], remote["editable"], remote["keys"]) == (
        "remote",
        "http://127.0.0.1:1/list",
        False,
        0,
    )
    assert isinstance(friends["map"], int)
    assert friends["map"] != remote["map"]


def test_a_map_is_read_by_number_or_name(path: Path) -> None:
    with serving(path) as (listener, _):
        number = str(ask(listener, "/maps").json[0]["map"])
        for key in (number, "friends"):
            assert ask(listener, "/getmap", {"Map": key}).body == b"ann@example.org\n"


@pytest.mark.parametrize("key", ["../friends.txt", "/etc/passwd", "nobody", "0", "9" * 5000, "-1"])
def test_only_what_is_configured_can_be_read_or_written(path: Path, key: str) -> None:
    with serving(path) as (listener, _):
        for answer in (ask(listener, "/getmap", {"Map": key}), save(listener, b"x\n", key)):
            assert (answer.status, answer.json) == (404, {"error": "Map id not found"})
        assert ask(listener, "/getmap").json == {"error": "Id header missing"}
    assert path.read_text() == "ann@example.org\n"


def test_a_map_from_elsewhere_is_not_kept_as_text(path: Path) -> None:
    with serving(path) as (listener, _):
        for answer in (ask(listener, "/getmap", {"Map": "remote"}), save(listener, b"x\n", "remote")):
            assert answer.status == 404
            assert answer.json["error"] == "map remote comes from http://127.0.0.1:1/list: its text is not kept here"


def test_a_new_text_is_in_the_file_and_in_use(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="filterd.control")
    path.chmod(0o640)
    with serving(path) as (listener, feeds):
        assert save(listener, b"bob@example.net\ncyd@example.net\n").json == {"success": True}
        assert "bob@example.net" in feeds.maps["friends"]
        assert "ann@example.org" not in feeds.maps["friends"]
    assert path.read_bytes() == b"bob@example.net\ncyd@example.net\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]
    assert any(record.getMessage().startswith("map friends: 2 keys, saved by 127.0.0.1:") for record in caplog.records)


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    with serving(link) as (listener, _):
        assert save(listener, b"bob@example.net\n").status == 200
    assert link.is_symlink()
    assert path.read_text() == "bob@example.net\n"


def test_a_map_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    with serving(tmp_path / "new.txt") as (listener, feeds):
        assert ask(listener, "/getmap", {"Map": "friends"}).json["error"].endswith("cannot be read: No such file or directory")
        assert save(listener, b"bob@example.net\n").status == 200
        assert "bob@example.net" in feeds.maps["friends"]


def test_a_broken_line_changes_nothing_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nets.txt"
    path.write_text("192.0.2.0/24\n")
    with serving(path, "ip") as (listener, feeds):
        answer = save(listener, b"10.0.0.0/8\nnonsense\n300.1.1.1\n")
        assert answer.status == 400
        assert answer.json["error"].startswith("map friends is not changed: line 2: 'nonsense' is neither")
        assert "; line 3: " in answer.json["error"]
        assert "192.0.2.1" in feeds.maps["friends"]
    assert path.read_text() == "192.0.2.0/24\n"


def test_what_is_too_large_changes_nothing(path: Path) -> None:
    with serving(path, max_size=100) as (listener, _):
        answer = save(listener, b"x" * 101)
        assert (answer.status, answer.json["error"]) == (413, "map friends: 101 bytes are more than max_size, which is 100")
    assert path.read_text() == "ann@example.org\n"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with serving(tmp_path / "gone" / "friends.txt") as (listener, _):
        answer = save(listener, b"x\n")
    assert (answer.status, answer.json["error"]) == (500, "map friends: cannot be written: No such file or directory")


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "friends.txt").mkdir()
    with serving(tmp_path / "friends.txt") as (listener, _):
        assert save(listener, b"x\n").status == 500
    assert list(tmp_path.iterdir()) == [tmp_path / "friends.txt"]


def test_reading_needs_the_first_password_changing_the_second(path: Path) -> None:
    with serving(path) as (listener, _):
        read = {"Map": "friends", "Password": "read me"}
        assert ask(listener, "/getmap", read, source="127.0.0.2").status == 200
        assert ask(listener, "/savemap", read, body=b"x\n", source="127.0.0.2").status == 401
        assert path.read_text() == "ann@example.org\n"
        assert ask(listener, "/savemap", {**read, "Password": "change me"}, body=b"x\n", source="127.0.0.2").status == 200


def test_a_map_is_not_emptied_by_a_get(path: Path) -> None:
    with serving(path) as (listener, _):
        assert ask(listener, "/savemap", {"Map": "friends"}).status == 405
    assert path.read_text() == "ann@example.org\n"
