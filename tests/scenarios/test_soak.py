"""Two thousand messages, ten rules each, on backends that misbehave: the short form of `python -m bench soak`."""

import pytest

from bench.soak import FORMS, soak
from tests.support.partners import require

MESSAGES, SECONDS = 2000, 12.0
"""A slow machine has as many as it can in this time, in which each backend is away about three times."""

FAULTLESS = {"dnsshared", "httpnamed", "chain"}
"""Forms that ask for no fault, as those of Redis do not."""

pytestmark = pytest.mark.timeout(60)


def test_every_message_is_answered_with_its_own_data_and_nothing_leaks() -> None:
    require("redis-server", package="redis-server")
    report = soak(MESSAGES, seconds=SECONDS)
    assert report.problems == []
    assert report.messages >= MESSAGES // 8
    assert sum(report.outcomes.values()) == report.messages * len(FORMS)
    # Nothing of this can be said of calls that were not tried: each went well, and was disturbed by what it asked for, or by
    # the absence of a backend. Datagrams are sent again until that is there.
    assert {form for form in FORMS if not report.outcomes[form, "right"]} == set()
    for backend in ("http", "redis", "tcp"):
        assert sum(report.outcomes[form, "away"] for form in FORMS if form.startswith(backend)), backend
    asked_for = {form for form in FORMS if report.outcomes[form, "asked for"]}
    assert {form for form in FORMS - asked_for if not form.startswith("redis")} <= FAULTLESS
    assert report.absences > 8
    assert report.left
