"""What HAProxy's own regression tests for Lua show, and what was seen of it, as behaviour of streams, each by its name."""

import re
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from filterd.engine.loader import LoadError
from tests.support.http_server import Asked, answer, http_serving
from tests.support.partners import free_port
from tests.support.streams import Gate, backend, gate, load

HEAD = (
    "from math import inf\n"
    "from filterd import (Channel, PhaseError, Txn, action, background, dns, extractor, http, on_load, process_vars, service,\n"
    "                     sleep, tcp, tcp_sync, transform)\n"
    "seen = []\n"
)


def seen_by(one: Gate, name: str = "seen") -> Any:
    return getattr(one.assembly.rules.modules[0], name)


# -- reg-tests/lua


def test_bad_http_clt_req_duration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An action on the response that sleeps does not shift the time that the log tells for the request."""
    rules = HEAD + '@action("slow", stages="tcp.response")\ndef slow(txn):\n    sleep(0.3)\n'
    with backend() as server, gate(tmp_path, rules, 'response = "slow"\n' + server.toml) as one:
        assert one.ask(b"x") == b"x"
        one.wait_idle()
    times = re.search(r"actions ([\d.]+) s, ([\d.]+) s", caplog.text)
    assert times is not None
    assert float(times[2]) - float(times[1]) >= 0.3


def test_h_txn_get_priv(tmp_path: Path) -> None:
    """`priv` and the variables of a transaction are fresh for each, and the same in all stages of one."""
    rules = (
        HEAD
        + """
@action("first")
def first(txn):
    seen.append((txn.priv, dict(txn.vars)))
    txn.priv = txn.vars["x"] = txn.vars["sess.y"] = len(seen)

@action("later", stages=["tcp.response", "tcp.close"])
def later(txn):
    seen.append((txn.stage, txn.priv, txn.vars["txn.x"], txn.vars["sess.y"]))
"""
    )
    toml = 'request = "first"\nresponse = "later"\nclose = "later"\n'
    with backend() as server, gate(tmp_path, rules, toml + server.toml) as one:
        for _ in range(2):
            assert one.ask(b"x") == b"x"
            one.wait_idle()
        assert seen_by(one) == [
            (None, {}),
            ("tcp.response", 1, 1, 1),
            ("tcp.close", 1, 1, 1),
            (None, {}),
            ("tcp.response", 4, 4, 4),
            ("tcp.close", 4, 4, 4),
        ]


def test_txn_get_priv(tmp_path: Path) -> None:
    """A service that calls filterd's own listener, again and again, does not wait for itself."""
    port = free_port()
    rules = (
        HEAD
        + f"""
@service("countdown")
def countdown(txn):
    number = int(txn.req.readline())
    if number == 0:
        txn.res.send("0\\n")
        return
    conn = tcp_sync.connect("127.0.0.1", {port}).unwrap()
    conn.write(f"{{number - 1}}\\n").unwrap()
    txn.res.send(f"{{number}} ".encode() + conn.read_until_eof().unwrap())
"""
    )
    with gate(tmp_path, rules, 'service = "countdown"', bind=f"127.0.0.1:{port}") as one:
        replies = [gevent.spawn(one.ask, b"10\n", ends=False) for _ in range(5)]
        assert [reply.get() for reply in replies] == [b"10 9 8 7 6 5 4 3 2 1 0\n"] * 5
        assert one.failures == []


def test_httpclient_action(tmp_path: Path) -> None:
    """A web request outlives the time of its action: the stream goes on, and the late reply harms nobody."""
    held = gevent.event.Event()

    def late(asked: Asked) -> bytes:
        held.wait()
        return answer(b"late")

    rules = (
        HEAD
        + """
@action("ask")
def ask(txn):
    try:
        http.request(URL, timeout=60)
    finally:
        seen.append("out")
"""
    )
    with http_serving(late) as web, backend() as server:
        rules = rules.replace("URL", repr(web.url()))
        with gate(tmp_path, rules, 'request = "ask"\ninspect_delay = "200ms"\n' + server.toml) as one:
            assert one.ask(b"goes on") == b"goes on"
            assert seen_by(one) == ["out"]
            assert re.match(r"ask: timeout: its inspect_delay of 0.2 s is over while", one.texts()[0])
            assert one.assembly.environment.network.http.stats.in_flight == 0
            held.set()
            gevent.sleep(0.01)
            assert one.ask(b"again") == b"again"


def test_lua_httpclient(tmp_path: Path) -> None:
    """60 KB posted, 54 KB in the reply, posted again; the Host header is the action's; a unix socket is a destination."""
    rules = (
        HEAD
        + """
@action("post")
def post(txn):
    body = b"0123456789" * 6000
    first = http.request(URL, method="POST", body=body, headers={"Host": "foobar.example"}).unwrap()
    second = http.request(URL, method="POST", body=first.content).unwrap()
    seen.append((first.code, len(first.content), second.content == first.content[:54000]))
    local = http.request("http://localhost/x", unix_socket=PATH, body="by the socket").unwrap()
    seen.append(local.content)
"""
    )
    with (
        http_serving(lambda asked: answer(asked.body[:54000])) as web,
        http_serving(lambda asked: answer(asked.body), unix=tmp_path / "web.sock") as local,
    ):
        rules = rules.replace("URL", repr(web.url())).replace("PATH", repr(str(tmp_path / "web.sock")))
        with gate(tmp_path, rules, 'request = "post"') as one:
            assert one.ask() == b""
            one.wait_idle()
            assert one.failures == []
            assert seen_by(one) == [(200, 54000, True), b"by the socket"]
        assert web.asked[0].one("Host") == "foobar.example"
        assert len(local.asked) == 1


def test_lua_socket(tmp_path: Path) -> None:
    """A background task waits for a variable, connects, and reads to the end."""
    rules = (
        HEAD
        + """
@background(restart="never")
def read_all():
    while "port" not in process_vars:
        sleep(0.001)
    conn = tcp_sync.connect("127.0.0.1", process_vars.pop("port")).unwrap()
    seen.append(conn.read_until_eof().unwrap())

@action("tell")
def tell(txn):
    txn.vars["proc.port"] = int(txn.req.readline())
"""
    )

    def much(sock: Any) -> None:
        sock.sendall(b"x" * 100_000)

    with backend(much) as server, gate(tmp_path, rules, 'request = "tell"') as one:
        one.ask(f"{server.port}\n".encode())
        while not seen_by(one):
            gevent.sleep(0.002)
        assert seen_by(one) == [b"x" * 100_000]


def test_set_var(tmp_path: Path) -> None:
    """Variables are made and overwritten, in three scopes; one that does not exist is refused, `replace` makes none."""
    rules = (
        HEAD
        + """
@action("vars")
def set_vars(txn):
    txn.vars["sess.a"] = 1
    txn.vars["sess.a"] = 2
    txn.vars["proc.count"] = txn.vars.get("proc.count", 0) + 1
    seen.append((txn.vars["sess.a"], txn.vars["proc.count"], process_vars["count"]))
    seen.append((txn.vars.replace("txn.new", 1), "new" in txn.vars, txn.vars.replace("sess.a", 3), txn.get("var('sess.a')")))
    try:
        txn.vars["foo.bar"] = 1
    except ValueError as error:
        seen.append(str(error))
"""
    )
    with gate(tmp_path, rules, 'request = "vars"') as one:
        for count in (1, 2):
            one.ask()
            one.wait_idle()
            assert seen_by(one)[-3:] == [
                (2, count, count),
                (False, False, True, 3),
                "variable 'foo.bar': there is no scope 'foo'; there are proc, sess, txn",
            ]
        assert one.failures == []
        del one.assembly.rules.modules[0].process_vars["count"]


def test_wrong_types_usage(tmp_path: Path) -> None:
    """A transform with wrong types is refused when it loads; where that cannot be known, it fails and the stream goes on."""
    rules = (
        HEAD
        + """
@transform("double", takes=int, returns=int)
def double(value, by: int = 2):
    return value * by

@transform("upper_only", takes=object, returns=str)
def upper_only(value):
    return value.upper()

@action("a")
def a(txn):
    txn.get("var('number').upper_only")

@action("b")
def b(txn):
    txn.res.send("b")

@action("set", stages="tcp.accept")
def set_number(txn):
    txn.vars["number"] = 4711
"""
    )
    for condition, told in (
        ("ip.double > 1", "double takes a whole number, and there is text"),
        ("port.double('x') > 1", "double"),
        ("port == 'x'", "never"),
    ):
        with pytest.raises(LoadError) as raised:
            load(tmp_path, rules, f'request = "b if {condition}"')
        assert told in str(raised.value)
    toml = """accept = "set"\nrequest = ["a", "b if var('number').upper_only == 'x'", "b"]"""
    with gate(tmp_path, rules, toml) as one:
        assert one.ask() == b"b"
        assert [(one.rule, one.kind) for one in one.failures] == [("a", "exception"), ("b", "exception")]


# -- seen of it


def test_blocking_looking_calls_of_many_streams_wait_together(tmp_path: Path) -> None:
    """Twenty streams ask a server that answers none before all twenty are there."""
    together = gevent.event.Event()
    waiting = 0

    def meet(sock: Any) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            together.set()
        together.wait()
        sock.sendall(b"yes\n")

    with backend(meet) as server:
        rules = (
            HEAD
            + f"""
@action("ask")
def ask(txn):
    txn.res.send(tcp_sync.connect("127.0.0.1", {server.port}).unwrap().read_until("\\n").unwrap())
"""
        )
        with gate(tmp_path, rules, 'request = "ask"') as one:
            replies = [gevent.spawn(one.ask) for _ in range(20)]
            assert [reply.get() for reply in replies] == [b"yes"] * 20


def test_an_extractor_that_sleeps_is_told_and_the_stream_goes_on(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@extractor("sleepy", returns=str, stage="tcp")
def sleepy(txn):
    sleep(0.01)
    return "x"

@extractor("reader", returns=str, stage="tcp")
def reader(txn):
    return str(txn.req.readline())

@action("a")
def a(txn):
    txn.res.send("never")
"""
    )
    toml = """request = ["a if sleepy == 'x'", "a if reader == 'x'"]\n"""
    with backend() as server, gate(tmp_path, rules, toml + server.toml) as one:
        assert one.ask(b"goes on") == b"goes on"
        assert [failure.rule for failure in one.failures] == ["a", "a"]
        assert all("an extractor or transform must not wait" in text for text in one.texts())


@pytest.mark.parametrize("body", ["while True: pass", "re.match(r'(a+)+$', 'a' * 40 + 'b')"])
def test_an_action_that_holds_the_loop_is_cut_while_others_are_served(tmp_path: Path, body: str) -> None:
    rules = f"""{HEAD}
import re

@action("runaway")
def runaway(txn):
    if txn.req.peek(3) == b"bad":
        {body}

@action("other")
def other(txn):
    txn.res.send("served")
"""
    toml = 'request = ["runaway", "other"]\n[limits]\nburst_timeout = "300ms"\n'
    with gate(tmp_path, rules, toml) as one, one.client() as bad:
        bad.send(b"bad")
        assert one.ask() == b"served"
        assert bad.read_all() == b"served"
        (told,) = one.texts()
        assert re.match(r"runaway: limit: held the loop for .* \(burst_timeout 0.3 s\) in runaway, .*rules.py:11", told)


def test_body_then_init_then_accept_then_task(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
seen.append("body")

@on_load
def init():
    seen.append("init")

@background(restart="never")
def task():
    seen.append("task")

@action("a", stages="tcp.accept")
def accept(txn):
    seen.append("accept")
"""
    )
    with gate(tmp_path, rules, 'accept = "a"') as one:
        assert seen_by(one) == ["body", "init"]
        one.ask()
        one.wait_idle()
        assert sorted(seen_by(one)[2:]) == ["accept", "task"]


BAD = {
    "request = 'helo_world'": "there is no action 'helo_world'; did you mean 'hello_world'?",
    "request = 'later'\nserver = '127.0.0.1:1'": "action 'later' is for tcp.response ({file}:9), and this is tcp.request",
    "service = 'hello_world'": "action 'hello_world' is for tcp.request ({file}:6), and this is tcp.service",
    "request = 'hello_world if subject == \"x\"'": "subject is known from stage message on",
    "request = 'hello_world if ipp == \"x\"'": "there is no value 'ipp'; did you mean 'ip'?",
    "request = 'hello_world if'": "'hello_world if' is not an action, or \"NAME if CONDITION\"",
    "request = 'hello_world if ip in nobody'": "there is no map 'nobody'",
    "request = ''": "'' is not an action",
}


@pytest.mark.parametrize("toml", BAD)
def test_what_does_not_exist_or_fit_is_refused_at_the_start(tmp_path: Path, toml: str) -> None:
    rules = (
        HEAD
        + """
@action("hello_world")
def hello_world(txn): ...

@action("later", stages="tcp.response")
def later(txn): ...
"""
    )
    with pytest.raises(LoadError) as raised:
        load(tmp_path, rules, toml)
    text = str(raised.value)
    assert BAD[toml].format(file=tmp_path / "rules.py") in text
    assert f"{tmp_path / 'filterd.toml'}: listen.gate." in text


def test_a_name_that_is_there_twice_is_refused_at_the_start(tmp_path: Path) -> None:
    one = 'from filterd import action\n\n@action("a")\ndef a(txn): ...\n'
    with pytest.raises(LoadError) as raised:
        load(tmp_path, {"one": one, "two": one}, "request = 'a'")
    assert str(raised.value) == f"{tmp_path / 'two.py'}:3: action 'a' is already registered at {tmp_path / 'one.py'}:3"


def test_readline_without_a_line_end(tmp_path: Path) -> None:
    """At the end of the stream the last piece is a line; when the time is over it stays where it is."""
    rules = (
        HEAD
        + """
@action("a", timeout=0.2)
def a(txn):
    try:
        while (line := txn.req.readline()) is not None:
            seen.append(line)
    finally:
        seen.append((txn.req.in_len, txn.req.eof))
"""
    )
    with backend() as server, gate(tmp_path, rules, 'request = "a"\n' + server.toml) as one:
        assert one.ask(b"one\ntw", b"o") == b""
        assert seen_by(one) == [b"one\n", b"two", (0, True)]
        seen_by(one).clear()
        with one.client() as client:
            client.send(b"half a line")
            assert client.sock.recv(100) == b"half a line"  # it went on to the server, nothing was eaten
            assert seen_by(one) == [(11, False)]
        assert "timeout: read from 127.0.0.1" in one.texts()[0]


def test_reading_the_wrong_direction_is_an_error_and_sending_to_it_is_not(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("wrong", stages=["tcp.accept", "tcp.request", "tcp.response", "tcp.close"])
def wrong(txn):
    for name, channel in (("req", txn.req_channel()), ("res", txn.res_channel())):
        for verb in ("dup", "get", "peek", "readline", "get_line", "forward"):
            if not channel.readable:
                try:
                    getattr(channel, verb)()
                except PhaseError as error:
                    seen.append((txn.stage, name))
                    text[0] = str(error)
    if txn.stage == "tcp.request":
        txn.res.send("from the request,")
    if txn.stage == "tcp.response":
        txn.res.send("from the response,")

text = [""]
"""
    )
    toml = 'accept = "wrong"\nrequest = "wrong"\nresponse = "wrong"\nclose = "wrong"\n'
    with backend() as server, gate(tmp_path, rules, toml + server.toml) as one:
        assert one.ask(b"x") == b"from the request,from the response,x"
        one.wait_idle()
        both = [[("tcp.accept", "req")] * 6, [("tcp.accept", "res")] * 6]
        ends = [[("tcp.close", "req")] * 6, [("tcp.close", "res")] * 6]
        middle = [[("tcp.request", "res")] * 6, [("tcp.response", "req")] * 6]
        assert seen_by(one) == [word for words in (*both, *middle, *ends) for word in words]
        (text,) = seen_by(one, "text")
        assert text == "txn.res.forward() in stage tcp.close: the response can be read in tcp.response only"


def test_an_action_that_fails_is_told_and_the_next_one_runs(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("broken")
def broken(txn):
    txn.sleep(0)
    1 / 0

@action("next")
def next_one(txn):
    txn.res.send("next")
"""
    )
    toml = 'request = ["broken", "next"]\n'
    with gate(tmp_path, rules, toml) as one:
        assert one.ask() == b"next"
        (failure,) = one.failures
        assert (failure.rule, failure.kind) == ("broken", "exception")
        assert failure.where == f"{tmp_path / 'rules.py'}:9"
        action = one.assembly.streams.loaded.actions["broken"]
        assert (action.runs, action.errors) == (1, 1)
    with gate(tmp_path, rules, toml + 'on_error = "drop"\n') as one:
        assert one.ask() == b""
        one.wait_idle()
        assert one.counts.dropped == 1


def test_an_action_that_waits_too_long_is_stopped_and_the_stream_goes_on(tmp_path: Path) -> None:
    """HAProxy without an inspect-delay ends such a connection at once; here there always is one."""
    rules = (
        HEAD
        + """
@action("long")
def long(txn):
    try:
        sleep(60)
    finally:
        seen.append("finally")

@action("next")
def next_one(txn):
    seen.append("next")

@action("own", timeout=5)
def own(txn):
    seen.append("own")
"""
    )
    toml = 'request = ["long", "next", "own"]\ninspect_delay = "100ms"\n'
    with backend() as server, gate(tmp_path, rules, toml + server.toml) as one:
        assert one.ask(b"goes on") == b"goes on"
        assert seen_by(one) == ["finally", "own"]
        first, second = one.texts()
        assert "timeout: its inspect_delay of 0.1 s is over while sleep" in first
        assert "timeout: not begun, the time of tcp.request is over (inspect_delay 0.1 s)" in second


def test_a_line_protocol_is_rewritten_for_as_long_as_the_connection(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("upper", timeout=inf)
def upper(txn):
    while (line := txn.req.readline()) is not None:
        txn.req.send(line.upper())

@action("count", stages="tcp.response", timeout=inf)
def count(txn):
    number = 0
    while (line := txn.res.readline()) is not None:
        number += 1
        txn.res.send(b"%d " % number + line)
"""
    )
    toml = 'request = "upper"\nresponse = "count"\ninspect_delay = "50ms"\n'
    with backend() as server, gate(tmp_path, rules, toml + server.toml) as one, one.client() as client:
        for number, word in enumerate(("one", "two", "three"), 1):
            client.send(f"{word}\n".encode())
            assert client.sock.recv(100) == f"{number} {word.upper()}\n".encode()
            gevent.sleep(0.06)
        assert client.send(b"last").end().read_all() == b"4 LAST"
        assert one.failures == []


def test_what_an_action_opens_is_closed_with_its_stage(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("leaky")
def leaky(txn):
    for port in PORTS:
        seen.append(tcp_sync.connect("127.0.0.1", port).unwrap())
"""
    )
    with backend() as server, backend() as asked:
        rules = rules.replace("PORTS", repr([asked.port] * 3))
        with gate(tmp_path, rules, 'request = "leaky"\n' + server.toml) as one, one.client() as client:
            client.send(b"x")
            assert client.sock.recv(1) == b"x"
            while asked.open or asked.seen < 3:
                gevent.sleep(0.002)


def test_what_an_action_starts_has_ended_before_the_stage_does(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("children")
def children(txn):
    def child(number):
        txn.sleep(0.01 * number)
        seen.append(number)
    txn.spawn(child, 3)
    seen.append(txn.map(lambda number: number * 2, [1, 2], limit=1))
    http.request("http://127.0.0.1:1/", callback=lambda err: seen.append(err.kind))

@action("next")
def next_one(txn):
    seen.append("next")
"""
    )
    with gate(tmp_path, rules, 'request = ["children", "next"]') as one:
        assert one.ask() == b""
        assert [sorted(map(str, seen_by(one)[1:-1])), seen_by(one)[0], seen_by(one)[-1]] == [["3", "connect"], [2, 4], "next"]
        assert one.failures == []


def test_one_megabyte_sent_by_an_action_arrives_whole(tmp_path: Path) -> None:
    """HAProxy delivered 48 KiB of it and then stood still."""
    rules = HEAD + '@action("big")\ndef big(txn):\n    seen.append(txn.res.send(b"x" * 1_000_000))\n'
    with gate(tmp_path, rules, 'request = "big"') as one:
        assert one.ask() == b"x" * 1_000_000
        assert seen_by(one) == [1_000_000]


def test_a_reset_in_the_middle_is_nobodys_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rules = HEAD + '@action("read", timeout=inf)\ndef read(txn):\n    while txn.req.readline() is not None:\n        pass\n'
    with gate(tmp_path, rules, 'request = "read"') as one:
        with one.client() as client:
            client.send(b"x\n")
            client.sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.wait_idle()
        assert one.failures == []
        assert one.counts.broken == 1
    assert "broken (closed: Connection reset by peer" in caplog.text


def test_all_actions_run_when_it_is_over_and_their_failures_are_told(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("ask", stages="tcp.close")
def ask(txn):
    seen.append(http.request(URL).unwrap().content)
    seen.append((txn.ip, txn.destination == ("127.0.0.1", txn.get("destination_port")), txn.get("destination")))

@action("broken", stages="tcp.close")
def broken(txn):
    1 / 0

@action("late", stages="tcp.close")
def late(txn):
    try:
        txn.res.send("too late")
    except Exception as error:
        seen.append(str(error))
    txn.stop()

@action("never", stages="tcp.close")
def never(txn):
    seen.append("never")
"""
    )
    toml = 'close = ["ask", "broken", "late", "never"]\ntimeout = "300ms"\nidle_timeout = "300ms"\n'
    with (
        http_serving(lambda asked: answer(b"noted")) as web,
        backend() as server,
        gate(tmp_path, rules.replace("URL", repr(web.url())), toml + server.toml) as one,
    ):
        # Its time is over, and that of what comes after it is not.
        assert one.ask(b"x", ends=False) == b"x"
        one.wait_idle()
        told = "the time of the connection is over (timeout)"
        assert seen_by(one) == [b"noted", ("127.0.0.1", True, "127.0.0.1"), told]
        assert [failure.rule for failure in one.failures] == ["broken"]
        assert one.counts.timeouts == 1


def test_a_bug_at_the_very_end_of_a_stream_is_told_too(tmp_path: Path) -> None:
    rules = (
        HEAD
        + """
@action("late", stages="tcp.response", timeout=inf)
def late(txn):
    try:
        sleep(60)
    finally:
        1 / 0

@action("drop", timeout=inf)
def drop(txn):
    txn.connect()
    txn.req.send("x")
    sleep(0.05)
    txn.drop()
"""
    )
    toml = 'request = "drop"\nresponse = "late"\n'
    with backend() as server, gate(tmp_path, rules, toml + server.toml) as one, one.client() as client:
        assert client.read_all() == b""
        one.wait_idle()
        assert [(failure.rule, failure.kind) for failure in one.failures] == [("late", "exception")]
        assert one.counts.dropped == 1


def test_an_action_that_cannot_be_cut_is_told_of_afterwards(tmp_path: Path) -> None:
    # A blocking system call of C code: no CPU time passes, and no signal comes.
    rules = (
        HEAD
        + """
import time

@action("blocks")
def blocks(txn):
    time.sleep(0.25)
    txn.res.send("after all")
"""
    )
    with gate(tmp_path, rules, 'request = "blocks"\n[limits]\nburst_timeout = "200ms"\n') as one:
        assert one.ask() == b"after all"
        (told,) = one.texts()
        assert "limit: held the loop for 0.2" in told
        assert "in code that could not be interrupted; its result counts" in told
