"""The values of a verdict."""

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
