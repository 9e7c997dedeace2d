"""A map that a rule changes in one worker is changed in all, those that are started later too."""

from pathlib import Path

import pytest

from tests.support.console import all_serving, order, until
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL

pytestmark = pytest.mark.timeout(90)

RULES = """
    import os

    from filterd import Task, maps, rule


    @rule("CHANGED")
    def changed(task: Task) -> tuple[object, ...] | None:
        key = task.get_request_header("Add")
        if key:
            maps["friends"].add(key)
        key = task.get_request_header("Undo")
        if key:
            maps["friends"].discard(key)
        return None


    @rule("FRIEND")
    def friend(task: Task) -> tuple[object, ...] | None:
        return True, os.getpid(), "known" if task.get_request_header("Ask") in maps["friends"] else "unknown"
"""


def answers(daemon: Daemon, key: str) -> dict[str, str]:
    """What each worker says of the key; asked until two have been heard."""
    found: dict[str, str] = {}
    for _ in range(60):
        pid, word = daemon.scan(MAIL, Ask=key)["symbols"]["FRIEND"]["options"]
        found[pid] = word
        if len(found) == 2:
            break
    return found


def test_a_change_is_seen_by_every_worker_and_outlives_a_reload(tmp_path: Path) -> None:
    with running_daemon(tmp_path, {"friends": RULES}, "[maps.friends]\ntype = 'set'\n", workers=2) as daemon:
        all_serving(daemon, 2)
        daemon.scan(MAIL, Add="ann@example.org")
        until(lambda: sorted(answers(daemon, "ann@example.org").values()) == ["known", "known"])
        before = answers(daemon, "ann@example.org").keys()
        assert order(daemon, "reload")["problems"] == []
        until(lambda: before.isdisjoint(answers(daemon, "ann@example.org")))
        assert sorted(answers(daemon, "ann@example.org").values()) == ["known", "known"]
        daemon.scan(MAIL, Undo="ann@example.org")
        until(lambda: sorted(answers(daemon, "ann@example.org").values()) == ["unknown", "unknown"])
