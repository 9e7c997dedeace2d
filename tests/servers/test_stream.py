"""Streams over real connections: stages, verdicts, forwarding, limits, and what is left when they are over."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from tests.support.partners import free_port
from tests.support.streams import Gate, backend, gate

HELLO = """
    from filterd import Txn, action

    @action("hello_world", stages={"tcp.request"})
    def hello_world(txn: Txn) -> None:
        txn.res_channel().send("hello world\\n")
"""


def actions(body: str) -> str:
    """A rule file with what most of them need."""
    return (
        "from math import inf\n"
        "from filterd import Channel, PhaseError, Txn, action, dns, http, process_vars, service, sleep, tcp_sync\n" + body
    )


# -- hello world


@pytest.mark.parametrize("pieces", [(), (b"anybody there?\n",), (b"a", b"b", b"c")])
def test_hello_world_comes_with_and_without_the_client_sending(tmp_path: Path, pieces: tuple[bytes, ...]) -> None:
    with gate(tmp_path, HELLO, 'request = "hello_world"') as one, one.client() as client:
        for piece in pieces:
            client.send(piece)
        # Not ended by the client: the listener has no server, so it ends the connection.
        assert client.read_all() == b"hello world\n"


def test_a_client_that_sends_much_gets_its_answer_all_the_same(tmp_path: Path) -> None:
    """Closing with unread data in the socket would reset the connection, and could take the answer away."""
    with gate(tmp_path, HELLO, 'request = "hello_world"') as one:
        assert one.ask(b"x" * 300_000) == b"hello world\n"


# -- stages and verdicts


STAGES = actions("""
import filterd

seen = []

def note(txn: Txn) -> None:
    seen.append(txn.stage)

for stage in ("accept", "request", "response", "close"):
    action(stage, stages={f"tcp.{stage}"})(note)
""")
ALL = 'accept = "accept"\nrequest = "request"\nresponse = "response"\nclose = "close"\n'


def seen_by(one: Gate, name: str = "seen") -> Any:
    return getattr(one.assembly.rules.modules[0], name)


def test_the_stages_of_a_stream_come_in_order(tmp_path: Path) -> None:
    with backend() as server, gate(tmp_path, STAGES, ALL + server.toml) as one:
        assert one.ask(b"through\n") == b"through\n"
        one.wait_idle()
        assert seen_by(one) == ["tcp.accept", "tcp.request", "tcp.response", "tcp.close"]


VERDICTS = actions("""
seen = []

@action("first", stages="tcp.request")
def first(txn: Txn) -> None:
    word = txn.req.get_line().decode().strip()
    seen.append(word)
    if word == "reject":
        txn.reject("554 5.7.1 no")
    if word == "bytes":
        txn.reject(b"no\\n")
    if word == "mute":
        txn.reject()
    if word == "drop":
        txn.drop()
    if word == "accept":
        txn.accept()
    if word == "stop":
        txn.stop()
    if word == "done":
        txn.res.send("before\\n")
        txn.done()
    if word == "deep":
        try:
            txn.spawn(txn.drop).get()
        except Exception:
            seen.append("swallowed")

@action("second", stages="tcp.request, tcp.response")
def second(txn: Txn) -> None:
    seen.append(txn.stage)

@action("last", stages="tcp.close")
def last(txn: Txn) -> None:
    seen.append("close")
""")


@pytest.mark.parametrize(
    ("word", "answer", "stages", "counted"),
    [
        ("continue", b"rest", ["tcp.request", "tcp.response", "close"], "ended"),
        ("stop", b"rest", ["tcp.response", "close"], "ended"),
        ("accept", b"rest", ["close"], "ended"),
        ("reject", b"554 5.7.1 no\r\n", ["close"], "rejected"),
        ("bytes", b"no\n", ["close"], "rejected"),
        ("mute", b"", ["close"], "rejected"),
        ("drop", b"", ["close"], "dropped"),
        ("deep", b"", ["close"], "dropped"),
        ("done", b"before\n", ["close"], "ended"),
    ],
)
def test_a_verdict_decides_what_comes_next(tmp_path: Path, word: str, answer: bytes, stages: list[str], counted: str) -> None:
    toml = 'request = ["first", "second"]\nresponse = "second"\nclose = "last"\n'
    with backend() as server, gate(tmp_path, VERDICTS, toml + server.toml) as one:
        try:
            assert one.ask(f"{word}\n".encode(), b"rest") == answer
        except OSError:
            assert counted == "dropped"  # with a byte unread a connection ends by a reset
        one.wait_idle()
        assert seen_by(one) == [word, *stages]
        assert getattr(one.counts, counted) == 1
        assert server.seen == (1 if answer == b"rest" else 0)
        assert one.failures == []


def test_a_verdict_on_the_response_ends_the_stream_and_is_told_to_the_client(tmp_path: Path) -> None:
    rules = actions("""
@action("no_secrets", stages="tcp.response")
def no_secrets(txn: Txn) -> None:
    while (line := txn.res.readline()) is not None:
        if b"secret" in line:
            txn.reject("not for you")
        txn.res.send(line)
""")
    with backend() as server, gate(tmp_path, rules, 'response = "no_secrets"\n' + server.toml) as one:
        with one.client() as client:
            client.send(b"open\nsecret\nmore\n")
            assert client.read_all() == b"open\nnot for you\r\n"
        one.wait_idle()
        assert one.counts.rejected == 1


def test_who_is_known_at_accept_is_the_address_only(tmp_path: Path) -> None:
    rules = actions("""
seen = []

@action("look", stages="tcp.accept")
def look(txn: Txn) -> None:
    seen.append((txn.ip, txn.port, txn.destination, txn.listener, txn.id != "", txn.req.in_len))
    txn.res.send("220 wait\\n")
""")
    with gate(tmp_path, rules, 'accept = "look"') as one, one.client() as client:
        assert client.read_all() == b"220 wait\n"
        assert seen_by(one) == [("127.0.0.1", client.sock.getsockname()[1], one.address, "gate", True, 0)]


# -- conditions


def test_conditions_decide_which_action_runs(tmp_path: Path) -> None:
    rules = actions("""
for name in ("a", "b", "c", "d", "e"):
    def send(txn: Txn, name: str = name) -> None:
        txn.res.send(name)
    action(name)(send)
""")
    toml = """
        request = [
            "a if ip in friends",
            "b if not ip in friends",
            "c if ip.ipmask(8) == '127.0.0.0' and port > 0",
            "d if listener == 'other' or destination_port == 1",
            "e if req ~ /^GET / or not req",
        ]
        [maps.friends]
        source = "file:friends.map"
        type = "ip"
    """
    (tmp_path / "friends.map").write_text("127.0.0.0/8\n")
    with gate(tmp_path, rules, toml) as one:
        assert one.ask() == b"ace"
    (tmp_path / "friends.map").write_text("192.0.2.0/24\n")
    with gate(tmp_path, rules, toml) as one:
        assert one.ask() == b"bce"


# -- forwarding


def test_what_an_action_does_to_the_bytes_reaches_the_server_exactly(tmp_path: Path) -> None:
    rules = actions("""
@action("edit")
def edit(txn: Txn) -> None:
    assert txn.req.peek(6) == b"first\\n"
    txn.req.forward(3)
    assert (txn.req.in_len, txn.req.out_len) == (txn.req.get_in_length(), txn.req.get_out_length()) == (16, 3)
    txn.req.send("[sent]")
    assert txn.req.get_line() == b"st\\n"
    txn.req.prepend("[before]")
    txn.req.append("[behind]")
    assert txn.req.dup() == b"[before]second\\nthird\\n[behind]"
    assert txn.req.remove(1, 6) == 6
    assert txn.req.insert(1, "b") == 1
""")
    with backend() as server, gate(tmp_path, rules, 'request = "edit"\n' + server.toml) as one:
        assert one.ask(b"first\nsecond\nthird\n") == b"fir[sent][b]second\nthird\n[behind]"
        assert one.failures == []


def test_set_replaces_what_has_arrived(tmp_path: Path) -> None:
    rules = actions("""
@action("edit")
def edit(txn: Txn) -> None:
    txn.req.peek(timeout=5)
    assert txn.req.set("new") == 3
""")
    with backend() as server, gate(tmp_path, rules, 'request = "edit"\n' + server.toml) as one:
        assert one.ask(b"old") == b"new"


def test_forward_waits_for_what_has_not_come_and_is_bounded_by_no_buffer(tmp_path: Path) -> None:
    rules = actions("""
seen = []

@action("count")
def count(txn: Txn) -> None:
    seen.append(txn.req.forward(5000))
    seen.append(txn.req.forward(10_000_000))
""")
    with backend() as server, gate(tmp_path, rules, f'request = "count"\nbuffer = "1k"\n{server.toml}') as one:
        data = os.urandom(9000)
        assert one.ask(data[:10], data[10:6000], data[6000:]) == data
        assert seen_by(one) == [5000, 4000]


@pytest.mark.parametrize("sends", [True, False])
def test_a_server_that_speaks_first_is_heard(tmp_path: Path, sends: bool) -> None:
    def greet(sock: Any) -> None:
        sock.sendall(b"220 hello\n")
        if sends:
            assert sock.recv(10) == b"QUIT\n"
        sock.sendall(b"221 bye\n")

    with backend(greet) as server, gate(tmp_path, HELLO, server.toml) as one:
        assert one.ask(*([b"QUIT\n"] if sends else []), ends=False) == b"220 hello\n221 bye\n"


def digest_of(sock: Any, pause: Callable[[], None]) -> tuple[int, str]:
    found, size = hashlib.sha256(), 0
    while data := sock.recv(65536):
        found.update(data)
        size += len(data)
        pause()
    return size, found.hexdigest()


def never() -> None: ...


def now_and_then() -> None:
    gevent.sleep(0)


@pytest.mark.parametrize("slow_reader", [never, now_and_then])
@pytest.mark.parametrize("slow_writer", [never, now_and_then])
@pytest.mark.parametrize("half_close", ["client", "server", "both at once"])
def test_a_large_stream_arrives_unchanged(
    tmp_path: Path, slow_reader: Callable[[], None], slow_writer: Callable[[], None], half_close: str
) -> None:
    """Both ways at once, with a short write and a long one, and each order in which the sides end; bench/ has the long form."""
    size = 4 * 2**20
    block = os.urandom(65536)
    told: dict[str, tuple[int, str]] = {}
    ended = gevent.event.Event()

    def write(sock: Any, own: str) -> None:
        for _ in range(size // len(block)):
            sock.sendall(block)
            slow_writer()
        if half_close not in (own, "both at once"):
            ended.wait()
        sock.shutdown(gsocket.SHUT_WR)
        ended.set()

    def serve(sock: Any) -> None:
        writer = gevent.spawn(write, sock, "server")
        told["server"] = digest_of(sock, slow_reader)
        writer.get()

    expected = size, hashlib.sha256(block * (size // len(block))).hexdigest()
    with backend(serve) as server, gate(tmp_path, HELLO, server.toml) as one, one.client() as client:
        writer = gevent.spawn(write, client.sock, "client")
        told["client"] = digest_of(client.sock, slow_reader)
        writer.get()
        one.wait_idle()
        server.wait_idle()
        assert told == {"client": expected, "server": expected}
        assert (one.counts.received, one.counts.sent, one.counts.ended) == (size, size, 1)


def test_who_does_not_read_stops_who_sends(tmp_path: Path) -> None:
    """What is under way is bounded: by the buffers of the sockets and one read of ours."""
    sent = 0
    stop = gevent.event.Event()

    def flood(sock: Any) -> None:
        nonlocal sent
        assert sock.recv(2) == b"go"
        sock.settimeout(0.3)
        try:
            while True:
                sent += sock.send(b"x" * 65536)
        except TimeoutError:
            stop.set()

    with backend(flood) as server, gate(tmp_path, HELLO, server.toml) as one, one.client() as client:
        client.send(b"go")
        assert stop.wait(15)
        assert one.counts.open == 1
        read = 0
        while data := client.sock.recv(65536):
            read += len(data)
        assert read == sent


# -- servers


def test_the_next_server_is_asked_when_one_cannot_be_reached(tmp_path: Path) -> None:
    dead = free_port()
    with backend() as server:
        toml = f'server = ["127.0.0.1:{dead}", "unix:{tmp_path}/none.sock", "127.0.0.1:{server.port}"]'
        with gate(tmp_path, HELLO, toml) as one:
            assert [one.ask(b"x"), one.ask(b"y")] == [b"x", b"y"]


def test_a_stream_without_a_reachable_server_ends_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dead = free_port()
    with gate(tmp_path, HELLO, f'server = "127.0.0.1:{dead}"') as one:
        assert one.ask(b"x") == b""
        one.wait_idle()
        assert (one.counts.unreachable, one.counts.open) == (1, 0)
    assert re.search(rf"no server \(connect: Connection refused .*127\.0\.0\.1:{dead}", caplog.text)


def test_an_action_can_answer_for_a_server_that_is_away(tmp_path: Path) -> None:
    rules = actions("""
from filterd import RequestFailed

@action("polite")
def polite(txn: Txn) -> None:
    try:
        txn.connect()
    except RequestFailed:
        txn.reject("421 4.3.2 try again later")
""")
    dead = free_port()
    with gate(tmp_path, rules, f'request = "polite"\nserver = "127.0.0.1:{dead}"') as one:
        assert one.ask() == b"421 4.3.2 try again later\r\n"
        one.wait_idle()
        assert (one.counts.rejected, one.counts.unreachable) == (1, 0)


def test_a_listener_without_a_server_says_so_to_who_sends_to_it(tmp_path: Path) -> None:
    rules = actions('@action("ask")\ndef ask(txn: Txn) -> None:\n    txn.req.send("x")\n')
    with gate(tmp_path, rules, 'request = "ask"') as one:
        assert one.ask() == b""
        assert "closed: this listener has no server" in one.texts()[0]


# -- limits


def test_connections_of_one_address_are_limited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with backend() as server, gate(tmp_path, HELLO, "max_per_address = 2\n" + server.toml) as one:
        with one.client() as first, one.client() as second:
            for client in (first, second):
                client.send(b"x")
                assert client.sock.recv(1) == b"x"
            assert one.ask() == b""
            assert one.counts.refused == 1
        while one.listener.open:
            gevent.sleep(0.002)
        assert one.ask(b"again") == b"again"
    assert "refused: 2 connections from 127.0.0.1 (max_per_address)" in caplog.text


def test_a_stream_in_which_nothing_moves_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with backend() as server, gate(tmp_path, HELLO, 'idle_timeout = "200ms"\n' + server.toml) as one:
        with one.client() as client:
            client.send(b"x")
            assert client.read_all() == b"x"
        one.wait_idle()
        assert one.counts.timeouts == 1
    assert "timed out (timeout: idle for 0.2 s (idle_timeout)" in caplog.text


def test_what_moves_one_way_keeps_the_other_way_open(tmp_path: Path) -> None:
    """The server says nothing for longer than the idle time, and is not idle: the client sends."""

    def swallow(sock: Any) -> None:
        while sock.recv(65536):
            pass
        sock.sendall(b"got it all")

    toml = 'idle_timeout = "1s"\n'
    with backend(swallow) as server, gate(tmp_path, HELLO, toml + server.toml) as one, one.client() as client:
        for _ in range(15):
            client.send(b"x")
            gevent.sleep(0.1)
        assert client.end().read_all() == b"got it all"


def test_a_peer_that_drips_defeats_the_idle_time_but_not_the_life_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def drip(sock: Any) -> None:
        while True:
            sock.sendall(b".")
            gevent.sleep(0.05)

    with backend(drip) as server, gate(tmp_path, HELLO, 'idle_timeout = "800ms"\ntimeout = "1200ms"\n' + server.toml) as one:
        with one.client() as client:
            assert set(client.read_all()) == {ord(".")}
        one.wait_idle()
        assert one.counts.timeouts == 1
    assert "the time of the connection is over" in caplog.text


# -- what is left


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def sockets_in(state: str, port: int) -> int:
    """How many sockets of our port are in a state of TCP, as the kernel lists them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == state for line in lines)


CLOSE_WAIT = "08"


def test_close_wait_lf(tmp_path: Path) -> None:
    """HAProxy's close_wait_lf: who sends junk that nobody reads, and leaves, leaves nothing behind."""
    with gate(tmp_path, HELLO, 'request = "hello_world"') as one:
        one.ask()
        before = descriptors()
        for number in range(100):
            with one.client() as client:
                client.send(b"GET / HTTP/1.1\nHost: x\n\n" + bytes(number))
        one.wait_idle(accepted=101)
        assert descriptors() == before
        assert sockets_in(CLOSE_WAIT, one.listener.address[1]) == 0  # type: ignore[arg-type]  # a port, not a path


@pytest.mark.parametrize("how", ["forwarded", "rejected", "reset", "no server"])
def test_many_short_connections_leave_no_descriptor(tmp_path: Path, how: str) -> None:
    rules = actions("""
@action("no")
def no(txn: Txn) -> None:
    txn.reject("no")
""")

    def one_round(one: Gate) -> None:
        with one.client() as client:
            client.send(b"hello")
            if how == "reset":
                client.sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                client.end().read_all()

    with backend() as server:
        toml = 'request = "no"\n' if how in ("rejected", "no server") else ""
        with gate(tmp_path, rules, toml + (server.toml if how != "no server" else "")) as one:
            one_round(one)
            one.wait_idle()
            server.wait_idle()
            before = descriptors()
            for _ in range(10):
                gevent.joinall([gevent.spawn(one_round, one) for _ in range(20)], raise_error=True)
            one.wait_idle(accepted=201)
            server.wait_idle()
            assert descriptors() == before
            assert one.counts.open == 0


def test_two_hundred_idle_streams_cost_nobody_anything(tmp_path: Path) -> None:
    with backend() as server, gate(tmp_path, HELLO, server.toml) as one:
        clients = [one.client() for _ in range(200)]
        for client in clients:
            client.send(b"x")
            assert client.sock.recv(1) == b"x"
        assert (one.counts.open, server.open) == (200, 200)
        assert one.ask(b"one more") == b"one more"
        for client in clients:
            client.send(b"y")
            assert client.sock.recv(1) == b"y"
            client.sock.close()
        one.wait_idle()


def test_at_the_end_of_the_worker_streams_are_cut_and_closed(tmp_path: Path) -> None:
    with backend() as server, gate(tmp_path, HELLO, server.toml) as one, one.client() as client:
        client.send(b"x")
        assert client.sock.recv(1) == b"x"
        assert one.listener.drain(0.1) == 1
        assert client.read_all() == b""
        server.wait_idle()
        assert one.counts.open == 0


# -- proxies


V1 = b"PROXY TCP4 192.0.2.77 192.0.2.25 4711 25\r\n"
WHO = """
    from filterd import Txn, action

    @action("who", stages={"tcp.accept"})
    def who(txn: Txn) -> None:
        txn.res.send(f"{txn.ip} {txn.port} {txn.destination}\\n")
"""


def test_behind_a_proxy_the_client_is_the_one_it_names(tmp_path: Path) -> None:
    with backend() as server:
        toml = 'accept = "who"\naccept_proxy = "127.0.0.1"\nsend_proxy = "v1"\nmax_per_address = 1\n' + server.toml
        with gate(tmp_path, WHO, toml) as one:
            assert one.ask(V1 + b"x") == b"192.0.2.77 4711 ('192.0.2.25', 25)\n" + V1 + b"x"
            unknown = b"PROXY UNKNOWN\r\n"
            assert one.ask(unknown + b"x") == b"None None None\n" + unknown + b"x"
            with one.client() as first, one.client() as second:
                # Connections are counted by the client's address, not by the proxy's.
                for client, header in ((first, V1), (second, V1.replace(b".77", b".78"))):
                    client.send(header)
                    assert client.sock.recv(100).startswith(b"192.0.2.7")
                assert one.ask(V1) == b""
            assert one.counts.refused == 1


def test_a_header_from_who_may_not_send_one_ends_the_stream(tmp_path: Path) -> None:
    """Also when an action has asked for the bytes: none of them may be lost, and none believed."""
    rules = """
        from filterd import Txn, action

        @action("read")
        def read(txn: Txn) -> None:
            txn.req.peek(5)
    """
    with backend() as server:
        toml = 'request = "read"\naccept_proxy = "192.0.2.1"\n' + server.toml
        with gate(tmp_path, rules, toml) as one:
            assert one.ask(V1, ends=False) == b""
            one.wait_idle()
            assert (one.counts.broken, server.seen, one.failures) == (1, 0, [])
            assert one.ask(b"PROXI") == b"PROXI"


# -- what is counted


def test_what_became_of_streams_is_counted_by_listener_and_action(tmp_path: Path) -> None:
    with backend() as server, gate(tmp_path, VERDICTS, 'request = "first"\n' + server.toml) as one:
        one.ask(b"reject\n")
        one.ask(b"continue\n", b"12345")
        one.wait_idle(accepted=2)
        told = one.assembly.streams.snapshot()
        gate_counts = told["listeners"]["gate"]
        assert gate_counts.pop("seconds") > 0
        assert gate_counts == {
            **dict.fromkeys(("broken", "dropped", "open", "refused", "timeouts", "unreachable"), 0),
            "ended": 1,
            "rejected": 1,
            "received": 7 + 9 + 5,
            "sent": len(b"554 5.7.1 no\r\n") + 5,
        }
        runs, seconds, errors = told["actions"]["first"]
        assert (runs, errors) == (2, 0)
        assert seconds > 0
        assert told["actions"]["second"] == [0, 0.0, 0]


def test_a_bug_of_ours_closes_both_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with backend() as server, gate(tmp_path, HELLO, server.toml) as one:
        with one.client() as client:
            client.send(b"x")
            assert client.sock.recv(1) == b"x"
            monkeypatch.setattr("filterd.net.exchange.Direction.write", lambda *args: 1 / 0)
            client.send(b"y")
            assert client.read_all() == b""
        one.wait_idle()
        server.wait_idle()
        assert one.counts.broken == 1
    assert "ZeroDivisionError" in caplog.text


def test_the_servers_side_with_a_bug_of_ours_ends_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(sock: Any) -> None:
        sock.recv(1)
        monkeypatch.setattr("filterd.net.exchange.Direction.write", lambda *args: 1 / 0)
        sock.sendall(b"y")
        sock.recv(1)

    with backend(later) as server, gate(tmp_path, HELLO, server.toml) as one:
        with one.client() as client:
            client.send(b"x")
            assert client.read_all() == b""
        one.wait_idle()
        assert one.counts.broken == 1
    assert "listen.gate: serving 127.0.0.1" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_server_that_resets_ends_the_stream(tmp_path: Path) -> None:
    def reset(sock: Any) -> None:
        sock.recv(1)
        sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with backend(reset) as server, gate(tmp_path, HELLO, server.toml) as one, one.client() as client:
        client.send(b"x")
        assert client.read_all() == b""
        one.wait_idle()
        assert one.counts.broken == 1


def test_half_closed_the_client_still_gets_its_answer_later(tmp_path: Path) -> None:
    def answers_late(sock: Any) -> None:
        size = 0
        while data := sock.recv(65536):
            size += len(data)
        gevent.sleep(0.05)
        sock.sendall(b"%d bytes" % size)

    with backend(answers_late) as server, gate(tmp_path, HELLO, server.toml) as one:
        assert one.ask(b"x" * 100_000) == b"100000 bytes"
        one.wait_idle()
        assert one.counts.ended == 1


def test_a_server_that_has_said_all_still_gets_the_rest(tmp_path: Path) -> None:
    got = b""

    def says_first(sock: Any) -> None:
        nonlocal got
        sock.sendall(b"all I say")
        sock.shutdown(gsocket.SHUT_WR)
        while data := sock.recv(65536):
            got += data

    with backend(says_first) as server, gate(tmp_path, HELLO, server.toml) as one:
        with one.client() as client:
            assert client.read_all() == b"all I say"
            client.send(b"and ")
            gevent.sleep(0.01)
            client.send(b"more").end()
            one.wait_idle()
        server.wait_idle()
        assert got == b"and more"
