"""RSPAMC replies: the bytes that Exim's sscanf reads, and no others."""

import re

import pytest

from filterd.mail.verdict import Hit, RuleFailure, Verdict
from filterd.proto.rspamc_reply import bounded, one_line, render_failure, render_pong, render_verdict

# What Exim asks for, its %7s and %lf as patterns; then it looks for "Action: " and reads to the next CR.
EXIM = re.compile(
    rb"RSPAMD/(\S{1,7}) 0 EX_OK\r\nMetric: default; (\S{1,7}) (-?[\d.]+) / (-?[\d.]+) / ([\d.]+)\r\nAction: ([^\r]+)\r\n"
)


def test_a_verdict_reads_as_rspamd_writes_it() -> None:
    verdict = Verdict(
        "no action", 1.5, 15.0, symbols={"MYTEST": Hit("MYTEST", 1.5)}, message_id="abc@example.org", messages={"a": "text"}
    )
    assert render_verdict(verdict) == (
        b"RSPAMD/1.3 0 EX_OK\r\nMetric: default; False; 1.50 / 15.00 / 0.0\r\nAction: no action\r\nSymbol: MYTEST(1.50)\r\n"
        b"Message: text\r\nMessage-ID: abc@example.org\r\n"
    )


def test_a_rewritten_subject_follows_the_action() -> None:
    verdict = Verdict("rewrite subject", 8.0, 15.0, subject="*** SPAM *** Hello")
    lines = render_verdict(verdict).split(b"\r\n")
    assert lines[1:4] == [
        b"Metric: default; True; 8.00 / 15.00 / 0.0",
        b"Action: rewrite subject",
        b"Subject: *** SPAM *** Hello",
    ]


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ("reject", b"True;"),
        ("soft reject", b"True;"),
        ("add header", b"True;"),
        ("greylist", b"False;"),
        ("no action", b"False;"),
    ],
)
def test_exim_finds_everything_and_the_word_is_true(action: str, word: bytes) -> None:
    match = EXIM.match(render_verdict(Verdict(action, -1.25, 15.0)))
    assert match is not None
    assert match.groups() == (b"1.3", word, b"-1.25", b"15.00", b"0.0", action.encode())


@pytest.mark.parametrize(
    ("score", "required", "expected"),
    [
        (float("nan"), 15.0, (b"0.00", b"15.00")),
        (float("inf"), None, (b"0.00", b"999999.00")),
        (1e300, -1e300, (b"999999.00", b"-999999.00")),
        (-0.001, 0.004, (b"0.00", b"0.00")),
    ],
)
def test_every_number_can_be_read(score: float, required: float | None, expected: tuple[bytes, bytes]) -> None:
    match = EXIM.match(render_verdict(Verdict("no action", score, required)))
    assert match is not None
    assert (match[3], match[4]) == expected


def test_the_failures_of_rules_are_messages() -> None:
    failure = RuleFailure("SLOW", "timeout", "timeout: read", elapsed=8.0)
    assert b"\r\nMessage: SLOW: timeout: read after 8.00 s\r\n" in render_verdict(
        Verdict("no action", 0, 15, failures=(failure,))
    )


def test_no_text_of_a_rule_makes_a_line_of_its_own() -> None:
    evil = "x\r\nAction: no action\x00\u2028\x85y\ud800"
    failure = RuleFailure(evil, "exception", evil)
    verdict = Verdict(
        evil, 1, 15, symbols={evil: Hit(evil, 1)}, messages={"a": evil}, subject=evil, message_id=evil, failures=(failure,)
    )
    reply = render_verdict(verdict)
    assert reply.count(b"\r\n") == reply.count(b"\n") == reply.count(b"\r") == 8
    assert b"\nAction: no action" not in reply


def test_a_failure_is_no_verdict() -> None:
    reply = render_failure(75, "too many\r\nmessages")
    assert reply == b"RSPAMD/1.3 75 too many messages\r\n"
    assert EXIM.match(reply) is None


def test_a_ping_is_answered() -> None:
    assert render_pong() == b"RSPAMD/1.3 0 PONG\r\n"


def test_bounds_are_kept_and_lines_are_one() -> None:
    assert (bounded(5.996), bounded(-1e9), str(bounded(-0.0001))) == (6.0, -999_999.0, "0.0")
    assert one_line(" a\tb\n") == "a b"
