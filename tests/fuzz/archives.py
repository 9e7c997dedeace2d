"""Targets: archives."""

import gzip
import io
import tarfile
import zipfile

from filterd.mail.archive import Archive
from filterd.mail.archives import list_archive
from tests.fuzz.target import Target, writable

__all__ = ["TARGETS"]


def _archive(data: bytes) -> object:
    found = list_archive(data, "a.tgz")
    return None if found is None else _listed(found, 0)


def _listed(archive: Archive, depth: int) -> object:
    assert depth <= 2
    assert len(archive.entries) <= 2000
    writable(archive.names)
    for entry in archive.entries:
        assert len(entry.name) <= 1024
        assert entry.size is None or entry.size >= 0
        if entry.archive is not None:
            _listed(entry.archive, depth + 1)
    return archive.kind, sorted(archive.flags), min(len(archive.entries), 4)


def _zip(*names: str, method: int = zipfile.ZIP_DEFLATED, content: bytes = b"content") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()


def _tar(*names: str, form: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return made.getvalue()


_TARS = (_tar("a", "b/c"), _tar("é" * 120, form=tarfile.PAX_FORMAT), _tar("d" * 200, form=tarfile.GNU_FORMAT))
_ZIPS = (
    _zip("a.txt", "ü/b.exe"), _zip("c", method=zipfile.ZIP_STORED), _zip(), _zip("in.zip", content=_zip("x.js")),
    _zip("in.gz", content=gzip.compress(b"y", mtime=0)),
)  # fmt: skip
_GZIPS = (
    gzip.compress(b"x" * 100, mtime=0),
    gzip.compress(_TARS[0], mtime=0),
    b"\x1f\x8b\x08\x08\0\0\0\0\0\3name.txt\0" + gzip.compress(b"a", mtime=0)[10:],
)
_ARCHIVE_WORDS = (
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"ustar\x0000",
    b"Rar!\x1a\x07\0",
    b"Rar!\x1a\x07\1\0",
)

TARGETS = (
    Target("zip", _archive, _ZIPS, _ARCHIVE_WORDS, largest=256 * 1024),
    Target("gzip", _archive, _GZIPS, _ARCHIVE_WORDS, largest=256 * 1024),
    Target("tar", _archive, _TARS, _ARCHIVE_WORDS, largest=256 * 1024),
    Target(
        "7z",
        _archive,
        (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24),),
        (b"\x17\x06", b"\x01\x04", b"\x05", b"\x0b", b"\xff", b"\x80", b"\0"),
        largest=64 * 1024,
    ),
    Target("rar", _archive, (b"Rar!\x1a\x07\0", b"Rar!\x1a\x07\1\0"), _ARCHIVE_WORDS, largest=64 * 1024),
)
