"""Log lines from rules; each carries the task's id, the queue id and the rule's name by itself.

`log.info("%s hits on %s", 3, "example.org")`: the text is put together only if the level is wanted.
"""

from logging import DEBUG, ERROR, INFO, WARNING, Logger, LoggerAdapter, getLogger

from filterd.task import current

__all__ = ["debug", "error", "info", "warning"]

_plain = getLogger("filterd.rule")


def _log() -> "Logger | LoggerAdapter[Logger]":
    scope = current()
    return getattr(scope, "log", _plain)  # a task has one, and a hook


def debug(text: str, *args: object) -> None:
    """For the one who writes the rule."""
    if _plain.isEnabledFor(DEBUG):
        _log().log(DEBUG, text, *args)


def info(text: str, *args: object) -> None:
    """What an administrator may want to know."""
    if _plain.isEnabledFor(INFO):
        _log().log(INFO, text, *args)


def warning(text: str, *args: object) -> None:
    """Something is not as it should be."""
    if _plain.isEnabledFor(WARNING):
        _log().log(WARNING, text, *args)


def error(text: str, *args: object) -> None:
    """Something does not work."""
    if _plain.isEnabledFor(ERROR):
        _log().log(ERROR, text, *args)
