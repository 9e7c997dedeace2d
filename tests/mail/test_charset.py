"""Whatever bytes come under whatever label, text comes out that can be written down again."""

import encodings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.charset import codec_for, decode, text_of

RUSSIAN = "Привет, как дела? Сегодня хорошая погода, приезжайте к нам."


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("utf-8", "utf_8"),
        ("UTF8", "utf_8"),
        (" 'utf-8' ", "utf_8"),
        ("us-ascii", "ascii"),
        ("iso-8859-1", "cp1252"),
        ("ISO_8859-1:1987", "cp1252"),
        ("ISO-8859-15", "iso8859_15"),
        ("windows-1251", "cp1251"),
        ("win-1251", "cp1251"),
        ("cp-1251", "cp1251"),
        ("windows-874", "cp874"),
        ("gb2312", "gb18030"),
        ("ks_c_5601-1987", "cp949"),
        ("Shift_JIS", "cp932"),
        ("big5", "big5hkscs"),
        ("koi8-r", "koi8_r"),
        ("", None),
        (None, None),
        ("no-such-set", None),
        ("x" * 41, None),
    ],
)
def test_labels_are_read_as_mail_programs_read_them(label: str | None, codec: str | None) -> None:
    assert codec_for(label) == codec


@pytest.mark.parametrize("label", ["hex", "rot13", "zip", "idna", "punycode", "unicode_escape", "undefined", "base64", "cp037"])
def test_codecs_that_are_no_character_sets_are_unknown(label: str) -> None:
    assert codec_for(label) is None


def test_an_unknown_label_leaves_nothing_behind_in_python() -> None:
    decode(b"\xff", "never-seen-before")
    assert "never_seen_before" not in vars(encodings)["_cache"]


@pytest.mark.parametrize(
    ("data", "label", "text", "trouble"),
    [
        (b"plain", None, "plain", ""),
        (b"plain", "no-such-set", "plain", "unknown_charset"),
        ("müde".encode(), None, "müde", ""),
        ("müde".encode(), "no-such-set", "müde", "unknown_charset"),
        ("müde".encode("latin-1"), "iso-8859-1", "müde", ""),
        (b"\x93quoted\x94", "iso-8859-1", "“quoted”", ""),
        ("müde".encode(), "us-ascii", "müde", "bad_charset"),
        ("müde".encode("latin-1"), None, "müde", ""),
        (b"~{VPND~}", "hz", "中文", ""),  # ASCII bytes that are no ASCII text
        (b"+2AA-", "utf-7", "?", ""),  # a lone surrogate
        (b"a" * 100 + b"\xff", "utf-8", "a" * 100 + "\ufffd", "bad_charset"),
        ("müde".encode("utf-16"), "utf-16", "müde", ""),
        (RUSSIAN.encode("koi8-r"), "utf-8", RUSSIAN.encode("koi8-r").decode("utf-8", "replace"), "bad_charset"),
        (b"\x81\x8d", None, "\ufffd\ufffd", ""),
    ],
)
def test_the_declared_set_then_utf8_then_what_is_left(data: bytes, label: str | None, text: str, trouble: str) -> None:
    assert decode(data, label) == (text, trouble)


@pytest.mark.parametrize(("codec", "label"), [("cp1251", None), ("cp1251", "utf-8"), ("cp1251", "us-ascii")])
def test_a_set_that_is_not_told_may_be_guessed(codec: str, label: str | None) -> None:
    assert decode(RUSSIAN.encode(codec), label, may_guess=True)[0] == RUSSIAN


def test_a_guess_that_does_not_fit_is_not_taken() -> None:
    assert decode(b"\x81", may_guess=True) == ("\ufffd", "")


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "euc-jp", "utf-16-le"])
def test_half_a_character_at_a_cut_is_dropped(codec: str) -> None:
    text = "ab日本語"
    assert decode(text.encode(codec)[:-1], codec, is_cut=True) == (text[:-1], "")
    assert decode(text.encode(codec)[:-1], codec)[1] == "bad_charset"


def test_a_broken_character_far_from_the_cut_is_no_half_one() -> None:
    assert decode(b"\xffabcdefghijklmnop" * 2, "utf-8", is_cut=True)[1] == "bad_charset"


def test_undeclared_header_bytes_are_utf8_or_latin1() -> None:
    assert (text_of("ü".encode()), text_of(b"\xfc")) == ("ü", "ü")


ONE_BYTE = "koi8_r mac_roman cp437 cp874 cp1252 cp1255 iso8859_3 iso8859_6 iso8859_8 iso8859_15".split()


def test_bytes_that_utf_7_does_not_have_are_replaced() -> None:
    assert decode(b"a\xffb+AGE\xff+AGE-\xff", "utf-7") == ("a\ufffdba\ufffda\ufffd", "bad_charset")


@pytest.mark.parametrize("codec", ONE_BYTE)
def test_what_a_set_does_not_have_is_replaced_as_its_codec_does(codec: str) -> None:
    every = bytes(range(256)) * 3
    assert decode(every, codec)[0] == every.decode(codec, "replace")


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [None, "utf-7", "utf-8", "utf-16", "utf-32", "hz", "iso-2022-jp", "iso-2022-kr", "gb2312", "johab", "koi8-r"]
    ),
    st.booleans(),
)
def test_anything_becomes_text_that_can_be_written_as_utf8(data: bytes, label: str | None, is_cut: bool) -> None:
    text, _ = decode(data, label, is_cut=is_cut, may_guess=True)
    assert text.encode().decode() == text


@given(st.text(st.characters(codec="utf-8")))
def test_utf8_comes_back_as_it_was(text: str) -> None:
    assert decode(text.encode()) == (text, "")
