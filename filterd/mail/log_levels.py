"""The levels of log lines by syslog's names, with the numbers that Python's logging has for them."""

from typing import Final

__all__ = ["LEVELS", "SILENT"]

LEVELS: Final = {"emerg": 70, "alert": 60, "crit": 50, "err": 40, "warning": 30, "notice": 25, "info": 20, "debug": 10}
"""Python's numbers, which grow where syslog's (the places in this table) fall."""

SILENT: Final = "silent"
"""The level of what is not told."""
