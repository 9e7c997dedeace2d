"""Log lines from rules; each carries the task's id, the queue id and the rule's name by itself.

`log.info("%s hits on %s", 3, "example.org")`: the text is put together only if the level is wanted. The levels are syslog's:
emerg, alert, crit, err, warning, notice, info, debug.
"""

from logging import Logger, LoggerAdapter, getLogger

from filterd.task import current
from filterd.task.rule_log import LEVELS, level_number

__all__ = ["alert", "crit", "debug", "emerg", "err", "error", "info", "log", "notice", "warning"]

_plain = getLogger("filterd.rule")


def _log() -> "Logger | LoggerAdapter[Logger]":
    scope = current()
    return getattr(scope, "log", _plain)  # a task has one, and a hook


def _tell(level: int, text: str, args: tuple[object, ...]) -> None:
    if _plain.isEnabledFor(level):
        _log().log(level, text, *args)


def debug(text: str, *args: object) -> None:
    """For the one who writes the rule."""
    _tell(LEVELS["debug"], text, args)


def info(text: str, *args: object) -> None:
    """What an administrator may want to know."""
    _tell(LEVELS["info"], text, args)


def notice(text: str, *args: object) -> None:
    """As it should be, and rare."""
    _tell(LEVELS["notice"], text, args)


def warning(text: str, *args: object) -> None:
    """Something is not as it should be."""
    _tell(LEVELS["warning"], text, args)


def err(text: str, *args: object) -> None:
    """Something does not work."""
    _tell(LEVELS["err"], text, args)


error = err


def crit(text: str, *args: object) -> None:
    """Something others rely on does not work."""
    _tell(LEVELS["crit"], text, args)


def alert(text: str, *args: object) -> None:
    """Somebody must act at once."""
    _tell(LEVELS["alert"], text, args)


def emerg(text: str, *args: object) -> None:
    """Nothing works."""
    _tell(LEVELS["emerg"], text, args)


def log(level: int | str, text: str, *args: object) -> None:
    """A line at a level by its name, or by its number in syslog (0 is emerg, 7 debug); "silent" and -1 write nothing.

    Raises ValueError for any other level.
    """
    number = level_number(level)
    if number is not None:
        _tell(number, text, args)
