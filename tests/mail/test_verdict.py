"""The values of a verdict."""

import pytest

from filterd.mail.verdict import Hit, RuleFailure, Verdict


def test_a_failure_says_rule_text_place_and_time() -> None:
    failure = RuleFailure("BULK_BODY", "timeout", "timeout: connect to 127.0.0.1:6379", "rules/bulk.py:17", elapsed=1.25)
    assert str(failure) == "BULK_BODY: timeout: connect to 127.0.0.1:6379 at rules/bulk.py:17 after 1.25 s"


def test_a_failure_without_a_place_leaves_it_out() -> None:
    assert str(RuleFailure("A", "exception", "ValueError: x")) == "A: ValueError: x after 0.00 s"


def test_verdicts_do_not_share_what_they_hold() -> None:
    first, second = (Verdict("no action", 0.0, None) for _ in range(2))
    assert first == second
    assert first.symbols is not second.symbols


def test_a_hit_is_worth_what_it_adds() -> None:
    assert Hit("A", 1.5) == Hit("A", 1.5, metric_score=0.0, weight=1.0, options=(), shots=1)


THRESHOLDS = {"reject": 15.0, "rewrite subject": 8.0, "add header": 6.0, "soft reject": 5.0, "greylist": 4.0, "review": 2.0}


@pytest.mark.parametrize(
    ("action", "score", "milter_action", "expected"),
    [
        ("reject", 0.0, None, True),
        ("rewrite subject", 8.0, None, True),
        ("add header", 6.0, None, True),
        ("quarantine", 0.0, None, True),
        ("discard", 0.0, None, True),
        ("no action", 20.0, None, False),
        ("greylist", 20.0, None, False),
        ("soft reject", 20.0, None, False),
        ("review", 3.0, None, False),
        ("review", 6.0, None, True),
        ("review", 3.0, "quarantine", True),
    ],
)
def test_an_action_is_spam_or_not(action: str, score: float, milter_action: str | None, expected: bool) -> None:
    verdict = Verdict(action, score, 15.0, THRESHOLDS, milter_action=milter_action)
    assert (verdict.is_spam, verdict.spam_threshold) == (expected, 6.0)


def test_without_a_threshold_no_score_is_spam() -> None:
    verdict = Verdict("review", 1000.0, None, {"greylist": 1.0})
    assert (verdict.is_spam, verdict.spam_threshold) == (False, None)


@pytest.mark.parametrize(
    ("timed_out", "timings", "expected"),
    [(True, {"SLOW": 8.0}, True), (True, {}, True), (True, {"SLOW": 8.0, "QUICK": 0.1}, False), (False, {"SLOW": 8.0}, False)],
)
def test_a_message_no_rule_had_time_for_is_unjudged(timed_out: bool, timings: dict[str, float], expected: bool) -> None:
    failures = (RuleFailure("SLOW", "timeout", "timeout"), RuleFailure("LATE", "timeout", "not begun"))
    assert Verdict("no action", 0.0, 15.0, failures=failures, timed_out=timed_out, timings=timings).is_unjudged == expected
