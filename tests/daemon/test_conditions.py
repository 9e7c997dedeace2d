"""`[composites]` and `[force_actions]` of the configuration: what they become, and what is wrong with them."""

from pathlib import Path
from textwrap import dedent

import pytest

from filterd.daemon.assembly import assemble, load
from filterd.daemon.config import ConfigError, load_config
from filterd.engine.loader import LoadError
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from tests.support.engine import MAIL

RULES = """
from filterd import extractor, rule, sleep, transform

@extractor("lucky", returns=int)
def lucky(task):
    return 7

@rule("A", score=1)
def a(task):
    return True

@rule("lower", score=1)
def lower(task):
    return True

@rule("LATE", score=1, type="postfilter")
def late(task):
    return True
"""

ACTIONS = "there are reject, soft reject, rewrite subject, add header, greylist, no action"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.py").write_text(RULES)
    (tmp_path / "friends.txt").write_text("192.0.2.77\n")
    return tmp_path


def verdict_of(folder: Path, toml: str, **options: str) -> Verdict:
    conf = folder / "filterd.toml"
    conf.write_text('rules.paths = ["rules"]\n' + dedent(toml))
    assembly = assemble(load_config(conf, sets=["limits.burst_timeout=0"]))
    try:
        envelope = Envelope.of(ip="192.0.2.77", headers=list(options.items()))
        return assembly.engine.scan(ScanRequest(Message(MAIL), envelope))
    finally:
        assembly.close()


def problems_of(folder: Path, toml: str) -> list[str]:
    conf = folder / "filterd.toml"
    conf.write_text('rules.paths = ["rules"]\n' + dedent(toml))
    with pytest.raises(LoadError) as caught:
        load(load_config(conf))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_composite_has_a_score_groups_and_a_description(folder: Path) -> None:
    symbols = verdict_of(
        folder,
        """
        [composites]
        BOTH = { expression = "A & ~lower & lucky == 7", score = 3, group = "g", groups = "h", description = "Both" }
        PLAIN = { expression = "-A" }
        [symbols]
        PLAIN = 0.5
        """,
    ).symbols
    both, plain = symbols["BOTH"], symbols["PLAIN"]
    assert (both.score, both.groups, both.description) == (3.0, ("g", "h"), "Both")
    assert (plain.score, plain.groups) == (0.5, ())


def test_one_with_a_postfilters_symbol_waits_for_it(folder: Path) -> None:
    symbols = verdict_of(folder, 'composites.EARLY = { expression = "A & !LATE" }').symbols
    assert "EARLY" not in symbols


def test_maps_and_symbols_of_maps_are_known(folder: Path) -> None:
    toml = """
    [maps.friends]
    source = "file:friends.txt"
    key = "ip"
    symbol = "FRIEND"
    [composites.SEEN]
    expression = "ip in friends and FRIEND"
    """
    assert "SEEN" in verdict_of(folder, toml).symbols


def test_a_forced_action_is_a_rule_of_the_engine(folder: Path) -> None:
    verdict = verdict_of(
        folder,
        """
        [custom_actions.quarantine]
        milter = "quarantine"
        [force_actions.KEEP]
        expression = "A"
        action = "quarantine"
        message = "kept {lucky}"
        """,
    )
    assert (verdict.action, verdict.messages) == ("quarantine", {"smtp_message": "kept 7"})
    assert "FORCE_ACTION_KEEP" in verdict.symbols


def test_everything_that_is_wrong_is_told_at_once_with_key_and_column(folder: Path) -> None:
    assert problems_of(
        folder,
        """
        [composites]
        ONE = { expression = "A & (B" }
        A = { expression = "B" }
        TWO = { expression = "THREE" }
        THREE = { expression = "TWO" }
        [force_actions.F]
        expression = "ipp == 3"
        action = "rejekt"
        message = "{lucki}"
        require_action = ["no action", "maybe"]
        [force_actions."B C"]
        expression = "A"
        action = "reject"
        """,
    ) == [
        "filterd.toml: force_actions.F.expression: there is no value 'ipp'; did you mean 'ip'? (column 1)\n  ipp == 3\n  ^",
        "filterd.toml: force_actions.F.message: there is no extractor 'lucki'; did you mean 'lucky'? (column 2)"
        "\n  {lucki}\n   ^",
        f"filterd.toml: force_actions.F.action: there is no action 'rejekt'; {ACTIONS}",
        f"filterd.toml: force_actions.F.require_action: there is no action 'maybe'; {ACTIONS}",
        "filterd.toml: force_actions.\"B C\": rule 'FORCE_ACTION_B C': a name is one word without blanks, brackets, commas or "
        "semicolons",
        "filterd.toml: composites.ONE.expression: expected ')' to close the bracket, found the end (column 7)\n"
        "  A & (B\n        ^",
        "filterd.toml: composites.A: there is a rule A already, at rules/a.py:8",
        "filterd.toml: composites.TWO: composites need each other: TWO needs THREE needs TWO",
    ]


def test_two_words_of_a_name_are_told(folder: Path) -> None:
    (folder / "rules" / "b.py").write_text(RULES.partition("@rule")[0])
    (problem,) = problems_of(folder, "")
    assert problem == "rules/b.py:4: extractor 'lucky' is already there, at rules/a.py:4"


def test_a_composite_can_be_switched_off_and_is_checked_all_the_same(folder: Path) -> None:
    assert "OFF" not in verdict_of(folder, 'composites.OFF = { expression = "A", enabled = false }').symbols
    (problem,) = problems_of(folder, 'composites.OFF = { expression = "A &", enabled = false }')
    assert problem.startswith("filterd.toml: composites.OFF.expression: ")


NAMED = """
[conditions]
ours = "authenticated or ip == '192.0.2.77'"
found = "A and not never"
never = "size > 1g"
high = "score > 100"
"""


def test_conditions_have_names_for_all_others(folder: Path) -> None:
    toml = """
    [composites]
    OURS = { expression = "ours & -A", score = 1 }
    FOUND = { expression = "found" }
    [settings.mine]
    expression = "ours and not never and user"
    user = "nobody"
    apply = { whitelist = true }
    [headers.X-Ours]
    value = "yes"
    when = "ours and not high"
    [maps.friends]
    source = "file:friends.txt"
    key = "ip"
    symbol = "FRIEND"
    when = "found"
    """
    verdict = verdict_of(folder, NAMED + toml)
    assert {"OURS", "FOUND", "FRIEND", "A"} <= set(verdict.symbols)
    assert verdict.milter["add_headers"] == {"X-Ours": {"value": "yes", "order": -1}}


def test_a_condition_by_name_asks_what_it_asks(folder: Path) -> None:
    toml = """
    [conditions]
    one = "two"
    two = "three or one"
    three = "ipp"
    late = "score > 4"
    helo = "ip"
    [settings.x]
    expression = "late"
    [maps.friends]
    source = "file:friends.txt"
    key = "ip"
    symbol = "FRIEND"
    when = "late"
    """
    told = [problem.partition("\n")[0] for problem in problems_of(folder, toml)]
    assert told == [
        "filterd.toml: maps.friends.when: condition late is known from stage score on, and this is evaluated at stage results "
        "(column 1)",
        "filterd.toml: conditions.one: condition two: condition three: there is no value 'ipp'; did you mean 'ip'? (column 1) "
        "(column 1) (column 1)",
        "filterd.toml: conditions.two: condition three: there is no value 'ipp'; did you mean 'ip'? (column 1) (column 1)",
        "filterd.toml: conditions.three: there is no value 'ipp'; did you mean 'ip'? (column 1)",
        "filterd.toml: conditions.helo: there is a value 'helo' already",
        "filterd.toml: settings.x.expression: condition late is known from stage score on, and this is evaluated at stage "
        "message (column 1)",
    ]


def test_conditions_that_need_each_other_are_named_with_the_chain(folder: Path) -> None:
    (first, _) = problems_of(folder, 'conditions.one = "not two"\nconditions.two = "one"')
    assert "conditions need each other: one needs two needs one" in first


def test_a_name_that_could_be_a_symbol_is_none_of_a_condition(folder: Path) -> None:
    conf = folder / "filterd.toml"
    conf.write_text('conditions.OURS = "ip"')
    with pytest.raises(ConfigError, match=r'conditions: "OURS" is no name of a condition'):
        load_config(conf)
