"""Rows of the history: what a message was judged to be, and nothing of its body."""

import json
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.verdict import Hit, RuleFailure
from filterd.proto.history import HEAD_BYTES, Judged, head_of, render_row, render_rows

HEAD = (
    b"From: Ann <ann@example.org>\r\nTo: bob@example.net, cyd@example.net\r\nCc: dan@example.net\r\n"
    b"Subject: =?utf-8?q?h=C3=A9?=\r\n"
)
RAW = HEAD + b"\r\nThe s3cret body\r\n\r\nof it"
FAILURE = RuleFailure("BROKEN", "exception", "KeyError: 'x'", "/r/a.py:7", elapsed=0.5)


def judged(**changes: Any) -> Judged:
    one = Judged(
        when=1795912839.5,
        head=head_of(Message(RAW)),
        size=len(RAW),
        envelope=Envelope.of(
            ip="192.0.2.7", mail_from="ann@example.org", rcpts=["bob@example.net"], user="ann", queue_id="4F1"
        ),
        door="http",
        action="add header",
        score=6.0000001,
        required_score=15.0,
        is_skipped=False,
        timed_out=False,
        symbols={"A": Hit("A", 6.0, 3.0, options=("x",), description="An A"), "B": Hit("B", 0.0)},
        failures=(FAILURE,),
        timings={"FAST": 0.001, "SLOW": 0.5},
        seconds=0.51,
        task_id="abc",
        message_id="1@example.org",
    )
    return one._replace(**changes)


def row(**changes: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(render_row(judged(**changes)))
    return told


def test_a_row_has_what_the_web_interface_shows() -> None:
    assert row() == {
        "unix_time": 1795912839,
        "message-id": "1@example.org",
        "task_id": "abc",
        "queue_id": "4F1",
        "door": "http",
        "ip": "192.0.2.7",
        "action": "add header",
        "score": 6.0,
        "required_score": 15.0,
        "is_skipped": False,
        "size": len(RAW),
        "time_real": 0.51,
        "user": "ann",
        "subject": "hé",
        "sender_smtp": "ann@example.org",
        "sender_mime": "ann@example.org",
        "rcpt_smtp": ["bob@example.net"],
        "rcpt_mime": ["bob@example.net", "cyd@example.net", "dan@example.net"],
        "symbols": {
            "A": {"name": "A", "score": 6.0, "metric_score": 3.0, "description": "An A", "options": ["x"]},
            "B": {"name": "B", "score": 0.0, "metric_score": 0.0},
        },
        "timings": {"SLOW": 500.0, "FAST": 1.0},
        "failures": ["BROKEN: KeyError: 'x' at /r/a.py:7 after 0.50 s"],
    }


def test_what_is_not_known_is_unknown() -> None:
    told = row(envelope=Envelope.of(), head=b"", message_id=None, required_score=None, timed_out=True, score=nan)
    for key in ("message-id", "queue_id", "ip", "user", "subject", "sender_smtp", "sender_mime"):
        assert told[key] == "unknown"
    assert (told["rcpt_smtp"], told["rcpt_mime"], told["required_score"]) == ([], [], None)
    assert (told["timed_out"], told["score"]) == (True, 0.0)


def test_nothing_of_the_body_is_in_a_row() -> None:
    assert b"s3cret" not in render_row(judged())


@pytest.mark.parametrize(
    ("raw", "head"),
    [
        (b"", b""),
        (b"A: b\n\nbody", b"A: b\n"),
        (b"A: b\r\n\r\nbody\n\nx", b"A: b\r\n"),
        (b"From x\nA: b\n\nbody", b"A: b\n"),
        (b"A: " + b"x" * HEAD_BYTES + b"\n\nbody", b"A: " + b"x" * (HEAD_BYTES - 3)),
    ],
)
def test_the_head_is_what_stands_before_the_body(raw: bytes, head: bytes) -> None:
    assert head_of(Message(raw)) == head


def test_a_body_alone_is_no_header() -> None:
    assert b"s3cret" not in render_row(judged(head=head_of(Message(b"a s3cret body without any header\n\nx"))))
    assert head_of(Message(b"A: s3cret\n\nx", is_mime=False)) == b""


def test_long_things_are_cut() -> None:
    many = [f"r{number}@example.net" for number in range(100)]
    told = row(
        head=b"Subject: " + b"s" * 5000 + b"\r\n",
        envelope=Envelope.of(rcpts=many, user="u" * 5000),
        symbols={f"S{number}": Hit(f"S{number}", 1.0, options=("o" * 5000,) * 100) for number in range(1000)},
        timings={f"R{number}": float(number) for number in range(1000)},
        failures=(FAILURE,) * 100,
    )
    assert [len(told[key]) for key in ("subject", "user", "rcpt_smtp", "symbols", "timings", "failures")] == [
        513, 513, 32, 512, 64, 32,
    ]  # fmt: skip
    assert [len(option) for option in told["symbols"]["S0"]["options"]] == [513] * 32
    assert "R999" in told["timings"]


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_message_gives_a_row(raw: bytes, text: str) -> None:
    one = judged(
        head=head_of(Message(raw)),
        envelope=Envelope({"queue-id": [text], "from": [text], "rcpt": [text], "user": [text], "ip": [text]}),
        symbols={text: Hit(text, 1.0, options=(text, "\udcff"), description=text)},
        message_id=text,
        action=text,
    )
    assert json.loads(render_row(one))["task_id"] == "abc"


def test_rows_are_put_together_without_being_read() -> None:
    assert json.loads(render_rows([])) == {"version": 2, "rows": []}
    assert json.loads(render_rows([b'{"a":1}', b'{"a":2}'])) == {"version": 2, "rows": [{"a": 1}, {"a": 2}]}
