"""Zip archives are listed as they are, and as far as they can be when something is wrong with them."""

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.archive import Archive, Entry
from filterd.mail.archive_zip import list_zip

MIB = 1024 * 1024
OPENED = Archive("tar")


def zipped(files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def listed(data: bytes) -> Archive:
    return list_zip(data, lambda _: OPENED, MIB)


@given(st.dictionaries(st.text("abü./ ", min_size=1, max_size=9), st.binary(max_size=50), max_size=5))
def test_what_the_standard_library_packs_is_listed(files: dict[str, bytes]) -> None:
    data = zipped(files)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        expected = tuple(Entry(info.filename, info.file_size) for info in archive.infolist())
    assert list_zip(data, lambda _: None, 0) == Archive("zip", expected)


def test_without_its_directory_the_files_themselves_tell() -> None:
    data = zipped({"a.txt": b"one" * 100, "b.exe": b"two"})
    whole = listed(data)
    assert listed(data[: data.index(b"PK\x01\x02")]) == Archive("zip", whole.entries, frozenset({"bad_archive"}))
    # An end that claims to be that of an empty archive hides nothing.
    hidden = data[: data.index(b"PK\x01\x02")] + struct.pack("<4s4HLLH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0)
    assert listed(hidden) == Archive("zip", whole.entries, frozenset({"bad_archive"}))


@pytest.mark.parametrize("data", [b"PK\x05\x06", b"PK\x03\x04", b"PK\x03\x04" + b"\xff" * 40, b"PK\x05\x06" + b"\xff" * 18])
def test_what_cannot_be_read_is_flagged(data: bytes) -> None:
    assert "bad_archive" in listed(data).flags


def test_an_empty_archive_is_fine() -> None:
    assert listed(zipped({})) == Archive("zip")


def test_where_the_size_comes_after_the_data_it_is_not_known() -> None:
    data = bytearray(zipped({"a.txt": b"one", "b.txt": b"two"}))
    data[6] |= 8
    data[18:26] = bytes(8)
    cut = bytes(data[: data.index(b"PK\x01\x02")])
    assert listed(cut).entries == (Entry("a.txt"), Entry("b.txt", 3))


def test_without_a_directory_files_are_looked_for_up_to_a_limit() -> None:
    """Half a mark, ten million times, takes long to search."""
    one = zipped({"a": b"x"})
    one = one[: one.index(b"PK\x01\x02")]
    at_size = one.replace(b"x", b"", 1)  # its size leads nowhere, so the next file is looked for
    assert listed(at_size + b"PK" * 4 * MIB + one).names == ["a", "a"]
    assert listed(at_size + b"PK" * 9 * MIB + one).names == ["a"]
    assert listed(at_size + b"PK" * 7 * MIB + at_size + b"PK" * 4 * MIB + one).names == ["a", "a"]
    assert "bad_archive" in listed(at_size + b"PK" * 9 * MIB + one).flags


def test_something_may_stand_in_front() -> None:
    data = b"#!/bin/sh\n" + zipped({"a.zip": b"inner", "b": b""})
    assert listed(data).entries == (Entry("a.zip", 5, archive=OPENED), Entry("b", 0))


def test_encryption_is_seen() -> None:
    data = bytearray(zipped({"a.zip": b"one"}))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    assert listed(bytes(data)) == Archive("zip", (Entry("a.zip", 3, is_encrypted=True),), frozenset({"encrypted"}))
    data[at + 9] |= 0x20
    assert listed(bytes(data)).flags == {"encrypted", "encrypted_names"}


def test_names_are_utf_8_or_else_code_page_437() -> None:
    data = bytearray(zipped({"aXb": b""}))
    assert listed(bytes(data).replace(b"aXb", b"a\x81b")).names == ["aüb"]
    assert listed(bytes(data).replace(b"aXb", "aü".encode())).names == ["aü"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_within_are_looked_into(method: int) -> None:
    given_to: list[bytes] = []

    def opened(data: bytes) -> Archive | None:
        given_to.append(data)
        return OPENED

    data = zipped({"a.txt": b"text", "b.ZIP": b"zip" * 9}, method=method)
    assert list_zip(data, opened, MIB).entries == (Entry("a.txt", 4), Entry("b.ZIP", 27, archive=OPENED))
    assert given_to == [b"zip" * 9]


def test_a_limit_holds_for_all_that_is_unpacked() -> None:
    sizes: list[int] = []

    def opened(data: bytes) -> None:
        sizes.append(len(data))

    bomb = zipped({f"{number}.zip": bytes(MIB) for number in range(8)})
    assert list_zip(bomb, opened, MIB * 5 // 2).flags == {"unpack_cap"}
    assert sizes == [MIB, MIB, MIB // 2]
    sizes.clear()
    assert list_zip(bomb, opened, 9 * MIB).flags == {"unpack_cap"}
    assert len(sizes) == 5


def test_what_cannot_be_unpacked_is_empty() -> None:
    contents: list[bytes] = []
    data = zipped({"a.zip": b"content " * 9})
    body = data.index(b"a.zip") + 5
    directory = data.index(b"PK\x01\x02")
    broken = [
        data[:body] + b"\xff" * 5 + data[body + 5 :],  # no deflated data
        data[: directory + 10] + b"\x0c" + data[directory + 11 :],  # bzip2
        data[: directory + 42] + b"\xff" + data[directory + 43 :],  # its header is elsewhere
        data[: directory + 45] + b"\xff" + data[directory + 46 :],
    ]
    for changed in broken:
        list_zip(changed, contents.append, MIB)
    assert contents == [b""] * 4
    contents.clear()
    untold = data[: directory + 20] + bytes(4) + data[directory + 24 :]  # the packed size is in an extra field
    list_zip(untold, contents.append, MIB)
    assert contents == [b"content " * 9]


def test_entries_are_counted() -> None:
    archive = listed(zipped({f"{number}": b"" for number in range(2100)}))
    assert (len(archive.entries), set(archive.flags)) == (2000, {"entry_cap"})


@given(st.data())
def test_any_damage_is_survived(data: st.DataObject) -> None:
    whole = bytearray(zipped({"a.zip": b"one" * 9, "b": b"two"}))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    assert listed(bytes(whole[: data.draw(st.integers(0, len(whole)))])).kind == "zip"
