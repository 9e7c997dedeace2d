"""Archives that come as attachments, listed: zip, gzip, tar, rar, 7z.

Promises:

* Nothing raises, and nothing is unpacked but what is needed to list: the beginning of a gzip file, archives directly within a
  zip or gzip archive, the header of a 7z archive. 2 MiB of it all.
* A file in an archive in an archive is listed; deeper is not looked.
"""

import zlib
from typing import Final

from filterd.mail.archive import Archive, Listing
from filterd.mail.archive_7z import SEVEN_ZIP, list_7z
from filterd.mail.archive_rar import RAR_4, RAR_5, list_rar
from filterd.mail.archive_tar import is_tar, list_tar
from filterd.mail.archive_zip import list_zip

__all__ = ["list_archive"]

_UNPACKED: Final = 2 * 1024 * 1024
_ZIPS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP: Final = b"\x1f\x8b\x08"


def list_archive(data: bytes, filename: str | None = None) -> Archive | None:
    """What the archive `data` holds, or None if it is no archive; `filename` is what it is called itself."""
    return _list(data, filename or "", _UNPACKED)


def _list(data: bytes, filename: str, room: int) -> Archive | None:
    if data.startswith(_ZIPS):
        return list_zip(data, _inner, room)
    if data.startswith(_GZIP):
        return _list_gzip(data, filename, room)
    if data.startswith((RAR_4, RAR_5)):
        return list_rar(data)
    if data.startswith(SEVEN_ZIP):
        return list_7z(data)
    if is_tar(data):
        return list_tar(data, size=len(data))
    return None


def _inner(data: bytes) -> Archive | None:
    return _list(data, "", 0)


def _list_gzip(data: bytes, filename: str, room: int) -> Archive:
    """A single file, or what is in it if that is a tar archive (RFC 1952)."""
    listing = Listing("gzip", len(data))
    unpacked, size = b"", int.from_bytes(data[-4:], "little")
    if room <= 0:
        listing.flags.add("unpack_cap")
    else:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            unpacked = unpacker.decompress(data, room)
        except zlib.error:
            listing.flags.add("bad_archive")
        if is_tar(unpacked):
            return list_tar(unpacked, size=len(data), is_cut=not unpacker.eof)
        if unpacker.eof:
            size = len(unpacked)
        elif unpacker.unconsumed_tail and not listing.flags:
            listing.flags.add("unpack_cap")
        else:
            listing.flags.add("bad_archive")
    told = None if "bad_archive" in listing.flags else size
    listing.add(_gzip_name(data) or _without_suffix(filename), told, archive=_inner(unpacked))
    return listing.done()


def _gzip_name(data: bytes) -> str:
    """The name in the header, if there is one."""
    flags, at = data[3:4], 10
    if not flags or not flags[0] & 8:
        return ""
    if flags[0] & 4:
        at += 2 + int.from_bytes(data[10:12], "little")
    end = data.find(b"\0", at, at + 1024)
    return data[at:end].decode("latin-1") if end >= 0 else ""


def _without_suffix(filename: str) -> str:
    head, dot, tail = filename.rpartition(".")
    if tail.lower() == "tgz":
        return f"{head}.tar"
    return head if dot and tail.lower() in ("gz", "z") else filename
