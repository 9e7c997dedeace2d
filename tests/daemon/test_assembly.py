"""A configuration made into an engine: whose score counts, which rules run, what is told when it cannot be."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from filterd.daemon.assembly import Assembly, assemble, load, scoring
from filterd.daemon.config import load_config
from filterd.engine.loader import LoadError
from filterd.engine.registry import Rule
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.results import GroupCap, Scoring, SymbolScore
from filterd.mail.verdict import RuleFailure, Verdict
from filterd.task import Task
from tests.support.engine import MAIL, rule_of

RULES = """\
from filterd import register_symbol, rule, virtual

@rule("ONE", score=1, group="g", description="of the rule")
def one(task):
    return True

@rule("TWO", score=2)
def two(task):
    task.insert_result("EXTRA")
    return True

virtual("EXTRA", parent="TWO", score=0.5)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With rules in it."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.py").write_text(RULES)
    return tmp_path


def conf(folder: Path, toml: str = "") -> Path:
    file = folder / "filterd.toml"
    file.write_text(f'rules.paths = ["rules"]\n{dedent(toml)}')
    return file


@contextmanager
def assembled(folder: Path, toml: str = "", **options: Any) -> Iterator[Assembly]:
    assembly = assemble(load_config(conf(folder, toml), sets=["limits.burst_timeout=0"]), **options)
    try:
        yield assembly
    finally:
        assembly.close()


def verdict_of(folder: Path, toml: str = "", **options: Any) -> Verdict:
    with assembled(folder, toml, **options) as assembly:
        return assembly.engine.scan(ScanRequest(Message(MAIL), Envelope({})))


def scores_of(verdict: Verdict) -> dict[str, float]:
    return {name: hit.score for name, hit in verdict.symbols.items()}


# -- scores


def hit(task: Task) -> bool:
    return True


def scoring_of(folder: Path, toml: str, *rules: Rule) -> Scoring:
    return scoring(load_config(conf(folder, toml)), rules)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", SymbolScore(1.0, ("a", "b"), "of the rule", one_shot=True)),
        ("A = 5", SymbolScore(5.0, ("a", "b"), "of the rule", one_shot=True)),
        ("A.score = 0", SymbolScore(0.0, ("a", "b"), "of the rule", one_shot=True)),
        ('A.description = ""', SymbolScore(1.0, ("a", "b"), "", one_shot=True)),
        ('A.group = "c"', SymbolScore(1.0, ("c",), "of the rule", one_shot=True)),
        ('A.group = "c"\nA.groups = ["d", "c"]', SymbolScore(1.0, ("c", "d"), "of the rule", one_shot=True)),
        ("A.one_shot = false", SymbolScore(1.0, ("a", "b"), "of the rule", one_shot=False)),
    ],
)
def test_what_the_configuration_says_goes_before_what_a_rule_says_of_itself(
    folder: Path, written: str, expected: SymbolScore
) -> None:
    rule = rule_of(hit, "A", score=1, groups=["a", "b"], description="of the rule", one_shot=True)
    assert scoring_of(folder, f"[symbols]\n{written}", rule).symbols["A"] == expected


def test_a_symbol_no_rule_makes_may_be_configured(folder: Path) -> None:
    assert scoring_of(folder, "[symbols]\nFOREIGN = 3").symbols == {"FOREIGN": SymbolScore(3.0)}


def test_groups_have_caps_only_where_one_is_set(folder: Path) -> None:
    made = scoring_of(
        folder,
        """\
        [groups.high]
        max_score = 5
        [groups.low]
        min_score = -1
        [groups.described]
        description = "no cap"
        """,
    )
    assert made.caps == {"high": GroupCap(5.0, None), "low": GroupCap(None, -1.0)}


def test_thresholds_come_from_the_actions(folder: Path) -> None:
    made = scoring_of(folder, '[actions]\nreject = 20\n"add header" = false\n')
    assert (made.thresholds["reject"], made.required_score) == (20.0, 20.0)
    assert "add header" not in made.thresholds


def test_a_verdict_has_the_scores_of_both(folder: Path) -> None:
    verdict = verdict_of(folder, "[symbols]\nTWO = 4\n[groups.g]\nmax_score = 0.25\n")
    assert scores_of(verdict) == {"ONE": 0.25, "TWO": 4.0, "EXTRA": 0.5}
    assert verdict.symbols["ONE"].description == "of the rule"


# -- which rules


@pytest.mark.parametrize(
    ("only", "run"),
    [
        ((), ["ONE", "TWO"]),
        (["ONE"], ["ONE"]),
        (["TWO"], ["TWO"]),
        (["EXTRA"], ["TWO"]),
        (["ONE", "EXTRA"], ["ONE", "TWO"]),
        (["NOBODY"], []),
    ],
)
def test_only_the_rules_that_make_these_symbols(folder: Path, only: Sequence[str], run: list[str]) -> None:
    with assembled(folder, only=only) as assembly:
        assert [rule.name for rule in assembly.engine.rules] == run
        assert set(assembly.rules.registry.rules) == {"ONE", "TWO", "EXTRA"}


def test_scores_are_those_of_the_whole_set_even_if_only_some_run(folder: Path) -> None:
    assert scores_of(verdict_of(folder, only=["EXTRA"])) == {"TWO": 2.0, "EXTRA": 0.5}


def test_rules_can_be_switched_off_and_their_tables_read(folder: Path) -> None:
    (folder / "rules" / "b.py").write_text(
        "from filterd import config, rule\n@rule(config.module('b')['name'])\ndef b(task): return config.module('b')['hit']\n"
    )
    verdict = verdict_of(folder, 'rules.disable = ["a"]\n[modules.b]\nname = "NAMED"\nhit = true\n')
    assert scores_of(verdict) == {"NAMED": 0.0}


def test_a_failure_is_told_to_who_asked_for_it(folder: Path) -> None:
    (folder / "rules" / "b.py").write_text("from filterd import rule\n@rule('B')\ndef b(task): 1 / 0\n")
    told: list[tuple[str, str]] = []

    def tell(task: Task, failure: RuleFailure) -> None:
        told.append((task.id, failure.where))

    verdict = verdict_of(folder, on_failure=tell)
    assert told == [(verdict.task_id, f"{(folder / 'rules').resolve()}/b.py:3")]


# -- what is wrong


def test_everything_that_is_wrong_with_the_rules_is_told_at_once(folder: Path) -> None:
    (folder / "rules" / "b.py").write_text("1 / 0")
    (folder / "rules" / "c.py").write_text("")
    config = load_config(conf(folder))
    for use in (load, assemble):
        with pytest.raises(LoadError) as raised:
            use(config)
        assert [problem.text.split(":")[0] for problem in raised.value.problems] == ["ZeroDivisionError", "no rule in it"]
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_rules_that_wait_for_each_other_are_told_where_they_stand(folder: Path) -> None:
    (folder / "rules" / "b.py").write_text(
        "from filterd import rule\n@rule('B', after='C')\ndef b(task): ...\n@rule('C', after='B')\ndef c(task): ...\n"
    )
    with pytest.raises(LoadError, match=r"/b\.py:\d: rules wait for each other: "):
        load(load_config(conf(folder)))


def test_a_route_nobody_has_is_told_where_it_is_asked_for(folder: Path) -> None:
    (folder / "rules" / "b.py").write_text(
        "from filterd import http, rule\n@rule('B')\ndef b(task):\n    http.query('http://x/', route='NOBODY')\n"
    )
    with pytest.raises(LoadError, match=r"/b\.py:4: there is no route 'NOBODY'"):
        load(load_config(conf(folder)))


# -- limits and the guard


def test_limits_reach_the_engine(folder: Path) -> None:
    config = load_config(conf(folder), sets=["limits.task_timeout=3s", "limits.burst_timeout=250ms"])
    before = signal.getsignal(signal.SIGPROF)
    assembly = assemble(config)
    try:
        assert (assembly.environment.task_timeout, assembly.environment.burst_timeout) == (3.0, 0.25)
        assert assembly.guard is not None
        assert assembly.guard.limit == 0.25
        assert assembly.guard.files == assembly.rules.code
        assert signal.getitimer(signal.ITIMER_PROF)[1] > 0
    finally:
        assembly.close()
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGPROF) is before


def test_a_burst_timeout_of_nothing_switches_the_guard_off(folder: Path) -> None:
    with assembled(folder) as assembly:
        assert assembly.guard is None
        assert assembly.environment.burst_timeout == inf


def test_a_rule_with_a_limit_of_its_own_is_guarded_all_the_same(folder: Path) -> None:
    (folder / "own.py").write_text(
        'from filterd import rule\n@rule("OWN", burst_timeout=0.1)\ndef own(task):\n    while True: pass\n'
    )
    config = load_config(conf(folder), rules=[str(folder / "own.py")], sets=["limits.burst_timeout=0"])
    assembly = assemble(config)
    try:
        assert assembly.guard is not None
        verdict = assembly.engine.scan(ScanRequest(Message(b"Subject: x\r\n\r\n"), Envelope({})))
    finally:
        assembly.close()
    (failure,) = verdict.failures
    assert (failure.rule, "(burst_timeout 0.1 s)" in failure.text) == ("OWN", True)


def test_shots_of_a_symbol_and_of_all_symbols_of_a_group(folder: Path) -> None:
    toml = """
    [symbols]
    A = { nshots = 3 }
    B = { score = 1, group = "once" }
    [groups.once]
    one_shot = true
    """
    made = scoring_of(folder, toml, rule_of(hit, "A"), rule_of(hit, "C", group="once"), rule_of(hit, "D"))
    assert {name: one.shots for name, one in made.symbols.items()} == {"A": 3, "B": 1, "C": 1, "D": 100}
