"""Regular expressions that a configuration may hold: RE2's, which are linear in the text whatever is written or sent."""

from typing import Any, Final

import re2  # type: ignore[import-untyped]  # it comes without types

__all__ = ["Pattern"]

_LENGTH: Final = 4096
_MEMORY: Final = 8 * 1024 * 1024  # bytes a pattern may take once it is compiled
_FLAGS: Final = {
    "i": "(?i)",
    "m": "(?m)",
    "s": "(?s)",
    "u": "",
    "O": "",
    "r": "",
}  # the last three are Rspamd's, without use here


class Pattern:
    """One pattern in RE2's syntax, which has no look-around and no back-references."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, flags: str = "") -> None:
        """`flags`: `i` ignores case, `m` lets ^ and $ match at lines, `s` lets the dot match a newline. Raises ValueError."""
        if len(text) > _LENGTH:
            raise ValueError(f"a pattern of more than {_LENGTH} characters")
        unknown = [flag for flag in flags if flag not in _FLAGS]
        if unknown:
            raise ValueError(f"unknown flag {unknown[0]!r} of a pattern; there are i, m and s")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY
        self.text = text
        try:
            self._compiled: Any = re2.compile("".join(_FLAGS[flag] for flag in flags) + text, options)
        except (re2.error, UnicodeEncodeError) as error:
            reason = error.args[0] if error.args else error
            told = reason.decode(errors="replace") if isinstance(reason, bytes) else str(error)
            raise ValueError(f"no pattern: {told}") from None

    def _search(self, value: str) -> Any:
        try:
            return self._compiled.search(value)
        except UnicodeEncodeError:  # a lone surrogate
            return self._compiled.search(value.encode("utf-8", "replace").decode())

    def found_in(self, value: str) -> bool:
        """Does it match anywhere in the value?"""
        return self._search(value) is not None

    def pieces_of(self, value: str) -> list[str] | None:
        """What matched first, and after it its groups that took part; None where nothing matches."""
        match = self._search(value)
        return None if match is None else [match[0], *(group for group in match.groups() if group is not None)]

    def replaced_in(self, value: str, replacement: str) -> str:
        """The value with every match replaced; backslash and 1 in the replacement are the first group."""
        try:
            text: str = self._compiled.sub(replacement, value)
        except UnicodeEncodeError:
            text = self._compiled.sub(replacement, value.encode("utf-8", "replace").decode())
        return text
