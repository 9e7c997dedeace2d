"""SPAMD replies for each verb and version, read as the clients read them."""

import re

import pytest

from filterd.mail.verdict import Hit, RuleFailure, Verdict
from filterd.proto.spamc import Version
from filterd.proto.spamc_reply import measure, processed, render_failure, render_pong, render_verdict, report

THRESHOLDS = {"reject": 15.0, "add header": 6.0, "greylist": 4.0}
MAIL = b"Subject: hi\nX-Spam-Status: No, forged\n\nbody\n"
SPAM = Verdict(
    "add header",
    7.5,
    15.0,
    THRESHOLDS,
    symbols={"A": Hit("A", 5.0, description="The first"), "B": Hit("B", 2.5, options=("x", "y"))},
)
HAM = Verdict("no action", 0.5, 15.0, THRESHOLDS, symbols={"C": Hit("C", 0.5)})
MARKED = (
    b"X-Spam-Flag: YES\nX-Spam-Level: *******\nX-Spam-Status: Yes, score=7.50 required=6.00\n tests=A,B\n"
    b"X-Spam-Action: add header\nSubject: hi\nX-Spam: Yes\n\n"
)
CLEAN = b"X-Spam-Status: No, score=0.50 required=6.00\n tests=C\nX-Spam-Action: no action\nSubject: hi\n\n"
YES, NO = b"Spam: True ; 7.50 / 6.00\r\n", b"Spam: False ; 0.50 / 6.00\r\n"


def length(body: bytes) -> bytes:
    return b"Content-length: %d\r\n" % len(body)


REPLIES: list[tuple[str, Version, Verdict, bytes]] = [
    ("CHECK", (1, 5), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + YES + b"\r\n"),
    ("CHECK", (1, 3), HAM, b"SPAMD/1.1 0 EX_OK\r\n" + NO + b"\r\n"),
    ("CHECK", (1, 0), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + YES + b"\r\n"),
    ("SYMBOLS", (1, 5), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + length(b"A,B") + YES + b"\r\nA,B"),
    ("SYMBOLS", (1, 1), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + YES + b"\r\nA,B\r\n"),
    ("REPORT", (1, 10), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + length(report(SPAM).encode()) + YES + b"\r\n" + report(SPAM).encode()),
    ("REPORT", (1, 2), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + YES + b"\r\n" + report(SPAM).encode()),
    (
        "REPORT_IFSPAM",
        (1, 5),
        SPAM,
        b"SPAMD/1.1 0 EX_OK\r\n" + length(report(SPAM).encode()) + YES + b"\r\n" + report(SPAM).encode(),
    ),
    ("REPORT_IFSPAM", (1, 5), HAM, b"SPAMD/1.1 0 EX_OK\r\n" + length(b"") + NO + b"\r\n"),
    ("REPORT_IFSPAM", (1, 2), HAM, b"SPAMD/1.1 0 EX_OK\r\n" + NO + b"\r\n"),
    ("PROCESS", (1, 5), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + length(MARKED + b"body\n") + YES + b"\r\n" + MARKED + b"body\n"),
    ("PROCESS", (1, 5), HAM, b"SPAMD/1.1 0 EX_OK\r\n" + length(CLEAN + b"body\n") + NO + b"\r\n" + CLEAN + b"body\n"),
    ("PROCESS", (1, 2), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + length(MARKED + b"body\n") + b"\r\n" + MARKED + b"body\n"),
    ("PROCESS", (1, 1), SPAM, b"SPAMD/1.0 0 EX_OK\r\n\r\n" + MARKED + b"body\n"),
    ("HEADERS", (1, 5), SPAM, b"SPAMD/1.1 0 EX_OK\r\n" + length(MARKED) + YES + b"\r\n" + MARKED),
]


@pytest.mark.parametrize(("verb", "version", "verdict", "expected"), REPLIES)
def test_each_verb_is_answered_as_the_version_reads_it(verb: str, version: Version, verdict: Verdict, expected: bytes) -> None:
    assert render_verdict(verb, version, verdict, MAIL) == expected


# Exim reads what follows as a report; the first of its two patterns wants a Content-length and must not match by halves.
EXIM = re.compile(rb"SPAMD/\S{1,7} 0 EX_OK\r\nSpam: \S+ ; (-?[\d.]+) / (-?[\d.]+)\r\n\r\n")


def test_exim_and_postal_read_the_report() -> None:
    reply = render_verdict("REPORT", (1, 2), SPAM, MAIL)
    match = EXIM.match(reply)
    assert match is not None
    assert match.groups() == (b"7.50", b"6.00")
    table = re.split(r"^---.*\r?\n", reply.decode(), flags=re.MULTILINE)[-1].rstrip("\n").splitlines()
    rows = [re.match(r"([- ]?[\d.]+)\s+(\w+)\s+(.*)", line) for line in table]
    assert [row and row.groups() for row in rows] == [(" 5.00", "A", "The first"), (" 2.50", "B", "B [x, y]")]


def test_slimta_reads_the_symbols() -> None:
    first, headers, body = render_verdict("SYMBOLS", (1, 1), SPAM, MAIL).split(b"\r\n", 2)
    assert first == b"SPAMD/1.1 0 EX_OK"
    assert headers.split()[1] == b"True"
    assert re.findall(rb"[^\s,]+", body) == [b"A", b"B"]


@pytest.mark.parametrize(
    ("action", "score", "thresholds", "expected"),
    [
        ("add header", 7.5, THRESHOLDS, (7.5, 6.0)),
        ("reject", 0.0, THRESHOLDS, (0.0, 0.0)),  # a rule decided
        ("reject", -2.0, THRESHOLDS, (-2.0, -2.0)),
        ("no action", 20.0, THRESHOLDS, (20.0, 20.01)),  # a rule decided
        ("no action", 5.996, THRESHOLDS, (6.0, 6.01)),
        ("greylist", 5.0, THRESHOLDS, (5.0, 6.0)),
        ("no action", 3.0, {}, (3.0, 999_999.0)),
        ("no action", 1e12, {}, (999_999.0, 999_999.01)),
        ("no action", float("nan"), THRESHOLDS, (0.0, 6.0)),
    ],
)
def test_score_and_threshold_agree_with_the_word(
    action: str, score: float, thresholds: dict[str, float], expected: tuple[float, float]
) -> None:
    verdict = Verdict(action, score, 15.0, thresholds)
    assert measure(verdict) == pytest.approx(expected)
    match = re.search(rb"Spam: (\w+) ; (\S+) / (\S+)\r\n", render_verdict("CHECK", (1, 5), verdict, b""))
    assert match is not None
    assert (match[1] == b"True") == (float(match[2]) >= float(match[3])) == verdict.is_spam


def test_a_report_says_what_was_not_checked_and_what_rules_say() -> None:
    failure = RuleFailure("SLOW", "timeout", "timeout: read", elapsed=8.0)
    verdict = Verdict("reject", 15.0, 15.0, THRESHOLDS, failures=(failure,), messages={"smtp_message": "go away"})
    assert report(verdict).splitlines()[:3] == [
        "filterd: reject, 15.00 points, 6.00 required for spam.",
        "Not checked: SLOW: timeout: read after 8.00 s",
        "go away",
    ]


def test_a_failure_is_no_verdict() -> None:
    reply = render_failure(75, "too many\r\nSpam: False ; 0 / 5")
    assert reply == b"SPAMD/1.0 75 too many Spam: False ; 0 / 5\r\n"


def test_a_ping_is_answered() -> None:
    assert render_pong() == b"SPAMD/1.5 0 PONG\r\n"


def test_no_text_of_a_rule_makes_a_line_of_its_own() -> None:
    evil = "x\r\n\r\ny\ud800"
    verdict = Verdict(
        evil, 1, 15, THRESHOLDS, symbols={evil: Hit(evil, 1, description=evil, options=(evil,))}, messages={"a": evil}
    )
    for verb, lines in (("SYMBOLS", 4), ("REPORT", 10)):
        assert render_verdict(verb, (1, 2), verdict, MAIL).count(b"\n") == lines
    assert b"\n\ny" not in processed(MAIL, verdict)


def test_many_symbols_are_folded() -> None:
    names = [f"A_LONG_SYMBOL_{number}" for number in range(20)]
    verdict = Verdict("no action", 0.0, 15.0, THRESHOLDS, symbols={name: Hit(name, 0.0) for name in names})
    head = processed(MAIL, verdict).partition(b"\n\n")[0]
    status = re.search(rb"^X-Spam-Status: (.*?)\n(?! )", head + b"\n", re.DOTALL | re.MULTILINE)
    assert status is not None
    assert max(map(len, head.splitlines())) < 80
    assert re.sub(rb"\s", b"", status[1]).decode() == f"No,score=0.00required=6.00tests={','.join(names)}"


def test_without_symbols_and_with_a_very_high_score() -> None:
    assert b"\n tests=none\n" in processed(MAIL, Verdict("no action", 0.0, 15.0, THRESHOLDS))
    assert b"X-Spam-Level: " + b"*" * 50 + b"\n" in processed(MAIL, Verdict("reject", 500.0, 15.0, THRESHOLDS))


def test_marks_go_below_the_line_of_an_mbox() -> None:
    assert processed(b"From a\n" + MAIL, HAM).startswith(b"From a\nX-Spam-Status: No")


def test_what_rules_change_is_changed() -> None:
    verdict = Verdict("no action", 0.0, 15.0, THRESHOLDS, body=b"new\n", milter={"add_headers": {"X-Mine": "1"}})
    assert processed(MAIL, verdict).endswith(b"Subject: hi\nX-Mine: 1\n\nnew\n")
