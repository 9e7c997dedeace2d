"""Load on every door through reloads, kills and a restart of Redis: the short form of `python -m bench reloads`."""

import pytest

from bench.reloads import BY_REDIS, SHORT, reloads
from tests.support.load_doors import DOORS
from tests.support.partners import require


@pytest.mark.timeout(240)
def test_nobody_is_refused_answered_twice_answered_wrongly_or_unscanned() -> None:
    require("redis-server", package="redis-server")
    report = reloads(SHORT, workers=2, clients=1, pause=0.02)
    assert report.problems == []
    assert (report.reloaded, report.refused, report.killed) == (2, 1, 2)
    # Every rule set that came into service has judged something.
    assert {version.removesuffix(BY_REDIS) for version in report.tally.versions} - {""} == report.versions
    for door in DOORS:
        assert report.tally.kinds[door, "answered"] > 50
