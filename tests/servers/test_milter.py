"""The milter door over real connections: every message is answered, in its turn, and none knows of another."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gevent
import pytest

from filterd.mail.request import Overloaded, ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import Crew
from filterd.net.listen import Listener, open_socket
from filterd.proto.milter import Command, render_command, render_reply
from filterd.proto.milter_commands import (
    Abort,
    Body,
    Connect,
    EndOfHeaders,
    EndOfMessage,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiate,
    Quit,
    QuitNewConnection,
    Rcpt,
    Unknown,
)
from filterd.proto.milter_replies import Accept, AddHeader, Continue, Reply, TempFail, reply_code
from filterd.proto.milter_verdict import Texts
from filterd.servers.milter import MilterServer
from tests.support.client import Client
from tests.support.engine import engine_of
from tests.support.many import at_once
from tests.support.mta import POSTFIX, QPSMTPD, Mta, message

Seen = list[ScanRequest]


def echo(request: ScanRequest) -> Verdict:
    """A verdict that tells what came in."""
    envelope = request.envelope
    told = f"{envelope.queue_id} {envelope.mail_from} {','.join(envelope.rcpts)} {request.message.size}"
    return Verdict("no action", 0.0, 15.0, milter={"add_headers": {"X-Told": told}})


def told(text: str) -> list[Reply]:
    return [AddHeader(b"X-Told", b" " + text.encode()), Accept()]


@contextmanager
def serving(scan: Callable[[ScanRequest], Verdict] = echo, **options: Any) -> Iterator[Listener]:
    server = MilterServer(scan, **{"max_message": 1_000_000, **options})
    listener = Listener(open_socket(("127.0.0.1", 0)), server.serve, crew=Crew())
    listener.start()
    try:
        yield listener
    finally:
        listener.drain(0.2)


def keeping(seen: Seen) -> Callable[[ScanRequest], Verdict]:
    def scan(request: ScanRequest) -> Verdict:
        seen.append(request)
        return echo(request)

    return scan


RAW = b"Subject: one\r\n\ttwo\r\nX-Tight:x\r\n\r\nHi\r\n"


@pytest.mark.parametrize(("offer", "raw"), [(POSTFIX, RAW), (QPSMTPD, RAW.replace(b"X-Tight:", b"X-Tight: "))])
def test_a_message_is_scanned_as_it_was_sent(offer: Negotiate, raw: bytes) -> None:
    seen: Seen = []
    with serving(keeping(seen)) as listener, Mta(listener.address, offer) as mta:
        mta.say(*message(RAW, keeps_space=mta.terms.keeps_space))
    (request,) = seen
    assert (request.message.raw, request.door, request.envelope.queue_id) == (raw, "milter", "4X")
    assert (request.envelope.ip, request.envelope.helo, request.envelope.rcpts) == (
        "192.0.2.1",
        "helo.example.org",
        ["b@example.net"],
    )
    assert request.peer.startswith("127.0.0.1:")


def test_an_old_mta_is_answered_command_by_command() -> None:
    with serving() as listener, Mta(listener.address, QPSMTPD) as mta:
        for command in message(keeps_space=False)[1:-1]:
            assert mta.say(command) == [Continue()]
        assert mta.say(EndOfMessage()) == [AddHeader(b"X-Told", b"None a@example.org b@example.net 22"), Accept()]


def test_it_does_not_matter_where_the_bytes_are_cut() -> None:
    data = b"".join(map(render_command, [POSTFIX, Connect(b"x"), Helo(b"y"), *message(), Quit()]))
    with serving() as listener:
        for cut in range(1, len(data), 7):
            with Client(listener.address) as client:
                client.send(data[:cut])
                gevent.sleep(0.001)
                answer = client.send(data[cut:]).read_all()
            assert answer.endswith(b"".join(map(render_reply, told("4X a@example.org b@example.net 22"))))


@pytest.mark.parametrize("size", [65534, 65535, 65536, 300_000])
def test_large_bodies_come_in_pieces(size: int) -> None:
    seen: Seen = []
    body = bytes(range(256)) * (size // 256 + 1)
    with serving(keeping(seen)) as listener, Mta(listener.address) as mta:
        mta.say(*message(b"A: b\r\n\r\n" + body[:size]))
    assert seen[0].message.raw == b"A: b\r\n\r\n" + body[:size]


def test_the_last_piece_may_come_with_the_end() -> None:
    seen: Seen = []
    with serving(keeping(seen)) as listener, Mta(listener.address) as mta:
        mta.say(Mail(b"<>"), Header(b"A", b" b"), EndOfHeaders(), Body(b"1"), EndOfMessage(b"2"))
    assert seen[0].message.raw == b"A: b\r\n\r\n12"


# -- many messages on one connection


def test_messages_on_one_connection_know_nothing_of_each_other() -> None:
    with serving() as listener, Mta(listener.address) as mta:
        assert mta.say(*message(b"A: b\r\n\r\n", queue_id="1")) == told("1 a@example.org b@example.net 8")
        mta.say(Abort())
        second: list[Command] = [Mail(b"<>"), Rcpt(b"<c@example.net>"), Header(b"A", b" bcd"), EndOfHeaders(), EndOfMessage()]
        assert mta.say(*second) == told("None  c@example.net 10")
        mta.say(*message(b"X: y\r\n\r\n" + b"z" * 1000, queue_id="3")[:-1], Abort())
        assert mta.say(*message(b"A: b\r\n\r\n", queue_id="4")) == told("4 a@example.org b@example.net 8")


def test_the_client_is_remembered_for_all_its_messages_and_not_for_another_client() -> None:
    seen: Seen = []
    with serving(keeping(seen)) as listener, Mta(listener.address) as mta:
        for _ in range(3):
            mta.say(*message())
        mta.say(QuitNewConnection(), Connect(b"other.example.org", b"6", 1, b"2001:db8::1"))
        mta.say(*message())
    assert [request.envelope.ip for request in seen] == ["192.0.2.1"] * 3 + ["2001:db8::1"]
    assert [request.envelope.helo for request in seen] == ["helo.example.org"] * 3 + [None]


def test_a_reply_flag_of_one_message_is_not_that_of_the_next() -> None:
    verdicts = iter([Verdict("reject", 20.0, 15.0, milter={"no_action": True}), Verdict("reject", 20.0, 15.0)])
    with serving(lambda _: next(verdicts)) as listener, Mta(listener.address) as mta:
        assert mta.say(*message()) == [AddHeader(b"X-Rspamd-Action", b" reject"), Accept()]
        assert mta.say(*message()) == [reply_code("554", "5.7.1", "Spam message rejected")]


def test_pipelined_messages_are_answered_in_order() -> None:
    commands = [command for number in range(5) for command in message(queue_id=str(number))]
    with serving() as listener, Mta(listener.address) as mta:
        mta.client.send(b"".join(map(render_command, commands)))
        assert [mta.read() for _ in range(5)] == [told(f"{number} a@example.org b@example.net 22") for number in range(5)]


def test_a_quit_ends_the_connection() -> None:
    with serving() as listener, Mta(listener.address) as mta:
        mta.say(*message())
        mta.say(Quit())
        assert mta.client.is_closed


def test_what_means_nothing_is_passed_over() -> None:
    with serving() as listener, Mta(listener.address) as mta:
        mta.say(Unknown(b"XYZZY"), Macros(b"U"), *message())


def test_many_connections_at_once_each_get_their_own_answer() -> None:
    def scan(request: ScanRequest) -> Verdict:
        gevent.sleep(0.02)
        return echo(request)

    def ask(address: tuple[str, int] | str, number: int) -> list[Reply]:
        with Mta(address) as mta:
            return mta.say(*message(queue_id=str(number)))

    with serving(scan) as listener:
        answers = at_once(partial(ask, listener.address, number) for number in range(100))
    assert answers == [told(f"{number} a@example.org b@example.net 22") for number in range(100)]


# -- the verdict


def test_one_mail_by_milter_has_the_engines_verdict() -> None:
    def rule(task: Any) -> bool:
        task.add_header("X-Score", f"{task.score:.1f}")
        task.set_pre_result("add header", "hm")
        return True

    engine = engine_of(rule)
    with serving(engine.scan, texts=Texts(spam_header="X-Junk")) as listener, Mta(listener.address) as mta:
        assert mta.say(*message()) == [AddHeader(b"X-Score", b" 0.0"), AddHeader(b"X-Junk", b" Yes"), Accept()]


def test_what_an_mta_cannot_do_is_logged_with_the_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd.milter")
    with serving() as listener, Mta(listener.address, Negotiate(6, 0x1E, 0x1FFFFF)) as mta:
        assert mta.say(*message()) == [Accept()]
    told = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert told == [
        "the MTA does not let a filter add headers, quarantine, change sender",
        "X-Told cannot be added (queue id 4X)",
    ]


# -- failures are tempfails


def test_a_scan_that_fails_is_a_tempfail_and_the_next_one_works(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([ValueError("inside"), Overloaded("too many"), None])

    def scan(request: ScanRequest) -> Verdict:
        if error := next(outcomes):
            raise error
        return echo(request)

    with serving(scan) as listener, Mta(listener.address) as mta:
        assert [mta.say(*message())[-1] for _ in range(3)] == [TempFail(), TempFail(), Accept()]
    assert "ValueError: inside" in caplog.text
    assert "a message was refused for now: too many (queue id 4X)" in caplog.text


def test_a_verdict_that_cannot_be_told_is_a_tempfail(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    broken = Verdict("no action", 0.0, 15.0, milter={"add_headers": {"X-A": Broken()}})
    with serving(lambda _: broken) as listener, Mta(listener.address) as mta:
        assert mta.say(*message()) == [TempFail()]
    assert "no text" in caplog.text


@pytest.mark.parametrize(
    ("reject", "reply"),
    [
        (False, reply_code("451", "4.3.4", "The message has more than 1000 bytes")),
        (True, reply_code("552", "5.3.4", "The message has more than 1000 bytes")),
    ],
)
def test_a_message_too_large_is_refused_unscanned_and_the_next_one_is_scanned(
    reject: bool, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    seen: Seen = []
    with (
        serving(keeping(seen), max_message=1000, reject_oversized=reject) as listener,
        Mta(listener.address) as mta,
    ):
        assert mta.say(*message(b"A: b\r\n\r\n" + b"x" * 200_000)) == [reply]
        assert mta.say(*message())[-1] == Accept()
    assert len(seen) == 1
    assert "a message was not scanned: more than 1000 bytes (queue id 4X)" in caplog.text


@pytest.mark.parametrize(
    ("commands", "data", "why"),
    [
        (message()[:-1], b"\xff\xff\xff\xff", "a frame of 4294967295 bytes"),
        (message()[:-1], b"\0\0\0\x01x", "a command that is not known: b'x'"),
        (message()[:-1], b"\0\0\0\0", "a frame without a command"),
    ],
)
def test_a_fault_in_a_message_is_a_tempfail_before_the_connection_closes(
    commands: list[Command], data: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as listener, Mta(listener.address) as mta:
        mta.say(*commands)
        mta.client.send(data + b"x" * 100_000)
        assert mta.read() == [TempFail()]
        mta.client.end()
        assert mta.client.is_closed
    assert why in caplog.text


def test_a_fault_between_messages_just_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as listener, Mta(listener.address) as mta:
        mta.client.send(render_command(EndOfMessage()))
        mta.client.end()
        assert mta.client.read_all() == b""
    assert "the end of a message before a sender" in caplog.text


@pytest.mark.parametrize(
    ("data", "spoken", "answer"),
    [
        (b"POST /checkv2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"GET /ping HTTP/1.1\r\n\r\n", "HTTP", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"EHLO mx.example.org\r\n", "SMTP", b""),
        (b"CHECK SPAMC/1.5\r\n\r\n", "SPAMC", b""),
    ],
)
def test_who_speaks_something_else_is_named_in_the_log(
    data: bytes, spoken: str, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as listener, Client(listener.address) as client:
        reply = client.send(data).end().read_all()
    assert f"that is {spoken}, and this port speaks the milter protocol" in caplog.text
    assert reply.startswith(answer)
    assert bool(reply) == bool(answer)
    if answer:
        assert b'{"error":"that is HTTP' in reply


def test_a_new_negotiation_in_a_message_drops_the_message() -> None:
    with serving() as listener, Mta(listener.address) as mta:
        mta.say(*message()[:-1])
        assert mta.say(POSTFIX) == [mta.terms.answer]
        mta.client.send(b"\0\0\0\0").end()
        assert mta.client.read_all() == b""


def test_a_version_too_old_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as listener, Client(listener.address) as client:
        assert client.send(render_command(Negotiate(1, 0, 0))).end().read_all() == b""
    assert "milter version 1 is offered, 2 is the oldest spoken here" in caplog.text


# -- time


def test_a_message_that_stops_in_the_middle_is_a_tempfail_after_the_timeout() -> None:
    with serving(timeout=0.1) as listener, Mta(listener.address) as mta:
        mta.say(*message()[:-1])
        assert mta.read() == [TempFail()]
        assert mta.client.is_closed


def test_a_command_that_drips_is_cut_at_the_timeout_and_others_are_served() -> None:
    with serving(timeout=0.3) as listener, Mta(listener.address) as slow:

        def drip() -> None:
            for byte in render_command(Mail(b"<" + b"a" * 1000 + b">")):
                slow.client.send(bytes([byte]))
                gevent.sleep(0.02)

        dripping = gevent.spawn(drip)
        dripping.link_exception(lambda _: None)
        with Mta(listener.address) as mta:
            assert mta.say(*message())[-1] == Accept()
        assert slow.client.read_all() == b""
        dripping.kill()


def test_an_mta_that_waits_for_its_client_is_waited_for() -> None:
    with serving(timeout=0.05, idle_timeout=10.0) as listener, Mta(listener.address) as mta:
        gevent.sleep(0.1)
        mta.say(*message()[:3])
        gevent.sleep(0.1)
        assert mta.say(*message()[3:])[-1] == Accept()
        gevent.sleep(0.1)
        assert mta.say(*message())[-1] == Accept()


def test_a_connection_without_a_word_is_closed_after_the_timeout() -> None:
    with serving(timeout=0.05) as listener, Client(listener.address) as client:
        assert client.is_closed


def test_an_idle_connection_is_closed_after_its_time() -> None:
    with serving(idle_timeout=0.05) as listener, Mta(listener.address) as mta:
        mta.say(*message())
        assert mta.client.is_closed


def test_an_mta_that_goes_away_in_a_message_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd.milter")
    with serving() as listener:
        with Mta(listener.address) as mta:
            mta.say(*message()[:-1])
        for _ in range(100):
            gevent.sleep(0.01)
            if not listener.open:
                break
        assert listener.open == 0
    assert "the connection ended in the middle of a message" in caplog.text


# -- a worker that ends


def test_a_drain_answers_the_message_under_way_and_closes_between_two() -> None:
    with serving() as listener, Mta(listener.address) as idle, Mta(listener.address) as busy:
        idle.say(*message())
        busy.say(*message()[:4])
        gevent.sleep(0.05)
        ending = gevent.spawn(listener.drain, 5.0)
        assert idle.client.is_closed
        assert busy.say(*message()[4:])[-1] == Accept()
        assert busy.client.is_closed
        assert ending.get(timeout=5) == 0


def test_a_client_that_has_just_come_still_has_its_message_answered() -> None:
    with serving() as listener, Mta(listener.address) as mta:
        gevent.sleep(0.05)
        ending = gevent.spawn(listener.drain, 5.0)
        gevent.sleep(0.05)
        assert mta.say(*message())[-1] == Accept()
        assert mta.client.is_closed
        assert ending.get(timeout=5) == 0


@pytest.mark.parametrize("is_late", [True, False])
def test_a_client_that_has_come_and_says_nothing_holds_no_worker_up(is_late: bool) -> None:
    with serving(grace=0.1) as listener, Mta(listener.address) as mta:
        gevent.sleep(0.2 if is_late else 0.02)
        ending = gevent.spawn(listener.drain, 8.0)
        assert mta.client.is_closed
        assert ending.get(timeout=5) == 0


def test_a_client_may_be_slow_before_its_first_message() -> None:
    with serving(grace=0.02) as listener, Mta(listener.address) as mta:
        gevent.sleep(0.1)
        mta.say(*message()[:4])
        gevent.sleep(0.1)
        assert mta.say(*message()[4:])[-1] == Accept()


def test_after_an_abort_a_draining_worker_closes() -> None:
    with serving() as listener, Mta(listener.address) as mta:
        mta.say(*message()[:4])
        gevent.sleep(0.05)
        ending = gevent.spawn(listener.drain, 5.0)
        gevent.sleep(0.05)
        mta.say(Abort())
        assert mta.client.is_closed
        assert ending.get(timeout=5) == 0


@pytest.mark.parametrize("commands", [message(), message()[:-1]], ids=["being scanned", "coming in"])
def test_a_message_that_is_cut_at_the_end_is_a_tempfail(commands: list[Command]) -> None:
    def slow(request: ScanRequest) -> Verdict:
        gevent.sleep(10)
        return echo(request)

    with serving(slow) as listener, Mta(listener.address) as mta:
        mta.client.send(b"".join(map(render_command, commands)))
        gevent.sleep(0.05)
        assert listener.drain(0.05) == 1
        assert mta.read() == [TempFail()]
        assert mta.client.is_closed
