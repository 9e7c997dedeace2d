"""The listing of a 7z archive (7zFormat.txt): the names and sizes in its header, which mostly is packed itself."""

import lzma
from collections.abc import Iterator
from itertools import chain, repeat
from struct import Struct
from typing import Final, NamedTuple

from filterd.mail.archive import Archive, Listing

__all__ = ["SEVEN_ZIP", "list_7z"]

SEVEN_ZIP: Final = b"7z\xbc\xaf\x27\x1c"
_START = Struct("<6s2xLQQL")  # mark, version, checksum, where the header is, its size, its checksum
_HEADER: Final = 512 * 1024  # bytes unpacked
_NUMBERS: Final = 40_000  # read in Python; enough for 10,000 files
_COUNT: Final = 10_000  # of streams, folders, coders, files

# Property ids.
_END: Final = 0x00
_MAIN_HEADER: Final = 0x01
_ARCHIVE_PROPERTIES: Final = 0x02
_ADDITIONAL_STREAMS: Final = 0x03
_MAIN_STREAMS: Final = 0x04
_FILES: Final = 0x05
_PACK_INFO: Final = 0x06
_UNPACK_INFO: Final = 0x07
_SUBSTREAMS: Final = 0x08
_SIZES: Final = 0x09
_CHECKSUMS: Final = 0x0A
_FOLDERS: Final = 0x0B
_UNPACKED_SIZES: Final = 0x0C
_STREAM_COUNTS: Final = 0x0D
_EMPTY_STREAMS: Final = 0x0E
_EMPTY_FILES: Final = 0x0F
_NAMES: Final = 0x11
_PACKED_HEADER: Final = 0x17

_COPY: Final = b"\x00"
_LZMA1: Final = b"\x03\x01\x01"
_LZMA2: Final = b"\x21"
_AES: Final = b"\x06\xf1\x07\x01"


class _Coder(NamedTuple):
    method: bytes
    settings: bytes


class _Folder(NamedTuple):
    coders: list[_Coder]
    outputs: int  # streams that come out of coders
    inner: int  # of them those that go into other coders
    final: int  # the stream that goes into none


class _Streams:
    """Where packed data is and how it is packed."""

    def __init__(self) -> None:
        self.at = 0
        self.packed: list[int] = []
        self.folders: list[_Folder] = []
        self.unpacked: list[int] = []  # the size of each folder
        self.sizes: list[int] = []  # the size of each file


def list_7z(data: bytes) -> Archive:
    """The listing of the 7z archive `data`."""
    listing = Listing("7z", len(data))
    try:
        _list(data, listing)
    except (IndexError, ValueError, lzma.LZMAError):
        listing.flags.add("bad_archive")
    return listing.done()


def _list(data: bytes, listing: Listing) -> None:
    if len(data) < _START.size:
        raise ValueError
    _, _, offset, size, _ = _START.unpack_from(data)
    start = _START.size + offset
    reader = _Reader(data[start : start + min(size, _HEADER)])
    if size == 0:  # no file in it
        return
    kind = reader.byte()
    for _ in range(2):  # packed once, and at most once more
        if kind != _PACKED_HEADER:
            break
        streams = reader.streams()
        if any(coder.method == _AES for folder in streams.folders for coder in folder.coders):
            listing.flags.add("encrypted_names")
            return
        reader = _Reader(_unpacked(data, streams))
        kind = reader.byte()
    if kind != _MAIN_HEADER:
        raise ValueError
    _list_files(reader, listing)


def _unpacked(data: bytes, streams: _Streams) -> bytes:
    """The first folder, if it is packed in the one way that is used for headers."""
    (coder,) = streams.folders[0].coders
    start = _START.size + streams.at
    packed, size = data[start : start + streams.packed[0]], streams.unpacked[0]
    if coder.method == _COPY:
        return packed[: min(size, _HEADER)]
    if coder.method == _LZMA1:
        first = coder.settings[0]
        window = int.from_bytes(coder.settings[1:5], "little")
        chosen = {"id": lzma.FILTER_LZMA1, "lc": first % 9, "lp": first // 9 % 5, "pb": first // 45}
    elif coder.method == _LZMA2:
        exponent = coder.settings[0]
        window = (2 | exponent & 1) << min(exponent // 2 + 11, 31)
        chosen = {"id": lzma.FILTER_LZMA2}
    else:
        raise ValueError
    # No more than is unpacked can be referred to: memory is bounded by the header, not by what it claims.
    chosen["dict_size"] = max(4096, min(window, size, _HEADER))
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chosen]).decompress(packed, min(size, _HEADER))


def _list_files(reader: "_Reader", listing: Listing) -> None:
    streams = _Streams()
    kind = reader.byte()
    if kind == _ARCHIVE_PROPERTIES:
        while reader.byte() != _END:
            reader.skip(reader.number())
        kind = reader.byte()
    if kind == _ADDITIONAL_STREAMS:
        reader.streams()
        kind = reader.byte()
    if kind == _MAIN_STREAMS:
        streams = reader.streams()
        kind = reader.byte()
    if kind != _FILES:
        return
    is_encrypted = any(coder.method == _AES for folder in streams.folders for coder in folder.coders)
    count = reader.count()
    names: list[str] = []
    empty = empty_files = b""
    while (kind := reader.byte()) != _END:
        content = _Reader(reader.take(reader.number()))
        if kind == _NAMES and content.byte() == 0:  # not in another stream
            names = content.rest().decode("utf-16-le", "replace").split("\0", _COUNT)[:count]
        elif kind == _EMPTY_STREAMS:
            empty = content.rest()
        elif kind == _EMPTY_FILES:
            empty_files = content.rest()
    sizes, empties = iter(streams.sizes), _bits(empty_files)
    for name, is_empty in zip(names, chain(_bits(empty), repeat(False)), strict=False):
        if not is_empty:
            listing.add(name, next(sizes, None), is_encrypted=is_encrypted)
        elif next(empties, False):
            listing.add(name, 0)  # the others are folders


def _bits(data: bytes) -> Iterator[bool]:
    """The bits of `data`, the highest of each byte first."""
    return (bool(byte & 0x80 >> bit) for byte in data for bit in range(8))


class _Reader:
    """A header that is read from its begin; IndexError or ValueError where it ends too early or makes no sense."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._numbers = 0

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise ValueError
        self._at += size
        return self._data[self._at - size : self._at]

    def skip(self, size: int) -> None:
        self.take(size)

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def number(self) -> int:
        """As many bytes follow the first one as it has leading ones; the bits behind those are the highest."""
        self._numbers += 1
        if self._numbers > _NUMBERS:
            raise ValueError
        first = self.byte()
        value = 0
        for position in range(8):
            mask = 0x80 >> position
            if not first & mask:
                return value + ((first & (mask - 1)) << 8 * position)
            value += self.byte() << 8 * position
        return value

    def count(self) -> int:
        number = self.number()
        if number > _COUNT:
            raise ValueError
        return number

    def checksums(self, count: int) -> None:
        if not self.byte():  # not for all: a bit for each, the highest first
            count = (int.from_bytes(self.take((count + 7) // 8)) >> -count % 8).bit_count()
        self.skip(4 * count)

    def streams(self) -> _Streams:
        streams = _Streams()
        kind = self.byte()
        if kind == _PACK_INFO:
            streams.at = self.number()
            count = self.count()
            while (kind := self.byte()) != _END:
                if kind == _SIZES:
                    streams.packed = [self.number() for _ in range(count)]
                else:
                    self.checksums(count)
            kind = self.byte()
        if kind == _UNPACK_INFO:
            self._unpack_info(streams)
            kind = self.byte()
        streams.sizes = streams.unpacked
        if kind == _SUBSTREAMS:
            self._substreams(streams)
            kind = self.byte()
        if kind != _END:
            raise ValueError
        return streams

    def _unpack_info(self, streams: _Streams) -> None:
        if self.byte() != _FOLDERS:
            raise ValueError
        count = self.count()
        if self.byte():  # in another stream
            raise ValueError
        streams.folders = [self._folder() for _ in range(count)]
        while (kind := self.byte()) != _END:
            if kind == _UNPACKED_SIZES:
                sizes = [[self.number() for _ in range(folder.outputs)] for folder in streams.folders]
                streams.unpacked = [size[folder.final] for size, folder in zip(sizes, streams.folders, strict=True)]
            else:
                self.checksums(count)

    def _folder(self) -> _Folder:
        coders: list[_Coder] = []
        inputs = outputs = 0
        for _ in range(min(self.count(), 32)):
            flags = self.byte()
            method = self.take(flags & 0x0F)
            inputs, outputs = (inputs + self.count(), outputs + self.count()) if flags & 0x10 else (inputs + 1, outputs + 1)
            coders.append(_Coder(method, self.take(self.number()) if flags & 0x20 else b""))
        bound = set()
        for _ in range(outputs - 1):
            self.number()
            bound.add(self.number())
        if inputs - (outputs - 1) > 1:
            for _ in range(inputs - (outputs - 1)):
                self.number()
        return _Folder(coders, outputs, len(bound), min(set(range(outputs)) - bound))

    def _substreams(self, streams: _Streams) -> None:
        counts = [1] * len(streams.folders)
        kind = self.byte()
        if kind == _STREAM_COUNTS:
            counts = [self.count() for _ in streams.folders]
            kind = self.byte()
        if sum(counts) > _COUNT:
            raise ValueError
        streams.sizes = []
        for folder_size, count in zip(streams.unpacked, counts, strict=True):
            # The last one has what is left.
            told = [self.number() for _ in range(count - 1)] if kind == _SIZES else [0] * (count - 1)
            streams.sizes += [*told, folder_size - sum(told)] if count else []
        # Checksums end it: nobody wants them, and what follows is found by its mark.
        if kind == _SIZES:
            kind = self.byte()
        while kind != _END:
            unknown = sum(counts)
            self.checksums(unknown)
            kind = self.byte()
