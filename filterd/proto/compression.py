"""Bodies that were compressed on their way: zstd (RFC 8878), gzip (RFC 1952) and zlib (RFC 1950), in both directions.

Promises:

* What comes out is never longer than `limit`, whatever went in: a bomb costs no more than the limit, and is refused.
* Half of a compressed body is no body: it is refused like any other damage, so that no message is judged by its beginning.
* Work is done in pieces of a few milliseconds, with a call of `pause` after each: who has others to serve can do so then.
"""

import zlib
from collections.abc import Callable
from typing import IO, Literal, TypeAlias, cast

import zstandard

__all__ = ["CODINGS", "BadCompression", "Coding", "compress", "decompress"]

Coding: TypeAlias = Literal["zstd", "gzip", "zlib"]

CODINGS: dict[str, Coding | None] = {
    "zstd": "zstd",
    "gzip": "gzip",
    "x-gzip": "gzip",  # RFC 9110 8.4.1.3
    "deflate": "zlib",  # RFC 9110 8.4.1.2: the name of HTTP for zlib's format
    "zlib": "zlib",
    "identity": None,
    "": None,
}
"""The names clients use, in lower case; None is not compressed."""

_SLICE = 64 * 1024  # bytes that go in at once
_PIECE = 1024 * 1024  # bytes that may come out before a pause
_WINDOW = 8 * 1024 * 1024  # bytes a decoder remembers; RFC 8878 3.1.1.1.2 wants that much supported
_WBITS = {"gzip": 31, "zlib": 15}
_LAST_WORD = b"filterd: the end"


class BadCompression(Exception):
    """The body cannot be decompressed, or would be `too_large`."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


def decompress(data: bytes, coding: Coding, limit: int, pause: Callable[[], object] = lambda: None) -> bytes:
    """The body; nothing is made of nothing. Raises BadCompression."""
    if not data:
        return b""
    try:
        return _unzstd(data, limit, pause) if coding == "zstd" else _unzlib(data, coding, limit, pause)
    except _TooMuch:
        raise BadCompression(f"more than {limit} bytes when decompressed", too_large=True) from None


def compress(data: bytes, pause: Callable[[], object] = lambda: None) -> bytes:
    """`data` as one frame of zstd that tells its size."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=len(data))
    pieces = []
    for start in range(0, len(data), _PIECE):
        pieces.append(compressor.compress(data[start : start + _PIECE]))
        pause()
    pieces.append(compressor.flush())
    return b"".join(pieces)


class _TooMuch(Exception):
    pass


class _Output:
    """Where decompressed bytes go, as far as the limit."""

    def __init__(self, limit: int, pause: Callable[[], object]) -> None:
        self.pieces: list[bytes] = []
        self.limit = limit
        self.pause = pause
        self.size = 0
        self.paused_at = 0

    def write(self, piece: bytes) -> int:
        self.pieces.append(piece)
        self.size += len(piece)
        if self.size > self.limit:
            raise _TooMuch
        if self.size - self.paused_at >= _PIECE:
            self.paused_at = self.size
            self.pause()
        return len(piece)

    def take_off(self, end: bytes) -> bool:
        """Is this the end of what was written? Then it is so no more."""
        tail = b""
        while len(tail) < len(end) and self.pieces:
            tail = self.pieces.pop() + tail
        self.pieces.append(tail[: -len(end)])
        return tail.endswith(end)


def _unzstd(data: bytes, limit: int, pause: Callable[[], object]) -> bytes:
    # The library does not tell whether the last frame was complete. So a frame of our own follows: were something missing,
    # ours would be taken for that. Its end as bytes is a checksum, so even bytes that were copied as they are cannot look
    # like its text. It goes in by halves: behind half a frame header the library would take a whole frame for the one awaited.
    end = zstandard.ZstdCompressor(write_checksum=True).compress(_LAST_WORD)
    output = _Output(limit + len(_LAST_WORD), pause)
    writer = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_writer(cast("IO[bytes]", output))
    try:
        for start in range(0, len(data), _SLICE):
            writer.write(data[start : start + _SLICE])
            pause()
        writer.write(end[:8])
        writer.write(end[8:])
    except zstandard.ZstdError as error:
        raise BadCompression(f"zstd: {str(error).rpartition(': ')[2]}") from None
    if not output.take_off(_LAST_WORD):
        raise BadCompression("zstd: the end is missing")
    return b"".join(output.pieces)


def _unzlib(data: bytes, coding: Coding, limit: int, pause: Callable[[], object]) -> bytes:
    decompressor = zlib.decompressobj(_WBITS[coding])
    output = _Output(limit, pause)
    try:
        for start in range(0, len(data), _SLICE):
            rest = data[start : start + _SLICE]
            while piece := decompressor.decompress(rest, _SLICE):
                output.write(piece)
                rest = decompressor.unconsumed_tail
            pause()
    except zlib.error as error:
        raise BadCompression(f"{coding}: {str(error).rpartition(': ')[2]}") from None
    if not decompressor.eof:
        raise BadCompression(f"{coding}: the end is missing")
    if decompressor.unused_data:
        raise BadCompression(f"{coding}: there is something behind the end")
    return b"".join(output.pieces)
