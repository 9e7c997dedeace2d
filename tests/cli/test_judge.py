"""The engine in this process as a judge: only what is wanted runs, and a fault of ours is not the end."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from filterd.cli.judge import Local, Unscanned
from filterd.daemon.config import load_config
from filterd.mail.envelope import Envelope


@pytest.fixture
def judge(folder: Path, config: Callable[..., str], run: object) -> Local:
    """A judge with the rules of the tests. (`run` puts logging back.)"""
    return Local(load_config(config(), sets=["limits.burst_timeout=0"]))


def test_a_judgement_is_the_verdict_twice(judge: Local) -> None:
    verdict, reply = judge.judge(b"Subject: x\n\n", Envelope.of())
    assert verdict.symbols["HAS_SUBJECT"].score == 5.0
    assert b'"HAS_SUBJECT":{"name":"HAS_SUBJECT","score":5.0,' in reply
    assert judge.limit == 50 * 2**20
    assert judge.rules["HAS_SUBJECT"].line == 8
    judge.close()


def test_a_client_that_wants_no_mime_gets_none(judge: Local) -> None:
    assert "HAS_SUBJECT" not in judge.judge(b"Subject: x\n\n", Envelope.of(headers=[("Raw", "yes")])).verdict.symbols


def test_flags_ask_for_more(judge: Local) -> None:
    assert b'"groups":{"headers":' in judge.judge(b"Subject: x\n\n", Envelope.of(headers=[("Flags", "groups")])).reply


def test_a_fault_of_the_engine_is_told_and_logged(
    judge: Local, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(request: object) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr(judge._assembly.engine, "scan", fails)
    with pytest.raises(Unscanned, match="internal error"):
        judge.judge(b"", Envelope.of())


def test_only_the_wanted_rules_run(mail: Callable[..., str], run: Callable[..., Result]) -> None:
    name = mail("a.eml", "Subject: x", "X-Kid: y")
    everything = run("scan", "--rules", "rules", "--explain", name).stdout
    assert "HAS_SUBJECT" in everything
    wanted = run("scan", "--rules", "rules", "--explain", "--symbols", "KID, SHORT", name).stdout
    assert "KID" in wanted
    assert "without a hit: SHORT" in wanted
    assert "HAS_SUBJECT" not in wanted.partition("not run: ")[0]


def test_a_misspelt_symbol_is_refused(run: Callable[..., Result], mail: Callable[..., str]) -> None:
    result = run("scan", "--rules", "rules", "--symbols", "HAS_SUBJEKT,SHORT,QQQ", mail("a.eml"))
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "--symbols: there is no symbol HAS_SUBJEKT; did you mean HAS_SUBJECT?",
        "--symbols: there is no symbol QQQ",
    ]


def test_a_broken_rule_is_refused(folder: Path, run: Callable[..., Result], mail: Callable[..., str]) -> None:
    (folder / "rules" / "bad.py").write_text("1 / 0\n")
    result = run("scan", "--rules", "rules", mail("a.eml"))
    assert result.exit_code == 2
    assert "bad.py:1: ZeroDivisionError" in result.stderr
