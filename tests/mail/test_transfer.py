"""Transfer encodings: what was encoded comes back, and what is broken is read as far as it goes."""

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.transfer import decode_base64, decode_transfer


@pytest.mark.parametrize("encoding", ["", "7bit", "8bit", "binary"])
def test_identity_encodings_change_nothing(encoding: str) -> None:
    assert decode_transfer(b"a=20\r\n", encoding) == (b"a=20\r\n", "")


def test_an_unknown_encoding_changes_nothing_and_is_flagged() -> None:
    assert decode_transfer(b"abc", "x-own") == (b"abc", "unknown_encoding")


@pytest.mark.parametrize(
    ("data", "decoded", "flag"),
    [
        (b"YWJj", b"abc", ""),
        (b"YWJj\r\nYWJj\r\n", b"abcabc", ""),
        (b"YWI=\n", b"ab", ""),
        (b"", b"", ""),
        (b"YWI", b"ab", "bad_base64"),  # no padding
        (b"YWJjZ", b"abc", "bad_base64"),  # five characters
        (b"YW!J*j", b"abc", "bad_base64"),  # foreign bytes
        (b"!", b"", "bad_base64"),
        (b"YWJj!!!!", b"abc", "bad_base64"),
        (b"YWJj\nY\nWJj\r\n", b"abcabc", ""),  # lines as they come
        (b"YQ==YWI=", b"aab", "bad_base64"),  # more after the padding
        (b"YQ==" * 2000, b"a" * 1000, "bad_base64"),  # … up to a limit
        (b"\xff\xfe", b"", "bad_base64"),
        (b"YWJj====", b"abc", "bad_base64"),
        (b"YW=*=\n", b"a", "bad_base64"),
        (b"YWJj" * 10 + b"\n" + b"YWJj" * 5 + b"\nYQ==\n", b"abc" * 15 + b"a", ""),  # lines of any length
        (b"YWJj" * 10 + b"\n" + b"YWJj" * 5 + b"*\nYQ==\n", b"abc" * 15 + b"a", "bad_base64"),
        (b"YWJj" * 10 + b"\r\n" + b"YWJj" * 5 + b"\r\n", b"abc" * 15, ""),
        (b"YQ==" + b"YWJj" * 100, b"a" + b"abc" * 100, "bad_base64"),
    ],
)
def test_base64(data: bytes, decoded: bytes, flag: str) -> None:
    assert decode_base64(data) == (decoded, flag)


def test_broken_base64_is_read_up_to_a_limit() -> None:
    decoded, flag = decode_base64(b"YQ==" + b"!YWJj" * 4 * 1024 * 1024)
    assert (flag, decoded[:7], len(decoded)) == ("base64_cap", b"aabcabc", 1 + (16 * 1024 * 1024 - 4) // 5 * 3)
    # What is foreign is skipped at no cost.
    assert decode_base64(b"!YWJj" * 4 * 1024 * 1024) == (b"abc" * 4 * 1024 * 1024, "bad_base64")
    assert decode_base64(b"YWJj" * 5 * 1024 * 1024) == (b"abc" * 5 * 1024 * 1024, "")


@pytest.mark.parametrize(
    ("data", "decoded"),
    [(b"a=20b=3D=\r\nc", b"a b=c"), (b"=e4=E4", b"\xe4\xe4"), (b"=ZZ=", b"=ZZ")],
)
def test_quoted_printable(data: bytes, decoded: bytes) -> None:
    assert decode_transfer(data, "quoted-printable") == (decoded, "")


@pytest.mark.parametrize(
    ("data", "decoded", "flag"),
    [
        (b"text before\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\nafter", b"abc", ""),
        (b"begin 0644 a b\n#86)C\n#86)C", b"abcabc", ""),
        (b"begin 644 a\n#86)C     \nend", b"abc", ""),
        (b"begin 644 a\n#86)Cxxxxxx\nend", b"abc", ""),  # more than the length in front of it says
        (b"begin 644 a\n#\x01\x02\x03\x04\n\n#86)C\nend", b"abc", "bad_uuencode"),
        (b"no beginning", b"no beginning", "bad_uuencode"),
    ],
)
@pytest.mark.parametrize("encoding", ["x-uuencode", "uuencode", "x-uue", "uue"])
def test_uuencode(data: bytes, decoded: bytes, flag: str, encoding: str) -> None:
    assert decode_transfer(data, encoding) == (decoded, flag)


def test_uuencode_is_read_up_to_a_limit() -> None:
    line = binascii.b2a_uu(b"x" * 45)
    decoded, flag = decode_transfer(b"begin 644 a\n" + line * 20_000, "uuencode")
    assert (flag, 0 < len(decoded) < 45 * 20_000) == ("uuencode_cap", True)


def test_uuencode_that_swells_is_read_up_to_a_limit() -> None:
    # Two bytes stand for 63: what a line lacks is filled up.
    decoded, flag = decode_transfer(b"begin 644 a\n" + b"_\n" * 100_000, "uuencode")
    assert (flag, 2**20 < len(decoded) < 2**20 + 64) == ("uuencode_cap", True)


@given(st.binary())
def test_round_trips(data: bytes) -> None:
    assert decode_transfer(base64.encodebytes(data), "base64") == (data, "")
    # The encoder makes all line ends alike, so there must be one kind of them.
    lines_of_one_kind = data.replace(b"\r", b"")
    assert decode_transfer(quopri.encodestring(lines_of_one_kind), "quoted-printable")[0] == lines_of_one_kind
    lines = b"".join(binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
    assert decode_transfer(b"begin 644 x\n" + lines + b"`\nend\n", "uuencode") == (data, "")


@given(
    st.binary() | st.text(st.sampled_from("ab=+/ \n`#begin 644x")).map(str.encode),
    st.sampled_from(["base64", "uue", "quoted-printable"]),
)
def test_anything_is_decoded_somehow(data: bytes, encoding: str) -> None:
    decoded, flag = decode_transfer(data, encoding)
    assert len(decoded) <= len(data)
    assert flag in {"", "bad_base64", "bad_uuencode"}
