"""Where maps come from: files and web addresses that are looked at again and again, and what is done with a new version.

Promises:

* A new version takes the place of the old one at once and as a whole; one with a broken line does not, and the log says
  `file:line` and why.
* What is not there (yet) leaves the map as it is, says so once, and is looked for again.
* A file is seen to be new when it is written, replaced by rename, or appears; one that changes while it is read is read again
  at the next look. Anything but a regular file is refused: a pipe would hold the loop for good.
* A map is parsed in small pieces with a turn of the loop between them.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

import gevent

from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import LineProblem, MapBroken, MapReader
from filterd.net.event import Event
from filterd.net.http import HttpClient
from filterd.net.http_call import Call
from filterd.net.http_url import shown_url
from filterd.outcome import RequestFailed

__all__ = ["FileSource", "HttpSource", "MapFeed", "MapFeeds", "Source", "SourceFailed"]

log = getLogger("filterd.maps")

MAX_SIZE = 64 * 2**20
_PIECE = 16 * 1024
_SECONDS = re.compile(r" \d+\.\d+ s\b")


class SourceFailed(Exception):
    """The source has nothing to give now; the text says why."""


class Source(Protocol):
    """`changed` gives the pieces of a new version, None while there is none since the last; raises SourceFailed, also between
    the pieces. `place` is its name in texts, `interval` the seconds between two looks.
    """

    place: str
    interval: float

    def changed(self) -> Iterable[bytes] | None: ...


class FileSource:
    """A file, looked at every `interval` seconds."""

    def __init__(self, path: str, *, interval: float = 5.0, max_size: int = MAX_SIZE) -> None:
        self.place = path
        self.interval = interval
        self.max_size = max_size
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> Iterable[bytes] | None:
        """The pieces of the file if it is another than at the last look."""
        try:
            if _identity(Path(self.place).stat()) == self._seen:
                return None
            # Not to wait for a writer, should a pipe have taken the file's place meanwhile.
            handle = os.open(self.place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._seen = None
            raise SourceFailed(f"cannot be read: {error.strerror}") from None
        return self._pieces(handle)

    def _pieces(self, handle: int) -> Iterator[bytes]:
        try:
            now = os.fstat(handle)
            self._seen = _identity(now)
            if not stat.S_ISREG(now.st_mode):
                raise SourceFailed("is no file")
            if now.st_size > self.max_size:
                raise SourceFailed(f"has {now.st_size} bytes, and max_size is {self.max_size}")
            while data := os.read(handle, _PIECE):
                yield data
            if _identity(os.fstat(handle)) != self._seen:
                self._seen = None
                raise SourceFailed("was written to while it was read")
        except OSError as error:
            self._seen = None
            raise SourceFailed(f"cannot be read: {error.strerror}") from None
        finally:
            os.close(handle)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    # The time of the last change to the inode too: a rename gives the new file the number of the one it replaced two times ago.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class HttpSource:
    """A web address, asked every `interval` seconds whether it has something new (RFC 9110 13.1). Redirects are followed."""

    def __init__(self, url: str, client: HttpClient, *, interval: float = 300.0, max_size: int = MAX_SIZE) -> None:
        self.place = shown_url(url)
        self._url = url
        self.interval = interval
        self._client = client
        self._max_size = max_size
        self._etag: str | None = None
        self._modified: str | None = None

    def changed(self) -> Iterable[bytes] | None:
        """The pieces of the answer if it is another than the last."""
        call = Call(
            self._url,
            self._client.settings,
            headers={"If-None-Match": self._etag, "If-Modified-Since": self._modified},
            max_size=self._max_size,
            follow_redirects=3,
        )
        try:
            response = self._client.send(call, until=monotonic() + call.timeout)
        except RequestFailed as error:
            raise SourceFailed(f"cannot be fetched: {error.failure.detail}") from None
        if response.code == 304:
            return None
        if response.code != 200:
            raise SourceFailed(f"answers {response.code} {response.reason}".rstrip())
        self._etag = response.headers.get("etag")
        self._modified = response.headers.get("last-modified")
        content = memoryview(response.content)
        return (bytes(content[at : at + _PIECE]) for at in range(0, len(content), _PIECE))


class Reader(Protocol):
    """Takes the bytes of one version as they come; `close` gives what they make, or raises MapBroken."""

    def feed(self, data: bytes, /) -> None: ...
    def close(self) -> Any: ...


class Kept(Protocol):
    """What is kept like its source: a map, or something else with versions."""

    name: str
    version: int

    def replace(self, value: Any, /) -> None: ...
    def __len__(self) -> int: ...


Value = TypeVar("Value", bound=Kept)


class MapFeed(Generic[Value]):
    """Keeps one map like its source. `check` is for the values of the lines, as in `MapReader`.

    With a `reader` it keeps something else, called `title`.
    """

    def __init__(
        self,
        live: Value,
        source: Source,
        *,
        check: Callable[[str], str | None] | None = None,
        reader: Callable[[], Reader] | None = None,
        title: str | None = None,
    ) -> None:
        self.live = live
        self.source = source
        self.title = f"map {live.name}" if title is None else title
        self._reader = reader or (lambda: MapReader(live.value.type, check=check))  # type: ignore[attr-defined]  # a LiveMap
        self._complaint: str | None = None

    def update(self) -> bool:
        """Look once; True if the map was replaced. Raises MapBroken and SourceFailed, and the map is as it was."""
        pieces = self.source.changed()
        if pieces is None:
            return False
        self.live.replace(self.read(pieces))
        return True

    def read(self, pieces: Iterable[bytes]) -> Any:
        """What these pieces of text make; nothing is replaced by it. Raises MapBroken."""
        reader = self._reader()
        for piece in pieces:
            reader.feed(piece)
            _breathe()
        return reader.close()

    def refresh(self, *, strict: bool = False) -> bool:
        """The same; what goes wrong is told in the log instead, once until it changes. With `strict` MapBroken is raised."""
        title, place = self.title, self.source.place
        try:
            is_new = self.update()
        except SourceFailed as error:
            self._complain(f"{title}: {place} {error}; {self._remains()}")
            return False
        except MapBroken as error:
            if strict:
                raise
            for problem in error.problems:
                log.error("%s: %s", title, problem_at(place, problem))
            self._complain(f"{title}: {place} is broken in {len(error.problems)} places; {self._remains()}")
            return False
        if is_new:
            self._complaint = None
            log.info("%s: %d keys from %s", title, len(self.live), place)
        return is_new

    def _remains(self) -> str:
        return f"the {len(self.live)} keys there are remain" if self.live.version else "it is empty until that changes"

    def _complain(self, text: str) -> None:
        # How long it took this time makes it no other complaint.
        complaint = _SECONDS.sub("", text)
        if complaint != self._complaint:
            self._complaint = complaint
            log.warning("%s", text)

    def follow(self) -> None:
        """Look again and again, for good."""
        while True:
            gevent.sleep(self.source.interval)
            try:
                self.refresh()
            except Exception:
                # A fault of ours in one look must not be the last look.
                log.exception("%s: the look at %s failed", self.title, self.source.place)


def problem_at(place: str, problem: LineProblem) -> str:
    """A problem with its place; line 0 is the text as a whole."""
    return f"{place}:{problem.line}: {problem.text}" if problem.line else f"{place}: {problem.text}"


class MapFeeds:
    """The maps of one worker by name, and their feeds. `fetch` looks at sources once, `start` for good, `close` ends that."""

    def __init__(self, maps: Mapping[str, LiveMap], feeds: Iterable[MapFeed[Any]]) -> None:
        self.maps = maps
        self.feeds = list(feeds)
        self._following: list[Any] = []

    def fetch(self) -> None:
        """Look, all at once, at every source that has given nothing yet, and wait for them."""
        gevent.joinall([gevent.spawn(feed.refresh) for feed in self.feeds if not feed.live.version])

    def start(self) -> None:
        """From now on follow the sources."""
        self._following = [gevent.spawn(feed.follow) for feed in self.feeds]

    def close(self) -> None:
        """Follow them no more; the maps stay as they are."""
        following, self._following = self._following, []
        gevent.killall(following, block=False)


def _breathe() -> None:
    # One real turn of the loop, in which mail is read and written; gevent.sleep(0) only lets other greenlets run.
    Event().wait(until=monotonic() + 0.000001)
