"""Patterns mean the same on every Python that filterd runs on."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("filterd", "rules") for path in (ROOT / folder).rglob("*.py"))
# A group that is repeated and gives nothing back. Before 3.11.5 (Debian 12 has 3.11.2) one that fails in the middle of a
# repetition keeps what that repetition had taken: `(?:<a( b)*>)?+` takes "<a" of "<a c>". `(?>(?:…)*)` means the same, and is
# right everywhere.
MISREAD = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+")


def strings(source: str) -> list[str]:
    """The string literals of a source text, as written, docstrings among them; remarks are none."""
    found = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in found if token.type == tokenize.STRING]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_repeated_group_is_possessive(path: Path) -> None:
    found = [text for text in strings(path.read_text()) if MISREAD.search(text)]
    # One text is a list of signs and no pattern.
    assert [text for text in found if "'()*+,/:;<=>?@" not in text] == []
