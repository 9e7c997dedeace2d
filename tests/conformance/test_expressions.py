"""Rspamd's functional cases for composites, selectors and forced actions, with rules and configuration of our own.

109_composites, 109_composites_postfilter, 270_selector and 360_force_actions (its later cases with priorities included).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.daemon.assembly import Assembly
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from tests.support.rules import assembled, mail

RULES = Path(__file__).parent / "rules"

NO_ACTIONS = "[actions]\nreject = false\n'add header' = false\ngreylist = false\n"
COMPOSITES = (
    NO_ACTIONS
    + """
[composites]
EXPRESSIONS = { expression = "(EXPRESSIONS_A | ~EXPRESSIONS_B) & !EXPRESSIONS_C", score = 5 }
POLICY_REMOVE_WEIGHT = { expression = "POLICY_REMOVE_WEIGHT_A and ~POLICY_REMOVE_WEIGHT_B", score = 5 }
POLICY_FORCE_REMOVE = { expression = "POLICY_FORCE_REMOVE_A & ^POLICY_FORCE_REMOVE_B", score = 5 }
POLICY_FORCE_REMOVE_LEAVE = { expression = "-POLICY_FORCE_REMOVE_A and -POLICY_FORCE_REMOVE_B", score = 5 }
POLICY_LEAVE = { expression = "POLICY_LEAVE_A & -POLICY_LEAVE_B", score = 5 }
SYMBOL_GROUPS = { expression = "!g+:positive & g-:negative & -g:any", score = 5 }
SYMOPTS1 = { expression = "OPTS[sym1]", score = 5 }
SYMOPTS2 = { expression = "OPTS[/foo1/i, sym2]", score = 6 }
SYMOPTS3 = { expression = "OPTS[/foo\\\\//, sym2]", score = 6 }
SYMOPTS4 = { expression = "OPTS[example.com->app.link]", score = 6 }
[composites.DEFAULT_POLICY_REMOVE_WEIGHT]
expression = "DEFAULT_POLICY_REMOVE_WEIGHT_A and DEFAULT_POLICY_REMOVE_WEIGHT_B"
score = 5
policy = "remove_weight"
[composites.DEFAULT_POLICY_REMOVE_SYMBOL]
expression = "DEFAULT_POLICY_REMOVE_SYMBOL_A & DEFAULT_POLICY_REMOVE_SYMBOL_B"
score = 5
policy = "remove_symbol"
[composites.DEFAULT_POLICY_LEAVE]
expression = "DEFAULT_POLICY_LEAVE_A & DEFAULT_POLICY_LEAVE_B"
score = 5
policy = "leave"
"""
)


def scanned(assembly: Assembly, raw: bytes | None = None, *, user: str | None = None, **headers: str) -> Verdict:
    envelope = Envelope.of(user=user, headers=[(name.replace("_", "-"), value) for name, value in headers.items()])
    verdict = assembly.engine.scan(ScanRequest(Message(mail() if raw is None else raw), envelope))
    assert verdict.failures == ()
    return verdict


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assembly]:
    with assembled(tmp_path_factory.mktemp("composed"), [RULES / "composites.py"], COMPOSITES) as assembly:
        yield assembly


WITHOUT = "symbols_disabled = [TEST_FILTER_SYM, TEST_POSTFILTER_SYM]"


def test_109_composites_all_in_one(composed: Assembly) -> None:
    verdict = scanned(composed, Settings=WITHOUT)
    assert {name: hit.score for name, hit in verdict.symbols.items()} == {
        "EXPRESSIONS": 5.0,
        "EXPRESSIONS_B": 0.0,
        "POLICY_REMOVE_WEIGHT": 5.0,
        "POLICY_REMOVE_WEIGHT_B": 0.0,
        "POLICY_FORCE_REMOVE": 5.0,
        "POLICY_FORCE_REMOVE_A": 1.0,
        "POLICY_FORCE_REMOVE_LEAVE": 5.0,
        "POLICY_LEAVE": 5.0,
        "POLICY_LEAVE_B": 1.0,
        "DEFAULT_POLICY_REMOVE_WEIGHT": 5.0,
        "DEFAULT_POLICY_REMOVE_WEIGHT_A": 0.0,
        "DEFAULT_POLICY_REMOVE_WEIGHT_B": 0.0,
        "DEFAULT_POLICY_REMOVE_SYMBOL": 5.0,
        "DEFAULT_POLICY_LEAVE": 5.0,
        "DEFAULT_POLICY_LEAVE_A": 1.0,
        "DEFAULT_POLICY_LEAVE_B": 1.0,
        "SYMBOL_GROUPS": 5.0,
        "POSITIVE_A": -1.0,
        "ANY_A": -1.0,
        "NEGATIVE_B": 1.0,
    }
    assert (verdict.score, verdict.required_score) == (50.0, None)


@pytest.mark.parametrize(
    ("opts", "expected"),
    [
        ("sym1", {"SYMOPTS1": 5.0}),
        ("sym1,foo1", {"SYMOPTS1": 5.0}),
        ("sym2", {}),
        ("foo1,sym2", {"SYMOPTS2": 6.0}),
        ("sym2,foo/", {"SYMOPTS3": 6.0}),
        ("example.com->app.link", {"SYMOPTS4": 6.0}),
    ],
)
def test_109_composites_options(composed: Assembly, opts: str, expected: dict[str, float]) -> None:
    symbols = scanned(composed, opts=opts, Settings=WITHOUT).symbols
    assert {name: hit.score for name, hit in symbols.items() if name.startswith("SYMOPTS")} == expected


def test_109_composite_of_a_filter_and_a_postfilter(tmp_path: Path) -> None:
    toml = '[composites.TEST_POSTFILTER_COMPOSITE]\nexpression = "TEST_FILTER_SYM & TEST_POSTFILTER_SYM"\nscore = 10\n'
    with assembled(tmp_path, [RULES / "composites.py"], toml) as assembly:
        symbols = scanned(assembly).symbols
    assert symbols["TEST_POSTFILTER_COMPOSITE"].score == 10.0
    assert not {"TEST_FILTER_SYM", "TEST_POSTFILTER_SYM"} & symbols.keys()


SELECTORS = """
from filterd import extractor, rule

@extractor("some_texts", returns=list[str])
def some_texts(task):
    return ["hello", "world"]

@rule("LUA_SELECTOR_RE", score=100500)
def selected(task):
    return " ".join(task.get("user.lower; header(Subject).lower", default=())) == "test@user.com some subject"

@rule("SELECTOR_FROM_ORIG")
def original(task):
    sender = task.get("from('mime', 'orig'):addr")
    return sender is not None and (True, sender)
"""

SELECTED = """
[composites.CONFIG_SELECTOR_RE_RCPT_SUBJECT]
expression = "user.lower == 'test@user.com' & header(Subject).lower ~ /^some subject$/"
score = 100500
policy = "leave"
[composites.RSPAMD_TEXT_SELECTOR]
expression = "some_texts ~ /^hello$/"
score = 1
[composites.NOT_SELECTED]
expression = "some_texts ~ /^hello world$/"
"""


def test_270_selectors(tmp_path: Path) -> None:
    (tmp_path / "selectors.py").write_text(SELECTORS)
    enabled = "symbols_enabled = [CONFIG_SELECTOR_RE_RCPT_SUBJECT, LUA_SELECTOR_RE]"
    message = mail(Subject="Some\r\n Subject")
    with assembled(tmp_path, [tmp_path / "selectors.py"], SELECTED) as assembly:
        chosen = scanned(assembly, message, user="test@user.com", Pass="all", Settings=enabled)
        every = scanned(assembly, message, user="Test@User.com", Pass="all")
        other = scanned(assembly, message, user="another@user.com")
    assert set(chosen.symbols) == {"CONFIG_SELECTOR_RE_RCPT_SUBJECT", "LUA_SELECTOR_RE"}
    assert {"CONFIG_SELECTOR_RE_RCPT_SUBJECT", "LUA_SELECTOR_RE", "RSPAMD_TEXT_SELECTOR"} <= set(every.symbols)
    assert every.symbols["SELECTOR_FROM_ORIG"].options == ("ann@example.org",)
    assert set(other.symbols) == {"SELECTOR_FROM_ORIG", "RSPAMD_TEXT_SELECTOR"}


POINTS = """
from filterd import rule

@rule("POINTS", score=1.0)
def points(task):
    return float(task.get_request_header("points"))

@rule("ALWAYS")
def always(task):
    return True
"""

FORCED = """
[composites.POINTS_AND_ALWAYS]
expression = "-POINTS & -ALWAYS"
[force_actions.FORCE_REJECT_TO_ADD_HEADER]
expression = "request_header('case') == 'add header'"
action = "add header"
require_action = ["reject", "no action"]
[force_actions.FORCE_REJECT_TO_NO_ACTION]
expression = "POINTS & request_header('case') == 'no action'"
action = "no_action"
require_action = ["reject", "add_header"]
[force_actions.FORCE_TO_REJECT]
expression = "POINTS and request_header('case') == 'reject'"
action = "reject"
message = "not at {score} points"
require_action = ["no action", "add header"]
[force_actions.FORCE_COMPOSITE_TO_REJECT]
expression = "POINTS_AND_ALWAYS & request_header('case') == 'composite'"
action = "reject"
[force_actions.FORCE_HONOURS]
expression = "ALWAYS & request_header('case') == 'honour'"
action = "reject"
honor_action = ["add header"]
[force_actions.PRIO_EARLY]
expression = "ALWAYS & request_header('case') in ('early', 'late')"
action = "add header"
priority = 2
[force_actions.PRIO_LATE]
expression = "POINTS_AND_ALWAYS & request_header('case') == 'early'"
action = "reject"
priority = 1
[force_actions.PRIO_LATER]
expression = "POINTS_AND_ALWAYS & request_header('case') == 'late'"
action = "reject"
priority = 3
"""


@pytest.fixture(scope="module")
def forcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assembly]:
    folder = tmp_path_factory.mktemp("forcing")
    (folder / "points.py").write_text(POINTS)
    with assembled(folder, [folder / "points.py"], FORCED) as assembly:
        yield assembly


@pytest.mark.parametrize(
    ("points", "case", "action", "symbols"),
    [
        (20, "", "reject", set()),
        (20, "add header", "add header", {"FORCE_REJECT_TO_ADD_HEADER"}),
        (20, "no action", "no action", {"FORCE_REJECT_TO_NO_ACTION"}),
        (1, "reject", "reject", {"FORCE_TO_REJECT"}),
        (1, "add header", "add header", {"FORCE_REJECT_TO_ADD_HEADER"}),
        (8, "no action", "no action", {"FORCE_REJECT_TO_NO_ACTION"}),
        (8, "reject", "reject", {"FORCE_TO_REJECT"}),
        (8, "add header", "add header", set()),
        (1, "composite", "reject", {"FORCE_COMPOSITE_TO_REJECT"}),
        (8, "honour", "add header", set()),
        (1, "honour", "reject", {"FORCE_HONOURS"}),
        (1, "early", "add header", {"PRIO_EARLY", "PRIO_LATE"}),
        (1, "late", "reject", {"PRIO_EARLY", "PRIO_LATER"}),
    ],
)
def test_360_forced_actions(forcing: Assembly, points: int, case: str, action: str, symbols: set[str]) -> None:
    verdict = scanned(forcing, points=str(points), case=case)
    forced = {name.removeprefix("FORCE_ACTION_") for name in verdict.symbols if name.startswith("FORCE_ACTION_")}
    assert (verdict.action, forced) == (action, symbols)
    if "FORCE_TO_REJECT" in symbols:
        assert verdict.messages["smtp_message"] == f"not at {points} points"
