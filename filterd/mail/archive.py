"""What an archive says it holds: names and sizes, collected within bounds."""

from dataclasses import dataclass, field
from typing import Final

__all__ = ["Archive", "Entry", "Listing"]

_ENTRIES: Final = 2000
_NAME: Final = 1024  # characters
_NAMES: Final = 256 * 1024
# A bomb says so: what it would become is both large and out of all proportion.
_BOMB: Final = 100 * 1024 * 1024
_BOMB_RATIO: Final = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in an archive. `size` is in bytes, unpacked, as the archive tells; None where it does not.

    `archive` is what is in it, should it be an archive itself that could be looked into.
    """

    name: str
    size: int | None = None
    is_encrypted: bool = False
    archive: "Archive | None" = None


@dataclass(frozen=True, slots=True)
class Archive:
    """The listing of an archive of a `kind`: `zip`, `gzip`, `tar`, `rar`, `7z`.

    `flags`, those that apply: `encrypted` (at least one entry), `encrypted_names` (the listing cannot be read without the
    password), `bad_archive` (it could be read only in part), `entry_cap` (more entries or longer names than are kept),
    `unpack_cap` (not looked into to its end), `bomb` (unpacked it is over 100 MiB and a hundred times larger).
    """

    kind: str
    entries: tuple[Entry, ...] = ()
    flags: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """The names of all entries, and of those within them."""
        names: list[str] = []
        for entry in self.entries:
            names.append(entry.name)
            if entry.archive is not None:
                names += entry.archive.names
        return names

    @property
    def is_encrypted(self) -> bool:
        """Is there a password on any of it?"""
        return not self.flags.isdisjoint(("encrypted", "encrypted_names"))


@dataclass(slots=True)
class Listing:
    """An `Archive` in the making; `packed` is the size of the whole archive in bytes."""

    kind: str
    packed: int
    entries: list[Entry] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    _room: int = _NAMES
    _unpacked: int = 0

    @property
    def is_full(self) -> bool:
        """Is there no room for another entry? Then this has been flagged."""
        if len(self.entries) < _ENTRIES and self._room > 0:
            return False
        self.flags.add("entry_cap")
        return True

    def add(self, name: str, size: int | None = None, *, is_encrypted: bool = False, archive: Archive | None = None) -> None:
        """Add an entry unless the listing is full."""
        if self.is_full:
            return
        if len(name) > _NAME:
            name = name[:_NAME]
            self.flags.add("entry_cap")
        self._room -= len(name)
        self._unpacked += size or 0
        if is_encrypted:
            self.flags.add("encrypted")
        self.entries.append(Entry(name, size, is_encrypted, archive))

    def done(self) -> Archive:
        """The archive with what has been added."""
        if self._unpacked > max(_BOMB, _BOMB_RATIO * self.packed):
            self.flags.add("bomb")
        return Archive(self.kind, tuple(self.entries), frozenset(self.flags))
