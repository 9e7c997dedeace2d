"""Maps of patterns: what fits, what is refused, and that nothing is slow."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail import map_patterns
from filterd.mail.map_patterns import GlobMap, RegexpMap
from filterd.mail.maps import BadKey, Map


def made(map: Map, *keys: str | tuple[str, Any]) -> Map:
    for key in keys:
        map.add(*(key if isinstance(key, tuple) else (key, True)))
    map.finish()
    return map


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("/viagra/", "cheap viagra here", True),
        ("/viagra/", "VIAGRA", False),
        ("/viagra/i", "VIAGRA", True),
        ("/^b$/m", "a\nb\nc", True),
        ("/^b$/", "a\nb\nc", False),
        ("/a.b/", "a\nb", False),
        ("/a.b/s", "a\nb", True),
        ("/^ÄRGER/iu", "ärger", True),
        (r"/a\/b/", "a/b", True),
        ("^a.c$", "abc", True),
        ("/abc", "x/abc", True),
        ("", "anything", True),
        ("/a/", "\udcffa", True),
    ],
)
def test_a_regular_expression_is_found_anywhere(pattern: str, key: str, fits: bool) -> None:
    assert (key in made(RegexpMap(), pattern)) is fits


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("/(a/", r"RE2 does not take it: missing \): \(a"),
        (r"/(a)\1/", "RE2 does not take it: invalid escape sequence"),
        ("/a(?=b)/", "RE2 does not take it: invalid perl operator"),
        ("\udcff", "RE2 does not take it"),
        ("/a/x", "unknown flag 'x'"),
        ("/(((a{100}){100}){100})/", "RE2 does not take it"),
        ("/" + "(a{30}){30}" * 9 + "/", r"too large \(\d+ instructions, 8000 are possible\)"),
    ],
)
def test_what_re2_does_not_take_or_is_too_large_is_refused(pattern: str, told: str) -> None:
    with pytest.raises(BadKey, match=told):
        RegexpMap().add(pattern, True)


@pytest.mark.parametrize(
    ("glob", "key", "fits"),
    [
        ("*@example.org", "Ann@Example.org", True),
        ("*@example.org", "ann@example.org.net", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a*c", "a\nc", True),
        ("[ab]x", "bx", True),
        ("[!ab]x", "bx", False),
        ("[!ab]x", "cx", True),
        ("[]]x", "]x", True),
        ("[!]]x", "ax", True),
        ("[a", "[a", True),
        ("[a-c]", "b", True),
        (r"[\w]", "w", True),
        (r"[\w]", "a", False),
        ("[[:alpha:]", "a", True),
        ("[&&]", "&", True),
        ("a.c", "abc", False),
        ("^a$", "a", False),
    ],
)
def test_a_glob_fits_the_whole_key(glob: str, key: str, fits: bool) -> None:
    assert (key in made(GlobMap(), glob)) is fits


@given(st.text("ab.*?[]!^\\&", max_size=8), st.text("ab.[]!^\\&", max_size=8))
def test_globs_agree_with_the_standard_library(glob: str, key: str) -> None:
    assert (key in made(GlobMap(), glob)) is fnmatchcase(key, glob)


def test_a_glob_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadKey, match="RE2 does not take it: invalid character class range"):
        GlobMap().add("[z-a]", True)


def test_the_first_pattern_that_fits_counts_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_patterns, "MAX_PROGRAM", 40)  # a few patterns to a set
    table = made(RegexpMap(), *((f"/^{number}/", str(number)) for number in range(100, 0, -1)))
    assert len(table) == 100
    assert [table.get(key) for key in ("77", "7", "999", "100", "x")] == ["77", "7", "99", "100", None]


def test_a_map_without_a_pattern_finds_nothing() -> None:
    assert made(RegexpMap()).get("a") is None
