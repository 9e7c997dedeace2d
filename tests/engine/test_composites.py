"""Composites: which hold, in which order, and what becomes of the symbols they are made of."""

from typing import Any

import pytest

from filterd.engine.composites import Composite, CompositeError, Composites, Policy
from filterd.engine.expressions import Compiler, standard_vocabulary
from filterd.engine.expressions.vocabulary import Extractor
from filterd.engine.settings import Settings
from filterd.mail.results import Results, Scoring, SymbolScore
from filterd.task import Task
from tests.support.engine import rule_of, scan_with

SCORES = {"A": 1.0, "B": 1.0, "C": 1.0, "GOOD": -1.0, "BAD": 2.0, "X": 5.0, "Y": 5.0, "Z": 5.0}
GROUPS = {"GOOD": ("g",), "BAD": ("g",), "X": ("made",), "Y": ("made",)}


class Found:
    """What composites need of a task."""

    def __init__(self, *symbols: str) -> None:
        self.results = Results(Scoring({name: SymbolScore(score, GROUPS.get(name, ())) for name, score in SCORES.items()}))
        for symbol in symbols:
            self.results.insert(symbol)


def composites(*, late: tuple[str, ...] = (), **written: str | tuple[str, Any]) -> Composites:
    """`X="A & B"`, or `X=("A & B", "leave")`."""
    made = []
    policy: Policy
    for name, told in written.items():
        text, policy = (told, "default") if isinstance(told, str) else told
        made.append(Composite(name, Compiler().compile(text, "composite"), policy, GROUPS.get(name, ())))
    return Composites(made, late=late)


def judged(*symbols: str, late: tuple[str, ...] = (), **written: str | tuple[str, Any]) -> dict[str, float]:
    """The symbols and their scores after both times, and what all count together as `total`."""
    found = Found(*symbols)
    every = composites(late=late, **written)
    every.judge(found, is_last=False)
    every.judge(found, is_last=True)
    return {name: hit.score for name, hit in found.results.symbols.items()} | {"total": found.results.score}


@pytest.mark.parametrize(
    ("expression", "policy", "left"),
    [
        ("A & B", "default", {"X": 5.0, "total": 5.0}),
        ("A & B", "remove_all", {"X": 5.0, "total": 5.0}),
        ("A & B", "remove_weight", {"A": 0.0, "B": 0.0, "X": 5.0, "total": 5.0}),
        ("A & B", "remove_symbol", {"X": 5.0, "total": 7.0}),
        ("A & B", "leave", {"A": 1.0, "B": 1.0, "X": 5.0, "total": 7.0}),
        ("A & ~B", "default", {"B": 0.0, "X": 5.0, "total": 5.0}),
        ("A & -B", "default", {"B": 1.0, "X": 5.0, "total": 6.0}),
        ("A & ^B", "leave", {"A": 1.0, "X": 5.0, "total": 6.0}),
        ("A & ~B", "remove_symbol", {"B": 1.0, "X": 5.0, "total": 7.0}),
        ("A & C", "default", {"A": 1.0, "B": 1.0, "total": 2.0}),
        # All that are there are taken, whichever of them it was that decided; not those below a negation.
        ("A | B | C", "default", {"X": 5.0, "total": 5.0}),
        ("A & !(B & C)", "default", {"B": 1.0, "X": 5.0, "total": 6.0}),
        ("A + B + C >= 2", "default", {"X": 5.0, "total": 5.0}),
        ("A + B + C > 2", "default", {"A": 1.0, "B": 1.0, "total": 2.0}),
    ],
)
def test_what_becomes_of_the_members(expression: str, policy: str, left: dict[str, float]) -> None:
    assert judged("A", "B", X=(expression, policy)) == left


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ({"X": "A", "Y": "A"}, {}),
        ({"X": "A", "Y": "~A"}, {"A": 0.0}),
        ({"X": "A", "Y": "-A"}, {"A": 1.0}),
        ({"X": "^A", "Y": "-A"}, {}),
        ({"X": "A", "Y": "-A & C"}, {}),  # what does not hold has no say
        ({"X": "A", "Y": "!C & !(A & C)"}, {}),  # nor has a negation
        ({"X": ("A", "remove_symbol"), "Y": ("A", "remove_weight")}, {"A": 1.0}),
    ],
)
def test_a_symbol_loses_what_all_that_hold_want_to_take(written: dict[str, Any], left: dict[str, float]) -> None:
    found = judged("A", **written)
    assert {name: score for name, score in found.items() if name == "A"} == left


@pytest.mark.parametrize(
    ("expression", "left"),
    [("g:g", set()), ("g+:g", {"GOOD"}), ("g-:g", {"BAD"}), ("~g:g", {"GOOD", "BAD"}), ("!g+:none", {"GOOD", "BAD"})],
)
def test_a_group_takes_those_it_fits(expression: str, left: set[str]) -> None:
    found = judged("GOOD", "BAD", X=expression)
    assert found.keys() - {"X", "total"} == left
    assert found["X"] == 5.0


def test_a_composite_may_be_made_of_composites_written_after_it() -> None:
    assert judged("A", Z="Y & !B", Y="X", X="A") == {"Z": 5.0, "total": 5.0}


def test_a_group_of_composites_comes_after_them_and_never_takes_itself() -> None:
    assert judged("A", Z="g:made", X="A") == {"Z": 5.0, "total": 5.0}
    assert judged("A", X="A", Y="-g:made") == {"X": 5.0, "Y": 5.0, "total": 10.0}


@pytest.mark.parametrize(
    ("written", "name", "chain"),
    [({"X": "X"}, "X", "X needs X"), ({"X": "Y", "Y": "A | Z", "Z": "!X"}, "X", "X needs Y needs Z needs X")],
)
def test_composites_that_need_each_other_are_found(written: dict[str, str], name: str, chain: str) -> None:
    with pytest.raises(CompositeError) as caught:
        composites(**written)  # type: ignore[arg-type]
    assert (caught.value.name, str(caught.value)) == (name, f"composites need each other: {chain}")


def test_a_chain_of_composites_may_be_as_long_as_it_gets() -> None:
    made = [Composite(f"N{n}", Compiler().compile(f"N{n - 1}" if n else "A", "composite")) for n in reversed(range(3000))]
    found = Found("A")
    Composites(made).judge(found, is_last=True)
    assert list(found.results.symbols) == ["N2999"]


def test_one_that_was_judged_is_not_judged_again() -> None:
    assert judged("A", X="A", Y="X & ~A") == {"A": 0.0, "Y": 5.0, "total": 5.0}
    every = composites(X=("A", "leave"))
    found = Found("A")
    for _ in range(3):
        every.judge(found, is_last=True)
    assert found.results.symbols["X"].score == 5.0


def test_hidden_symbols_count_for_the_second_time() -> None:
    every = composites(X="A", Y="A & B", late=("B",))
    found = Found("A")
    every.judge(found, is_last=False)
    assert set(found.results.symbols) == {"X"}
    found.results.insert("B")
    every.judge(found, is_last=True)
    assert set(found.results.symbols) == {"X", "Y"}


def test_settings_choose_among_composites_as_among_rules() -> None:
    every = composites(X="A", Y="B", Z="C")
    for settings, expected in (
        (Settings(symbols_disabled=frozenset({"X"})), {"Y", "Z"}),
        (Settings(groups_disabled=frozenset({"made"})), {"Z"}),
        (Settings(symbols_enabled=frozenset({"X"})), {"X"}),
        (Settings(groups_enabled=frozenset({"made"})), {"X", "Y"}),
        (Settings(symbols_enabled=frozenset({"Z"}), groups_enabled=frozenset({"made"})), {"X", "Y", "Z"}),
        (Settings(), {"X", "Y", "Z"}),
    ):
        found = Found("A", "B", "C")
        every.judge(found, is_last=True, settings=settings)
        assert found.results.symbols.keys() & {"X", "Y", "Z"} == expected


# -- in a scan


def hits(name: str, **keywords: Any) -> Any:
    return rule_of(lambda task: True, name, **keywords)


def test_postfilters_see_the_composites_of_filters_and_add_to_the_second_time() -> None:
    seen: list[set[str]] = []
    look = rule_of(lambda task: seen.append(set(task.symbols)), "LOOK", type="postfilter")
    verdict = scan_with(
        hits("A"), hits("B", type="postfilter"), look, composites=composites(X="A", Y="B & !C", Z="A & B", late=("B",))
    )
    assert seen[0] >= {"X"}
    assert "A" not in seen[0]
    assert set(verdict.symbols) == {"X", "Y", "Z"}


def test_one_with_a_postfilters_symbol_does_not_hold_too_early() -> None:
    rules = hits("A"), hits("B", type="postfilter")
    assert set(scan_with(*rules, composites=composites(X="A & !B", late=("B",))).symbols) == {"A", "B"}
    assert set(scan_with(*rules, composites=composites(X="Y", Y="A & !B", late=("B",))).symbols) == {"A", "B"}


def test_one_that_raises_does_not_hold_and_is_a_failure() -> None:
    def broken(task: Task) -> None:
        raise KeyError("oh")

    vocabulary = standard_vocabulary()
    vocabulary.add(Extractor("broken", broken, place=f"{__file__}:1"))
    expression = Compiler(vocabulary).compile("A & broken", "composite")
    every = Composites([Composite("X", expression), Composite("Y", Compiler().compile("A", "composite"))])
    verdict = scan_with(hits("A"), composites=every)
    assert set(verdict.symbols) == {"Y"}
    (failure,) = verdict.failures
    assert (failure.rule, failure.text) == ("X", "KeyError: 'oh'")
    assert failure.where == f"{__file__}:{broken.__code__.co_firstlineno + 1}"
    with pytest.raises(KeyError):
        every.judge(Found("A"), is_last=True)


def test_what_is_cut_off_by_the_budget_has_its_composites_all_the_same() -> None:
    def forever(task: Task) -> None:
        task.sleep(5)

    verdict = scan_with(hits("A"), forever, composites=composites(X="A"), task_timeout=0.05)
    assert verdict.timed_out
    assert set(verdict.symbols) == {"X"}
