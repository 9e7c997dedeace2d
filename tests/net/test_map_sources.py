"""Sources of maps: files and web servers that change, break, vanish, come back, while the loop goes on."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import MapBroken, new_map
from filterd.mail.maps import MapType
from filterd.net.http import HttpClient
from filterd.net.http_call import HttpSettings
from filterd.net.map_sources import FileSource, HttpSource, MapFeed, MapFeeds, SourceFailed
from tests.support.http_server import Asked, answer, http_serving
from tests.support.peers import Names, dead_port


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd.maps")


def file_feed(path: Path, type: MapType = "map", **options: Any) -> MapFeed[LiveMap]:
    return MapFeed(LiveMap("m", new_map(type)), FileSource(str(path), **options))


def replaced(path: Path, text: str) -> None:
    """As a careful program writes it: a new file in the old one's place."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def until(condition: Any) -> None:
    while not condition():
        gevent.sleep(0.005)


def test_a_file_is_read_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text("a 1\n")
    feed = file_feed(path)
    assert (feed.refresh(), feed.live.get("a")) == (True, "1")
    assert feed.refresh() is False
    path.write_text("a 22\n")
    assert (feed.refresh(), feed.live.get("a")) == (True, "22")
    for number in ("33", "44", "55", "66"):
        replaced(path, f"a {number}\n")  # as long as the last, and with an inode that may have been used before
        assert (feed.refresh(), feed.live.get("a")) == (True, number)
    assert feed.live.version == 6


def test_a_file_with_a_broken_line_changes_nothing_and_is_told_with_the_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m"
    path.write_text("192.0.2.1\n")
    feed = file_feed(path, "ip")
    feed.refresh()
    path.write_text("192.0.2.2\nnonsense\n\n1.2.3\n")
    caplog.clear()
    assert [feed.refresh(), feed.refresh()] == [False, False]
    assert ("192.0.2.1" in feed.live, "192.0.2.2" in feed.live) == (True, False)
    assert [record.getMessage().split(" is neither")[0] for record in caplog.records] == [
        f"map m: {path}:2: 'nonsense'",
        f"map m: {path}:4: '1.2.3'",
        f"map m: {path} is broken in 2 places; the 1 keys there are remain",
    ]
    path.write_text("192.0.2.2\n")
    assert (feed.refresh(), "192.0.2.1" in feed.live, "192.0.2.2" in feed.live) == (True, False, True)


def test_strictly_a_broken_map_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("nonsense\n")
    with pytest.raises(MapBroken, match="line 1: 'nonsense'"):
        file_feed(tmp_path / "m", "ip").refresh(strict=True)


def test_a_missing_file_is_told_once_and_loaded_when_it_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m"
    feed = file_feed(path)
    assert [feed.refresh(), feed.refresh(strict=True)] == [False, False]
    assert [record.getMessage() for record in caplog.records] == [
        f"map m: {path} cannot be read: No such file or directory; it is empty until that changes"
    ]
    path.write_text("a\n")
    assert (feed.refresh(), "a" in feed.live) == (True, True)


def test_a_file_that_vanishes_leaves_its_map(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m"
    path.write_text("a\n")
    feed = file_feed(path)
    feed.refresh()
    path.unlink()
    assert (feed.refresh(), "a" in feed.live) == (False, True)
    assert caplog.records[-1].getMessage().endswith("No such file or directory; the 1 keys there are remain")
    path.write_text("a\n")
    assert feed.refresh() is True


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("x" * 101)
    for path, told in ((tmp_path / "pipe", "is no file"), (tmp_path, "is no file"), (tmp_path / "large", "has 101 bytes")):
        with pytest.raises(SourceFailed, match=told):
            file_feed(path, max_size=100).update()


def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text("a 1\n" * 10_000)
    feed = file_feed(path)

    def append() -> None:
        with path.open("a") as file:
            file.write("b 2\n")

    gevent.spawn(append)  # it runs while the first piece is parsed
    with pytest.raises(SourceFailed, match="was written to while it was read"):
        feed.update()
    assert feed.live.version == 0
    assert (feed.update(), feed.live.get("b")) == (True, "2")


def test_an_error_while_reading_leaves_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").write_text("a\n")
    feed = file_feed(tmp_path / "m")

    def fail(*args: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fail)
        with pytest.raises(SourceFailed, match="cannot be read: Input/output error"):
            feed.update()
    assert feed.update() is True


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_text("".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} {n}\n" for n in range(100_000)))
    return path


def test_a_hundred_thousand_lines_do_not_hold_the_loop(large: Path, hub_free: None) -> None:
    feed = file_feed(large, "ip")
    feed.update()
    assert len(feed.live) == 100_000


class Site:
    """A web server with one page; `asked` are the requests."""

    def __init__(self) -> None:
        self.page: bytes | None = b"a 1\n"
        self.headers = ['ETag: "1"', "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"]
        self.status = "200 OK"

    def respond(self, asked: Asked) -> bytes | None:
        if asked.one("If-None-Match") == self.headers[0].partition(" ")[2]:
            return answer(b"", "304 Not Modified")
        return None if self.page is None else answer(self.page, self.status, *self.headers)


@pytest.fixture
def site() -> Iterator[tuple[Site, Any]]:
    one = Site()
    with http_serving(one.respond) as server:
        yield one, server


def http_feed(url: str, **options: Any) -> MapFeed[LiveMap]:
    client = HttpClient(HttpSettings(timeout=2.0), resolver=Names({}))
    return MapFeed(LiveMap("m", new_map("map")), HttpSource(url, client, **options))


def test_a_web_address_is_asked_for_what_is_new(site: tuple[Site, Any]) -> None:
    page, server = site
    feed = http_feed(server.url("/m"))
    assert (feed.refresh(), feed.live.get("a")) == (True, "1")
    assert feed.refresh() is False
    assert (server.asked[0].one("If-None-Match"), server.asked[0].one("If-Modified-Since")) == (None, None)
    assert server.asked[1].one("If-None-Match") == '"1"'
    assert server.asked[1].one("If-Modified-Since") == "Thu, 01 Jan 2026 00:00:00 GMT"
    page.page, page.headers = b"a 2\n" * 20_000, ['ETag: "2"']
    assert (feed.refresh(), feed.live.get("a")) == (True, "2")


def test_a_complaint_is_made_once_however_long_each_try_took(caplog: pytest.LogCaptureFixture) -> None:
    class Slow:
        place, interval = "http://127.0.0.1/m", 1.0
        tries = 0

        def changed(self) -> None:
            self.tries += 1
            raise SourceFailed(f"cannot be fetched: timeout: connecting to 127.0.0.1:1 after {self.tries}.25 s")

    feed = MapFeed(LiveMap("m", new_map("map")), Slow())
    for _ in range(3):
        feed.refresh()
    assert len(caplog.records) == 1


def test_the_password_of_a_web_address_is_used_and_not_logged(site: tuple[Site, Any], caplog: pytest.LogCaptureFixture) -> None:
    page, server = site
    caplog.set_level("INFO")
    feed = http_feed(server.url("/m?token=s3cret").replace("://", "://ann:pass-s3cret@"))
    assert feed.refresh()
    assert server.asked[0].one("Authorization").startswith("Basic ")
    page.status, page.page, page.headers = "404 Not Found", b"", ['ETag: "2"']
    feed.refresh()
    assert [record.levelname for record in caplog.records if record.name == "filterd.maps"] == ["INFO", "WARNING"]
    assert "(hidden)" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        ("404 Not Found", b"", "answers 404 Not Found"),
        ("200 OK", b"x" * 2000, "cannot be fetched"),
        ("200 OK", None, "cannot be fetched"),
    ],
)
def test_an_answer_that_is_of_no_use_leaves_the_map(
    site: tuple[Site, Any], status: str, body: bytes | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    page, server = site
    feed = http_feed(server.url("/m"), max_size=1000)
    feed.refresh()
    page.status, page.page, page.headers = status, body, ['ETag: "2"']
    caplog.clear()
    assert [feed.refresh(), feed.refresh()] == [False, False]
    assert feed.live.get("a") == "1"
    (record,) = caplog.records
    assert told in record.getMessage()
    assert record.getMessage().endswith("the 1 keys there are remain")


def test_a_server_that_is_not_there_is_only_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with dead_port() as port:
        assert http_feed(f"http://127.0.0.1:{port}/m").refresh(strict=True) is False
    assert "Connection refused" in caplog.text


def test_feeds_fetch_what_is_not_there_yet_and_follow_what_changes(tmp_path: Path, site: tuple[Site, Any]) -> None:
    page, server = site
    path = tmp_path / "m"
    path.write_text("a 1\n")
    file, web = file_feed(path, interval=0.01), http_feed(server.url("/m"), interval=0.01)
    feeds = MapFeeds({"file": file.live, "web": web.live}, [file, web])
    file.refresh()
    feeds.fetch()
    assert (file.live.version, web.live.version) == (1, 1)
    feeds.start()
    replaced(path, "a 5\n")
    page.page, page.headers = b"a 6\n", ['ETag: "2"']
    until(lambda: (file.live.get("a"), web.live.get("a")) == ("5", "6"))
    feeds.close()
    gevent.sleep(0)
    path.unlink()
    page.page = None
    asked = len(server.asked)
    gevent.sleep(0.05)
    assert len(server.asked) == asked


def test_a_fault_in_one_look_is_not_the_last_look(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "m").write_text("a 1\n")

    def check(value: str) -> str | None:
        faults.append(value)
        if len(faults) == 1:
            raise ZeroDivisionError
        return None

    faults: list[str] = []
    feed = MapFeed(LiveMap("m", new_map("map")), FileSource(str(tmp_path / "m"), interval=0.01), check=check)
    feeds = MapFeeds({"m": feed.live}, [feed])
    feeds.start()
    until(lambda: "ZeroDivisionError" in caplog.text)
    replaced(tmp_path / "m", "a 2\n")
    until(lambda: feed.live.get("a") == "2")
    feeds.close()
