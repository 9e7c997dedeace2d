"""RAR archives of both generations are listed by their headers."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.archive import Entry
from filterd.mail.archive_rar import RAR_4, RAR_5, list_rar

# Checksums are all zero: nobody looks at them.
MAIN_4 = pack("<HBHH6x", 0, 0x73, 0, 13)
END_4 = pack("<HBHH", 0, 0x7B, 0x4000, 7)


def block_4(name: bytes, *, packed: int = 0, size: int = 0, flags: int = 0x8000, large: bytes = b"") -> bytes:
    head = pack("<LLBLLBBHL", packed, size, 2, 0, 0, 29, 0x30, len(name), 0x20) + large + name
    return pack("<HBHH", 0, 0x74, flags, 7 + len(head)) + head + b"d" * min(packed, 99)


def number(value: int) -> bytes:
    digits = b""
    while value > 0x7F:
        digits += bytes([value & 0x7F | 0x80])
        value >>= 7
    return digits + bytes([value])


def block_5(kind: int, body: bytes = b"", *, extra: bytes = b"", data: bytes = b"") -> bytes:
    flags = (1 if extra else 0) | (2 if data else 0)
    head = number(kind) + number(flags) + (number(len(extra)) if extra else b"") + (number(len(data)) if data else b"")
    head += body + extra
    return bytes(4) + number(len(head)) + head + data


def file_5(name: bytes, size: int = 0, *, flags: int = 0, extra: bytes = b"", data: bytes = b"", kind: int = 2) -> bytes:
    times = b"t" * 4 * bool(flags & 2) + b"c" * 4 * bool(flags & 4)
    body = number(flags) + number(size) + number(0x20) + times + number(0) + number(1) + number(len(name)) + name
    return block_5(kind, body, extra=extra, data=data)


MAIN_5 = block_5(1, number(0))
END_5 = block_5(5, number(0))


@pytest.mark.parametrize(
    ("data", "entries"),
    [
        (RAR_4 + MAIN_4 + END_4, ()),
        (RAR_4 + MAIN_4 + block_4(b"a.exe", packed=9, size=20) + block_4(b"b", size=1), (Entry("a.exe", 20), Entry("b", 1))),
        (RAR_4 + MAIN_4 + block_4(b"d\\a\0\x01\x02", size=1) + END_4 + b"more", (Entry("d/a", 1),)),
        (RAR_4 + MAIN_4 + block_4(b"folder", flags=0x80E0) + END_4, ()),
        (RAR_4 + MAIN_4 + block_4(b"a", size=1, flags=0x8100, large=bytes(4) + b"\1\0\0\0") + END_4, (Entry("a", 2**32 + 1),)),
        (RAR_4 + MAIN_4 + pack("<HBHHL", 0, 0x7A, 0x8000, 11, 3) + b"abc" + block_4(b"a") + END_4, (Entry("a", 0),)),
        (RAR_5 + MAIN_5 + END_5, ()),
        (
            RAR_5 + MAIN_5 + file_5("ä.exe".encode(), 300, flags=6, data=b"x" * 200) + file_5(b"b", 1) + END_5,
            (Entry("ä.exe", 300), Entry("b", 1)),
        ),
        (RAR_5 + MAIN_5 + file_5(b"folder", flags=1) + file_5(b"a", flags=8) + END_5, (Entry("a"),)),
        (RAR_5 + MAIN_5 + file_5(b"CMT", 5, kind=3, data=b"hello") + file_5(b"a", 1) + END_5, (Entry("a", 1),)),
        (RAR_5 + MAIN_5 + file_5(b"a", 1, extra=b"\x03\x02aa") + END_5, (Entry("a", 1),)),
    ],
)
def test_listings(data: bytes, entries: tuple[Entry, ...]) -> None:
    archive = list_rar(data)
    assert archive.entries == entries
    assert archive.flags <= {"bomb"}


@pytest.mark.parametrize(
    ("data", "flags", "is_encrypted"),
    [
        (RAR_4 + MAIN_4 + block_4(b"a", flags=0x8004) + END_4, {"encrypted"}, True),
        (RAR_4 + pack("<HBHH6x", 0, 0x73, 0x80, 13) + b"\xff" * 99, {"encrypted_names"}, False),
        (RAR_5 + MAIN_5 + file_5(b"a", extra=b"\x01\x05" + b"\x02\x01x") + END_5, {"encrypted"}, False),
        (RAR_5 + block_5(4, bytes(20)) + b"\xff" * 99, {"encrypted_names"}, False),
    ],
)
def test_encryption_is_seen(data: bytes, flags: set[str], is_encrypted: bool) -> None:
    archive = list_rar(data)
    assert archive.is_encrypted
    assert archive.flags >= flags
    assert all(entry.is_encrypted for entry in archive.entries) or not is_encrypted


@pytest.mark.parametrize(
    "data",
    [
        RAR_4 + b"x",
        RAR_4 + pack("<HBHH", 0, 0x74, 0, 3) + b"x" * 99,
        RAR_4 + MAIN_4 + pack("<HBHH", 0, 0x74, 0, 40) + b"x" * 5,
        RAR_4 + MAIN_4 + block_4(b"a", packed=10**6),
        RAR_5,
        RAR_5 + b"\xff" * 20,
        RAR_5 + MAIN_5,
        RAR_5 + MAIN_5 + file_5(b"a")[:9],
    ],
)
def test_what_cannot_be_read_is_flagged(data: bytes) -> None:
    assert "bad_archive" in list_rar(data).flags


@pytest.mark.parametrize("file", [RAR_4 + MAIN_4 + block_4(b"a") * 2100, RAR_5 + MAIN_5 + file_5(b"a") * 2100])
def test_entries_are_counted(file: bytes) -> None:
    archive = list_rar(file)
    assert (len(archive.entries), set(archive.flags)) == (2000, {"entry_cap"})


@pytest.mark.parametrize("file", [RAR_4 + block_4(b"a", flags=0x80E0) * 5001, RAR_5 + MAIN_5 * 5001])
def test_blocks_are_counted(file: bytes) -> None:
    assert list_rar(file).flags == {"entry_cap"}


def test_records_of_a_file_are_counted() -> None:
    late = b"\x01\x02" * 30 + b"\x01\x01"
    assert not list_rar(RAR_5 + MAIN_5 + file_5(b"a", extra=late) + END_5).is_encrypted


@given(st.data())
def test_any_damage_is_survived(data: st.DataObject) -> None:
    new = RAR_5 + MAIN_5 + file_5(b"name", 300, extra=b"\x03\x02aa", data=b"x" * 9) + END_5
    whole = bytearray(data.draw(st.sampled_from([new, RAR_4 + MAIN_4 + block_4(b"name", packed=9) + END_4])))
    for at in data.draw(st.lists(st.integers(8, len(whole) - 1), max_size=8)):
        whole[at] = data.draw(st.integers(0, 255))
    assert list_rar(bytes(whole[: data.draw(st.integers(8, len(whole)))])).kind == "rar"
