"""The HTTP door over real connections: every request gets an answer, and no client harms another's."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gevent
import pytest
import zstandard
from gevent.event import Event

from filterd.mail.request import Overloaded, ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import Crew
from filterd.net.listen import Listener, open_socket
from filterd.servers.http import HttpServer
from filterd.task import Task
from tests.support.client import Client
from tests.support.engine import MAIL, engine_of, rule_of
from tests.support.many import at_once

POST = b"POST /checkv2 HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(MAIL), MAIL)
KEEP = POST.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n", 1)


def echo(request: ScanRequest) -> Verdict:
    """A verdict that tells what came in."""
    return Verdict(
        "no action",
        float(request.message.size),
        15.0,
        message_id=request.message.message_id,
        messages={"qid": request.envelope.queue_id or ""},
    )


@contextmanager
def serving(scan: Callable[[ScanRequest], Verdict] = echo, **options: float) -> Iterator[Listener]:
    server = HttpServer(scan, **{"max_message": 100_000, **options})  # type: ignore[arg-type]
    listener = Listener(open_socket(("127.0.0.1", 0)), server.serve, crew=Crew())
    listener.start()
    try:
        yield listener
    finally:
        listener.drain(0.2)


def ask(listener: Listener, data: bytes) -> tuple[int, dict[str, str], bytes]:
    with Client(listener.address) as client:
        return client.send(data).read_reply()


def test_a_message_is_answered_and_the_connection_closed() -> None:
    with serving() as listener, Client(listener.address) as client:
        status, headers, body = client.send(POST).read_reply()
        assert (status, headers["connection"], headers["content-type"]) == (200, "close", "application/json")
        assert json.loads(body)["score"] == len(MAIL)
        assert client.is_closed


def test_the_connection_is_kept_for_who_asks() -> None:
    with serving() as listener, Client(listener.address) as client:
        for number in range(3):
            status, headers, body = client.send(KEEP.replace(b"HTTP/1.1", b"HTTP/1.1\r\nQueue-Id: %d" % number, 1)).read_reply()
            assert (status, headers["connection"], json.loads(body)["messages"]["qid"]) == (200, "keep-alive", str(number))


def test_an_http_1_0_client_is_kept_too_if_it_asks() -> None:
    with serving() as listener, Client(listener.address) as client:
        for _ in range(2):
            assert client.send(KEEP.replace(b"HTTP/1.1", b"HTTP/1.0")).read_reply()[1]["connection"] == "keep-alive"


def test_pipelined_requests_are_answered_in_order() -> None:
    with serving() as listener, Client(listener.address) as client:
        client.send(b"".join(KEEP.replace(b"HTTP/1.1", b"HTTP/1.1\r\nQueue-Id: %d" % number, 1) for number in range(5)))
        data = b""
        while data.count(b'"qid"') < 5:
            data += client.sock.recv(65536)
        assert [data.index(b'"qid":"%d"' % number) for number in range(5)] == sorted(
            data.index(b'"qid":"%d"' % n) for n in range(5)
        )


def test_who_asks_a_hundred_times_at_once_does_not_hold_up_others() -> None:
    order: list[str | None] = []

    def scan(request: ScanRequest) -> Verdict:
        if not order:
            one.send(KEEP.replace(b"HTTP/1.1", b"HTTP/1.1\r\nQueue-Id: one", 1))
        order.append(request.envelope.queue_id)
        return echo(request)

    with serving(scan) as listener, Client(listener.address) as many, Client(listener.address) as one:
        many.send(KEEP.replace(b"HTTP/1.1", b"HTTP/1.1\r\nQueue-Id: many", 1) * 100)
        assert one.read_reply()[0] == 200
    assert order.index("one") < 50


@pytest.mark.parametrize("cut", range(1, len(POST), 7))
def test_it_does_not_matter_where_the_bytes_are_cut(cut: int) -> None:
    with serving() as listener, Client(listener.address) as client:
        client.send(POST[:cut])
        gevent.sleep(0.001)
        assert client.send(POST[cut:]).read_reply()[0] == 200


def test_chunked_bodies_are_read() -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (MAIL[:10], MAIL[10:])) + b"0\r\n\r\n"
    with serving() as listener:
        _, _, body = ask(listener, b"POST /checkv2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert json.loads(body)["score"] == len(MAIL)


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    head = b"POST /checkv2 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(MAIL)
    with serving() as listener, Client(listener.address) as client:
        client.send(head)
        assert client.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.send(MAIL).read_reply()[0] == 200


@pytest.mark.parametrize("path", [b"/ping", b"/PING", b"/ping?x=1"])
def test_ping_is_answered_with_pong(path: bytes) -> None:
    with serving() as listener:
        status, headers, body = ask(listener, b"GET %b HTTP/1.1\r\n\r\n" % path)
    assert (status, headers["content-type"], body) == (200, "text/plain", b"pong\r\n")


@pytest.mark.parametrize("path", [b"/checkV2", b"/CHECKV2", b"/checkv2?from=a@b"])
def test_paths_are_case_insensitive(path: bytes) -> None:
    with serving() as listener:
        assert ask(listener, POST.replace(b"/checkv2", path))[0] == 200


def test_a_get_may_have_a_body() -> None:
    with serving() as listener:
        _, _, body = ask(listener, POST.replace(b"POST", b"GET"))
    assert json.loads(body)["score"] == len(MAIL)


def test_an_unknown_path_is_an_error_that_is_told() -> None:
    with serving() as listener:
        status, _, body = ask(listener, b"GET /nothing HTTP/1.1\r\n\r\n")
    assert (status, json.loads(body)) == (500, {"error": "invalid command"})


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /checkv2 HTTP/1.1\r\nContent-Length: 100001\r\n\r\n", 413),
        (b"POST /checkv2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"186a1\r\n" + b"x" * 100_001, 413),
        (b"POST /checkv2 HTTP/1.1\r\n\r\n", 411),
        (b"POST /checkv2 HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"EHLO mx.example.org\r\n", 400),
        (b"\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /ping HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n", 431),
    ],
)
def test_what_is_wrong_with_a_request_is_said_and_the_connection_closed(request_: bytes, status: int) -> None:
    with serving() as listener, Client(listener.address) as client:
        got, headers, body = client.send(request_).read_reply()
        assert (got, headers["connection"], set(json.loads(body))) == (status, "close", {"error"})
        assert client.is_closed


def test_a_fault_after_a_good_request_does_not_take_its_answer_away() -> None:
    with serving() as listener, Client(listener.address) as client:
        data = client.send(KEEP + b"garbage\r\n\r\n").end().read_all()
    assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"400"]


def test_a_scan_that_fails_is_an_error_and_the_next_one_works(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([ValueError("inside"), Overloaded("too many"), None])

    def scan(request: ScanRequest) -> Verdict:
        if error := next(outcomes):
            raise error
        return echo(request)

    with serving(scan) as listener, Client(listener.address) as client:
        assert [client.send(KEEP).read_reply()[0] for _ in range(3)] == [500, 503, 200]
    assert "ValueError: inside" in caplog.text


def test_a_dripping_client_is_cut_at_the_timeout_and_others_are_served() -> None:
    with serving(timeout=0.3) as listener, Client(listener.address) as slow:

        def drip() -> None:
            for byte in POST:
                slow.send(bytes([byte]))
                gevent.sleep(0.02)

        dripping = gevent.spawn(drip)
        dripping.link_exception(lambda _: None)
        assert ask(listener, POST)[0] == 200
        assert slow.read_all() == b""
        dripping.kill()


def test_an_idle_connection_is_closed_after_its_time() -> None:
    with serving(keepalive_timeout=0.05) as listener, Client(listener.address) as client:
        client.send(KEEP).read_reply()
        assert client.is_closed


def test_a_client_that_goes_away_in_the_middle_is_forgotten() -> None:
    with serving() as listener:
        with Client(listener.address) as client:
            client.send(POST[:50])
        for _ in range(100):
            gevent.sleep(0.01)
            if not listener.open:
                break
        assert listener.open == 0
        assert ask(listener, POST)[0] == 200


def test_a_drain_ends_idle_connections_and_answers_what_has_begun() -> None:
    def slow(request: ScanRequest) -> Verdict:
        gevent.sleep(0.2)
        return echo(request)

    with serving(slow) as listener, Client(listener.address) as idle, Client(listener.address) as busy:
        idle.send(b"GET /ping HTTP/1.1\r\nConnection: keep-alive\r\n\r\n").read_reply()
        busy.send(KEEP)
        gevent.sleep(0.05)
        ending = gevent.spawn(listener.drain, 5.0)
        assert idle.is_closed
        status, headers, _ = busy.read_reply()
        assert (status, headers["connection"]) == (200, "close")
        assert ending.get(timeout=5) == 0


def test_a_refusal_during_a_drain_does_not_promise_a_further_request() -> None:
    started: Any = Event()
    going_on: Any = Event()

    def full(request: ScanRequest) -> Verdict:
        started.set()
        going_on.wait(5)
        raise Overloaded("too many")

    with serving(full) as listener, Client(listener.address) as client:
        client.send(KEEP)
        assert started.wait(5)
        ending = gevent.spawn(listener.drain, 5.0)
        while not listener.draining:
            gevent.sleep(0)
        going_on.set()
        status, headers, _ = client.read_reply()
        assert (status, headers["connection"]) == (503, "close")
        assert client.is_closed
        assert ending.get(timeout=5) == 0


def test_at_the_limit_of_connections_further_ones_wait_and_are_served() -> None:
    server = HttpServer(echo, max_message=100_000)
    listener = Listener(open_socket(("127.0.0.1", 0)), server.serve, crew=Crew(), max_connections=2)
    listener.start()
    try:
        with Client(listener.address) as first, Client(listener.address) as second, Client(listener.address) as third:
            for client in (first, second):
                client.send(KEEP).read_reply()
            third.send(POST)
            gevent.sleep(0.05)
            assert listener.open == 2
            first.sock.close()
            assert third.read_reply()[0] == 200
    finally:
        listener.drain(0.2)


def test_one_mail_by_http_has_the_engines_verdict() -> None:
    def rule(task: object) -> tuple[bool, str]:
        return True, "option"

    engine = engine_of(rule)
    with serving(engine.scan) as listener:
        _, _, body = ask(listener, POST)
    assert json.loads(body)["symbols"] == {"RULE": {"name": "RULE", "score": 1.0, "metric_score": 1.0, "options": ["option"]}}


def test_many_connections_at_once_each_get_their_own_answer() -> None:
    def scan(request: ScanRequest) -> Verdict:
        gevent.sleep(0.02)
        return echo(request)

    with serving(scan) as listener:
        replies = at_once(
            partial(ask, listener, POST.replace(b"HTTP/1.1", b"HTTP/1.1\r\nQueue-Id: %d" % number, 1)) for number in range(200)
        )
    assert [json.loads(body)["messages"]["qid"] for _, _, body in replies] == [str(number) for number in range(200)]


# -- a replaced body


def replacing(request: ScanRequest) -> Verdict:
    return Verdict("no action", 0.0, 15.0, body=b"new\nbody\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [("body_block", MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\nnew\r\nbody\r\n"), ("body_block, milter", b"new\nbody\n")],
)
def test_who_asks_for_it_gets_the_new_message_behind_the_json(flags: str, message: bytes) -> None:
    with serving(replacing) as listener:
        asked = POST.replace(b"HTTP/1.1", b"HTTP/1.1\r\nFlags: " + flags.encode(), 1)
        _, headers, body = ask(listener, asked)
    offset = int(headers["message-offset"])
    assert json.loads(body[:offset])["action"] == "no action"
    assert body[offset:] == message


def test_who_does_not_ask_gets_json_only() -> None:
    with serving(replacing) as listener:
        _, headers, body = ask(listener, POST)
    assert "message-offset" not in headers
    assert json.loads(body)["action"] == "no action"


@pytest.mark.parametrize("path", [b"/check", b"/Symbols", b"/scan"])
def test_the_old_commands_get_the_old_reply(path: bytes) -> None:
    with serving() as listener:
        status, _, body = ask(listener, POST.replace(b"/checkv2", path))
    reply = json.loads(body)
    assert (status, reply["default"]["score"], reply["default"]["required_score"]) == (200, len(MAIL), 15.0)


def test_a_raw_message_is_not_taken_apart() -> None:
    seen: list[int] = []

    def scan(request: ScanRequest) -> Verdict:
        seen.append(len(request.message.parts))
        return echo(request)

    multipart = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    with serving(scan) as listener:
        for raw in (b"", b"Raw: yes\r\n"):
            ask(listener, b"POST /checkv2 HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (raw, len(multipart), multipart))
    assert seen == [3, 1]


# -- compressed


PACK: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


def post(body: bytes, *lines: str, path: str = "/checkv2") -> bytes:
    head = "\r\n".join((f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *lines, "", ""))
    return head.encode() + body


@pytest.mark.parametrize("header", ["Compression", "Content-Encoding"])
@pytest.mark.parametrize("name", ["zstd", "ZSTD", "gzip", "deflate", "identity"])
def test_a_compressed_message_is_judged_as_it_was(header: str, name: str) -> None:
    with serving() as listener:
        status, headers, body = ask(listener, post(PACK[name.lower()](MAIL), f"{header}: {name}"))
    if name.lower() == "zstd":
        assert (headers["compression"], headers["content-encoding"]) == ("zstd", "zstd")
        body = zstandard.decompress(body)
    else:
        assert not {"compression", "content-encoding"} & set(headers)
    assert (status, json.loads(body)["score"]) == (200, len(MAIL))


def test_a_compressed_reply_holds_json_and_the_new_message() -> None:
    with serving(replacing) as listener:
        _, headers, body = ask(listener, post(PACK["zstd"](MAIL), "Compression: zstd", "Flags: body_block"))
    body, offset = zstandard.decompress(body), int(headers["message-offset"])
    assert json.loads(body[:offset])["action"] == "no action"
    assert body[offset:] == MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\nnew\r\nbody\r\n"


@pytest.mark.parametrize(
    ("body", "coding", "status", "error"),
    [
        (MAIL, "lzma", 503, "Invalid compression method"),
        (MAIL, "zstd", 503, "Decompression error: zstd: Unknown frame descriptor"),
        (PACK["zstd"](MAIL)[:-1], "zstd", 503, "Decompression error: zstd: "),
        (PACK["zstd"](b"\0" * 100_001), "zstd", 413, "Decompression error: more than 100000 bytes when decompressed"),
        (PACK["gzip"](b"\0" * 10_000_000), "gzip", 413, "Decompression error: more than 100000 bytes when decompressed"),
    ],
)
def test_what_cannot_be_decompressed_is_an_error_and_the_connection_goes_on(
    body: bytes, coding: str, status: int, error: str
) -> None:
    with serving() as listener, Client(listener.address) as client:
        asked = post(body, f"Compression: {coding}", "Connection: keep-alive")
        got, _, reply = client.send(asked).read_reply()
        told = json.loads(reply)
        assert (got, set(told), told["error"][: len(error)]) == (status, {"error"}, error)
        assert client.send(POST).read_reply()[0] == 200


@pytest.mark.parametrize("line", ["File: /etc/passwd", "Path: /etc/passwd", "Shm: /mail", None])
def test_a_file_named_by_a_client_is_not_opened_and_not_taken_for_an_empty_message(line: str | None) -> None:
    path = "/checkv2" if line else "/checkv2?file=%2Fetc%2Fpasswd"
    with serving() as listener:
        status, _, body = ask(listener, post(b"", *([line] if line else []), path=path))
        assert status == 400
        assert "not opened" in json.loads(body)["error"]
        # With the message there, the name is one more thing the client tells.
        assert json.loads(ask(listener, post(MAIL, *([line] if line else []), path=path))[2])["score"] == len(MAIL)


# -- what clients tell of a message


def test_headers_of_all_kinds_reach_the_rules_and_none_fails_a_scan() -> None:
    seen: list[ScanRequest] = []

    def scan(request: ScanRequest) -> Verdict:
        seen.append(request)
        return echo(request)

    lines = (
        "Rcpt: <a@x.example>",
        "RCPT: b@x.example, c@x.example",
        "Ip:",
        "User:",
        "SPF: [object Object]",
        "Helo: \x01\x7f café",
        "From: <>",
        "Settings: {broken",
        "Log-Tag: tag",
        "Queue-ID: q1",
        "Mta-Name: mx.example.org",
        "Pass: All",
        "Flags: groups,,body_block , unknown",
        "URL-Format: Extended",
    )
    with serving(scan) as listener:
        assert ask(listener, post(MAIL, *lines, path="/checkv2?helo=second&deliver-to=joe%2Bx"))[0] == 200
    envelope = seen[0].envelope
    assert envelope.rcpts == ["a@x.example", "b@x.example", "c@x.example"]
    assert (envelope.get("ip"), envelope.ip, envelope.user) == ("", None, "")
    assert (envelope.mail_from, envelope.log_tag, envelope.queue_id, envelope.mta_name) == ("", "tag", "q1", "mx.example.org")
    assert (envelope.get("spf"), envelope.get_all("helo")) == ("[object Object]", ["\x01\x7f café", "second"])
    assert envelope.deliver_to == "joe+x"
    assert envelope.flags == {"pass_all", "groups", "body_block", "unknown", "ext_urls"}


@pytest.mark.parametrize("line", ["Profile: yes", "Flags: profile"])
def test_the_time_of_each_rule_is_told_on_request(line: str) -> None:
    def rule(task: object) -> bool:
        return True

    with serving(engine_of(rule).scan) as listener:
        assert set(json.loads(ask(listener, post(MAIL, line))[2])["profile"]) == {"RULE"}
        assert "profile" not in json.loads(ask(listener, POST)[2])


def test_links_are_objects_on_request() -> None:
    mail = MAIL + b"See http://www.example.org/x?y=z\r\n"
    with serving(engine_of().scan) as listener:
        assert json.loads(ask(listener, post(mail, "URL-Format: extended"))[2])["urls"] == [
            {"url": "http://www.example.org/x?y=z", "tld": "example.org", "host": "www.example.org", "flags": []}
        ]


def test_who_passes_all_has_all_rules_run() -> None:
    def first(task: object) -> float:
        return 100.0

    def second(task: object) -> bool:
        return True

    rules = [rule_of(first, priority=9), rule_of(second)]
    with serving(engine_of(*rules).scan) as listener:
        symbols = [set(json.loads(ask(listener, post(MAIL, line))[2])["symbols"]) for line in ("Pass: all", "X: y")]
    assert symbols[0] == {"FIRST", "SECOND"}


def test_a_message_no_rule_had_time_for_is_an_error() -> None:
    def slow(task: Task) -> None:
        task.sleep(10.0)

    def quick(task: Task) -> bool:
        return True

    with serving(engine_of(slow, task_timeout=0.05).scan) as listener:
        status, _, body = ask(listener, POST)
        assert (status, set(json.loads(body))) == (503, {"error"})
    with serving(engine_of(slow, quick, task_timeout=0.05).scan) as listener:
        status, _, body = ask(listener, POST)
        assert (status, set(json.loads(body)["symbols"])) == (200, {"QUICK"})
        assert "SLOW: timeout" in json.loads(body)["messages"]["rule_failures"]
