"""A map of the configuration as a rule: what is looked up, and what a line gives."""

from collections.abc import Mapping
from typing import Any

import pytest

from filterd.engine.expressions import Compiler
from filterd.engine.map_rules import BadExpression, Finding, MapRule, finding_of, rules_of, value_fault
from filterd.engine.registry import RegistrationError
from filterd.mail.envelope import Envelope
from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import MapReader
from filterd.mail.maps import MapType
from filterd.mail.verdict import Verdict
from filterd.task import Task
from tests.support.engine import rule_of, scan_with
from tests.support.rules import mail

ENVELOPE = Envelope.of(
    ip="192.0.2.77",
    helo="mx.example.org",
    hostname="host.example.org",
    user="ann",
    mail_from="ann@example.org",
    rcpts=["bob@example.net", "carl@example.com"],
)
RULE = MapRule("m", "from('smtp')", "HIT", ("OTHER", "THIRD"), file="filterd.toml")


def live_map(type: MapType, text: str) -> LiveMap:
    reader = MapReader(type)
    reader.feed(text.encode())
    live = LiveMap("m", reader.close())
    live.version = 1
    return live


def scanned(type: MapType, text: str, key: str, **about: Any) -> Verdict:
    rule = MapRule("m", key, "HIT", about.pop("symbols", ()), **about)
    return scan_with(*rules_of(rule, live_map(type, text), Compiler()), raw=mail(X_List="one"), envelope=ENVELOPE)


def found(verdict: Verdict) -> Mapping[str, tuple[float, tuple[str, ...]]]:
    assert verdict.failures == ()
    return {name: (hit.score, hit.options) for name, hit in verdict.symbols.items()}


@pytest.mark.parametrize(
    ("type", "text", "key", "options"),
    [
        ("set", "ann@example.org", "from('smtp')", ("ann@example.org",)),
        ("set", "bob@example.org", "from('smtp')", None),
        ("ip", "192.0.2.0/24", "ip", ("192.0.2.77",)),
        ("ip", "192.0.2.0/26", "ip", None),
        ("domain", "example.org", "hostname", ("host.example.org",)),
        ("glob", "mx.*", "helo", ("mx.example.org",)),
        ("set", "ANN", "user", ("ann",)),
        ("set", "bob@example.net\ncarl@example.com", "rcpts", ("bob@example.net", "carl@example.com")),
        ("regexp", "/^carl@/", "rcpts", ("carl@example.com",)),
        ("set", "one", "header('X-List')", ("one",)),
        ("set", "one", "header('X-Other')", None),
        ("set", "ann@example.org", "from('mime')", ("ann@example.org",)),
    ],
)
def test_a_key_of_the_message_that_is_in_the_map_gives_its_symbol(
    type: MapType, text: str, key: str, options: tuple[str, ...] | None
) -> None:
    score = 0.0 if options is None else float(len(options))
    assert found(scanned(type, text, key)) == ({} if options is None else {"HIT": (score, options)})


@pytest.mark.parametrize(
    ("value", "found_is"),
    [
        ("10.0", {"HIT": (10.0, ("ann@example.org",))}),
        ("-.5", {"HIT": (-0.5, ("ann@example.org",))}),
        ("HIT", {"HIT": (1.0, ("ann@example.org",))}),
        ("SYM1", {"SYM1": (1.0, ("ann@example.org",))}),
        ("SYM1:-10.1", {"SYM1": (-10.1, ("ann@example.org",))}),
        ("SYM1:-10.1:opt1,opt2", {"SYM1": (-10.1, ("opt1", "opt2"))}),
        ("SYM1:0", {"SYM1": (0.0, ("ann@example.org",))}),
        ("2000POINTS:2", {"2000POINTS": (2.0, ("ann@example.org",))}),
    ],
)
def test_the_value_of_a_line_says_how_much_and_which_symbol(value: str, found_is: Mapping[str, Any]) -> None:
    assert found(scanned("map", f"ann@example.org {value}", "from('smtp')", symbols=("SYM1", "2000POINTS"))) == found_is


def test_the_score_of_the_map_is_a_factor_for_its_lines() -> None:
    verdict = scanned(
        "map", "bob@example.net 2\ncarl@example.com SYM1:3", "rcpts", symbols=("SYM1", "HIT"), score=1.5, group="g"
    )
    assert found(verdict) == {"HIT": (3.0, ("bob@example.net",)), "SYM1": (4.5, ("carl@example.com",))}


def test_a_new_version_counts_at_once() -> None:
    live = live_map("set", "somebody@example.org")
    rules = rules_of(RULE, live, Compiler())
    assert found(scan_with(*rules, envelope=ENVELOPE)) == {}
    live.replace(live_map("set", "ann@example.org").value)
    assert set(found(scan_with(*rules, envelope=ENVELOPE))) == {"HIT"}


def test_a_message_without_the_key_is_not_looked_up() -> None:
    rules = rules_of(RULE, live_map("glob", "*"), Compiler())
    assert found(scan_with(*rules, envelope=Envelope({}))) == {}
    assert found(scan_with(*rules, envelope=Envelope.of(mail_from=""))) == {}  # the null sender is no key


def test_a_key_that_is_there_twice_counts_twice_and_is_looked_up_as_text() -> None:
    assert found(scanned("set", "17", "list(17, '17', 'x')")) == {"HIT": (2.0, ("17",))}
    assert found(scanned("set", "17", "list(17, '17', 'x').uniq")) == {"HIT": (1.0, ("17",))}
    assert found(scanned("regexp", r"/^\d+$/", "size"))["HIT"][0] == 1.0


def test_a_map_with_a_condition_waits_for_the_rules_whose_symbols_it_names() -> None:
    def first(task: Task) -> bool:
        task.sleep(0.01)
        return task.ip == "192.0.2.77"

    rule = MapRule("m", "ip", "DEPS_MAP", when="FIRST and not SECOND")
    look, *_ = rules_of(rule, live_map("ip", "192.0.2.0/24\n198.51.100.1"), Compiler(symbols=("FIRST", "SECOND")))
    assert look.after == ("FIRST", "SECOND")
    assert set(found(scan_with(look, rule_of(first), envelope=ENVELOPE))) == {"DEPS_MAP", "FIRST"}
    assert set(found(scan_with(look, rule_of(first), envelope=Envelope.of(ip="198.51.100.1")))) == set()
    second = rule_of(lambda task: True, "SECOND")
    assert set(found(scan_with(look, rule_of(first), second, envelope=ENVELOPE))) == {"FIRST", "SECOND"}


def test_a_condition_may_look_into_other_maps() -> None:
    maps = {"m": live_map("ip", "192.0.2.0/24"), "n": live_map("set", "ann@example.org")}
    for when, hit in (("from('smtp') in n", {"COMBINED"}), ("not (from('smtp') in n)", set())):
        rule = MapRule("m", "ip", "COMBINED", when=when)
        assert set(found(scan_with(*rules_of(rule, maps["m"], Compiler(maps=maps)), envelope=ENVELOPE))) == hit


def test_a_map_rule_is_told_by_its_file() -> None:
    own, other, third = rules_of(RULE, live_map("set", ""), Compiler())
    assert (own.name, own.place, own.inline, own.type) == ("HIT", "filterd.toml", True, "normal")
    assert [(one.name, one.parent, one.score) for one in (other, third)] == [("OTHER", "HIT", 1.0), ("THIRD", "HIT", 1.0)]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("2.5", None),
        ("HIT:2", None),
        ("OTHER:2:a", None),
        ("UNKNOWN:2", "UNKNOWN is neither the symbol of this map nor in its symbols (HIT, OTHER, THIRD)"),
        ("seen in spam", "'seen in spam' is no weight (2.5), no SYMBOL, SYMBOL:2.5 or SYMBOL:2.5:option,option"),
        ("OTHER:x", "'OTHER:x' is no weight (2.5), no SYMBOL, SYMBOL:2.5 or SYMBOL:2.5:option,option"),
        ("1e5", "1e5 is neither the symbol of this map nor in its symbols (HIT, OTHER, THIRD)"),
    ],
)
def test_a_value_that_means_nothing_is_told(value: str, told: str | None) -> None:
    assert value_fault(RULE, value) == told


def test_a_value_without_meaning_gives_nothing_where_it_was_not_checked() -> None:
    assert finding_of("seen in spam") is None
    assert found(scanned("map", "ann@example.org seen in spam", "from('smtp')")) == {}
    assert finding_of(True) == Finding(None, 1.0, ())


@pytest.mark.parametrize(("about", "field"), [({"key": "form('smtp')"}, "key"), ({"key": "ip", "when": "A and"}, "when")])
def test_an_expression_that_cannot_be_is_refused_with_its_key_and_column(about: Any, field: str) -> None:
    with pytest.raises(BadExpression, match="column") as raised:
        rules_of(MapRule("m", symbol="HIT", **about), live_map("set", ""), Compiler())
    assert raised.value.field == field


def test_a_symbol_that_cannot_be_is_refused() -> None:
    with pytest.raises(RegistrationError, match="a name is one word"):
        rules_of(MapRule("m", "ip", "TWO WORDS"), live_map("set", ""), Compiler())


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"when": "score > 3"}, "when: score is known from stage score on, and this is evaluated at stage results (column 1)"),
        ({"when": "g:any"}, "when: group any is known from stage score on, and this is evaluated at stage results (column 1)"),
        ({"when": "A and TOGETHER"}, "when: TOGETHER is a composite, known when all filters have ended, and this is one"),
        (
            {"key": "symbol('TOGETHER'):name"},
            "key: TOGETHER is a composite, known when all filters have ended, and this is one",
        ),
        ({"key": "action"}, "key: action is known from stage score on, and this is evaluated at stage results (column 1)"),
    ],
)
def test_what_is_known_only_when_all_have_ended_is_refused(about: dict[str, Any], told: str) -> None:
    keywords: dict[str, Any] = {"key": "ip", **about}
    rule = MapRule("m", symbol="HIT", **keywords)
    with pytest.raises(BadExpression) as caught:
        rules_of(rule, live_map("set", "x"), Compiler(), ["TOGETHER"])
    assert f"{caught.value.field}: {caught.value}".startswith(told)


def test_a_key_that_is_made_of_a_symbol_waits_for_it() -> None:
    def first(task: Task) -> tuple[bool, str]:
        return True, "x"

    rule = MapRule("m", "symbol('FIRST'):options", "HIT")
    verdict = scan_with(*rules_of(rule, live_map("set", "x"), Compiler()), rule_of(first), raw=mail())
    assert found(verdict)["HIT"] == (1.0, ("x",))
