"""`filterd scan`: what is found on which message, in order, and an exit code that scripts can trust."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Mail = Callable[..., str]
Real = Callable[..., "subprocess.CompletedProcess[str]"]

SCAN = ("scan", "--rules", "rules")


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_person_is_shown_what_was_found(run: Run, mail: Mail) -> None:
    result = run(*SCAN, mail("a.eml", "Subject: x", "X-Kid: y"))
    lines = result.stdout.splitlines()
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines[0] == "a.eml"
    assert lines[1].split() == ["symbol", "score", "options", "rule", "ms"]
    assert lines[2].split()[:-1] == ["HAS_SUBJECT", "5.00", "x", "rules/some.py:8"]
    assert lines[3].split() == ["KID", "1.25", "rules/some.py:31"]
    assert lines[4].split() == ["NOBODY", "0.00"]
    assert lines[6].startswith("  add header 6.25 / 15.00 in ")


def test_json_is_one_checkv2_object_a_line(run: Run, mail: Mail) -> None:
    result = run(*SCAN, "--json", mail("a.eml", "Subject: x", "Message-ID: <1@example.com>"), mail("b.eml"))
    first, second = objects(result.stdout)
    assert first["symbols"]["HAS_SUBJECT"] == {
        "name": "HAS_SUBJECT",
        "score": 5.0,
        "metric_score": 2.5,
        "description": "The message has a subject",
        "options": ["x"],
    }
    assert (first["action"], first["score"], first["required_score"]) == ("greylist", 5.0, 15.0)
    assert first["message-id"] == "1@example.com"
    assert (second["action"], second["symbols"].keys() - {"WHO"}) == ("no action", {"SHORT"})


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_verdicts_come_in_the_order_of_the_messages(run: Run, mail: Mail, words: list[str]) -> None:
    names = [
        mail("a", "Subject: m0", "X-Late: yes"),
        mail("b", "Subject: m1"),
        mail("d/c", "Subject: m2"),
        mail("c", "Subject: m3"),
    ]
    text = run(*SCAN, *words, *names[:2], "d", names[3]).stdout
    assert [text.index(f"m{number}") for number in range(4)] == sorted(text.index(f"m{number}") for number in range(4))


def test_several_messages_are_scanned_at_the_same_time(run: Run, mail: Mail) -> None:
    names = [mail(f"m/{number}", "X-Together: 5") for number in range(5)]
    found = objects(run(*SCAN, "--json", *names).stdout)
    assert [verdict["symbols"]["TOGETHER"]["options"] for verdict in found] == [["5"]] * 5


def test_jobs_says_how_many_at_the_same_time(run: Run, mail: Mail) -> None:
    names = [mail(f"m/{number}", "X-Together: 1") for number in range(5)]
    found = objects(run(*SCAN, "--json", "--jobs", "2", *names).stdout)
    assert [verdict["symbols"]["TOGETHER"]["options"] for verdict in found][-1] == ["2"]
    assert run(*SCAN, "--jobs", "0", *names).exit_code == 2


def test_what_cannot_be_read_is_told_and_the_others_are_scanned(run: Run, mail: Mail) -> None:
    result = run(*SCAN, mail("a"), "nowhere", mail("b"))
    assert result.exit_code == 1
    assert result.stderr == "nowhere: No such file or directory\n"
    assert [line for line in result.stdout.splitlines() if line and line[0] != " "] == ["a", "b"]


def test_a_message_above_the_limit_is_not_scanned(run: Run, mail: Mail) -> None:
    result = run(*SCAN, "--set", "limits.message=20", mail("a", body="x" * 30), mail("b"))
    assert result.exit_code == 1
    assert result.stderr == "a: larger than 20 bytes (limits.message)\n"
    assert result.stdout.startswith("b\n")


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        (["no action"], 0),
        (["add header"], 10),
        (["rewrite subject", "no action"], 10),
        (["greylist", "add header"], 11),
        (["soft reject"], 11),
        (["add header", "reject", "greylist"], 12),
    ],
)
def test_the_exit_code_is_that_of_the_strongest_action(run: Run, mail: Mail, actions: list[str], code: int) -> None:
    names = [mail(f"m/{number}", f"X-Action: {action}") for number, action in enumerate(actions)]
    result = run(*SCAN, "--exit-code", *names)
    assert result.exit_code == code
    assert result.stdout.count("smtp_message: because it says so") == len(actions)
    assert run(*SCAN, *names).exit_code == 0


def test_a_message_that_was_not_scanned_goes_before_any_verdict(run: Run, mail: Mail) -> None:
    assert run(*SCAN, "--exit-code", "nowhere", mail("a", "X-Action: reject")).exit_code == 1


def test_a_failure_is_told_in_words(run: Run, mail: Mail, folder: Path) -> None:
    place = f"{folder}/rules/some.py:37"
    result = run(*SCAN, mail("a", "X-Broken: yes"))
    assert result.exit_code == 0
    assert f"  FAILED BROKEN: LookupError: no such luck at {place} after 0.0" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert "raise LookupError" in run(*SCAN, "--explain", "a").stdout
    (found,) = objects(run(*SCAN, "--json", "a").stdout)
    assert f"BROKEN: LookupError: no such luck at {place}" in found["messages"]["rule_failures"]


def test_a_rule_that_never_ends_is_cut_and_named(run: Run, mail: Mail, folder: Path) -> None:
    (folder / "loop.py").write_text(
        "from filterd import rule\n\n@rule('LOOP')\ndef loop(task):\n    while True:\n        pass\n"
    )
    result = run("scan", "--rules", "loop.py", "--set", "limits.burst_timeout=0.1", mail("a"))
    assert result.exit_code == 0
    assert "FAILED LOOP: limit: held the loop" in result.stdout
    assert "loop.py:" in result.stdout


def test_explain_says_why(run: Run, mail: Mail) -> None:
    text = run(*SCAN, "--explain", mail("a", "Subject: x", "X-Kid: y")).stdout
    assert "2.5 × 2  headers  The message has a subject" in text
    assert "  thresholds: reject 15, add header 6, greylist 4\n" in text
    # PARENT is not among them: it inserted KID.
    (line,) = (line for line in text.splitlines() if "without a hit" in line)
    assert sorted(line.partition(": ")[2].split(", ")) == ["BROKEN", "DECIDE", "LATE", "SHORT", "TOGETHER", "WARNING"]


def test_explain_says_what_was_not_run(run: Run, mail: Mail) -> None:
    text = run(*SCAN, "--explain", mail("a", "X-Action: reject")).stdout
    assert "  not run: HAS_SUBJECT, WHO, PARENT, BROKEN, WARNING, TOGETHER, LATE\n" in text


def test_trace_shows_where_the_time_went(run: Run, mail: Mail) -> None:
    lines = run(*SCAN, "--trace", mail("a", "X-Late: yes")).stdout.partition("  time ")[2].splitlines()[1:]
    assert lines[0].split()[0] == "LATE"
    assert lines[0].count("█") == 40
    assert len([line for line in lines if line]) == 9


@pytest.mark.parametrize(
    ("words", "is_shown"),
    [([], False), (["--trace"], True), (["--set", "log.level=warning"], True), (["--trace", "--set", "log.level=error"], True)],
)
def test_warnings_of_rules_are_shown_to_who_asks(real: Real, mail: Mail, words: list[str], is_shown: bool) -> None:
    result = real(*SCAN, *words, mail("a", "X-Warning: yes"))
    assert result.returncode == 0
    assert ("watch out" in result.stderr) == is_shown


def test_what_a_message_holds_does_nothing_to_the_terminal(run: Run, mail: Mail) -> None:
    text = run(*SCAN, mail("a", "Subject: \x1b[2J[red]x")).stdout
    assert "?[2J[red]x" in text
    assert "\x1b" not in text


def test_the_standard_input_is_scanned(real: Real) -> None:
    for words in ([], ["-"]):
        result = real(*SCAN, *words, stdin="Subject: typed\n\n")
        assert result.stdout.startswith("-\n")
        assert "typed" in result.stdout


def test_a_terminal_is_not_waited_for(argv: Callable[..., list[str]], real: Real, folder: Path) -> None:
    ours, theirs = pty.openpty()
    result = subprocess.run(argv("scan"), cwd=folder, stdin=theirs, capture_output=True, text=True, timeout=10)
    os.close(ours)
    os.close(theirs)
    assert result.returncode == 2
    assert "name a file" in result.stderr


def test_an_empty_folder_is_no_mistake(run: Run, folder: Path) -> None:
    (folder / "empty").mkdir()
    result = run(*SCAN, "empty")
    assert (result.exit_code, result.output) == (0, "")


def test_a_broken_configuration_is_refused(run: Run, config: Callable[..., str], mail: Mail) -> None:
    result = run("scan", "-c", config(more="[nonsense]\n"), mail("a"))
    assert result.exit_code == 2
    assert "f.toml: nonsense: " in result.stderr


def test_no_door_is_opened(run: Run, config: Callable[..., str], mail: Mail, folder: Path) -> None:
    assert run("scan", "-c", config(1), mail("a", "Subject: x")).exit_code == 0
    assert not (folder / "scan.sock").exists()


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_reader_that_has_enough_is_no_error(
    argv: Callable[..., list[str]], real: Real, mail: Mail, folder: Path, words: list[str]
) -> None:
    mail("a", "Subject: x", body="")
    with subprocess.Popen(
        argv(*SCAN, *words, *["a"] * 2000), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("wait", ["sleep(60)", "exec('while True: pass')"])
def test_ctrl_c_ends_it_quietly(argv: Callable[..., list[str]], real: Real, mail: Mail, folder: Path, wait: str) -> None:
    (folder / "forever.py").write_text(
        "import os\nfrom filterd import rule, sleep\n\n@rule('FOREVER')\ndef forever(task):\n"
        f"    os.write(1, b'here\\n')\n    {wait}\n"
    )
    words = argv("scan", "--rules", "forever.py", "--set", "limits.burst_timeout=0", mail("a"), mail("b"))
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait(5) == 130


# ------------------------------------------------------------------------------------------------------- the message itself


def test_mime_prints_the_messages_as_they_would_be_delivered(tmp_path: Path) -> None:
    rule = tmp_path / "changes.py"
    rule.write_text(
        "from filterd import Task, rule\n"
        "@rule('CHANGES', score=7.0)\n"
        "def changes(task: Task) -> bool:\n"
        "    task.remove_header('X-Old')\n"
        "    task.add_header('X-New', task.message.subject or '', order=0)\n"
        "    return True\n"
    )
    mail = tmp_path / "mail.eml"
    mail.write_bytes(b"Subject: one\nX-Old: 1\nX-Old: 2\n\nbody\n")
    command = [sys.executable, "-m", "filterd", "scan", "--mime", "--rules", str(rule), str(mail)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, timeout=15, check=True)
    assert done.stdout == b"X-New: one\nSubject: one\nX-Spam: Yes\n\nbody\n"


def test_mime_and_json_exclude_each_other(run: Run) -> None:
    result = run("scan", "--mime", "--json", "-")
    assert result.exit_code == 2
    assert "choose one" in result.stderr
