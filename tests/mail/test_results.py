"""The arithmetic of scores, in numbers."""

from math import inf, nan

import pytest

from filterd.mail.results import MAX_OPTIONS_LENGTH, MAX_SHOTS, GroupCap, PreResult, Results, Scoring, SymbolScore, action_name

SYMBOLS = {
    "ONE": SymbolScore(1.0, ("g",), "the first"),
    "TWO": SymbolScore(2.0),
    "GOOD": SymbolScore(-3.0, ("g",)),
    "SHOT": SymbolScore(2.0, one_shot=True),
    "NEGATIVE_SHOT": SymbolScore(-2.0, one_shot=True),
}
THRESHOLDS = {"reject": 15.0, "add header": 6.0, "rewrite subject": 6.0, "greylist": 4.0}


def results(caps: dict[str, GroupCap] | None = None) -> Results:
    return Results(Scoring(SYMBOLS, caps or {}, THRESHOLDS))


def test_score_is_configured_score_times_weight() -> None:
    found = results()
    hit = found.insert("TWO", 1.5, ["a"])
    assert (hit.score, hit.metric_score, hit.weight, hit.options, found.score) == (3.0, 2.0, 1.5, ("a",), 3.0)


def test_a_hit_carries_what_is_configured_for_its_symbol() -> None:
    hit = results().insert("ONE")
    assert (hit.description, hit.groups) == ("the first", ("g",))


@pytest.mark.parametrize(
    ("symbol", "weight", "shown", "hidden", "score"),
    [
        (True, True, None, 0.0, 1.0),
        (True, False, None, 2.0, 3.0),
        (False, True, 0.0, None, 1.0),
        (False, False, 2.0, None, 3.0),
    ],
)
def test_a_symbol_can_go_out_of_sight_its_score_out_of_the_total_or_both(
    symbol: bool, weight: bool, shown: float | None, hidden: float | None, score: float
) -> None:
    found = results()
    found.insert("ONE")
    found.insert("TWO")
    found.drop("TWO", symbol=symbol, weight=weight)
    standing = [hits["TWO"].score if "TWO" in hits else None for hits in (found.symbols, found.hidden)]
    assert (standing, found.score) == ([shown, hidden], score)
    with pytest.raises(KeyError):
        found.drop("NONE", symbol=True, weight=True)


def test_hits_of_one_symbol_add_up_and_their_options_are_unique() -> None:
    found = results()
    for weight, option in ((1.0, "a"), (1.0, "b"), (0.5, "a")):
        found.insert("TWO", weight, [option])
    hit = found.symbols["TWO"]
    assert (hit.score, hit.options, hit.shots, found.score) == (5.0, ("a", "b"), 3, 5.0)


def test_hits_add_up_to_the_limit_of_shots() -> None:
    found = results()
    for _ in range(MAX_SHOTS + 50):
        found.insert("TWO")
    assert found.symbols["TWO"].score == 2.0 * MAX_SHOTS


@pytest.mark.parametrize(
    ("symbol", "weights", "score"),
    [
        ("SHOT", (1.0, 2.0), 4.0),
        ("SHOT", (2.0, 1.0), 4.0),
        ("SHOT", (1.0, -5.0), 2.0),
        ("NEGATIVE_SHOT", (1.0, 3.0), -6.0),
        ("NEGATIVE_SHOT", (1.0, 0.5), -2.0),
    ],
)
def test_one_shot_keeps_the_larger_of_the_same_sign(symbol: str, weights: tuple[float, ...], score: float) -> None:
    found = results()
    for weight in weights:
        found.insert(symbol, weight, [str(weight)])
    assert (found.symbols[symbol].score, found.score) == (score, score)
    assert found.symbols[symbol].options == tuple(map(str, weights))


@pytest.mark.parametrize("weight", [nan, inf, -inf])
def test_a_weight_that_is_no_number_counts_nothing(weight: float) -> None:
    assert results().insert("TWO", weight).score == 0.0


def test_an_unknown_symbol_is_listed_with_score_0() -> None:
    found = results()
    assert (found.insert("NOBODY", 5.0).score, set(found.symbols)) == (0.0, {"NOBODY"})


def test_a_cap_cuts_the_hit_that_crosses_it_and_the_later_ones_stay_listed() -> None:
    symbols = {f"P{value}": SymbolScore(float(value), ("g", "free")) for value in (1, 2, 4, 8, 16)}
    found = Results(Scoring(symbols, {"g": GroupCap(max_score=10.0)}))
    assert [found.insert(name).score for name in symbols] == [1, 2, 4, 3, 0]
    assert found.score == 10.0


def test_a_cap_from_below_holds_negative_scores() -> None:
    symbols = {f"N{value}": SymbolScore(-float(value), ("g",)) for value in (1, 2, 4, 8)}
    found = Results(Scoring(symbols, {"g": GroupCap(min_score=-10.0)}))
    assert [found.insert(name).score for name in symbols] == [-1, -2, -4, -3]


def test_a_negative_hit_makes_room_again() -> None:
    symbols = {"P": SymbolScore(16.0, ("g",)), "N": SymbolScore(-16.0, ("g",))}
    found = Results(Scoring(symbols, {"g": GroupCap(max_score=10.0)}))
    totals = []
    for name in ("P", "N", "P", "P"):
        found.insert(name)
        totals.append(found.score)
    assert totals == [10.0, -6.0, 10.0, 10.0]


def test_removing_a_hit_makes_room_too() -> None:
    found = results({"g": GroupCap(max_score=1.0)})
    found.insert("ONE")
    assert found.remove("ONE")
    assert found.insert("ONE").score == 1.0
    assert found.score == 1.0


def test_adjust_sets_a_score_and_the_total_follows() -> None:
    found = results()
    found.insert("TWO", 1.0, ["a"])
    assert found.adjust("TWO", 7.5, ["b"]).options == ("a", "b")
    assert (found.symbols["TWO"].score, found.score) == (7.5, 7.5)
    with pytest.raises(KeyError):
        found.adjust("NOBODY", 1.0)


def test_removing_what_is_not_there_says_so() -> None:
    found = results()
    assert found.remove("TWO") is False
    assert found.score == 0.0


def test_options_are_capped_and_the_cut_is_shown() -> None:
    found = results()
    third = "x" * (MAX_OPTIONS_LENGTH // 3)
    found.insert("TWO", 1.0, [third + "a", third + "b"])
    hit = found.insert("TWO", 1.0, [third + "c", "short"])
    assert hit.options == (third + "a", third + "b", "...")
    assert found.insert("TWO", 1.0, ["more"]).options[-1] == "..."


# -- the action


@pytest.mark.parametrize(
    ("score", "action"),
    [
        (-5, "no action"),
        (3.99, "no action"),
        (4, "greylist"),
        (6, "rewrite subject"),
        (14.9, "rewrite subject"),
        (15, "reject"),
        (99, "reject"),
    ],
)
def test_the_highest_threshold_reached_wins_and_of_equal_ones_the_strictest(score: float, action: str) -> None:
    assert Scoring(thresholds=THRESHOLDS).action(score) == action


@pytest.mark.parametrize(
    ("thresholds", "required"),
    [(THRESHOLDS, 15.0), ({"greylist": 4.0, "custom": 9.0}, 9.0), ({}, None), ({"reject": 1.0, "custom": 9.0}, 1.0)],
)
def test_the_required_score_is_that_of_reject_else_the_highest(thresholds: dict[str, float], required: float | None) -> None:
    assert Scoring(thresholds=thresholds).required_score == required


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("add_header", "add header"),
        ("ADD HEADER", "add header"),
        ("accept", "no action"),
        (" soft  reject ", "soft reject"),
        ("mine", "mine"),
    ],
)
def test_actions_have_one_name_on_the_wire(written: str, name: str) -> None:
    assert action_name(written) == name


def test_the_pre_result_of_highest_priority_decides_and_among_equals_the_first() -> None:
    found = results()
    for action, priority in (("greylist", 1), ("reject", 2), ("soft reject", 2)):
        found.decide(PreResult(action, priority=priority))
    decided = found.decided
    assert decided is not None
    assert decided.action == "reject"
    assert found.judgement() == ("reject", 0.0, decided)


@pytest.mark.parametrize(
    ("action", "given", "score"),
    [("reject", 15.0, 15.0), ("reject", None, 2.0), ("no action", 5.0, 2.0), ("no action", -1.0, -1.0)],
)
def test_a_pre_result_may_bring_a_score(action: str, given: float | None, score: float) -> None:
    found = results()
    found.insert("TWO")
    found.decide(PreResult(action, score=given))
    assert found.judgement()[:2] == (action, score)


@pytest.mark.parametrize(
    ("floor", "weight", "expected"),
    [
        ("add header", 1.0, ("add header", 6.0)),
        ("add header", 10.0, ("reject", 20.0)),
        ("soft reject", 1.0, ("soft reject", 2.0)),
        ("custom", 1.0, ("no action", 2.0)),
    ],
)
def test_a_floor_raises_a_weaker_action_and_lowers_none(floor: str, weight: float, expected: tuple[str, float]) -> None:
    found = Results(Scoring(SYMBOLS, {}, THRESHOLDS, custom={"custom": None}))
    found.insert("TWO", weight)
    found.decide(PreResult(floor, least=True))
    assert found.decided is None
    assert found.judgement()[:2] == expected


def test_a_sealed_result_does_not_change() -> None:
    found = results()
    found.insert("TWO")
    found.seal()
    changes = (
        lambda: found.insert("ONE"),
        lambda: found.adjust("TWO", 1.0),
        lambda: found.remove("TWO"),
        lambda: found.drop("TWO", symbol=True, weight=False),
        lambda: found.decide(PreResult("reject")),
    )
    for change in changes:
        with pytest.raises(RuntimeError, match="verdict is made"):
            change()
    assert found.judgement() == ("no action", 2.0, None)


# -- actions of one's own, growth, unknown symbols


def test_an_action_of_ones_own_is_earned_and_may_be_asked_for() -> None:
    found = Results(
        Scoring(SYMBOLS, thresholds={"reject": 15.0, "review": 3.0}, custom={"review": "quarantine", "later": None})
    )
    found.insert("TWO", 2.0)
    assert found.judgement()[0] == "review"
    found.decide(PreResult("later"))
    assert found.judgement()[0] == "later"


def test_an_action_nobody_knows_is_refused_with_those_there_are() -> None:
    found = Results(Scoring(custom={"review": None}))
    with pytest.raises(ValueError, match=r"there is no action 'bounce'; there are reject, .*, no action, review"):
        found.decide(PreResult("bounce"))


def test_positive_scores_grow_together() -> None:
    found = Results(Scoring(SYMBOLS, thresholds={"reject": 10.0}, grow_factor=1.5))
    for name in ("TWO", "ONE", "GOOD"):
        found.insert(name)
    found.grow()
    factor = 1.5 * (1 + 0.5 * 2 / 10) * (1 + 0.5 * 1 / 10)
    assert {name: hit.score for name, hit in found.symbols.items()} == pytest.approx(
        {"TWO": 2 * factor, "ONE": factor, "GOOD": -3}
    )
    assert found.score == pytest.approx(3 * factor - 3)


@pytest.mark.parametrize(("factor", "thresholds"), [(1.0, {"reject": 10.0}), (2.0, {}), (2.0, {"reject": -1.0})])
def test_without_a_factor_or_a_limit_nothing_grows(factor: float, thresholds: dict[str, float]) -> None:
    found = Results(Scoring(SYMBOLS, thresholds=thresholds, grow_factor=factor))
    found.insert("TWO")
    found.grow()
    assert found.score == 2.0


def test_an_unknown_symbol_may_count_what_is_configured_for_it() -> None:
    found = Results(Scoring(unknown_score=0.5))
    assert found.insert("NOBODY", 2.0).score == 1.0


def test_a_pre_result_of_a_disabled_action_is_ignored() -> None:
    found = Results(Scoring(disabled=frozenset({"reject"})))
    found.decide(PreResult("reject"))
    assert (found.decided, found.judgement()) == (None, ("no action", 0.0, None))


def test_a_hit_of_a_denied_symbol_is_kept_nowhere() -> None:
    results = Results(Scoring({"A": SymbolScore(2.0)}, denied=frozenset({"A"})))
    assert results.insert("A").score == 0.0
    assert (results.symbols, results.score) == ({}, 0.0)


def test_fewer_shots_may_be_configured_and_then_a_hit_counts_only_where_it_is_larger() -> None:
    results = Results(Scoring({"A": SymbolScore(2.0, nshots=2)}))
    for weight in (1.0, 1.0, 1.0, 3.0):
        results.insert("A", weight)
    assert (results.score, results.symbols["A"].shots) == (6.0, 2)
