"""Compressed bodies: what the reference implementations write, damage at every place, and bombs."""

import gzip
import os
import zlib
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.compression import CODINGS, BadCompression, Coding, compress, decompress

TEXT = b"Received: from a by b\r\n" * 40
NOISE = os.urandom(3000)
WRITTEN: dict[str, tuple[Coding, bytes, bytes]] = {
    "zstd, as rspamc writes it": ("zstd", zstandard.compress(TEXT), TEXT),
    "zstd without its size, with a checksum": (
        "zstd",
        zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(TEXT),
        TEXT,
    ),
    "zstd, blocks copied as they are": ("zstd", zstandard.compress(NOISE), NOISE),
    "zstd in two frames": ("zstd", zstandard.compress(TEXT) + zstandard.compress(NOISE), TEXT + NOISE),
    "zstd behind a frame to skip": ("zstd", b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(TEXT), TEXT),
    "zstd of nothing": ("zstd", zstandard.compress(b""), b""),
    "gzip": ("gzip", gzip.compress(TEXT), TEXT),
    "zlib, as spamc writes it": ("zlib", zlib.compress(TEXT), TEXT),
    "zlib, large": ("zlib", zlib.compress(NOISE * 100), NOISE * 100),
}
ENDS = {"zstd in two frames": len(zstandard.compress(TEXT)), "zstd behind a frame to skip": 11}  # where a frame is over


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_compressed_comes_out(name: str) -> None:
    coding, data, expected = WRITTEN[name]
    assert decompress(data, coding, len(expected)) == expected


@pytest.mark.parametrize("name", WRITTEN)
def test_one_byte_above_the_limit_is_too_large(name: str) -> None:
    coding, data, expected = WRITTEN[name]
    if expected:
        with pytest.raises(BadCompression, match=f"more than {len(expected) - 1} bytes") as told:
            decompress(data, coding, len(expected) - 1)
        assert told.value.too_large


@pytest.mark.parametrize("name", WRITTEN)
def test_half_a_body_is_refused_wherever_it_ends(name: str) -> None:
    coding, data, _ = WRITTEN[name]
    for end in {*range(1, min(60, len(data))), *range(1, len(data), 97), len(data) - 1} - {ENDS.get(name)}:
        with pytest.raises(BadCompression) as told:
            decompress(data[:end], coding, 1_000_000)
        assert not told.value.too_large


@pytest.mark.parametrize("coding", ["zstd", "gzip", "zlib"])
def test_nothing_is_an_empty_body(coding: Coding) -> None:
    assert decompress(b"", coding, 0) == b""


@pytest.mark.parametrize("coding", ["gzip", "zlib"])
def test_something_behind_the_end_is_refused(coding: Coding) -> None:
    data = gzip.compress(TEXT) if coding == "gzip" else zlib.compress(TEXT)
    with pytest.raises(BadCompression, match="something behind the end"):
        decompress(data + data, coding, 10_000)


@pytest.mark.parametrize("coding", ["zstd", "gzip", "zlib"])
@given(garbage=st.binary(min_size=1, max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(coding: Coding, garbage: bytes) -> None:
    with suppress(BadCompression):
        assert len(decompress(garbage, coding, 10_000)) <= 10_000


BOMBS: dict[str, tuple[Coding, bytes]] = {
    "zstd": ("zstd", zstandard.compress(b"\0" * 100_000_000)),
    "gzip": ("gzip", gzip.compress(b"\0" * 30_000_000)),
    "zlib": ("zlib", zlib.compress(b"\0" * 30_000_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_more_than_the_limit(name: str) -> None:
    coding, data = BOMBS[name]
    pauses = []
    with pytest.raises(BadCompression, match="more than 20971520 bytes"):
        decompress(data, coding, 20 * 2**20, lambda: pauses.append(1))
    assert len(pauses) >= 19


def test_a_frame_that_asks_for_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    data = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = data.compress(TEXT) + data.flush()
    with pytest.raises(BadCompression, match="memory"):
        decompress(frame, "zstd", 10_000)


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("zstd", b"(\xb5/\xfd\0\x58" + b"\0\0\0" * 1_000_000),
        ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0" * 300_000),
        ("zlib", b"x\x01" + b"\0\0\0\xff\xff" * 500_000),
    ],
)
def test_much_that_gives_nothing_is_read_with_pauses(coding: Coding, data: bytes) -> None:
    pauses = []
    with suppress(BadCompression):
        assert decompress(data, coding, 10_000, lambda: pauses.append(1)) == b""
    assert len(pauses) >= len(data) // 2**16


@pytest.mark.parametrize("size", [0, 1, 5000, 3 * 2**20 + 1])
def test_what_is_compressed_here_is_read_everywhere(size: int) -> None:
    data = (TEXT * (size // len(TEXT) + 1))[:size]
    pauses = []
    compressed = compress(data, lambda: pauses.append(1))
    assert zstandard.get_frame_parameters(compressed).content_size == size
    assert zstandard.decompress(compressed) == data
    assert decompress(compressed, "zstd", size) == data
    assert len(pauses) == -(-size // 2**20)


def test_the_names_of_codings_are_those_of_http_and_of_spamc() -> None:
    assert {CODINGS[name] for name in ("zstd", "gzip", "x-gzip", "deflate", "zlib")} == {"zstd", "gzip", "zlib"}
    assert CODINGS["identity"] is CODINGS[""] is None
