"""The benchmark of speed measures what it says: its rules load, its replies are right, and it refuses rounds that are not."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from bench.backends import Backends, running_backends
from bench.dialogues import over_http, over_smtp, over_spamc
from bench.endurance import Minute, endure, verdict
from bench.load import Dialogue, Wrong
from bench.open_loop import OpenLoop
from bench.peers import Absent, found
from bench.speed import BESIDE, table
from bench.speed_rounds import Budget, checking, compare, measured
from bench.speed_scenarios import SCENARIOS, Scenario
from tests.support.daemon import ROOT
from tests.support.partners import free_port, require

KINDS = ("headers", "web", "names", "store", "talk", "read_all", "many", "lookups")
EVERYTHING = Scenario("all", "all kinds of rules", None, dict.fromkeys(KINDS, 2), keepalive=True)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
ASKED_NOTHING = dict.fromkeys(
    "web,web connections,slow,slow connections,names,names by tcp,redis,tcp,tcp connections".split(","), 0
)


@pytest.mark.parametrize("style", ["", "many", "callbacks"])
def test_the_rules_of_every_style_load(tmp_path: Path, style: str) -> None:
    (tmp_path / "rules").mkdir()
    for kind, source in zip(KINDS, EVERYTHING.sources(style), strict=True):
        (tmp_path / "rules" / f"{kind}.py").write_text(source)
    conf = tmp_path / "filterd.toml"
    conf.write_text('[rules]\npaths = "rules"\n' + EVERYTHING.toml(style, None))
    ran = subprocess.run(
        [sys.executable, "-m", "filterd", "rules", "-c", conf], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert {symbol for symbol in EVERYTHING.symbols() if symbol not in ran.stdout} == set()


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    for program, package in (("nginx", "nginx-light"), ("unbound", "unbound"), ("redis-server", "redis-server")):
        require(program, package=package)
    with running_backends() as started:
        yield started


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["S0", "S5"])
def test_a_round_has_right_replies_and_backends_that_were_asked(name: str, backends: Backends) -> None:
    rows = measured(BY_NAME[name], Budget(1, messages=20), backends, peers=("filterd",))
    assert [row.error for row in rows] == ["", ""]
    assert [len(row.ours.latencies) for row in rows] == [20, 20]


def test_a_row_without_the_right_replies_fails(backends: Backends) -> None:
    no_redis = replace(backends, redis=backends.web)
    (row, _) = measured(BY_NAME["S5"], Budget(1, messages=4), no_redis, peers=("filterd",))
    assert "missing ['STORE_0']" in row.error
    assert "FAILED: filterd: Wrong: missing" in table([row], [])


def test_a_reply_must_have_its_symbols_and_no_others() -> None:
    check = checking({"A"})
    check(orjson.dumps({"symbols": {"A": {}}, "messages": {}}))
    wrong: tuple[tuple[dict[str, object], dict[str, str]], ...] = (
        ({}, {}),
        ({"A": {}, "B": {}}, {}),
        ({"A": {}}, {"rule_failures": "A: no"}),
    )
    for symbols, messages in wrong:
        with pytest.raises(Wrong):
            check(orjson.dumps({"symbols": symbols, "messages": messages}))


@pytest.mark.parametrize(
    ("name", "asked", "problem"),
    [
        ("S2", {"web": 99, "web connections": 99}, "99 requests where 100 were due"),
        ("S2", {"web": 100, "web connections": 50}, "50 connections for 100 requests, where each"),
        ("S2K", {"web": 100, "web connections": 100}, "which were to be kept"),
        ("S4", {"names": 4999}, "4999 requests where 5000 were due"),
        ("S4", {"names": 6000}, "6000 requests where 5000 were due"),
        ("S4", {"names": 5000}, "5000 of 5000 lookups went by UDP"),
        ("S5", {"redis": 0}, "0 requests where 100 were due"),
        ("S6", {"tcp": 101, "tcp connections": 101}, "101 requests where 100 were due"),
    ],
)
def test_backends_that_were_asked_something_else_spoil_a_round(name: str, asked: dict[str, int], problem: str) -> None:
    with pytest.raises(Wrong, match=problem):
        compare(ASKED_NOTHING | asked, BY_NAME[name], 100, 4, by_tcp=True if name == "S4" else None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "other"), [("S0S", "spamd"), ("S2H", "haraka")])
def test_another_programs_row_is_measured_where_it_is_installed(name: str, other: str, backends: Backends) -> None:
    try:
        (row,) = BESIDE[name](Budget(1, messages=20), backends)
    except Absent as absent:
        pytest.skip(str(absent))  # also where CI=true: .ci/run does not install all of them
    assert (row.other, row.error) == (other, "")
    assert [len(side.latencies) for side in (row.theirs, row.ours)] == [20, 20]


def test_a_program_that_is_not_there_is_named_with_its_package() -> None:
    with pytest.raises(Absent, match=r"^no-such-program is not installed \(npm package Such\)$"):
        found("no-such-program", "Such", kind="npm")


MAIL = b"Subject: x\n\n.\nhello\n"
REPLIES = [
    (over_http(MAIL), 0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    (over_spamc(MAIL), 0, b"SPAMD/1.1 0 EX_OK\r\nContent-length: 1\r\nSpam: False ; 0.0 / 5.0\r\n\r\nA", b"A"),
    (over_smtp(MAIL), 1, b"250-mx\r\n250-SIZE 9\r\n250 OK\r\n", b"250-mx\r\n250-SIZE 9\r\n250 OK\r\n"),
]


@pytest.mark.parametrize(("dialogue", "step", "reply", "looked_at"), REPLIES)
def test_a_reply_is_complete_with_its_last_byte(dialogue: Dialogue, step: int, reply: bytes, looked_at: bytes) -> None:
    _, read = dialogue.steps[step]
    assert {read(reply[:end]) for end in range(len(reply))} == {None}
    assert read(reply) == looked_at


@pytest.mark.parametrize(
    ("dialogue", "step", "reply"),
    [
        (over_http(MAIL), 0, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        (over_spamc(MAIL), 0, b"SPAMD/1.0 75 EX_TEMPFAIL\r\nContent-length: 0\r\n\r\n"),
        (over_smtp(MAIL), 5, b"450 later\r\n"),
    ],
)
def test_a_reply_that_is_no_verdict_spoils_a_round(dialogue: Dialogue, step: int, reply: bytes) -> None:
    _, read = dialogue.steps[step]
    with pytest.raises(Wrong):
        read(reply)


def test_a_dot_at_the_start_of_a_line_is_doubled_in_smtp() -> None:
    assert over_smtp(MAIL).steps[5][0] == b"Subject: x\r\n\r\n..\r\nhello\r\n.\r\n"


@pytest.mark.timeout(120)
def test_an_open_loop_sends_every_kind_of_rule_its_messages(backends: Backends) -> None:
    told: list[str] = []
    report = endure(2, backends, minute=1.0, measuring=1, tell=told.append)
    assert report.problems == []
    assert report.sent == report.answered > 0
    assert [one.messages > 0 and one.memory > 0 and one.descriptors > 0 for one in report.minutes] == [True, True]


def test_an_open_loop_counts_messages_that_nobody_takes() -> None:
    loop = OpenLoop(free_port(), [b"mail"], 1000.0, lambda body: None)
    loop.run(time.perf_counter() + 0.05)
    loop.drain()
    assert loop.problems == {"refused": loop.sent}
    assert loop.answered == 0


def test_an_open_loop_has_patience_with_each_message_that_it_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MOST_AT_ONCE": 1, "PATIENCE": 0.2, "LOOKING": 0.02}.items():
        monkeypatch.setattr(f"bench.open_loop.{name}", value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        loop = OpenLoop(silent.getsockname()[1], [b"mail"], 1000.0, lambda body: None)
        loop.run(time.perf_counter() + 1.0)
        loop.drain()
    assert loop.problems == {"unanswered": loop.sent}
    # One after the other, however long ago the next one was due.
    assert 2 <= loop.sent <= 5
    assert loop.held >= loop.sent - 1


def test_the_last_quarter_is_compared_with_the_second() -> None:
    usual = Minute(100, 70.0, 2.0, 5.0, 20.0, 1.0, 60.0, 30.0, 40, 5, 5, 9)
    assert verdict([usual] * 8)[1]
    assert verdict([replace(usual, memory=20.0), *[usual] * 7])[1]
    for more in (replace(usual, memory=64.0), replace(usual, descriptors=34.0), replace(usual, p50=7.0)):
        told, is_flat = verdict([*[usual] * 6, more, more])
        assert not is_flat
        assert sum("NOT FLAT" in line for line in told) == 1


def test_a_minute_that_others_disturbed_tells_nothing_of_latency() -> None:
    usual = Minute(100, 70.0, 2.0, 5.0, 20.0, 1.0, 60.0, 30.0, 40, 5, 5, 9)
    disturbed = replace(usual, waited=30.0, p50=900.0)
    assert verdict([*[usual] * 6, disturbed, usual])[1]
    told, is_flat = verdict([*[usual] * 6, disturbed, disturbed])
    assert not is_flat
    assert "NOT JUDGED" in told[-1]
