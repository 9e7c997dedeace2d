"""Content transfer encodings (RFC 2045 6, and uuencode) to bytes: whatever the input, something comes out.

A filter must see what a mail program shows, so broken input is decoded as far as it goes, and flagged.
"""

import re
from binascii import Error, a2b_qp, a2b_uu
from collections.abc import Iterator

import pybase64

__all__ = ["PLAIN_ENCODINGS", "decode_base64", "decode_transfer"]

PLAIN_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET))
_PIECES = 1000  # of base64 after base64, each with its own padding
_NARROW = 16  # characters of a line: of shorter ones there are too many to be looked at one by one
_LAST = 256  # bytes at the end where padding may be
_BROKEN_LIMIT = 16 * 1024 * 1024  # encoded bytes of base64 with padding within, of which one makes what can be made
_UU_LIMIT = 1024 * 1024  # encoded bytes: the only encoding decoded line by line, in Python
_PADDING = re.compile(rb"=++")
_UU_BEGIN = re.compile(rb"begin [0-7]{3,4} [^\n]*\n")


def decode_transfer(data: bytes, encoding: str) -> tuple[bytes, str]:
    """`data` decoded by the value of a Content-Transfer-Encoding header, and what was wrong: "" or the name of a flag.

    `encoding` is in lower case. An unknown one leaves the data as it is.
    """
    if encoding in PLAIN_ENCODINGS:
        return data, ""
    match encoding:
        case "base64":
            return decode_base64(data)
        case "quoted-printable":
            return a2b_qp(data), ""
        case "x-uuencode" | "uuencode" | "x-uue" | "uue":
            return _decode_uu(data)
    return data, "unknown_encoding"


def decode_base64(data: bytes) -> tuple[bytes, str]:
    """`data` decoded, and "" or "bad_base64"; "base64_cap" where only the first 16 MiB were, because padding stands within.

    Foreign bytes are skipped (RFC 2045 6.8) and missing padding is supplied. Padding ends a piece, not the data: what follows
    it is decoded as well, or a sender could hide it from the filter.
    """
    # Padding that is not at the end: decoding would fail, and looking for it costs a twentieth.
    if data.find(b"=", 0, -_LAST) < 0:
        try:
            decoded = pybase64.b64decode(data)  # skips what is foreign without saying so
        except Error:
            pass
        else:
            is_clean = len(decoded) == _clean_size(data) or _has_only_line_ends(data, decoded)
            return decoded, "" if is_clean else "bad_base64"
    compact = data[:_BROKEN_LIMIT].translate(None, _NOT_BASE64)
    return b"".join(map(_decode_piece, _pieces(compact))), "base64_cap" if len(data) > _BROKEN_LIMIT else "bad_base64"


def _pieces(compact: bytes) -> Iterator[bytes]:
    """What stands between padding, as much as is read."""
    at = 0
    for _ in range(_PIECES):
        end = compact.find(b"=", at)
        if end < 0:
            yield compact[at:]
            break
        yield compact[at:end]
        padding = _PADDING.match(compact, end)
        assert padding is not None
        at = padding.end()


def _has_only_line_ends(data: bytes, decoded: bytes) -> bool:
    """Is what was skipped in `data` nothing but line ends?"""
    return len(data) - data.count(b"\n") - data.count(b"\r") == (len(decoded) + 2) // 3 * 4


def _clean_size(data: bytes) -> int:
    """How many bytes come out of `data` if nothing in it is foreign and its lines are of one length; the last may be shorter.

    Taking the newlines out, or counting them, would take longer than decoding.
    """
    width = data.find(b"\n") + 1
    if 0 < width < _NARROW:
        return -1
    ends = 0
    if width:
        ends = data[width - 1 :: width].count(b"\n")
        ends += data.count(b"\n", ends * width)
    if data.startswith(b"\r", width - 2):
        ends *= 2
    quads, rest = divmod(len(data) - ends, 4)
    return -1 if rest else quads * 3 - data.count(b"=", -8)


def _decode_piece(piece: bytes) -> bytes:
    if len(piece) % 4 == 1:  # six bits are no byte
        piece = piece[:-1]
    return pybase64.b64decode(piece + b"=" * (-len(piece) % 4))


def _decode_uu(data: bytes) -> tuple[bytes, str]:
    begin = _UU_BEGIN.search(data)
    if begin is None:
        return data, "bad_uuencode"
    decoded = bytearray()
    flag = "uuencode_cap" if len(data) > _UU_LIMIT else ""
    for line in data[begin.end() : begin.end() + _UU_LIMIT].split(b"\n"):
        line = line.rstrip(b"\r")
        if line == b"end":
            break
        if len(decoded) > _UU_LIMIT:
            # A line says how long it is decoded, and what it lacks is filled up: two bytes may stand for sixty-three.
            flag = "uuencode_cap"
            break
        if line:
            try:
                decoded += a2b_uu(line)
            except Error:
                # Trailing garbage: the length in front of a line is what holds.
                size = 1 + (((line[0] - 32) & 63) + 2) // 3 * 4
                try:
                    decoded += a2b_uu(line[:size])
                except Error:
                    flag = flag or "bad_uuencode"
    return bytes(decoded), flag
