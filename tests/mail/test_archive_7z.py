"""7z archives are listed by their header, packed or not."""

import lzma
from base64 import b64decode
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.archive import Archive, Entry
from filterd.mail.archive_7z import SEVEN_ZIP, list_7z

# Made by py7zr.
PACKED = b64decode(
    "N3q8ryccAARoG4nknwAAAAAAAAAWAAAAAAAAAOumFzDgBEsAEF0APG6eTS1f+Dv/74OeID6cAADgAKYAf10AAIEzB64Pz4CuDA/Ual595dffeE"
    "/G8XzV+VyhcTxS2822M4nQK1hc5B/Mqcy20OiHGVRAKt8sLHmFv4SZnwGjdKN+0mWpJqmbCiCjr8MVe0pYuux6vvZCErsIPlOjjdUkzhLRPj2D"
    "Ry5qpWfm5ghRIZ9ni0qCarL5uoSlTwAAAAAXBhgBCYCHAAcLAQABISEBGAyApwAA"
)
ENCRYPTED = b64decode(
    "N3q8ryccAASKFKuhfQAAAAAAAAAUAAAAAAAAAIZK20n8mIFt95/y3XPff3vAb/hPAQBoAQQGAAEJEAoBzvck1QAHCwEAAiQG8QcBElMP3kTn9t"
    "rtgDvyTXGn0dGO1SEhARgBAAwOCgAICgF3R9+OAAAFARERAG8AbgBlAC4AdAB4AHQAAAAUCgEAMP+mt3N53QEVBgEAIICAgQAAABcGEAEJbQAH"
    "CwEAASEhARgMaQAA"
)
ENCRYPTED_NAMES = b64decode(
    "N3q8ryccAASXRHWRgAAAAAAAAAAoAAAAAAAAAPlRyiGFKEp4bnEFrSWnC9rVzJWAmbEQXlrqKxmqkAZRo2qaRFtcf2PaWFtlazFYG4RKLbQ265"
    "b8hCkxE/JdZY8lPXi96idnvDBrD8c0pdKinIm7P9kIhq0qt91oBVhSXEINQ57LQQDIImprFzh9LWdIHXuqYsjywvJ4g3tFblQ5HwZI8hcGEAEJ"
    "cAAHCwEAASQG8QcBElMPSw7txwaujjihF9gWCD2G6wxpAAA="
)


def number(value: int) -> bytes:
    return b"\xff" + pack("<Q", value)


def names(*texts: str) -> bytes:
    content = b"\0" + b"".join(text.encode("utf-16-le") + b"\0\0" for text in texts)
    return b"\x11" + number(len(content)) + content


def files(count: int, *properties: bytes) -> bytes:
    return b"\x05" + number(count) + b"".join(properties) + b"\0"


def whole(header: bytes, data: bytes = b"") -> bytes:
    return SEVEN_ZIP + b"\0\4" + pack("<LQQL", 0, len(data), len(header), 0) + data + header


def packed(
    header: bytes, method: bytes, settings: bytes, data: bytes, *, size: int | None = None, before: bytes = b""
) -> bytes:
    coder = bytes([len(method) | (0x20 if settings else 0)]) + method + (number(len(settings)) + settings if settings else b"")
    streams = b"\x06" + number(len(before)) + b"\x01\x09" + number(len(data)) + b"\0"
    streams += b"\x07\x0b\x01\0\x01" + coder + b"\x0c" + number(len(header) if size is None else size) + b"\0\0"
    return whole(b"\x17" + streams, before + data)


COPY = b"\x01\x01\0"
# One folder of one coder, with one stream of 10 bytes: all up to the sizes of the files in it.
STREAMS = b"\x04\x06\0\x01\x09\x0a\0" + b"\x07\x0b\x01\0" + COPY + b"\x0c\x0a\0"


@pytest.mark.parametrize(
    ("data", "archive"),
    [
        (PACKED, Archive("7z", (Entry("one.txt", 100), Entry("dir/two.exe", 1000), Entry("leer.txt", 0)))),
        (whole(b""), Archive("7z")),
        (whole(b"\x01\0"), Archive("7z")),
        (whole(b"\x01" + files(2, names("a", "ü"))), Archive("7z", (Entry("a"), Entry("ü")))),
        (whole(b"\x01" + STREAMS + b"\0" + files(1, names("a"))), Archive("7z", (Entry("a", 10),))),
        (
            # Two files in the folder, the first of 4 bytes; checksums of both; an empty file and a folder besides.
            whole(
                b"\x01"
                + STREAMS
                + b"\x08\x0d\x02\x09\x04\x0a\x01"
                + b"c" * 8
                + b"\0\0"
                + files(4, names("a", "b", "empty", "folder"), b"\x0e\x01\x30", b"\x0f\x01\x80", b"\x14\x02xx")
            ),
            Archive("7z", (Entry("a", 4), Entry("b", 6), Entry("empty", 0))),
        ),
        (whole(b"\x01" + STREAMS + b"\x08\x0d\x02\0\0" + files(1, names("a"))), Archive("7z", (Entry("a", 0),))),
        (whole(b"\x01" + STREAMS + b"\x08\x0d\0\0\0" + files(1, names("a"))), Archive("7z", (Entry("a"),))),
        # Properties of the archive, streams of its own, checksums for some of what is packed.
        (whole(b"\x01\x02\x07\x03abc\0" + b"\x03\0" + files(1, names("a"))), Archive("7z", (Entry("a"),))),
        (
            whole(b"\x01\x04\x06\0\x02\x0a\0\x40" + b"c" * 4 + b"\x09\x01\x02\0\0" + files(1, names("a"))),
            Archive("7z", (Entry("a"),)),
        ),
        (
            whole(b"\x01\x04\x07\x0b\x01\0" + COPY + b"\x0c\x05\x0a\x01cccc\0\0" + files(1, names("a"))),
            Archive("7z", (Entry("a", 5),)),
        ),
        # Two coders in a row: the second's output is the file.
        (
            whole(
                b"\x01\x04\x07\x0b\x01\0\x02"
                + COPY[1:]
                + b"\x11\0\x01\x01"
                + b"\0\x01"
                + b"\x0c\x05\x06\0\0"
                + files(1, names("a"))
            ),
            Archive("7z", (Entry("a", 5),)),
        ),
        # A coder with two inputs names both of the packed streams.
        (
            whole(b"\x01\x04\x07\x0b\x01\0\x01\x11\0\x02\x01\0\x01\x0c\x05\0\0" + files(1, names("a"))),
            Archive("7z", (Entry("a", 5),)),
        ),
        (whole(b"\x01" + files(1, b"\x11\x03\x01aa")), Archive("7z")),
        (ENCRYPTED, Archive("7z", (Entry("one.txt", 10, is_encrypted=True),), frozenset({"encrypted"}))),
        (ENCRYPTED_NAMES, Archive("7z", (), frozenset({"encrypted_names"}))),
    ],
)
def test_listings(data: bytes, archive: Archive) -> None:
    assert list_7z(data) == archive


HEADER = b"\x01" + files(1, names("a.exe"))
LISTED = Archive("7z", (Entry("a.exe"),))


def test_headers_are_unpacked() -> None:
    assert list_7z(packed(HEADER, b"\0", b"", HEADER)) == LISTED
    filters = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 4096}]
    data = lzma.compress(HEADER, lzma.FORMAT_RAW, filters=filters)
    assert list_7z(packed(HEADER, b"\x03\x01\x01", b"\x5d\0\0\1\0", data)) == LISTED
    data = lzma.compress(HEADER, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
    assert list_7z(packed(HEADER, b"\x21", b"\x18", data)) == LISTED


def test_a_packed_header_may_be_packed_again_but_not_for_ever() -> None:
    once = packed(HEADER, b"\0", b"", HEADER)[32 + len(HEADER) :]
    assert list_7z(packed(once, b"\0", b"", once, before=HEADER)) == LISTED
    # One that is in itself.
    assert list_7z(
        whole(b"")[:12] + pack("<QQL", 0, len(once), 0) + once.replace(number(len(HEADER)), number(len(once)))
    ).flags == {"bad_archive"}


def test_a_claim_of_a_large_window_or_header_costs_nothing() -> None:
    data = lzma.compress(HEADER, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
    assert list_7z(packed(HEADER, b"\x21", b"\x28", data, size=2**40)) == LISTED


@pytest.mark.parametrize(
    "data",
    [
        SEVEN_ZIP,
        whole(b"\x05"),
        whole(b"\x01\x05"),
        whole(b"\x01" + files(1, b"\x11\x7fx")),
        whole(b"\x01" + files(20_000, names("a"))),
        whole(b"\x01\x04\x07\x0c"),
        whole(b"\x01\x04\x07\x0b\x01\x01"),
        whole(b"\x01\x04\x09"),
        whole(b"\x01" + STREAMS + b"\x08\x0d" + number(10_001) + b"\0\0"),
        whole(b"\x01\x04\x07\x0b\x02\0" + COPY * 2 + b"\x0c\x01\x01\0\x08\x0d\xa7\x10\xa7\x10\0\0"),
        packed(HEADER, b"\x04", b"", HEADER),
        packed(HEADER, b"\x21", b"\x18", b"\xff" * 20),
        packed(HEADER, b"\x21", b"", HEADER),
    ],
)
def test_what_cannot_be_read_is_flagged(data: bytes) -> None:
    assert list_7z(data) == Archive("7z", (), frozenset({"bad_archive"}))


def test_numbers_are_counted() -> None:
    sizes = b"\x09" + b"\x01" * 10_000
    assert list_7z(whole(b"\x01\x04\x06\0" + number(10_000) + sizes * 5 + b"\0\0\0")).flags == {"bad_archive"}


def test_numbers_of_every_length() -> None:
    for value in (0, 0x7F, 0x80, 0x3FFF, 0x4000, 2**21, 2**28, 2**35, 2**42, 2**49, 2**56, 2**63):
        size = next((size for size in range(8) if value < 1 << 7 * (size + 1)), 8)
        first = (0xFF00 >> size & 0xFF) | (value >> 8 * size if size < 8 else 0)
        written = bytes([first]) + (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        header = b"\x01\x04\x07\x0b\x01\0" + COPY + b"\x0c" + written + b"\0\0" + files(1, names("a"))
        assert list_7z(whole(header)).entries == (Entry("a", value),)


@given(st.data())
def test_any_damage_is_survived(data: st.DataObject) -> None:
    plain = whole(b"\x01" + STREAMS + b"\x08\x0d\x02\x09\x04\0\0" + files(2, names("a", "b"), b"\x0e\x01\x40", b"\x0f\x01\x80"))
    file = bytearray(data.draw(st.sampled_from([plain, PACKED, ENCRYPTED])))
    for at in data.draw(st.lists(st.integers(6, len(file) - 1), max_size=8)):
        file[at] = data.draw(st.integers(0, 255))
    assert list_7z(bytes(file[: data.draw(st.integers(6, len(file)))])).kind == "7z"
