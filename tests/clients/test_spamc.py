"""SpamAssassin's own spamc against the daemon: every verb it can send, and its exit codes."""

import subprocess

import pytest

from tests.support.doors import Doors
from tests.support.partners import require

HAM = b"From: a@example.org\nSubject: ham\nMessage-ID: <1@x>\n\nhello\n"
SPAM = HAM.replace(b"ham", b"spam")
NOT_SPAM, IS_SPAM, IO_ERROR = 0, 1, 74  # sysexits.h; spamc reports all failures that have a code of their own as 74
REPORT = b"""filterd: add header, 7.50 points, 6.00 required for spam.

 pts rule name              description
---- ---------------------- --------------------------------------------------
 7.00 SPAM_WORD              The subject says spam [one, two]
"""


def spamc(port: int, mail: bytes, *options: str) -> tuple[int, bytes]:
    program = require("spamc", package="spamc")
    argv = [str(program), "-F", "/dev/null", "-d", "127.0.0.1", "-p", str(port), *options]
    ended = subprocess.run(argv, input=mail, capture_output=True, timeout=15, check=False)
    return ended.returncode, ended.stdout


@pytest.fixture(params=["scan port", "port of its own"])
def port(request: pytest.FixtureRequest, filterd: Doors) -> int:
    return filterd.port if request.param == "scan port" else filterd.spamc_port


@pytest.mark.parametrize(("mail", "code", "said"), [(SPAM, IS_SPAM, b"7.5/6.0\n"), (HAM, NOT_SPAM, b"0.5/6.0\n")])
def test_check_says_score_and_threshold_and_exits_with_1_for_spam(port: int, mail: bytes, code: int, said: bytes) -> None:
    assert spamc(port, mail, "-c") == (code, said)


def test_report_prints_what_was_found(port: int) -> None:
    code, said = spamc(port, SPAM, "-R")
    assert (code, said[:8]) == (0, b"7.5/6.0\n")
    assert said[8:].startswith(REPORT)


def test_report_if_spam_prints_it_for_spam_only(port: int) -> None:
    code, said = spamc(port, SPAM, "-r", "-E")
    assert (code, said[:8], said[8:].startswith(REPORT)) == (IS_SPAM, b"7.5/6.0\n", True)
    assert spamc(port, HAM, "-r", "-E") == (NOT_SPAM, b"")


def test_symbols_prints_their_names(port: int) -> None:
    assert spamc(port, SPAM, "-y") == (0, b"SPAM_WORD,EVERY_MAIL,TELLS")


@pytest.mark.parametrize("options", [(), ("--headers",)])
def test_process_gives_the_message_with_marks(port: int, options: tuple[str, ...]) -> None:
    mail = SPAM.replace(b"Message-ID", b"X-Old: 1\nX-Spam-Flag: forged\nMessage-ID")
    code, said = spamc(port, mail, "-E", *options)
    head, _, body = said.partition(b"\n\n")
    assert (code, body) == (IS_SPAM, b"hello\n")
    assert head.splitlines() == [
        b"X-Spam-Flag: YES",
        b"X-Spam-Level: *******",
        b"X-Spam-Status: Yes, score=7.50 required=6.00",
        b" tests=SPAM_WORD,EVERY_MAIL,TELLS",
        b"X-Spam-Action: add header",
        b"From: a@example.org",
        b"Subject: spam",
        b"Message-ID: <1@x>",
        b"X-T: from a rule",
        b"X-Spam: Yes",
    ]


def test_process_gives_a_changed_subject_and_body(port: int) -> None:
    assert b"\nSubject: *** SPAM *** rewrite subject: x\n" in spamc(port, SPAM.replace(b"spam", b"rewrite subject: x"))[1]
    assert spamc(port, SPAM.replace(b"spam", b"body: x"))[1].endswith(b"\n\nchanged\n")


def test_ham_goes_through_with_marks_that_say_so(port: int) -> None:
    code, said = spamc(port, HAM, "-E")
    assert code == NOT_SPAM
    assert said.startswith(
        b"X-Spam-Status: No, score=0.50 required=6.00\n tests=EVERY_MAIL,TELLS\nX-Spam-Action: no action\nFrom"
    )
    assert said.endswith(b"\n\nhello\n")


def test_an_mbox_message_keeps_its_first_line(port: int) -> None:
    line = b"From a@example.org Sun Nov 29 00:00:00 2026\n"
    assert spamc(port, line + HAM)[1].startswith(line + b"X-Spam-Status: No")


def test_ping_is_answered(port: int) -> None:
    assert spamc(port, b"", "-K") == (0, b"SPAMD/1.5 0\n")


@pytest.mark.parametrize("options", [("-L", "spam"), ("-L", "ham"), ("-L", "forget")])
def test_learning_fails_instead_of_pretending(port: int, options: tuple[str, ...]) -> None:
    code, said = spamc(port, SPAM, *options)
    assert (code, b"learned" in said) == (IO_ERROR, False)


def test_reporting_fails_instead_of_pretending(port: int) -> None:
    code, said = spamc(port, SPAM, "-x", "-C", "report")
    assert code == IO_ERROR
    assert b"successfully" not in said


def test_spamcs_user_is_not_the_sender(port: int, filterd: Doors) -> None:
    spamc(port, SPAM.replace(b"<1@x>", b"<the-user-%d@x>" % port), "-u", "somebody")
    (line,) = [line for line in filterd.log().splitlines() if f"the-user-{port}@x" in line]
    assert '"user":null' in line
    assert '"door":"spamc"' in line


SOFT = SPAM.replace(b"spam", b"soft reject: x")


@pytest.mark.parametrize("options", [("-x",), ("-x", "-c"), ("-x", "-E"), ("-x", "-R"), ("-x", "-y")])
def test_a_soft_reject_is_a_failure(port: int, options: tuple[str, ...]) -> None:
    code, said = spamc(port, SOFT, *options)
    assert (code, b"EVERY_MAIL" in said) == (IO_ERROR, False)


def test_without_x_spamc_lets_what_failed_pass_unmarked(port: int) -> None:
    """Its own promise, and why contrib and manuals say -x: what filterd says cannot change it."""
    assert spamc(port, SOFT) == (0, SOFT)
    assert spamc(port, SOFT, "-c") == (0, b"0/0\n")


@pytest.mark.parametrize("options", [("-x",), ("-x", "-c"), ("-x", "-E"), ("-x", "-R"), ("-x", "-y")])
def test_a_daemon_that_has_too_much_to_do_fails(busy: Doors, options: tuple[str, ...]) -> None:
    for port in (busy.port, busy.spamc_port):
        code, said = spamc(port, HAM, *options)
        assert (code, b"EVERY_MAIL" in said) == (IO_ERROR, False)
