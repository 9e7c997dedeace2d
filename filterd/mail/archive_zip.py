"""The listing of a zip archive (PKWARE APPNOTE 4.3): its central directory, or without one the headers before each file."""

import re
import zlib
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from filterd.mail.archive import Archive, Listing

__all__ = ["list_zip"]

_END = Struct("<4s4HLLH")
_CENTRAL = Struct("<4s6H3L5HLL")
_LOCAL = Struct("<4s5H3LHH")
_END_SEARCH: Final = 65536 + _END.size  # a comment may follow
_UTF8: Final = 0x800
_ENCRYPTED: Final = 0x1
_ENCRYPTED_NAMES: Final = 0x2000
_UNKNOWN: Final = 0xFFFFFFFF  # the size is in an extra field (zip64), or told after the data
_LOOKED_INTO: Final = 5
_PACKED = re.compile(r"\.(?:zip|jar|docx|xlsx|gz|tgz|tar|rar|7z)\Z", re.IGNORECASE)


class _File(NamedTuple):
    name: str
    size: int
    packed: int
    method: int
    flags: int
    at: int  # of its local header


def list_zip(data: bytes, open_inner: Callable[[bytes], Archive | None], limit: int) -> Archive:
    """The listing of the zip archive `data`. Up to five files in it, of `limit` unpacked bytes together, are given to
    `open_inner` to be looked into if their names tell that they are archives.
    """
    listing = Listing("zip", len(data))
    files = _central(data)
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - _END_SEARCH))
    is_whole = end >= 0 and len(data) - end >= _END.size
    if not is_whole:
        listing.flags.add("bad_archive")
        files = _local(data)
    looked_into = 0
    for number, file in enumerate(files):
        if listing.is_full:
            break
        if file.flags & _ENCRYPTED_NAMES:
            listing.flags.add("encrypted_names")
        is_encrypted = bool(file.flags & _ENCRYPTED)
        inner = None
        if _PACKED.search(file.name) and not is_encrypted and number < 1000:
            if looked_into < _LOOKED_INTO and limit > 0:
                looked_into += 1
                unpacked = _unpacked(data, file, limit)
                limit -= len(unpacked)
                inner = open_inner(unpacked)
            else:
                listing.flags.add("unpack_cap")
        listing.add(file.name, None if file.size == _UNKNOWN else file.size, is_encrypted=is_encrypted, archive=inner)
    return listing.done()
