"""`[headers.*]` and the expressions of `[log]` at work: what is told to the MTA and written down, and what is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from filterd.daemon.assembly import Assembly, load
from filterd.daemon.config import ConfigError, load_config
from filterd.daemon.logs import MessageLog
from filterd.engine.loader import LoadError
from filterd.mail.edits import delivered
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from tests.support.rules import assembled, mail

RULES = """
from filterd import Task, dns, extractor, rule

@rule("SIMPLE_TEST", score=2.5)
def simple(task):
    return True, "always"

@rule("FAILS", score=1)
def fails(task):
    if task.get_request_header("Fail"):
        raise ValueError("no")

@rule("SEEN", type="idempotent")
def seen(task):
    task.vars["seen"] = dict(task.milter_reply)

@extractor("broken", returns=str)
def broken(task):
    raise KeyError("gone")

@extractor("waits", returns=str)
def waits(task):
    return dns.request("example.org", "a")[1][0]
"""


@contextmanager
def running(folder: Path, toml: str) -> Iterator[Assembly]:
    (folder / "rules.py").write_text(RULES)
    with assembled(folder, [folder / "rules.py"], dedent(toml)) as assembly:
        yield assembly


def scanned(folder: Path, toml: str, raw: bytes | None = None, *, failures: int = 0, **headers: str) -> Verdict:
    with running(folder, toml) as assembly:
        verdict = assembly.engine.scan(request(raw, **headers))
    assert len(verdict.failures) == failures, verdict.failures
    return verdict


def request(raw: bytes | None = None, **headers: str) -> ScanRequest:
    envelope = Envelope.of(
        ip="192.0.2.7", queue_id="Q1", headers=[(name.replace("_", "-"), value) for name, value in headers.items()]
    )
    return ScanRequest(Message(mail() if raw is None else raw), envelope)


# -- header fields

USUAL = """
[headers.X-Spam-Score]
value = "{score} / {required_score}"
remove = true
[headers.X-Spam-Level]
value = "{score.bar('*', limit=20)}"
[headers.bar]
name = "My-Spamd-Bar"
value = "{score.bar('+', '-', '/')}"
[headers.X-Spam-Flag]
value = "YES"
when = "action == 'reject'"
[headers.X-Virus]
value = "{symbol('SIMPLE_TEST'):options}"
when = "SIMPLE_TEST"
order = 1
[headers.Subject]
remove = -1
"""


def test_550_fields_are_added_and_removed(tmp_path: Path) -> None:
    verdict = scanned(tmp_path, USUAL)
    assert verdict.milter == {
        "add_headers": {
            "X-Spam-Score": {"value": "2.5 / 15", "order": -1},
            "X-Spam-Level": {"value": "**", "order": -1},
            "My-Spamd-Bar": {"value": "++", "order": -1},
            "X-Virus": {"value": "always", "order": 1},
        },
        "remove_headers": {"X-Spam-Score": 0, "Subject": -1},
    }


@pytest.mark.parametrize(
    ("settings", "bar", "flag"),
    [
        ("{scores {SIMPLE_TEST = 0.5}}", "/", None),
        ("{scores {SIMPLE_TEST = -3}}", "---", None),
        ("{actions {reject = 2}}", "++", "YES"),
    ],
)
def test_550_they_tell_of_what_it_came_to(tmp_path: Path, settings: str, bar: str, flag: str | None) -> None:
    added = scanned(tmp_path, USUAL, Settings=settings).milter["add_headers"]
    assert isinstance(added, dict)
    assert added["My-Spamd-Bar"]["value"] == bar
    assert added.get("X-Spam-Flag", {}).get("value") == flag


def test_the_score_is_that_of_the_verdict_with_postfilters_composites_and_growth(tmp_path: Path) -> None:
    toml = """
    [results]
    grow_factor = 1.5
    [composites.BOTH]
    expression = "-SIMPLE_TEST"
    score = 4
    [headers.X-Score]
    value = "{score.round(4)}"
    """
    verdict = scanned(tmp_path, toml)
    assert verdict.milter["add_headers"] == {"X-Score": {"value": f"{round(verdict.score, 4):g}", "order": -1}}
    assert verdict.score > 6.5


def test_a_value_of_the_message_cannot_break_out_of_its_field(tmp_path: Path) -> None:
    toml = "[headers.X-Copy]\nvalue = \"{header('X-In')}\"\n"
    raw = mail("X-In: =?utf-8?q?a=0D=0AX-Evil:_1=0A=0A=00b?=")
    assert scanned(tmp_path, toml, raw).milter["add_headers"] == {"X-Copy": {"value": "a X-Evil: 1 b", "order": -1}}
    verdict = scanned(tmp_path, toml, mail("X-In: " + "word " * 5000))
    text = delivered(mail(), verdict)
    assert max(map(len, text.split(b"\n"))) < 998
    assert text.count(b"word") > 3000


def test_letters_are_encoded_and_nothing_is_not_added(tmp_path: Path) -> None:
    toml = """
    [headers.X-Copy]
    value = "{subject}"
    [headers.X-None]
    value = "{user}{hostname}"
    """
    assert scanned(tmp_path, toml, mail(Subject="Grüße")).milter["add_headers"] == {
        "X-Copy": {"value": "=?UTF-8?B?R3LDvMOfZQ==?=", "order": -1}
    }


def test_settings_that_choose_rules_leave_the_fields_and_may_name_them(tmp_path: Path) -> None:
    assert "add_headers" in scanned(tmp_path, USUAL, Settings="{symbols_enabled = []}").milter
    without = scanned(tmp_path, USUAL, Settings='{symbols_disabled = ["headers.bar"]}').milter["add_headers"]
    assert isinstance(without, dict)
    assert "My-Spamd-Bar" not in without


def test_a_word_that_raises_or_would_wait_costs_only_its_field(tmp_path: Path) -> None:
    toml = """
    [headers.A]
    value = "{broken}"
    [headers.B]
    value = "{waits}"
    [headers.C]
    value = "fine"
    """
    verdict = scanned(tmp_path, toml, failures=2)
    assert verdict.milter["add_headers"] == {"C": {"value": "fine", "order": -1}}
    assert [failure.rule for failure in verdict.failures] == ["headers.A", "headers.B"]
    assert "KeyError: 'gone'" in verdict.failures[0].text
    assert "an extractor or transform must not wait" in verdict.failures[1].text


# -- the log


def logged(folder: Path, toml: str, *, format: str = "json", raw: bytes | None = None, **headers: str) -> str:
    lines: list[str] = []
    with running(folder, toml) as assembly:
        asked = request(raw, **headers)
        MessageLog(lines.append, format)(asked, assembly.engine.scan(asked))
    (line,) = lines
    return line


FIELDS = """
[log.fields]
helo = "helo"
sender_domain = "from('mime').domain"
hops = "received_count"
hit_scores = "symbols('scores')"
kind = "parts:type"
tagged = "tls"
"""


def test_further_values_stand_in_the_line_with_their_types(tmp_path: Path) -> None:
    line = json.loads(logged(tmp_path, FIELDS))
    assert {name: line[name] for name in ("helo", "sender_domain", "hops", "hit_scores", "kind", "tagged")} == {
        "helo": None,
        "sender_domain": "example.org",
        "hops": 0,
        "hit_scores": ["SIMPLE_TEST(2.50)"],
        "kind": ["text/plain"],
        "tagged": False,
    }
    assert (line["queue_id"], line["action"]) == ("Q1", "no action")


def test_they_stand_behind_the_line_of_text(tmp_path: Path) -> None:
    text = logged(tmp_path, FIELDS.replace('kind = "parts:type"', 'kind = "subject"'), format="text", raw=mail(Subject="a"))
    assert " helo=- sender_domain=example.org hops=0 hit_scores=SIMPLE_TEST(2.50) kind=a tagged=False\n" in text


TEMPLATE = """
[log]
format = "text"
template = "{queue_id} {ip} {action} {score} [{symbols('options').join(' ')}] {header('Subject')}"
"""


def test_a_template_is_the_line_behind_the_id(tmp_path: Path) -> None:
    line = logged(tmp_path, TEMPLATE, format="text")
    assert line.partition(" filterd.message: id=")[2].partition(" ")[2] == (
        "Q1 192.0.2.7 no action 2.5 [SIMPLE_TEST(2.50){always}] hello\n"
    )


def test_in_json_the_template_is_one_value_more(tmp_path: Path) -> None:
    line = json.loads(logged(tmp_path, TEMPLATE))
    assert line["text"] == "Q1 192.0.2.7 no action 2.5 [SIMPLE_TEST(2.50){always}] hello"
    assert line["symbols"] == {"SIMPLE_TEST": 2.5}


def test_whatever_the_template_says_it_is_one_line_and_failures_are_told(tmp_path: Path) -> None:
    line = logged(tmp_path, TEMPLATE, format="text", raw=mail(Subject="=?utf-8?q?a=0Ab?="), Fail="yes")
    assert line.count("\n") == 1
    assert "a\\nb; FAILED FAILS: ValueError: no at " in line


@pytest.mark.parametrize("settings", ["{whitelist = true}", "{flags = [skip]}"])
def test_a_message_on_which_no_rule_runs_has_its_line_too(tmp_path: Path, settings: str) -> None:
    line = logged(tmp_path, TEMPLATE + FIELDS, format="text", Settings=settings)
    assert "Q1 192.0.2.7 no action 0 [] hello helo=- sender_domain=example.org hops=0" in line


def test_a_value_that_cannot_be_made_is_a_failure_and_the_others_are_there(tmp_path: Path) -> None:
    line = json.loads(logged(tmp_path, '[log.fields]\nbad = "broken"\ngood = "ip"\n'))
    assert line["good"] == "192.0.2.7"
    assert "bad" not in line
    assert line["failures"][0].startswith("log.fields.bad: KeyError: 'gone'")


# -- what is refused


def problems_of(folder: Path, toml: str) -> list[str]:
    (folder / "rules.py").write_text(RULES)
    (folder / "filterd.toml").write_text('rules.paths = ["rules.py"]\n' + dedent(toml))
    try:
        load(load_config(folder / "filterd.toml"))
    except (LoadError, ConfigError) as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


def test_expressions_that_cannot_be_right_are_told_at_once_with_key_and_column(tmp_path: Path) -> None:
    toml = """
    [headers.X-A]
    value = "{scor}"
    when = "score > 'much'"
    [log]
    format = "text"
    template = "{ip"
    [log.fields]
    x = "ip.lowerr"
    score = "score"
    """
    assert problems_of(tmp_path, toml) == [
        "filterd.toml: headers.X-A.value: there is no extractor 'scor'; did you mean 'score'? (column 2)\n  {scor}\n   ^",
        "filterd.toml: headers.X-A.when: a number is never > text (column 7)\n  score > 'much'\n        ^",
        "filterd.toml: log.fields.x: there is no transform 'lowerr'; did you mean 'lower'? (column 4)\n  ip.lowerr\n     ^",
        "filterd.toml: log.fields.score: the log line has a score already",
        "filterd.toml: log.template: expected '}' after the value, found the end (column 4)\n  {ip\n     ^",
    ]


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('[headers.X-A]\nwhen = "A"', "headers.X-A: it does nothing: it has neither value nor remove"),
        ('[headers."X A"]\nvalue = "x"', '"X A" is no name of a header field'),
        ('[headers.x]\nname = "X:"\nvalue = "x"', '"X:" is no name of a header field'),
    ],
)
def test_sections_that_cannot_be_right_are_told(tmp_path: Path, toml: str, told: str) -> None:
    (problem,) = problems_of(tmp_path, toml)
    assert told in problem
