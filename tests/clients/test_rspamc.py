"""Rspamd's own rspamc against the daemon: what it sends and shows of a scan."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.doors import Doors
from tests.support.partners import require

HAM = b"From: a@example.org\nSubject: ham\nX-Old: 1\nMessage-ID: <1@x>\n\nSee http://www.example.org/x\n"
SPAM = HAM.replace(b"ham", b"spam")


def rspamc(doors: Doors, mail: bytes, *options: str) -> tuple[int, bytes]:
    program = require("rspamc", package="rspamd")
    argv = [str(program), "-h", f"127.0.0.1:{doors.port}", *options]
    ended = subprocess.run(argv, input=mail, capture_output=True, timeout=15, check=False)
    return ended.returncode, ended.stdout


@pytest.mark.parametrize("options", [(), ("symbols",), ("-z",), ("-z", "symbols")])
def test_it_shows_action_score_and_symbols(filterd: Doors, options: tuple[str, ...]) -> None:
    code, said = rspamc(filterd, SPAM, *options)
    lines = said.decode().splitlines()
    assert code == 0
    assert {"Action: add header", "Spam: true", "Score: 7.50 / 15.00", "Message-ID: 1@x"} <= set(lines)
    assert "Symbol: SPAM_WORD (7.00)[one, two]" in lines


def test_what_it_is_told_of_a_message_reaches_the_rules(filterd: Doors) -> None:
    options = ["-i", "192.0.2.1", "-F", "a@example.org", "-r", "b@example.net", "-r", "c@example.net"]
    options += ["--helo", "mx.example.org", "-u", "joe", "--header", "Queue-Id=q1"]
    _, said = rspamc(filterd, HAM, *options)
    told = "192.0.2.1, a@example.org, b@example.net, c@example.net, mx.example.org, joe, q1"
    assert f"Symbol: TELLS (0.00)[{told}]" in said.decode().splitlines()


@pytest.mark.parametrize("options", [("-j",), ("-j", "-z"), ("-j", "-r", "a@x.example", "-r", "b@x.example")])
def test_its_json_is_the_reply(filterd: Doors, options: tuple[str, ...]) -> None:
    code, said = rspamc(filterd, SPAM, *options)
    reply = json.loads(said)
    assert (code, reply["action"], reply["score"], reply["required_score"]) == (0, "add header", 7.5, 15.0)
    assert reply["symbols"]["SPAM_WORD"]["options"] == ["one", "two"]
    assert reply["milter"] == {"add_headers": {"X-T": "from a rule"}, "remove_headers": {"X-Old": 0}}


def test_mime_gives_the_message_with_the_marks_of_rspamc(filterd: Doors) -> None:
    _, said = rspamc(filterd, SPAM, "--mime")
    head, _, body = said.partition(b"\n\n")
    assert {b"X-Spam: yes", b"X-Spam-Action: add header", b"X-Spam-Score: 7.50 / 15.00"} <= set(head.splitlines())
    assert body == b"See http://www.example.org/x\n"


@pytest.mark.parametrize("options", [("--mime",), ("--mime", "-z")])
def test_mime_gives_a_changed_body(filterd: Doors, options: tuple[str, ...]) -> None:
    head, _, body = rspamc(filterd, HAM.replace(b"ham", b"body: x"), *options)[1].partition(b"\n\n")
    assert b"X-Spam-Action: no action" in head
    assert body == b"changed\n"


def test_links_and_times_are_shown_on_request(filterd: Doors) -> None:
    _, said = rspamc(filterd, HAM, "-j", "--extended-urls", "--profile")
    reply = json.loads(said)
    assert reply["urls"][0]["url"] == "http://www.example.org/x"
    assert {"SPAM_WORD", "EVERY_MAIL"} <= set(reply["profile"])


def test_a_raw_message_has_no_subject(filterd: Doors) -> None:
    assert b"SPAM_WORD" not in rspamc(filterd, SPAM, "--raw")[1]


def test_an_empty_message_is_answered(filterd: Doors) -> None:
    code, said = rspamc(filterd, b"", "-E")
    assert (code, b"Action: no action" in said) == (0, True)


def test_files_of_megabytes_and_a_directory(filterd: Doors, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.eml").write_bytes(SPAM + b"0123456789abcde\n" * 65536 * number)
    code, said = rspamc(filterd, b"", "-n", "3", str(tmp_path))
    assert (code, said.count(b"Action: add header")) == (0, 5)
    # One after the other: of several at once rspamc 3.4 sends some cut to the length of another (and is told so).
    for file in tmp_path.iterdir():
        code, said = rspamc(filterd, b"", "-z", str(file))
        assert (code, said.count(b"Action: add header")) == (0, 1)


def test_a_soft_reject_and_its_message_are_shown(filterd: Doors) -> None:
    lines = rspamc(filterd, HAM.replace(b"ham", b"soft reject: x"))[1].decode().splitlines()
    assert {"Action: soft reject", "Message - smtp_message: told to soft reject"} <= set(lines)


def test_it_fails_where_the_daemon_has_too_much_to_do(busy: Doors) -> None:
    code, said = rspamc(busy, HAM)
    assert (code, b"Action" in said, b"503" in said) == (1, False, True)


def test_a_port_for_spamc_tells_it_so(filterd: Doors) -> None:
    program = require("rspamc", package="rspamd")
    argv = [str(program), "-h", f"127.0.0.1:{filterd.spamc_port}"]
    ended = subprocess.run(argv, input=HAM, capture_output=True, timeout=15, check=False)
    assert ended.returncode == 1
    assert b"HTTP error: 400, this port speaks SPAMC and RSPAMC, not HTTP" in ended.stdout
