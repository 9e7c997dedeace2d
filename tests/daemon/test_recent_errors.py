"""The latest warnings and errors, as /errors shows them."""

import logging
import os

from filterd.daemon.recent_errors import LONGEST, RecentErrors

log = logging.getLogger("filterd.rule")


def test_warnings_and_errors_of_filterd_are_kept() -> None:
    errors = RecentErrors()
    errors.listen()
    try:
        log.warning("odd %s", "thing", extra={"task_id": "abc"})
        log.info("fine")
        logging.getLogger("library").error("not ours")
        log.error("worse")
    finally:
        errors.close()
    log.error("after it was closed")
    first, second = errors.latest()
    assert first.pop("ts") > 1e9
    assert first == {"pid": os.getpid(), "type": "warning", "id": "abc", "module": "rule", "message": "odd thing"}
    assert (second["type"], second["id"], second["message"]) == ("error", "", "worse")


def test_they_have_an_end() -> None:
    errors = RecentErrors(3)
    errors.listen()
    try:
        for number in range(10):
            log.error("%d %s", number, "x" * 5000)
        log.error("half \udcff a character")
    finally:
        errors.close()
    told = [one["message"] for one in errors.latest()]
    assert [len(text) for text in told[:2]] == [LONGEST, LONGEST]
    assert told[2] == "half ? a character"


def test_a_record_that_cannot_be_told_is_left_to_the_log() -> None:
    errors = RecentErrors()
    errors.handle(logging.LogRecord("filterd.x", logging.ERROR, "f", 1, "%d", ("no number",), None))
    assert errors.latest() == []
