"""Log lines from rules: they carry the ids by themselves, and cost nothing when nobody wants them."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from filterd import log
from filterd.mail.envelope import Envelope
from filterd.task import Task
from tests.support.engine import scan_with
from tests.support.scopes import run_in_scope

LEVELS: list[tuple[Callable[..., None], int]] = [
    (log.debug, logging.DEBUG),
    (log.info, logging.INFO),
    (log.warning, logging.WARNING),
    (log.error, logging.ERROR),
]


@pytest.mark.parametrize(("say", "level"), LEVELS)
def test_a_line_carries_the_tasks_id_the_queue_id_and_the_rule(
    caplog: pytest.LogCaptureFixture, say: Callable[..., None], level: int
) -> None:
    ids: list[str] = []

    def rule(task: Task) -> None:
        ids.append(task.id)
        say("%s hits on %s", 3, "example.org")
        task.spawn(say, "from a child")

    with caplog.at_level(logging.DEBUG, "filterd.rule"):
        scan_with(rule, envelope=Envelope({"queue-id": ["4F1"]}))
    assert [(one.levelno, one.name, one.message) for one in caplog.records] == [
        (level, "filterd.rule", "3 hits on example.org"),
        (level, "filterd.rule", "from a child"),
    ]
    for one in caplog.records:
        assert (vars(one)["task_id"], vars(one)["queue_id"], vars(one)["rule"]) == (ids[0], "4F1", "RULE")


class Unwanted:
    def __str__(self) -> str:
        raise AssertionError("the text was put together, and nobody wanted it")


@pytest.mark.parametrize(("say", "level"), LEVELS)
def test_a_line_below_the_level_is_not_even_put_together(
    caplog: pytest.LogCaptureFixture, say: Callable[..., None], level: int
) -> None:
    with caplog.at_level(level + 1, "filterd.rule"):
        say("%s", Unwanted())
    assert caplog.records == []


def test_a_line_from_a_hook_or_from_a_rule_file_being_loaded_is_written_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "filterd.rule"):
        log.info("loaded")
        run_in_scope(lambda: log.info("in a hook"), network=None)
    assert [(one.message, hasattr(one, "task_id")) for one in caplog.records] == [("loaded", False), ("in a hook", False)]


def test_a_percent_sign_without_arguments_is_a_percent_sign(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "filterd.rule"):
        log.info("100 % sure")
    assert caplog.messages == ["100 % sure"]


def test_a_level_is_told_by_its_name_or_by_its_number_in_syslog(caplog: pytest.LogCaptureFixture) -> None:
    names = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
    with caplog.at_level(logging.DEBUG, "filterd.rule"):
        for number, name in enumerate(names):
            log.log(number, "%s", number)
            log.log(name, "%s", number)
            getattr(log, name)("%s", number)
        log.log("error", "e")
        log.log("critical", "c")
        log.log("silent", "%s", Unwanted())
        log.log(-1, "%s", Unwanted())
    numbers = [one.levelno for one in caplog.records]
    assert numbers == [level for level in (70, 60, 50, 40, 30, 25, 20, 10) for _ in range(3)] + [40, 50]
    assert caplog.messages == [str(number) for number in range(8) for _ in range(3)] + ["e", "c"]


@pytest.mark.parametrize("level", [8, -2, "loud", True, None, 1.5])
def test_another_level_is_an_error(level: Any) -> None:
    with pytest.raises(ValueError, match=r"is no level of the log; there are emerg, .*, silent, or -1 to 7"):
        log.log(level, "lost")


def test_the_tasks_own_logger_has_the_eight_levels_too(caplog: pytest.LogCaptureFixture) -> None:
    def rule(task: Task) -> None:
        for say in (task.log.emerg, task.log.alert, task.log.crit, task.log.err, task.log.notice):
            say("%s", "text")

    with caplog.at_level(logging.DEBUG, "filterd.rule"):
        scan_with(rule)
    assert [(one.levelno, one.message, vars(one)["rule"]) for one in caplog.records] == [
        (level, "text", "RULE") for level in (70, 60, 50, 40, 25)
    ]


def test_a_rule_sets_the_level_of_its_messages_line() -> None:
    def rule(task: Task) -> None:
        assert task.log_level == "info"
        task.log_level = task.get_request_header("level")

    def level_by(header: str | None) -> str:
        verdict = scan_with(rule, envelope=Envelope({} if header is None else {"level": [header]}))
        assert verdict.failures == ()
        return verdict.log_level

    assert [level_by(one) for one in ("notice", "error", "silent", None)] == ["notice", "err", "silent", "silent"]
    (failure,) = scan_with(rule, envelope=Envelope({"level": ["loud"]})).failures
    assert "log_level 'loud' is none of emerg, alert," in failure.text
