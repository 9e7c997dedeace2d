"""Two thousand messages, ten rules each, on backends that misbehave: the short form of `python -m bench soak`."""

import pytest

from bench.soak import FORMS, soak
from tests.support.partners import require

MESSAGES, SECONDS = 2000, 12.0
"""A slow machine has as many as it can in this time, in which each backend is away about three times."""

pytestmark = pytest.mark.timeout(60)


def test_every_message_is_answered_with_its_own_data_and_nothing_leaks() -> None:
    require("redis-server", package="redis-server")
    report = soak(MESSAGES, seconds=SECONDS)
    assert report.problems == []
    assert report.messages >= MESSAGES // 8
    assert sum(report.outcomes.values()) == report.messages * len(FORMS)
    # Nothing of this can be said of calls that were not tried: each went well, and each of these was disturbed.
    assert {form for form in FORMS if not report.outcomes[form, "right"]} == set()
    disturbed = {form for form in FORMS if report.outcomes[form, "asked for"] or report.outcomes[form, "away"]}
    assert FORMS - disturbed == {"dnsshared"}
    assert report.absences > 8
    assert report.left
