"""The log of rules: syslog's eight levels, by their names in syslog and HAProxy, over Python's logging.

Promises: a text is put together only if its level is wanted; a level that does not exist is an error, not a line that is lost.
"""

from logging import Logger, LoggerAdapter
from typing import Any

from filterd.mail.log_levels import LEVELS, SILENT

__all__ = ["LEVELS", "MESSAGE_LEVELS", "SILENT", "RuleLog", "level_number", "message_level"]

MESSAGE_LEVELS = (*LEVELS, SILENT)
_NUMBERS = tuple(LEVELS.values())
_OTHERS = {"error": "err", "critical": "crit", "warn": "warning"}


def level_number(level: int | str) -> int | None:
    """Python's number for a name, or for syslog's number from 0 (emerg) to 7 (debug); None for "silent" and -1.

    Raises ValueError for what is none of these.
    """
    if isinstance(level, str):
        if level == SILENT:
            return None
        name = _OTHERS.get(level, level)
        if name in LEVELS:
            return LEVELS[name]
    elif type(level) is int and -1 <= level < len(_NUMBERS):
        return None if level < 0 else _NUMBERS[level]
    raise ValueError(f"{level!r} is no level of the log; there are {', '.join(MESSAGE_LEVELS)}, or -1 to 7")


def message_level(level: str | None) -> str:
    """The name of the level of a message's line; None is silence. Raises ValueError."""
    name = SILENT if level is None else _OTHERS.get(level, level)
    if name not in MESSAGE_LEVELS:
        raise ValueError(f"log_level {level!r} is none of {', '.join(MESSAGE_LEVELS)}")
    return name


class RuleLog(LoggerAdapter[Logger]):
    """A logger whose lines carry ids, with the levels that Python does not have by name."""

    def emerg(self, text: str, *args: object, **more: Any) -> None:
        """Nothing works."""
        self.log(LEVELS["emerg"], text, *args, **more)

    def alert(self, text: str, *args: object, **more: Any) -> None:
        """Somebody must act at once."""
        self.log(LEVELS["alert"], text, *args, **more)

    def crit(self, text: str, *args: object, **more: Any) -> None:
        """Python's `critical`."""
        self.log(LEVELS["crit"], text, *args, **more)

    def err(self, text: str, *args: object, **more: Any) -> None:
        """Python's `error`."""
        self.log(LEVELS["err"], text, *args, **more)

    def notice(self, text: str, *args: object, **more: Any) -> None:
        """As it should be, and rare."""
        self.log(LEVELS["notice"], text, *args, **more)
