"""Counting equal messages in a real Redis."""

from pathlib import Path

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from tests.support.partners import RedisServer, ask_redis, free_port
from tests.support.rules import RULES, assembled, mail, verdict_of


def toml(port: int, more: str = "") -> str:
    return f'[redis]\nservers = "127.0.0.1:{port}"\n[modules.bulk]\nenabled = true\nlimit = 2\n{more}'


def test_the_same_text_is_bulk_from_the_limit_on(tmp_path: Path, redis_server: RedisServer) -> None:
    with assembled(tmp_path, [RULES / "bulk.py"], toml(redis_server.port)) as assembly:
        verdicts = [
            assembly.engine.scan(ScanRequest(Message(mail(Subject=f"number {number}", body="Buy\r\n  this\n")), Envelope({})))
            for number in range(4)
        ]
    assert [verdict.failures for verdict in verdicts] == [()] * 4
    assert [verdict.symbols["BULK_BODY"].options if verdict.symbols else None for verdict in verdicts] == [
        None, None, ("3 times",), ("4 times",)
    ]  # fmt: skip


def test_another_text_is_another_count(tmp_path: Path, redis_server: RedisServer) -> None:
    with assembled(tmp_path, [RULES / "bulk.py"], toml(redis_server.port)) as assembly:
        for number in range(5):
            verdict = assembly.engine.scan(ScanRequest(Message(mail(body=f"text {number}")), Envelope({})))
            assert verdict.symbols == {}


def test_a_count_ends_with_its_window(tmp_path: Path, redis_server: RedisServer) -> None:
    verdict_of(tmp_path, "bulk", mail(), toml(redis_server.port, "window = 77\n"))
    key = ask_redis(redis_server.port, "EVAL", "return {ok = redis.call('RANDOMKEY')}", "0").removeprefix(b"+").decode()
    assert key.startswith("filterd:bulk:")
    assert int(ask_redis(redis_server.port, "TTL", key).removeprefix(b":")) in range(70, 78)


def test_a_dead_redis_is_an_expected_failure(tmp_path: Path) -> None:
    port = free_port()
    (failure,) = verdict_of(tmp_path, "bulk", mail(), toml(port)).failures
    assert (failure.kind, failure.peer, failure.traceback) == ("connect", f"127.0.0.1:{port}", "")
    assert "Connection refused" in failure.text


def test_it_is_off_until_it_is_switched_on(tmp_path: Path) -> None:
    with assembled(tmp_path, [RULES / "bulk.py"], '[redis]\nservers = "127.0.0.1:6379"\n') as assembly:
        assert assembly.engine.rules == ()
