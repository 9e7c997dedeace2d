"""Encoded words as mail programs show them; everything else stays as it is."""

import email.header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.words import decode_words


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("no words", "no words"),
        ("=?utf-8?Q?M=C3=BCde?=", "Müde"),
        ("=?utf-8?q?M=C3=BCde?=", "Müde"),
        ("=?utf-8?B?TcO8ZGU=?=", "Müde"),
        ("=?utf-8?b?TcO8ZGU?=", "Müde"),  # padding forgotten
        ("=?iso-8859-1?Q?a_b?=", "a b"),
        ("=?utf-8*de?Q?=C3=BC?=", "ü"),  # RFC 2231: with a language
        ("a =?utf-8?Q?b?= c", "a b c"),
        ("(=?utf-8?Q?a?=)", "(a)"),
        ("=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab"),
        ("=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"),
        ("=?utf-8?Q?a?= =?koi8-r?Q?=C1?=", "aа"),
        ("=?utf-8?Q?a?= and =?utf-8?Q?b?=", "a and b"),
        ("=?utf-8?Q?=C3?= =?UTF-8?Q?=BC?=", "ü"),  # a character cut in two
        ("=?utf-8?Q?blanks within?=", "blanks within"),
        ("=?utf-8?Q?=41?=", "A"),  # the text itself begins with "="
        ("=?no-such-set?Q?=C3=BC?=", "ü"),
        ("=?utf-8?Q?no end", "=?utf-8?Q?no end"),
        ("=?utf-8?X?no such encoding?=", "=?utf-8?X?no such encoding?="),
        ("=?=?utf-8?Q?a?=", "=?a"),
        ("=?utf-8?Q?a?= =?utf-8?Q?no end", "a =?utf-8?Q?no end"),
        ("=?utf-8?Q??=", ""),
        ("ü =?utf-8?Q?=C3=BC?=", "ü ü"),
    ],
)
def test_words_are_decoded(value: str, shown: str) -> None:
    assert decode_words(value) == shown


def test_only_the_first_64_ki_characters_are_looked_at() -> None:
    far = " " * 64 * 1024 + "=?utf-8?Q?a?="
    assert decode_words(far) == far


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(lambda text: "=?" not in text))
def test_what_the_standard_library_encodes_is_read_back(text: str) -> None:
    assert decode_words(email.header.Header(text, "utf-8").encode(linesep="")) == text


@given(st.text(st.sampled_from("=?utf-8QBqb_ aü\n"), max_size=80))
def test_nothing_raises_and_nothing_grows(value: str) -> None:
    assert len(decode_words(value)) <= len(value)
