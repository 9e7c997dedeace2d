"""Tar archives are listed whatever program wrote them."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.archive import Archive, Entry
from filterd.mail.archive_tar import is_tar, list_tar

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def listed(data: bytes) -> Archive:
    return list_tar(data, size=len(data))


@pytest.mark.parametrize("form", FORMATS)
def test_names_of_any_length(form: int) -> None:
    files = {"a.txt": b"one", "folder" * 10 + "/" + "name" * 20: b"x" * 600, "last": b""}
    if form != tarfile.USTAR_FORMAT:
        files["ü" * 100] = b"y"
    data = tarred(files, form)
    assert is_tar(data)
    assert listed(data) == Archive("tar", tuple(Entry(name, len(content)) for name, content in files.items()))


def test_folders_and_global_headers_are_no_files() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        archive.addfile(tarfile.TarInfo("folder/file"))
    assert listed(file.getvalue()).names == ["folder/file"]


def test_a_header_may_say_nothing_of_the_name() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("file")
        info.pax_headers = {"comment": "x"}
        archive.addfile(info)
    assert listed(file.getvalue()).names == ["file"]


def test_large_sizes_are_binary() -> None:
    info = tarfile.TarInfo("file")
    info.size = 9 * 1024**3
    (entry,) = list_tar(info.tobuf(tarfile.GNU_FORMAT), size=1024, is_cut=True).entries
    assert entry.size == 9 * 1024**3


def test_old_archives_have_no_mark() -> None:
    data = bytearray(tarred({"a.txt": b"one"}, tarfile.USTAR_FORMAT))
    data[257:265] = bytes(8)
    assert not is_tar(bytes(data))
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    assert is_tar(bytes(data))
    assert listed(bytes(data)).names == ["a.txt"]


@pytest.mark.parametrize("data", [b"", b"x" * 511, b"x" * 512, bytes(512), bytes(148) + b"\xff" * 8 + bytes(400)])
def test_what_is_no_tar(data: bytes) -> None:
    assert not is_tar(data)


def test_an_archive_that_ends_too_early() -> None:
    data = tarred({"a": b"one", "b": b"two"})[: 2 * 512 + 100]
    assert listed(data) == Archive("tar", (Entry("a", 3),), frozenset({"bad_archive"}))
    assert list_tar(data, size=9, is_cut=True).flags == {"unpack_cap"}


def test_garbage_between_entries() -> None:
    data = tarred({"a": b"one"})
    assert listed(data[:1024] + b"garbage " * 64 + data).flags == {"bad_archive"}


def test_entries_are_counted() -> None:
    header = tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT)
    assert len(listed(header * 2100).entries) == 2000
    folder = tarfile.TarInfo("a")
    folder.type = tarfile.DIRTYPE
    assert "entry_cap" in listed(folder.tobuf(tarfile.USTAR_FORMAT) * 5100).flags


@given(st.data())
def test_any_damage_is_survived(data: st.DataObject) -> None:
    whole = bytearray(tarred({"a": b"one", "ü" * 60: b"two"}, data.draw(st.sampled_from(FORMATS[1:]))))
    for at in data.draw(st.lists(st.integers(0, 2000), max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    assert listed(bytes(whole)).kind == "tar"
