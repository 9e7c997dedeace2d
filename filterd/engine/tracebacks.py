"""An exception told to the one who wrote the rule: from the first line of their own file on.

Promises: what filterd did before it called the rule is not shown, what an exception was caused by is; a text is of bounded
length, whatever a rule puts into its exception.
"""

from collections.abc import Collection
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb

__all__ = ["innermost_line", "story", "summary"]

MAX_SUMMARY = 500
"""Characters of the one line: an exception's text may be a whole message body."""

MAX_STORY = 16_000
"""Characters of a traceback: two functions that call each other a thousand times fill a hundred thousand."""

_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"
_SHIPPED = _PACKAGE + "_data/"


def summary(error: BaseException) -> str:
    """`Type: text` in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a rule's own exception class may do anything here
        text = "(its text cannot be shown)"
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= MAX_SUMMARY else f"{line[:MAX_SUMMARY]}…"


def innermost_line(error: BaseException, files: Collection[str]) -> str | None:
    """`file:line` of the innermost frame that lies in one of the rule files; None where none does."""
    for frame in reversed(extract_tb(error.__traceback__)):
        if frame.filename in files:
            return f"{frame.filename}:{frame.lineno}"
    return None


def story(error: BaseException, files: Collection[str]) -> str:
    """The traceback as Python prints it, with causes, beginning in a rule file (else in the first file not filterd's own)."""
    told = TracebackException.from_exception(error)
    told.stack = StackSummary.from_list(_from_the_user_on(told.stack, files))
    text = "".join(told.format() if told.stack else told.format_exception_only()).rstrip()
    if len(text) <= MAX_STORY:
        return text
    half = MAX_STORY // 2
    return f"{text[:half]}\n  … {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _from_the_user_on(frames: StackSummary, files: Collection[str]) -> list[FrameSummary]:
    for is_users in (lambda file: file in files, _is_foreign):
        for place, frame in enumerate(frames):
            if is_users(frame.filename):
                return frames[place:]
    return []


def _is_foreign(file: str) -> bool:
    if file.startswith(_PACKAGE):
        return file.startswith(_SHIPPED)
    return not file.startswith("<frozen importlib")
