"""Hashes of passwords: what was made fits, nothing else does, and no line of a file can make a comparison costly."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.passwords import SALT_BYTES, BadHash, hash_password, read_hash

SALT = bytes(range(SALT_BYTES))
# RFC 7914 section 12: password "", salt "", N=16 is below our least cost; this one is the third vector, N=16384, r=8, p=1.
VECTOR = (
    b"pleaseletmein",
    b"SodiumChloride",
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
)


def test_a_password_fits_its_hash_and_no_other() -> None:
    line = hash_password(b"s3cret", SALT)
    assert line.startswith("$scrypt$ln=14,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$")
    known = read_hash(f" {line}\n")
    assert str(known) == line
    assert known.fits(b"s3cret")
    assert not known.fits(b"s3cret ")
    assert not known.fits(b"")


def test_the_salt_makes_equal_passwords_differ() -> None:
    assert hash_password(b"x", SALT) != hash_password(b"x", SALT[::-1])


def test_it_is_the_scrypt_of_the_standard() -> None:
    password, salt, digest = VECTOR
    salt_text, text = (b64encode(part).decode().rstrip("=") for part in (salt, bytes.fromhex(digest)))
    assert read_hash(f"$scrypt$ln=14,r=8,p=1${salt_text}${text}").fits(password)


def test_an_empty_password_is_refused() -> None:
    with pytest.raises(ValueError, match="an empty password protects nothing"):
        hash_password(b"", SALT)


GOOD = hash_password(b"s3cret", SALT)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "is no hash"),
        ("s3cret", "is no hash"),
        ("$2$rspamd$hash", "is no hash"),
        (GOOD + "\n" + GOOD, "is no hash"),
        (GOOD[:-20], "is no hash"),
        (GOOD.replace("ln=14", "ln=99"), "costs outside"),
        (GOOD.replace("ln=14", "ln=9"), "costs outside"),
        (GOOD.replace("ln=14,r=8", "ln=20,r=8"), "costs outside"),
        (GOOD.replace("r=8", "r=0"), "costs outside"),
        (GOOD.replace("p=1", "p=0"), "costs outside"),
        (GOOD.replace("p=1", "p=9"), "costs outside"),
        (GOOD[:-1] + "-", "is no hash"),
        (GOOD + "AA", "base64 that is broken"),
    ],
)
def test_what_is_no_hash_is_refused_without_being_shown(line: str, told: str) -> None:
    with pytest.raises(BadHash, match=told) as caught:
        read_hash(line)
    assert "s3cret" not in str(caught.value)
    assert GOOD[-20:] not in str(caught.value)


def test_a_hash_is_not_shown_by_its_repr() -> None:
    assert GOOD[-20:] not in repr(read_hash(GOOD))


@given(st.text())
def test_any_text_is_read_or_refused(line: str) -> None:
    try:
        read_hash(line)
    except BadHash:
        pass
