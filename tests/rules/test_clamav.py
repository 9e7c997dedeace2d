"""Virus scanning by a real clamd, with a database of one signature."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.partners import free_port, require, running
from tests.support.rules import RULES, assembled, mail, verdict_of

# The EICAR test file, in pieces so that no scanner stumbles over this one.
EICAR = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
INFECTED = mail("Content-Type: application/octet-stream", body=EICAR)


class Scanner(NamedTuple):
    """Where clamd listens."""

    port: int
    sock: Path


@pytest.fixture(scope="module")
def clamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanner]:
    program = require("clamd", package="clamav-daemon")
    folder = tmp_path_factory.mktemp("clamd")
    (folder / "db").mkdir()
    (folder / "db" / "test.ndb").write_text(f"Eicar-Test:0:*:{EICAR.encode().hex()}\n")
    port = free_port()
    (folder / "clamd.conf").write_text(
        f"Foreground yes\nDatabaseDirectory {folder}/db\nTCPSocket {port}\nTCPAddr 127.0.0.1\nLocalSocket {folder}/clamd.sock\n"
        "StreamMaxLength 1M\n"
    )
    with running([str(program), "-c", str(folder / "clamd.conf")], ready=port):
        yield Scanner(port, folder / "clamd.sock")


def toml(port: int, more: str = "") -> str:
    return f'[modules.clamav]\nserver = "127.0.0.1:{port}"\n{more}'


def test_a_virus_is_named_and_rejected(tmp_path: Path, clamd: Scanner) -> None:
    verdict = verdict_of(tmp_path, "clamav", INFECTED, toml(clamd.port))
    assert verdict.failures == ()
    # clamd marks signatures that are not its own.
    assert verdict.symbols["CLAM_VIRUS"].options == ("Eicar-Test.UNOFFICIAL",)
    assert (verdict.action, verdict.messages) == ("reject", {"smtp_message": "Virus found: Eicar-Test.UNOFFICIAL"})


def test_a_virus_may_be_scored_only(tmp_path: Path, clamd: Scanner) -> None:
    verdict = verdict_of(tmp_path, "clamav", INFECTED, toml(clamd.port, "reject = false\n"))
    assert (verdict.action, verdict.score) == ("add header", 8.0)


def test_clean_mail_passes(tmp_path: Path, clamd: Scanner) -> None:
    verdict = verdict_of(tmp_path, "clamav", mail(body="x" * 200_000), toml(clamd.port))
    assert (verdict.symbols, verdict.failures) == ({}, ())


def test_a_message_above_max_size_is_not_sent_and_says_so(tmp_path: Path, clamd: Scanner) -> None:
    verdict = verdict_of(tmp_path, "clamav", mail(body="x" * 2000), toml(clamd.port, "max_size = 1000\n"))
    assert set(verdict.symbols) == {"CLAM_TOO_LARGE"}


def test_what_clamd_refuses_is_a_failure_with_its_words(tmp_path: Path, clamd: Scanner) -> None:
    verdict = verdict_of(tmp_path, "clamav", mail(body="x" * 2_000_000), toml(clamd.port))
    (failure,) = verdict.failures
    assert "INSTREAM size limit exceeded" in failure.text or failure.kind == "closed"
    assert verdict.symbols["RULE_FAILED"].options == ("CLAMAV_CHECK",)


@pytest.mark.parametrize(
    ("on_error", "action", "symbols"), [("symbol", "no action", {"RULE_FAILED"}), ("tempfail", "soft reject", set())]
)
def test_a_scanner_that_is_down_is_never_silent(tmp_path: Path, on_error: str, action: str, symbols: set[str]) -> None:
    port = free_port()
    verdict = verdict_of(tmp_path, "clamav", INFECTED, toml(port, f'on_error = "{on_error}"\n'))
    assert (verdict.action, set(verdict.symbols)) == (action, symbols)
    assert [(failure.rule, failure.peer) for failure in verdict.failures] == [("CLAMAV_CHECK", f"127.0.0.1:{port}")]


def test_a_unix_socket_will_do(tmp_path: Path, clamd: Scanner) -> None:
    verdict = verdict_of(tmp_path, "clamav", INFECTED, f'[modules.clamav]\nserver = "unix:{clamd.sock}"\n')
    assert set(verdict.symbols) == {"CLAM_VIRUS"}


def test_without_a_server_no_rule_is_loaded(tmp_path: Path) -> None:
    with assembled(tmp_path, [RULES / "clamav.py"]) as assembly:
        assert assembly.engine.rules == ()
