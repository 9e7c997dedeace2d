"""`filterd check`: every mistake at once, and exit code 0 for none."""

import socket
from collections.abc import Callable
from pathlib import Path

from click.testing import Result


def test_a_good_set_is_summed_up(config: Callable[..., str], run: Callable[..., Result]) -> None:
    result = run("check", "-c", config())
    assert (result.exit_code, result.stdout, result.stderr) == (0, "9 rules from 1 file, 1 listener\n", "")


def test_the_shipped_configuration_and_rules_are_good(run: Callable[..., Result]) -> None:
    result = run("check")
    assert (result.exit_code, result.stderr) == (0, "")


def test_every_mistake_in_the_configuration_is_told(config: Callable[..., str], run: Callable[..., Result]) -> None:
    result = run(
        "check", "-c", config(more='[limits]\ntask_timout = "8s"\n[actions]\nreject = "high"\n'), "--set", "dns.cache=x"
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    for part in ("f.toml: limits.task_timout: unknown key", "f.toml: actions.reject: ", "--set: dns.cache: "):
        assert part in result.stderr
    assert "the rules were not looked at" in result.stderr


def test_every_broken_rule_file_is_told_with_its_line(
    folder: Path, config: Callable[..., str], run: Callable[..., Result]
) -> None:
    (folder / "rules" / "one.py").write_text("import filterd\n\nfilterd.nonsense\n")
    (folder / "rules" / "two.py").write_text("def broken(:\n")
    (folder / "rules" / "three.py").write_text("from filterd import rule\n\n@rule('A B')\ndef ab(task): ...\n")
    result = run("check", "-c", config())
    assert result.exit_code == 2
    for place in ("one.py:3: AttributeError", "two.py:1: SyntaxError", "three.py:3: rule 'A B'"):
        assert f"{folder / 'rules' / place}" in result.stderr


def test_a_missing_file_is_told(folder: Path, run: Callable[..., Result]) -> None:
    result = run("check", "-c", "nowhere.toml")
    assert result.exit_code == 2
    assert "nowhere.toml: there is no such file" in result.stderr


def test_rules_named_on_the_command_line_replace_those_of_the_file(
    folder: Path, config: Callable[..., str], run: Callable[..., Result]
) -> None:
    (folder / "other.py").write_text("from filterd import rule\n\n@rule('ONE')\ndef one(task): ...\n")
    assert run("check", "-c", config(), "--rules", "other.py").stdout == "1 rule from 1 file, 1 listener\n"


def test_show_origin_says_where_each_setting_comes_from(
    folder: Path, config: Callable[..., str], run: Callable[..., Result]
) -> None:
    (folder / "local.d").mkdir()
    (folder / "local.d" / "a.toml").write_text("limits.tasks = 7\n")
    lines = run("check", "--show-origin", "-c", config(), "--set", "dns.cache=9").stdout.splitlines()
    assert "limits.tasks = 7  # local.d/a.toml" in lines
    assert "dns.cache = 9  # --set" in lines
    assert 'log.format = "text"  # f.toml' in lines
    assert lines[-1] == "9 rules from 1 file, 1 listener"


def test_nothing_is_opened(config: Callable[..., str], run: Callable[..., Result], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        assert run("check", "-c", config(busy.getsockname()[1])).exit_code == 0
    assert not (folder / "scan.sock").exists()
