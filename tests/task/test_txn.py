"""The txn and its channels as an action meets them: what is known, what is refused, and what a wait gives."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.partners import RedisServer
from tests.support.streams import Gate, backend, gate

HEAD = "from filterd import PhaseError, RequestFailed, Txn, action, config, dns, service, sleep\nseen = []\n"


def seen_by(one: Gate) -> Any:
    module: Any = one.assembly.rules.modules[0]
    return module.seen


def seen(folder: Path, body: str, *pieces: bytes, toml: str = "", unix: bool = False) -> list[Any]:
    """What an action has put into `seen` on one connection."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    rules = f'{HEAD}\n@action("a")\ndef a(txn: Txn) -> None:\n{lines}'
    bind = f"unix:{folder}/x.sock" if unix else "127.0.0.1:0"
    with gate(folder, rules, 'request = "a"\n' + toml, bind=bind) as one:
        one.ask(*pieces)
        one.wait_idle()
        assert one.failures == []
        return list(seen_by(one))


def test_who_came_by_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    found = seen(tmp_path, "seen.append((txn.ip, txn.port, txn.get('ip'), txn.get('destination', 'none')))", unix=True)
    assert found == [(None, None, None, "none")]


def test_expressions_read_what_has_arrived(tmp_path: Path) -> None:
    body = """
txn.req.peek(3)
seen.append([txn.get(word) for word in ("req", "req_len", "res", "res_len", "stage", "listener")])
txn.vars["x"] = [1, 2]
seen.append(txn.get("var('x')"))
seen.append(txn.get("uid") == txn.id)
"""
    assert seen(tmp_path, body, b"a\xe9\n") == [["aé\n", 3, None, 0, "tcp.request", "gate"], [1, 2], True]


def test_reads_of_a_number_wait_and_get_fewer_at_the_end_only(tmp_path: Path) -> None:
    body = """
seen.append(txn.req.peek(4))
seen.append(txn.req.get(4))
seen.append(txn.req.get(4))
seen.append(txn.req.get(4))
seen.append((txn.req.dup(), txn.req.get(), txn.req.readline(), txn.req.peek(1), txn.req.eof))
"""
    assert seen(tmp_path, body, b"ab", b"cde", b"f") == [b"abcd", b"abcd", b"ef", None, (None, None, None, None, True)]


def test_nothing_yet_is_empty(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("a")
def a(txn: Txn) -> None:
    seen.append((txn.req.dup(), txn.req.get(), txn.req.peek(), txn.req.eof, txn.req.full))
"""
    )
    with gate(tmp_path, rules, 'request = "a"') as one:
        one.ask(ends=False)
        assert seen_by(one) == [(b"", b"", b"", False, False)]


def test_a_wait_that_is_over_raises_and_loses_nothing(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("a")
def a(txn: Txn) -> None:
    for read in (lambda: txn.req.peek(10, timeout=0.02), lambda: txn.req.readline(timeout=0.02)):
        try:
            read()
        except RequestFailed as error:
            seen.append((error.failure.kind, error.failure.phase, txn.req.dup()))
"""
    )
    with gate(tmp_path, rules, 'request = "a"') as one, one.client() as client:
        client.send(b"abc")
        assert client.read_all() == b""
        assert seen_by(one) == [("timeout", "read", b"abc")] * 2


def test_a_line_that_is_too_long_is_refused_and_stays(tmp_path: Path) -> None:
    body = """
for limit in (10, None):
    try:
        txn.req.readline(limit)
    except RequestFailed as error:
        seen.append((error.failure.kind, str(error.failure), txn.req.in_len, txn.req.full))
"""
    assert seen(tmp_path, body, b"x" * 3000, toml='buffer = "1k"\n') == [
        ("limit", "no line end within 10 bytes", 1024, True),
        ("limit", "no line end within 1024 bytes", 1024, True),
    ]


def test_more_than_a_channel_holds_is_refused(tmp_path: Path) -> None:
    body = """
for change in (lambda: txn.req.append(b"x" * 2000), lambda: txn.req.peek(2000), lambda: txn.req.send(7)):
    try:
        change()
    except (ValueError, TypeError) as error:
        seen.append(str(error))
"""
    assert seen(tmp_path, body, toml='buffer = "1k"\n') == [
        "2000 bytes of input, and a channel holds 1024",
        "2000 bytes are more than a channel holds, which is 1024",
        "a channel takes bytes or str, not int",
    ]


def test_dns_and_the_other_calls_work_in_an_action_within_its_time(tmp_path: Path) -> None:
    body = """
seen.append(dns.request("host.example"))
seen.append(config.module("m")["x"])
seen.append(0 < txn.deadline.left <= 5)
"""
    toml = '[modules.m]\nx = 1\n[[dns.fake_records]]\nname = "host.example"\nreplies = ["192.0.2.1"]\n'
    assert seen(tmp_path, body, toml=toml) == [(True, ["192.0.2.1"]), 1, True]


def test_redis_is_asked_from_an_action(tmp_path: Path, redis_server: RedisServer) -> None:
    rules = (
        HEAD
        + """
from filterd import redis

SERVER = redis.parse_server("streams")

@action("count")
def count(txn: Txn) -> None:
    seen.append([redis.request(SERVER, ["INCR", f"streams:{txn.ip}"]).value for _ in range(2)])
"""
    )
    with gate(tmp_path, rules, f'request = "count"\n[redis]\nservers = "127.0.0.1:{redis_server.port}"\n') as one:
        assert one.ask() == b""
        first, second = seen_by(one)[0]
        assert second == first + 1
        assert one.failures == []


def test_a_service_is_for_reading_requests_and_answering(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@service("s")
def s(txn: Txn) -> None:
    seen.append(txn.stage)
    try:
        txn.res.dup()
    except PhaseError as error:
        seen.append(str(error))
    txn.res.send(txn.req.readline() or b"")
    seen.append(txn.deadline.left > 1000)
    if txn.req.dup() == b"reject":
        txn.reject("no")
"""
    )
    with gate(tmp_path, rules, 'service = "s"') as one:
        assert one.ask(b"a line\nrest", ends=False) == b"a line\n"
        assert seen_by(one) == [
            "tcp.service",
            "txn.res.dup() in stage tcp.service: the response can be read in tcp.response only",
            True,
        ]
        assert one.ask(b"\nreject", ends=False) == b"\nno\r\n"


def test_a_service_that_fails_ends_its_connection_and_is_told(tmp_path: Path) -> None:
    rules = HEAD + '\n@service("s")\ndef s(txn):\n    return "this"\n'
    with gate(tmp_path, rules, 'service = "s"') as one:
        assert one.ask() == b""
        (failure,) = one.failures
        assert "TypeError: s returned 'this'; an action returns nothing" in str(failure)


def test_a_verdict_of_a_child_nobody_asks_counts(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("a")
def a(txn: Txn) -> None:
    txn.spawn(lambda: txn.reject("from a child"))
    sleep(0.01)
"""
    )
    with backend() as server, gate(tmp_path, rules, 'request = "a"\n' + server.toml) as one:
        assert one.ask() == b"from a child\r\n"
        assert one.failures == []


def test_what_fails_in_a_child_is_the_actions_failure(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("a")
def a(txn: Txn) -> None:
    txn.spawn(lambda: 1 / 0)
"""
    )
    with gate(tmp_path, rules, 'request = "a"') as one:
        one.ask()
        assert [(failure.rule, failure.kind) for failure in one.failures] == [("a", "exception")]


def test_log_lines_of_an_action_carry_the_streams_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "filterd.rule")
    (found,) = seen(tmp_path, "txn.log.info('here')\nseen.append(txn.id)")
    (record,) = [one for one in caplog.records if one.message == "here"]
    assert (vars(record)["task_id"], vars(record)["rule"]) == (found, "a")
