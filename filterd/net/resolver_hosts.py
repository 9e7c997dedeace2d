"""The hosts file, read again when it has changed."""

from pathlib import Path
from time import monotonic

from filterd.proto.dns_files import parse_hosts

__all__ = ["HostsFile"]

CHECK = 5.0
"""Seconds between two looks at whether the file has changed."""

# RFC 6761 6.3: this name is never asked in the network, whether or not the file has it.
_ALWAYS = {"localhost": ["127.0.0.1", "::1"]}


class HostsFile:
    """The names in a hosts file; one that cannot be read has only `localhost`."""

    __slots__ = ("_next_look", "_path", "_read", "_seen")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[str, list[str]] = _ALWAYS
        self._seen: tuple[int, int, int] | None = None
        self._next_look = 0.0

    def addresses(self, name: str) -> list[str]:
        """The addresses of a name; none where the file does not have it."""
        now = monotonic()
        if now >= self._next_look:
            self._next_look = now + CHECK
            self._look()
        return list(self._read.get(name.lower().rstrip("."), ()))

    def _look(self) -> None:
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._read = _ALWAYS | parse_hosts(self._path.read_text(errors="replace"))
                self._seen = seen
        except OSError:
            self._read, self._seen = _ALWAYS, None
