"""The listing of a RAR archive, of version 4 (RARLAB's technote) or 5 ("RAR 5.0 archive format"): the headers of its files."""

from struct import Struct
from typing import Final

from filterd.mail.archive import Archive, Listing

__all__ = ["RAR_4", "RAR_5", "list_rar"]

RAR_4: Final = b"Rar!\x1a\x07\x00"
RAR_5: Final = b"Rar!\x1a\x07\x01\x00"
_BLOCKS: Final = 5000

_BLOCK_4 = Struct("<HBHH")  # checksum, type, flags, size of the header
_FILE_4 = Struct(
    "<LLBLLBBHL"
)  # from byte 7 on: packed, unpacked, system, checksum, time, version, method, name size, attributes
_MAIN_4: Final = 0x73
_FILE_BLOCK_4: Final = 0x74
_END_4: Final = 0x7B
_LARGE_4: Final = 0x100  # sizes have a second half
_FOLDER_4: Final = 0xE0

_FILE_5: Final = 2
_ENCRYPTION_5: Final = 4
_END_5: Final = 5
_RECORDS_5: Final = 20


def list_rar(data: bytes) -> Archive:
    """The listing of the RAR archive `data`."""
    listing = Listing("rar", len(data))
    try:
        is_complete = _list_5(data, listing) if data.startswith(RAR_5) else _list_4(data, listing)
    except (IndexError, ValueError):
        is_complete = False
    if not is_complete:
        listing.flags.add("bad_archive")
    return listing.done()


def _list_4(data: bytes, listing: Listing) -> bool:
    at = len(RAR_4)
    for _ in range(_BLOCKS):
        if at == len(data):  # the block for the end came later
            return True
        if at + _BLOCK_4.size > len(data) or listing.is_full:
            return listing.is_full
        _, kind, flags, size = _BLOCK_4.unpack_from(data, at)
        if kind == _END_4:
            return True
        if kind == _MAIN_4 and flags & 0x80:
            listing.flags.add("encrypted_names")
            return True
        if size < _BLOCK_4.size:
            return False
        follows = at + size
        if kind == _FILE_BLOCK_4:
            if at + 7 + _FILE_4.size > len(data):
                return False
            packed, unpacked, _, _, _, _, _, name_size, _ = _FILE_4.unpack_from(data, at + 7)
            name = at + 7 + _FILE_4.size
            if flags & _LARGE_4:
                packed += int.from_bytes(data[name : name + 4], "little") << 32
                unpacked += int.from_bytes(data[name + 4 : name + 8], "little") << 32
                name += 8
            if flags & _FOLDER_4 != _FOLDER_4:
                # A second spelling follows the first: Unicode, in a code of its own.
                text = data[name : name + name_size].partition(b"\0")[0]
                listing.add(text.decode("utf-8", "replace").replace("\\", "/"), unpacked, is_encrypted=bool(flags & 0x4))
            follows += packed
        elif flags & 0x8000:
            follows += int.from_bytes(data[at + 7 : at + 11], "little")
        at = follows
    listing.flags.add("entry_cap")
    return True


def _list_5(data: bytes, listing: Listing) -> bool:
    at = len(RAR_5)
    for _ in range(_BLOCKS):
        if listing.is_full:
            return True
        size, at = _variable(data, at + 4)  # behind the checksum
        follows = at + size
        kind, at = _variable(data, at)
        if kind == _END_5:
            return True
        if kind == _ENCRYPTION_5:
            listing.flags.add("encrypted_names")
            return True
        flags, at = _variable(data, at)
        extra = packed = 0
        if flags & 1:
            extra, at = _variable(data, at)
        if flags & 2:
            packed, at = _variable(data, at)
        if kind == _FILE_5:
            _add_file_5(data, at, follows - extra, follows, listing)
        at = follows + packed
    listing.flags.add("entry_cap")
    return True


def _add_file_5(data: bytes, at: int, extra: int, end: int, listing: Listing) -> None:
    flags, at = _variable(data, at)
    unpacked, at = _variable(data, at)
    _, at = _variable(data, at)  # attributes
    at += 4 * bool(flags & 2) + 4 * bool(flags & 4)  # time, checksum
    _, at = _variable(data, at)  # method
    _, at = _variable(data, at)  # system
    name_size, at = _variable(data, at)
    is_encrypted = False
    for _ in range(_RECORDS_5):
        if not at <= extra < end:
            break
        size, extra = _variable(data, extra)
        kind, _ = _variable(data, extra)
        is_encrypted = is_encrypted or kind == 1
        extra += size
    if not flags & 1:  # a folder
        name = data[at : at + min(name_size, end - at)].decode("utf-8", "replace")
        listing.add(name, None if flags & 8 else unpacked, is_encrypted=is_encrypted)


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends; ValueError when it is too long, IndexError at the end."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError
