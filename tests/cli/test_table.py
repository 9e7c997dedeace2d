"""What a person is shown: everything that is known, and nothing that a message could do to a terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from filterd.cli.table import Report, console, plain
from filterd.engine.registry import Rule
from filterd.mail.verdict import Hit, RuleFailure, Verdict

VERDICT = Verdict(
    "add header",
    7.5,
    15.0,
    {"reject": 15.0, "add header": 6.0},
    {
        "SMALL": Hit("SMALL", 0.5, 0.5),
        "BIG": Hit("BIG", 7.0, 3.5, 2.0, ("one", "t\x1bwo"), "It is big", ("g", "h")),
        "KID": Hit("KID", 0.0),
    },
    (RuleFailure("BROKEN", "exception", "ValueError: no\nway", "/r/a.py:9", elapsed=0.5, traceback="Traceback:\n  a\n  b"),),
    {"smtp_message": "Go\r\naway"},
    seconds=0.0123,
    timings={"BIG": 0.004, "SMALL": 0.001, "QUIET": 0.002, "PARENT": 0.0, "BROKEN": 0.0},
)


def made(name: str, line: int) -> Rule:
    is_kid = name == "KID"
    return Rule(
        name, None, file="/r/a.py", line=line, type="virtual" if is_kid else "normal", parent="PARENT" if is_kid else None
    )


NAMES = ("BIG", "SMALL", "QUIET", "PARENT", "KID", "BROKEN", "SKIPPED")
RULES = {name: made(name, line) for line, name in enumerate(NAMES, 1)}


def shown(report: Report, verdict: Verdict = VERDICT, *, width: int = 200) -> list[str]:
    screen = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    screen.print(report.show("a.eml", verdict))
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


def test_a_report() -> None:
    assert shown(Report(RULES)) == [
        "a.eml",
        "  symbol  score  options    rule      ms",
        "  BIG      7.00  one, t?wo  a.py:1  4.00",
        "  SMALL    0.50             a.py:2  1.00",
        "  KID      0.00             a.py:5",
        "  add header 7.50 / 15.00 in 12.3 ms",
        "  smtp_message: Go away",
        "  FAILED BROKEN: ValueError: no way at /r/a.py:9 after 0.50 s",
        "",
    ]


def test_without_the_rules_there_is_no_column_for_their_files() -> None:
    assert shown(Report({}))[1:3] == ["  symbol  score  options      ms", "  BIG      7.00  one, t?wo  4.00"]


def test_explained() -> None:
    assert shown(Report(RULES, explain=True)) == [
        "a.eml",
        "  symbol  score  options     counts  group  description  rule      ms",
        "  BIG      7.00  one, t?wo  3.5 × 2  g h    It is big    a.py:1  4.00",
        "  SMALL    0.50             0.5 × 1                      a.py:2  1.00",
        "  KID      0.00               0 × 1                      a.py:5",
        "  add header 7.50 / 15.00 in 12.3 ms",
        "  smtp_message: Go away",
        "  FAILED BROKEN: ValueError: no way at /r/a.py:9 after 0.50 s",
        "    Traceback:",
        "      a",
        "      b",
        "  thresholds: reject 15, add header 6",
        "  without a hit: QUIET",
        "  not run: SKIPPED",
        "",
    ]


def test_explained_by_a_daemon_whose_rules_are_not_known() -> None:
    lines = shown(Report({}, explain=True))
    assert lines[1] == "  symbol  score  options     counts  description    ms"
    assert lines[-2] == "  also ran: QUIET, PARENT"


def test_a_trace_has_a_bar_for_each_rule_the_slowest_first() -> None:
    lines = shown(Report(RULES, trace=True))[-7:-1]
    assert lines[0] == "  time      ms"
    assert [(line.split()[:2], line.count("█")) for line in lines[1:]] == [
        (["BIG", "4.00"], 40),
        (["QUIET", "2.00"], 20),
        (["SMALL", "1.00"], 10),
        (["PARENT", "0.00"], 0),
        (["BROKEN", "0.00"], 0),
    ]


@pytest.mark.parametrize("timings", [{}, {"A": 0.0}])
def test_a_trace_of_nothing(timings: dict[str, float]) -> None:
    lines = shown(Report({}, trace=True), Verdict("no action", 0.0, 15.0, timings=timings))
    assert len(lines) == 4 + len(timings)


def test_nothing_found_and_no_thresholds() -> None:
    lines = shown(Report(RULES, explain=True), Verdict("no action", 0.0, None, timed_out=True))
    assert lines[1:4] == [
        "  no action 0.00 / none in 0.0 ms, cut off by the task timeout",
        "  thresholds: none",
        "  without a hit: none",
    ]


def test_a_file_below_the_working_directory_is_shown_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rule = Rule("BIG", None, file=str(tmp_path / "rules" / "a.py"), line=3)
    assert "rules/a.py:3" in "".join(shown(Report({"BIG": rule})))


def test_a_screen_folds_options_and_nothing_else() -> None:
    options = tuple(f"option-{number}" for number in range(20))
    verdict = Verdict("no action", 1.0, 15.0, symbols={"A_SYMBOL": Hit("A_SYMBOL", 1.0, options=options)})
    lines = shown(Report({}), verdict, width=60)
    assert len(lines) > 6
    assert lines[2].startswith("  A_SYMBOL   1.00  option-0, option-1,")
    assert all(len(line) <= 60 for line in lines)


def test_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    options = tuple(f"option-{number}" for number in range(200))
    verdict = Verdict("no action", 1.0, 15.0, symbols={"A_SYMBOL": Hit("A_SYMBOL", 1.0, options=options)})
    console().print(Report({}).show("a", verdict))
    assert f"  A_SYMBOL   1.00  {', '.join(options)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("café ✓", "café ✓"),
        ("\x1b]0;title\x07", "?]0;title?"),
        ("a\nb\tc", "a?b?c"),
        ("\u202etxt.exe", "?txt.exe"),
        ("\udcff", "?"),
        ("[red]x[/red] :smile:", "[red]x[/red] :smile:"),
    ],
)
def test_text_is_only_text(text: str, expected: str) -> None:
    assert plain(text).plain == expected
