"""The listing of a tar archive (POSIX.1-2017 pax, and GNU's long names): a walk over its headers."""

import re
from typing import Final

from filterd.mail.archive import Archive, Listing

__all__ = ["is_tar", "list_tar"]

_BLOCK: Final = 512
_LONG_NAME: Final = 4096  # bytes of a name that has a block of its own
_HEADERS: Final = 5000
_PATH = re.compile(rb"\d+ path=([^\n]*)\n")


def is_tar(data: bytes) -> bool:
    """Does `data` begin with a header of a tar archive?"""
    return data.startswith(b"ustar", 257) or (len(data) >= _BLOCK and _is_header(data[:_BLOCK]))


def _is_header(header: bytes) -> bool:
    """Old archives have no mark; the checksum tells."""
    told = _number(header[148:156])
    return told > 0 and told == sum(header[:148]) + 8 * 32 + sum(header[156:])


def list_tar(data: bytes, *, size: int, is_cut: bool = False) -> Archive:
    """The listing of the tar archive `data`; `size` bytes is it packed, and with `is_cut` there is more of it."""
    listing = Listing("tar", size)
    at, long_name = 0, b""
    for _ in range(_HEADERS):
        header = data[at : at + _BLOCK]
        if len(header) < _BLOCK or listing.is_full:
            break
        if not header.strip(b"\0"):  # the end
            return listing.done()
        if not _is_header(header):
            listing.flags.add("bad_archive")
            return listing.done()
        told, kind = _number(header[124:136]), header[156:157]
        content = data[at + _BLOCK : at + _BLOCK + min(told, _LONG_NAME)]
        if kind == b"L":
            long_name = content.rstrip(b"\0")
        elif kind in (b"x", b"X"):
            found = _PATH.search(content)
            long_name = found[1] if found is not None else long_name
        elif kind != b"g":
            prefix = header[345:500].rstrip(b"\0") if header.startswith(b"ustar\0", 257) else b""
            name = long_name or b"/".join(filter(None, (prefix, header[:100].partition(b"\0")[0])))
            if kind != b"5":  # a folder
                listing.add(name.decode("utf-8", "replace"), told)
            long_name = b""
        at += _BLOCK + (told + _BLOCK - 1) // _BLOCK * _BLOCK
    else:
        listing.flags.add("entry_cap")
    listing.flags.add("unpack_cap" if is_cut else "bad_archive")
    return listing.done()


def _number(field: bytes) -> int:
    """The value of an octal number, or of a binary one marked by its first bit; 0 for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return 0
