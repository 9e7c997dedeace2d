"""Conditions: and, or, not, comparisons, patterns, maps, symbols and counting them; and templates."""

import pytest

from filterd.engine.expressions import Compiler, Extractor, standard_vocabulary
from tests.support.engine import rule_of
from tests.support.expressions import task_of

MAPS = {"friends": {"192.0.2.77": "yes", "carl@example.net": "too"}}
SYMBOLS = {"A": 1.0, "B": 2.0, "lower_case": 1.0}


def holds(text: str) -> bool:
    task = task_of(symbols=SYMBOLS)
    task.insert_result("OPTS", 1.0, "sym1", "Foo1", "foo/", "example.com->app.link")
    value = Compiler(maps=MAPS, symbols=["lower_case"]).compile(text, "condition")(task)
    assert isinstance(value, bool)
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Words and marks alike, and what binds closer.
        ("A and B", True),
        ("A & C", False),
        ("A && B", True),
        ("A or C", True),
        ("C | D", False),
        ("C || A", True),
        ("not C", True),
        ("!A", False),
        ("NOT C AND A", True),
        ("A | C & D", True),
        ("(A | C) & D", False),
        ("not A | B", True),
        ("not (A | B)", False),
        ("!!A", True),
        ("lower_case", True),
        ("symbol('A')", True),
        ("symbol('a b')", False),
        # Counting.
        ("A + B + C >= 2", True),
        ("A + B + C > 2", False),
        ("!C + A == 2", True),
        ("(A | C) + (B & C) == 1", True),
        ("A + B.weight == 3", True),
        ("size + 1 > 100", True),
        ("hostname.length + 1 == 1", True),
        # Comparisons.
        ("from('smtp') == 'Ann@sender.example'", True),
        ("from('smtp') == ''", False),
        ("from('smtp') != ''", True),
        ("hostname == ''", False),
        ("hostname != ''", False),
        ("not hostname == ''", True),
        ("'' == from('smtp')", False),
        ("size > 20", True),
        ("size > 1k", False),
        ("size < 1.5k", True),
        ("size >= 1MiB", False),
        ("size <= 10m", True),
        ("score == 0", True),
        ("A.weight > 0.5", True),
        ("A:weight < -1", False),
        ("NONE.score > 0", False),
        ("tls == false", True),
        ("authenticated", True),
        ("action == 'no action'", True),
        ("user == id('Test@User.com')", True),
        ("rcpts == 'carl@example.net'", True),
        ("rcpts != 'carl@example.net'", False),
        ("rcpts != 'dora@example.org'", True),
        ("rcpts == rcpts('mime')", True),
        ("received.count > 1", True),
        # Truth of a value: there and not empty.
        ("helo", True),
        ("hostname", False),
        ("score", False),
        ("true", True),
        ("false or A", True),
        ("'text'", True),
        # Patterns.
        ("header('Subject') ~ /buy now/i", True),
        ("header('Subject') ~ /buy now/", False),
        ("header('Subject') matches 'B.y'", True),
        ("hostname ~ /./", False),
        ("rcpts ~ /^carl@/", True),
        ("helo ~ /^mail\\./", True),
        ("files ~ /\\.pdf$/", True),
        # Lists, maps, and one within the other.
        ("ip in ('192.0.2.1', '192.0.2.77')", True),
        ("ip in ['192.0.2.1']", False),
        ("ip not in {'192.0.2.1'}", True),
        ("hostname in ('a')", False),
        ("size in (1, 2)", False),
        ("rcpts in ('carl@example.net')", True),
        ("ip in friends", True),
        ("helo in friends", False),
        ("rcpts in friends", True),
        ("hostname in friends", False),
        ("'NOW' in header('Subject')", True),
        ("'NOW' in hostname", False),
        ("'carl@example.net' in rcpts", True),
        ("hostname in subject", False),
        ("from('smtp') in rcpts", False),
        # Options: all must be there.
        ("OPTS[sym1]", True),
        ("OPTS[sym2]", False),
        ("OPTS[sym1, /foo1/i]", True),
        ("OPTS[/foo1/,sym1]", False),
        ("OPTS[/foo\\//]", True),
        ("OPTS['sym1']", True),
        ("OPTS[example.com->app.link]", True),
        ("OPTS[foo/] & A", True),
        ("NONE[x]", False),
    ],
)
def test_whether_a_condition_holds(text: str, value: bool) -> None:
    assert holds(text) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("g:all", True),
        ("g+:all", True),
        ("g-:all", True),
        ("g:good", True),
        ("g+:good", False),
        ("g:none", False),
        ("g-:bad", False),
    ],
)
def test_a_group_is_any_of_its_symbols(text: str, value: bool) -> None:
    rules = [
        rule_of(lambda task: None, name, score=score, groups=groups)
        for name, score, groups in (("X", 1.0, ["all", "bad"]), ("Y", -1.0, ["all", "good"]), ("Z", 1.0, ["none"]))
    ]
    task = task_of(rules=rules, symbols={"X": 1.0, "Y": 1.0})
    assert Compiler().compile(text, "condition")(task) is value


def test_a_condition_tells_what_it_looks_at_and_when_it_can_be_asked() -> None:
    compiled = Compiler(maps=MAPS).compile
    condition = compiled("A and not (B or symbol('C')) and g+:bad", "condition")
    assert condition.symbols == {"A", "B", "C"}
    assert condition.groups == {"bad"}
    assert condition.stage == "score"
    assert compiled("A and not (B or symbol('C'))", "condition").stage == "results"
    assert not condition.asks_results
    assert compiled("score > 3", "condition").asks_results
    assert compiled("ip in friends", "condition").stage == "connect"
    assert compiled("from('smtp') == ''", "condition").stage == "mail"
    assert compiled("from == ''", "condition").stage == "message"


def test_kinds_that_nobody_declared_compare_as_far_as_they_can() -> None:
    vocabulary = standard_vocabulary()
    vocabulary.add(Extractor("anything", lambda task: task.vars["it"]))
    compiler, task = Compiler(vocabulary), task_of()
    for it, text, value in (
        (3, "anything > 2", True),
        ("x", "anything > 2", False),
        (["a", 3], "anything == 'a'", True),
        ("abc", "anything ~ /b/", True),
        (123, "anything ~ /2/", True),
        ({"k": 1}, "'k' in anything", True),
        (12345, "'23' in anything", True),
        (3, "anything in ('3', 4)", False),
        ("x", "anything + 1 == 2", True),
        ([], "anything", False),
    ):
        task.vars["it"] = it
        assert compiler.compile(text, "condition")(task) is value, (it, text)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{ip} helo={helo.default('-')}", "192.0.2.77 helo=mail.sender.example"),
        ("plain", "plain"),
        ("", ""),
        ("{{{ip}}}", "{192.0.2.77}"),
        ("rDNS: {hostname}.", "rDNS: ."),
        ("{ hostname . default('}') }", "}"),
        ("{received.count} {score} {tls} {time('message')}", "2 0 false 1767261600"),
        ("{rcpts}", "bob@example.net,carl@example.net"),
        ("{symbol('A'):weight} {id('x').float} {list(a, 1).join('+')}", "1.5  a+1"),
        ("{var('raw')}", "\ufffd"),
    ],
)
def test_a_template_is_filled(text: str, filled: str) -> None:
    task = task_of(symbols={"A": 1.5})
    task.vars["raw"] = b"\xff"
    assert Compiler().compile(text, "template")(task) == filled
