"""The listing of a zip archive (PKWARE APPNOTE 4.3): its central directory, or without one the headers before each file."""

import re
import zlib
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from filterd.mail.archive import Archive, Listing

__all__ = ["list_zip"]

# APPNOTE 4.3.16, 4.3.12, 4.3.7: after the signature, as far as the fields are wanted.
_END = Struct("<4s4HLLH")
_CENTRAL = Struct("<4s6H3L5HLL")
_LOCAL = Struct("<4s5H3LHH")
_END_MARK: Final = b"PK\x05\x06"
_CENTRAL_MARK: Final = b"PK\x01\x02"
_LOCAL_MARK: Final = b"PK\x03\x04"

_COMMENT: Final = 0xFFFF  # bytes, after the end record
_ENCRYPTED: Final = 0x1
_SIZE_AFTER: Final = 0x8
_ENCRYPTED_NAMES: Final = 0x2000
_ELSEWHERE: Final = 0xFFFFFFFF  # zip64: the number is in an extra field
_STORED: Final = 0
_DEFLATED: Final = 8
_LOOKED_INTO: Final = 5
_SEARCHED: Final = 16 * 1024 * 1024  # bytes in which further files are looked for when there is no directory
_PACKED = re.compile(r"\.(?:zip|jar|docx|docm|xlsx|xlsm|gz|tgz|tar|rar|7z)\Z", re.IGNORECASE)


class _File(NamedTuple):
    name: str
    flags: int
    method: int
    packed: int
    size: int
    at: int  # of its local header


def list_zip(data: bytes, open_inner: Callable[[bytes], Archive | None], room: int) -> Archive:
    """The listing of the zip archive `data`.

    Files in it whose names tell that they are archives are unpacked and given to `open_inner`: five at most, and `room` bytes
    together.
    """
    listing = Listing("zip", len(data))
    files = _central_files(data)
    if files is None:
        listing.flags.add("bad_archive")
        files = _local_files(data)
    looked_into = 0
    for file in files:
        if listing.is_full:
            break
        if file.flags & _ENCRYPTED_NAMES:
            listing.flags.add("encrypted_names")
        is_encrypted = bool(file.flags & _ENCRYPTED)
        inner = None
        if not is_encrypted and _PACKED.search(file.name):
            looked_into += 1
            if looked_into > _LOOKED_INTO or room <= 0:
                listing.flags.add("unpack_cap")
            else:
                unpacked = _unpacked(data, file, room)
                room -= len(unpacked)
                inner = open_inner(unpacked)
        listing.add(file.name, None if file.size == _ELSEWHERE else file.size, is_encrypted=is_encrypted, archive=inner)
    return listing.done()


def _central_files(data: bytes) -> Iterator[_File] | None:
    """The files of the central directory, or None when there is none."""
    end = data.rfind(_END_MARK, max(0, len(data) - _COMMENT - _END.size))
    if end < 0 or end + _END.size > len(data):
        return None
    size, offset = _END.unpack_from(data, end)[5:7]
    # Before the end record it stands in any case, also when something was put in front of the archive.
    start = end - size
    if start < 0 or not data.startswith(_CENTRAL_MARK if size else _END_MARK, start) or (not size and end > 0):
        return None
    return _central_entries(data, start, end, shift=start - offset)


def _central_entries(data: bytes, at: int, end: int, *, shift: int) -> Iterator[_File]:
    while at + _CENTRAL.size <= end and data.startswith(_CENTRAL_MARK, at):
        fields = _CENTRAL.unpack_from(data, at)
        flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
        name_size, extra_size, comment_size = fields[10:13]
        name = at + _CENTRAL.size
        yield _File(_text(data[name : name + name_size]), flags, method, packed, size, fields[16] + shift)
        at = name + name_size + extra_size + comment_size


def _local_files(data: bytes) -> Iterator[_File]:
    room = _SEARCHED
    at = data.find(_LOCAL_MARK, 0, room)
    while 0 <= at <= len(data) - _LOCAL.size:
        _, _, flags, method, _, _, _, packed, size, name_size, extra_size = _LOCAL.unpack_from(data, at)
        name = at + _LOCAL.size
        yield _File(
            _text(data[name : name + name_size]), flags, method, packed, _ELSEWHERE if flags & _SIZE_AFTER else size, at
        )
        # What it says about its size may be wrong: then the next one is looked for from here.
        follows = name + name_size + extra_size + packed
        at = follows
        if not data.startswith(_LOCAL_MARK, follows):
            at = data.find(_LOCAL_MARK, name, name + room)
            room -= at - name


def _unpacked(data: bytes, file: _File, room: int) -> bytes:
    """The first `room` bytes of `file`; nothing if that cannot be."""
    if file.at < 0 or not data.startswith(_LOCAL_MARK, file.at) or file.at + _LOCAL.size > len(data):
        return b""
    *_, name_size, extra_size = _LOCAL.unpack_from(data, file.at)
    start = file.at + _LOCAL.size + name_size + extra_size
    if file.method == _STORED:
        return data[start : start + min(file.packed, room)]
    if file.method != _DEFLATED:
        return b""
    packed = data[start : start + file.packed] if file.packed else data[start:]
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, room)
    except zlib.error:
        return b""


def _text(name: bytes) -> str:
    """A name as it is shown; whether it is UTF-8 is told by a flag that many writers forget."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")
