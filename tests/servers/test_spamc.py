"""The SPAMC and RSPAMC door over real connections: each dialect gets its own answer, and failures are never verdicts."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import gevent
import pytest

from filterd.mail.request import Overloaded, ScanRequest
from filterd.mail.verdict import Hit, Verdict
from filterd.net.greenlets import Crew
from filterd.net.listen import Connection, Listener, open_socket
from filterd.servers.spamc import SpamcServer
from filterd.task import Task
from tests.support.client import Client
from tests.support.engine import MAIL, engine_of
from tests.support.many import at_once

THRESHOLDS = {"reject": 15.0, "add header": 6.0}


def echo(request: ScanRequest) -> Verdict:
    """Spam with the size as its score, and a symbol for each thing that came in."""
    envelope = request.envelope
    told = [request.door, *envelope.rcpts, envelope.user or "nobody", envelope.get("spamc-user") or "none"]
    return Verdict("add header", float(request.message.size), 15.0, THRESHOLDS, symbols={name: Hit(name, 0.0) for name in told})


@contextmanager
def serving(scan: Callable[[ScanRequest], Verdict] = echo, **options: float) -> Iterator[Listener]:
    server = SpamcServer(scan, **{"max_message": 100_000, **options})  # type: ignore[arg-type]

    def serve(connection: Connection) -> None:
        connection.busy = True
        server.serve(connection, connection.read(until=gevent.get_hub().loop.now() + 1e6))

    listener = Listener(open_socket(("127.0.0.1", 0)), serve, crew=Crew())
    listener.start()
    try:
        yield listener
    finally:
        listener.drain(0.2)


def ask(listener: Listener, data: bytes) -> bytes:
    with Client(listener.address) as client:
        return client.send(data).read_all()


def request(line: bytes, *headers: bytes, body: bytes = MAIL) -> bytes:
    return b"\r\n".join((line, *headers, b"Content-length: %d" % len(body), b"", body))


def test_a_spamc_request_is_answered_and_the_connection_closed() -> None:
    with serving() as listener:
        reply = ask(listener, request(b"SYMBOLS SPAMC/1.5", b"User: joe", b"Rcpt: a@x.example,b@x.example"))
    assert reply == (
        b"SPAMD/1.1 0 EX_OK\r\nContent-length: 40\r\nSpam: True ; %.2f / 6.00\r\n\r\n" % len(MAIL)
        + b"spamc,a@x.example,b@x.example,nobody,joe"
    )


def test_an_rspamc_request_is_answered_and_the_connection_closed() -> None:
    with serving() as listener:
        reply = ask(listener, request(b"CHECK RSPAMC/1.3", b"User: joe"))
    assert reply.startswith(
        b"RSPAMD/1.3 0 EX_OK\r\nMetric: default; True; %.2f / 15.00 / 0.0\r\nAction: add header\r\n" % len(MAIL)
    )
    assert b"Symbol: rspamc(0.00)\r\nSymbol: joe(0.00)\r\nSymbol: none(0.00)\r\n" in reply


def test_what_comes_without_a_length_ends_where_the_client_ends() -> None:
    with serving() as listener, Client(listener.address) as client:
        client.send(b"CHECK SPAMC/1.2\r\n\r\n" + MAIL[:10])
        gevent.sleep(0.02)
        reply = client.send(MAIL[10:]).end().read_all()
    assert reply == b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; %.2f / 6.00\r\n\r\n" % len(MAIL)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"PING SPAMC/1.5\r\n\r\n", b"SPAMD/1.5 0 PONG\r\n"),
        (b"PING SPAMC/1.2\r\n", b"SPAMD/1.5 0 PONG\r\n"),
        (b"PING RSPAMC/1.3\r\n", b"RSPAMD/1.3 0 PONG\r\n"),
        (b"SKIP SPAMC/1.5\r\n\r\n", b""),
        (
            b"TELL SPAMC/1.5\r\nMessage-class: spam\r\nSet: local\r\nContent-length: 1\r\n\r\nx",
            b"SPAMD/1.0 69 nothing was learned: no classifier is configured\r\n",
        ),
        (b"LEARN SPAMC/1.5\r\n\r\n", b"SPAMD/1.0 76 LEARN is not known\r\n"),
        (b"PROCESS RSPAMC/1.3\r\n\r\n", b"RSPAMD/1.3 76 PROCESS is not known\r\n"),
        (b"CHECK SPAMC/1.5\r\nContent-length: 100001\r\n\r\n", b"SPAMD/1.0 65 the message is too large: 100001 bytes\r\n"),
        (
            b"CHECK SPAMC/1.5\r\nCompress: lzma\r\nContent-length: 1\r\n\r\nx",
            b"SPAMD/1.0 65 compression 'lzma' is not known\r\n",
        ),
    ],
)
def test_what_is_no_scan_is_answered_too(line: bytes, expected: bytes) -> None:
    with serving() as listener:
        assert ask(listener, line) == expected


def test_a_compressed_message_is_judged_as_it_was() -> None:
    with serving() as listener:
        reply = ask(listener, request(b"CHECK SPAMC/1.5", b"Compress: zlib", body=zlib.compress(MAIL)))
        bomb = ask(listener, request(b"CHECK SPAMC/1.5", b"Compress: zlib", body=zlib.compress(b"\0" * 10_000_000)))
        broken = ask(listener, request(b"CHECK SPAMC/1.5", b"Compress: zlib", body=zlib.compress(MAIL)[:-1]))
    assert b"Spam: True ; %.2f / 6.00" % len(MAIL) in reply
    assert bomb == b"SPAMD/1.0 65 the message cannot be decompressed: more than 100000 bytes when decompressed\r\n"
    assert broken == b"SPAMD/1.0 65 the message cannot be decompressed: zlib: the end is missing\r\n"


@pytest.mark.parametrize("dialect", ["SPAMC/1.5", "SPAMC/1.2", "RSPAMC/1.3"])
@pytest.mark.parametrize("verb", ["CHECK", "SYMBOLS", "REPORT", "PROCESS"])
@pytest.mark.parametrize("error", [ValueError("inside"), Overloaded("too many")])
def test_a_scan_that_fails_is_to_be_tried_again(
    dialect: str, verb: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def scan(request: ScanRequest) -> Verdict:
        raise error

    with serving(scan) as listener:
        reply = ask(listener, request(f"{verb} {dialect}".encode()))
    name, code, _ = reply.decode().split(" ", 2)
    known = dialect.startswith("SPAMC") or verb in ("CHECK", "SYMBOLS")
    assert (name, code) == ("SPAMD/1.0" if dialect.startswith("SPAMC") else "RSPAMD/1.3", "75" if known else "76")
    assert ("ValueError: inside" in caplog.text) == (known and isinstance(error, ValueError))


def test_a_message_no_rule_had_time_for_is_to_be_tried_again() -> None:
    def slow(task: Task) -> None:
        task.sleep(10.0)

    def quick(task: Task) -> bool:
        return True

    with serving(engine_of(slow, task_timeout=0.05).scan) as listener:
        for dialect in (b"SPAMC/1.2", b"RSPAMC/1.3"):
            assert b" 75 the time was over before any rule had ended" in ask(listener, request(b"CHECK " + dialect))
    with serving(engine_of(slow, quick, task_timeout=0.05).scan) as listener:
        assert b"Spam: False ; 1.00 / 6.00" in ask(listener, request(b"CHECK SPAMC/1.2"))


@pytest.mark.parametrize("messages", [{"smtp_message": "later please"}, {}])
def test_a_soft_reject_is_said_as_each_dialect_can(messages: dict[str, str]) -> None:
    with serving(lambda _: Verdict("soft reject", 0.0, 15.0, THRESHOLDS, messages=messages)) as listener:
        spamc = ask(listener, request(b"REPORT SPAMC/1.2"))
        rspamc = ask(listener, request(b"CHECK RSPAMC/1.3"))
    assert spamc == f"SPAMD/1.0 75 {messages.get('smtp_message', 'try again later')}\r\n".encode()
    assert b"\r\nAction: soft reject\r\n" in rspamc


@pytest.mark.parametrize(
    ("start", "expected"), [(b"CHECK SPAMC/1.5\r\nX: ", b"SPAMD/1.0 79 "), (b"CHECK RSPAMC/1.3\r\nX: ", b"RSPAMD/1.3 79 ")]
)
def test_a_dripping_client_is_told_that_it_is_too_slow(start: bytes, expected: bytes) -> None:
    with serving(timeout=0.2) as listener, Client(listener.address) as slow:
        slow.send(start)

        def drip() -> None:
            for byte in b"y" * 1000:
                slow.send(bytes([byte]))
                gevent.sleep(0.01)

        dripping = gevent.spawn(drip)
        dripping.link_exception(lambda _: None)
        assert ask(listener, b"PING SPAMC/1.2\r\n") == b"SPAMD/1.5 0 PONG\r\n"
        assert slow.read_all() == expected + b"no whole request within 0.2 s\r\n"
        dripping.kill()


def test_a_client_that_goes_away_in_the_middle_is_forgotten() -> None:
    with serving() as listener:
        for data in (b"CHECK SPAMC/1.5\r\nContent-le", b""):
            with Client(listener.address) as client:
                client.send(data)
        for _ in range(100):
            gevent.sleep(0.01)
            if not listener.open:
                break
        assert listener.open == 0
        assert ask(listener, b"PING SPAMC/1.2\r\n")


def test_a_client_that_resets_is_the_listeners_affair(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "filterd.listen")
    with serving() as listener:
        with Client(listener.address) as client:
            client.sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: close with a reset
            client.send(b"CHECK SPAMC/1.5\r\n")
            gevent.sleep(0.02)
        for _ in range(100):
            gevent.sleep(0.01)
            if not listener.open:
                break
    assert "Connection reset by peer" in caplog.text


def test_a_raw_message_is_not_taken_apart() -> None:
    seen: list[int] = []

    def scan(request: ScanRequest) -> Verdict:
        seen.append(len(request.message.parts))
        return echo(request)

    multipart = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    with serving(scan) as listener:
        for raw in ((), (b"Raw: yes",)):
            ask(listener, request(b"CHECK SPAMC/1.5", *raw, body=multipart))
    assert seen == [3, 1]


def test_one_mail_has_the_engines_verdict() -> None:
    def rule(task: object) -> tuple[bool, str]:
        return True, "option"

    with serving(engine_of(rule).scan) as listener:
        assert ask(listener, request(b"SYMBOLS SPAMC/1.2")).endswith(b"Spam: False ; 1.00 / 6.00\r\n\r\nRULE\r\n")


def test_many_connections_at_once_each_get_their_own_answer() -> None:
    def scan(request: ScanRequest) -> Verdict:
        gevent.sleep(0.02)
        return echo(request)

    with serving(scan) as listener:
        asked = [request(b"CHECK SPAMC/1.5", body=b"x" * number) for number in range(1, 101)]
        replies = at_once(partial(ask, listener, each) for each in asked)
    assert [reply.split()[6] for reply in replies] == [b"%.2f" % number for number in range(1, 101)]
