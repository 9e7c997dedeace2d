"""Levels have syslog's names and order, and Python's numbers."""

import logging

from filterd.mail.log_levels import LEVELS, SILENT


def test_the_order_is_that_of_syslog() -> None:
    assert list(LEVELS) == ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
    assert sorted(LEVELS.values(), reverse=True) == list(LEVELS.values())


def test_where_python_has_a_level_the_number_is_its() -> None:
    shared = {"crit": logging.CRITICAL, "err": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}
    assert shared.items() <= LEVELS.items()
    assert LEVELS["debug"] == logging.DEBUG


def test_silence_is_no_level_of_a_line() -> None:
    assert SILENT not in LEVELS
