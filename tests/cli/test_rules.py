"""`filterd rules`: each loaded rule with what it counts and where it stands."""

from collections.abc import Callable
from pathlib import Path

from click.testing import Result


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in text.splitlines()[1:]}


def test_each_rule_has_its_line(config: Callable[..., str], run: Callable[..., Result]) -> None:
    result = run("rules", "-c", config())
    assert result.exit_code == 0
    assert result.stdout.split("\n", 1)[0].split() == ["name", "type", "score", "group", "file", "flags"]
    found = rows(result.stdout)
    assert found["HAS_SUBJECT"] == ["HAS_SUBJECT", "normal", "2.50", "headers", "rules/some.py:8"]
    assert found["SHORT"] == ["SHORT", "normal", "0.50", "rules/some.py:13", "empty", "nice"]
    assert found["KID"][:3] == ["KID", "virtual", "1.25"]
    assert found["DECIDE"][1] == "prefilter"


def test_actions_have_their_lines_too(config: Callable[..., str], run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "streams.py"
    file.write_text(
        'from filterd import action, service\n@action("gate", stages="tcp.accept, tcp.close")\ndef gate(txn): ...\n'
        '@service("own")\ndef own(txn): ...\n'
    )
    found = rows(run("rules", "-c", config(), "--rules", str(file)).stdout)
    assert found["gate"] == ["gate", "action", "tcp.accept", "tcp.close", "streams.py:2"]
    assert found["own"] == ["own", "service", "tcp.service", "streams.py:4"]


def test_the_score_is_the_one_in_effect(config: Callable[..., str], run: Callable[..., Result]) -> None:
    found = rows(run("rules", "-c", config(), "--set", "symbols.HAS_SUBJECT={score = 7, group = 'mine'}").stdout)
    assert found["HAS_SUBJECT"][2:4] == ["7.00", "mine"]


def test_a_broken_configuration_is_refused(config: Callable[..., str], run: Callable[..., Result]) -> None:
    result = run("rules", "-c", config(more="[nonsense]\n"))
    assert result.exit_code == 2
    assert "nonsense" in result.stderr
