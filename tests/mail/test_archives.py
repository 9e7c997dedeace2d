"""An archive is known by its bytes, and looked into one level deep."""

import gzip
import io
import tarfile
import zipfile
import zlib

import pytest

from filterd.mail.archive import Archive, Entry
from filterd.mail.archive_7z import SEVEN_ZIP
from filterd.mail.archive_rar import RAR_4, RAR_5
from filterd.mail.archives import list_archive

MIB = 1024 * 1024


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", None),
        (b"just text", None),
        (b"%PDF-1.7", None),
        (zipped({}), "zip"),
        (zipped({"a": b""}), "zip"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (tarred("a", b""), "tar"),
        (gzip.compress(tarred("a", b""), mtime=0), "tar"),
        (RAR_4, "rar"),
        (RAR_5, "rar"),
        (SEVEN_ZIP, "7z"),
    ],
)
def test_kinds(data: bytes, kind: str | None) -> None:
    archive = list_archive(data)
    assert (archive and archive.kind) == kind


INNER = Archive("zip", (Entry("evil.exe", 2),))


def test_archives_in_archives_are_listed_and_no_deeper() -> None:
    inner = zipped({"evil.exe": b"MZ"})
    assert list_archive(zipped({"in.zip": inner})) == Archive("zip", (Entry("in.zip", len(inner), archive=INNER),))
    assert list_archive(gzip.compress(inner), "in.zip.gz") == Archive("gzip", (Entry("in.zip", len(inner), archive=INNER),))
    deep = list_archive(zipped({"outer.zip": zipped({"in.zip": inner})}))
    assert deep is not None
    assert deep.names == ["outer.zip", "in.zip"]
    packed = list_archive(zipped({"in.zip.gz": gzip.compress(inner)}))
    assert packed is not None
    assert packed.entries[0].archive == Archive("gzip", (Entry("", len(inner)),), frozenset({"unpack_cap"}))


@pytest.mark.parametrize(
    ("header", "filename", "name"),
    [
        (b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"w\xfc.txt\0", "other.gz", "wü.txt"),
        (b"\x1f\x8b\x08\x0c\0\0\0\0\0\xff" + b"\x02\0xx" + b"a.txt\0", None, "a.txt"),
        (b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"x" * 1100, "b.gz", "b"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "b.txt.GZ", "b.txt"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "b.tgz", "b.tar"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "b.data", "b.data"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", None, ""),
        (b"\x1f\x8b\x08", "b.gz", "b"),
    ],
)
def test_the_name_of_what_gzip_packed(header: bytes, filename: str | None, name: str) -> None:
    archive = list_archive(header + zlib.compress(b"x", wbits=-15) + bytes(8), filename)
    assert archive is not None
    assert archive.names == [name]


def test_broken_and_cut_gzip() -> None:
    data = gzip.compress(bytes(range(256)) * 10)
    cut = list_archive(data[:-20])
    assert cut is not None
    assert (cut.entries, set(cut.flags)) == ((Entry(""),), {"bad_archive"})
    broken = list_archive(data[:10] + b"\xff" * 30)
    assert broken is not None
    assert broken.flags == {"bad_archive"}


def test_a_bomb_is_not_unpacked() -> None:
    bomb = list_archive(gzip.compress(bytes(150 * MIB), 1))
    assert bomb is not None
    assert (bomb.entries[0].size, set(bomb.flags)) == (150 * MIB, {"bomb", "unpack_cap"})
    large = list_archive(gzip.compress(tarred("a", bytes(3 * MIB))))
    assert large == Archive("tar", (Entry("a", 3 * MIB),), frozenset({"unpack_cap"}))
