"""Log lines from rules: they carry the ids by themselves, and cost nothing when nobody wants them."""

import logging
from collections.abc import Callable

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
