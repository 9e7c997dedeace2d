"""The rules of the soak: every way to ask another server, in straight lines and by callbacks, on backends that misbehave.

Each question has a form (how it is asked) and carries the message it is for; what the backend is to do to it is drawn from its
name, so that both sides know. Whatever comes back is compared with the question and told as the one option of a symbol named
after the form: `NUMBER FAULT OUTCOME BEGAN ENDED DETAIL`, where the outcome is `right`, `wrong` or the kind of the failure.
"""

import gc
import json
from time import monotonic
from typing import Any
from zlib import crc32

import greenlet

from filterd import Failure, RequestFailed, Task, config, dns, http, redis, route, rule, tcp, tcp_sync, udp

SETTINGS = config.module("soak")
HOST = "127.0.0.1"
HTTP_PORT, TCP_PORT, UDP_PORT = (int(SETTINGS[name]) for name in ("http", "tcp", "udp"))
WEB = f"http://{HOST}:{HTTP_PORT}/"
SAFE_WEB = f"https://{HOST}:{SETTINGS['https']}/"
REDIS = redis.parse_server("soak")
ECHO = redis.script("return {KEYS[1], ARGV[1]}")

PATIENCE, SHORT_PATIENCE = 6.0, 0.2
"""Seconds for an answer that will come, and for one that will not."""


def _drawn(**shares: int) -> tuple[str, ...]:
    table = tuple(fault for fault, share in shares.items() for _ in range(share))
    assert len(table) == 100
    return table


WEB_FAULTS = _drawn(
    fine=60, slow=8, chunked=8, unannounced=6, drip=4, halfclose=4, reset=3, vanish=2, half=2, garbage=2, silent=1
)
LINE_FAULTS = _drawn(fine=68, slow=10, drip=6, halfclose=4, reset=4, vanish=3, half=3, silent=2)
NAME_FAULTS = _drawn(fine=70, slow=8, forged=6, lost=4, cut=4, nxdomain=4, servfail=3, silent=1)
DATAGRAM_FAULTS = _drawn(fine=78, slow=8, twice=6, lost=6, silent=2)
NO_FAULTS = ("fine",)
# Who closes after the answer cannot be asked again.
TALK_FAULTS = tuple(fault.replace("halfclose", "fine") for fault in LINE_FAULTS)


def asked(task: Task) -> bool:
    return task.queue_id != "census"


class Question:
    """One question of one message. `got` takes what came of it, once."""

    def __init__(self, task: Task, form: str, faults: tuple[str, ...], number: str | None = None) -> None:
        self.task = task
        self.form = form
        number = number or str(task.queue_id)
        self.fault = faults[crc32(f"{number}-{form}".encode()) % len(faults)]
        self.text = f"{self.fault}-{number}-{form}"
        self.patience = SHORT_PATIENCE if self.fault == "silent" else PATIENCE
        self.began = monotonic()

    @property
    def line(self) -> str:
        return self.text + "\n"

    @property
    def name(self) -> str:
        return f"{self.text}.soak.test"

    @property
    def address(self) -> str:
        """The address that its name has."""
        return "10.{}.{}.{}".format(*crc32(self.text.encode()).to_bytes(4)[1:])

    def got(self, value: Any, right: Any = None) -> None:
        """`right` is what the value must be: the text of the question where nothing is said."""
        if isinstance(value, Failure):
            outcome, detail = str(value.kind), str(value)
        elif value == (self.text if right is None else right):
            outcome, detail = "right", ""
        elif value is None:
            outcome, detail = "nothing", ""
        else:
            outcome, detail = "wrong", repr(value)
        told = f"{self.task.queue_id} {self.fault} {outcome} {self.began:.4f} {monotonic():.4f} {detail[:300]}"
        self.task.insert_result(self.form.upper(), 1.0, told)

    def got_line(self, value: Any) -> None:
        """A line with its end; without that it was cut off."""
        if isinstance(value, bytes):
            whole = value.endswith(b"\n")
            value = value.decode().removesuffix("\n") if whole else Failure("cut off", kind="closed")
        self.got(value)

    def got_response(self, err: Failure | None, body: bytes | None) -> None:
        self.got(err if body is None else body.decode())


# -- HTTP


@rule("HTTP_STRAIGHT", condition=asked)
def http_straight(task: Task) -> None:
    one = Question(task, "httpget", WEB_FAULTS)
    err, response = http.request(WEB + one.text, timeout=one.patience)
    one.got(err or response.text)
    one = Question(task, "httppost", WEB_FAULTS)
    err, response = http.request(WEB, body=one.text, timeout=one.patience)
    one.got(err or response.text)
    one = Question(task, "httpclose", WEB_FAULTS)
    err, response = http.request(WEB + one.text, keepalive=False, timeout=one.patience)
    one.got(err or response.text)
    one = Question(task, "httpsafe", WEB_FAULTS)
    err, response = http.request(SAFE_WEB + one.text, tls_ca_path=SETTINGS["ca"], timeout=one.patience)
    one.got(err or response.text)

    def ask(place: int) -> None:
        one = Question(task, f"httpmap{place}", WEB_FAULTS)
        err, response = http.request(WEB + one.text, timeout=one.patience)
        one.got(err or response.text)

    task.map(ask, range(3), limit=2)


@rule("HTTP_CALLBACKS", condition=asked)
def http_callbacks(task: Task) -> None:
    first, nested = Question(task, "httpback", WEB_FAULTS), Question(task, "httpnested", WEB_FAULTS)

    def done(err: Failure | None, code: int | None, body: bytes | None) -> None:
        first.got_response(err, body)
        nested.began = monotonic()
        http.request(WEB + nested.text, timeout=nested.patience, callback=lambda err, _, body: nested.got_response(err, body))

    http.request(WEB + first.text, timeout=first.patience, callback=done)
    query = Question(task, "httpquery", WEB_FAULTS)
    http.query(WEB, query.text, route="SOAK", timeout=query.patience, mime_type="text/plain")
    reply = task.vars.pop("reply")
    query.got(reply.err or reply.body.decode())
    # A host of its own for each message: its name is looked up, and its connections get a pool that must go again.
    named = Question(task, "httpnamed", NO_FAULTS)
    err, response = http.request(f"http://{named.text}.local.test:{HTTP_PORT}/{named.text}", timeout=named.patience)
    named.got(err or response.text)


@route("SOAK")
def routed(task: Task, reply: Any) -> None:
    task.vars["reply"] = reply


# -- DNS


@rule("DNS_STRAIGHT", condition=asked)
def dns_straight(task: Task) -> None:
    one = Question(task, "dnsa", NAME_FAULTS)
    is_ok, records = dns.request(one.name, "a")
    one.got([*records] if is_ok else records, [one.address])
    one = Question(task, "dnstxt", NAME_FAULTS)
    is_ok, records = dns.request(one.name, "txt", timeout=one.patience)
    one.got([*records] if is_ok else records, [one.text])
    several = [Question(task, f"dnsmany{place}", NAME_FAULTS) for place in range(4)]
    for one, (is_ok, records) in zip(several, dns.many([(one.name, "txt") for one in several]), strict=True):
        one.got([*records] if is_ok else records, [one.text])


@rule("DNS_CALLBACKS", condition=asked)
def dns_callbacks(task: Task) -> None:
    back = Question(task, "dnsback", NAME_FAULTS)
    dns.request(back.name, "txt", callback=lambda _, name, records, err: back.got(err or [*records], [back.text]))
    old = Question(task, "dnsold", NAME_FAULTS)
    task.get_resolver().resolve_a(name=old.name, callback=lambda _, name, found, err: old.got(err or [*found], [old.address]))
    # Eight messages ask the same, and who comes a little later finds it in the cache.
    shared = Question(task, "dnsshared", NO_FAULTS, number=f"g{crc32(str(task.queue_id).encode()) % 8}x{int(monotonic())}")
    is_ok, records = dns.request(shared.name, "txt")
    shared.got([*records] if is_ok else records, [shared.text])


# -- Redis


@rule("REDIS_STRAIGHT", condition=asked)
def redis_straight(task: Task) -> None:
    one = Question(task, "redisecho", NO_FAULTS)
    one.got(redis.request(REDIS, ["ECHO", one.text]).value)
    one = Question(task, "redisset", NO_FAULTS)
    conn = redis.connect(REDIS).unwrap()
    conn.add_cmd("SET", [one.text, one.text, "EX", 60])
    conn.add_cmd("GET", [one.text])
    is_ok, outcomes = conn.exec()
    one.got(outcomes[1].value if is_ok else next(outcome.value for outcome in outcomes if not outcome.is_ok))
    one = Question(task, "redisscript", NO_FAULTS)
    one.got(ECHO.exec(REDIS, [one.text], [one.text]).value, [one.text, one.text])


@rule("REDIS_CALLBACKS", condition=asked)
def redis_callbacks(task: Task) -> None:
    back = Question(task, "redisback", NO_FAULTS)
    redis.request(REDIS, ["ECHO", back.text], callback=lambda err, data: back.got(err or data))
    script = Question(task, "redisscriptback", NO_FAULTS)
    ECHO.exec(REDIS, [script.text], [1], callback=lambda err, data: script.got(err or data, [script.text, "1"]))
    # One that waits in the server, on a connection of its own, for what another line brings.
    push, pop = Question(task, "redispush", NO_FAULTS), Question(task, "redispop", NO_FAULTS)
    redis.request(REDIS, ["RPUSH", pop.text, pop.text], callback=lambda err, data: push.got(err or data, 1), is_write=True)
    pop.got(redis.request(REDIS, ["BLPOP", pop.text, 2], is_write=True).value, [pop.text, pop.text])
    # A state that must stay with its connection.
    one = Question(task, "redisselect", NO_FAULTS)
    try:
        conn = redis.connect(REDIS).unwrap()
        for command, *args in (
            ("SELECT", "1"),
            ("SET", "mine:" + one.text, one.text, "EX", "60"),
            ("GET", "mine:" + one.text),
        ):
            conn.add_cmd(command, args)
            value = conn.exec().unwrap()
        conn.close()
    except RequestFailed as error:
        value = error.failure
    one.got(value)


# -- TCP and UDP


@rule("TCP_STRAIGHT", condition=asked)
def tcp_straight(task: Task) -> None:
    def talk(one: Question, step: Any) -> None:
        try:
            conn = tcp_sync.connect(HOST, TCP_PORT, timeout=one.patience).unwrap()
            conn.write([one.text, b"\n"]).unwrap()
            one.got_line(step(conn))
            conn.close()
        except RequestFailed as error:
            one.got(error.failure)

    talk(Question(task, "tcpline", LINE_FAULTS), lambda conn: conn.read_until("\n").unwrap() + b"\n")
    one = Question(task, "tcpbytes", LINE_FAULTS)
    talk(one, lambda conn: conn.read_bytes(len(one.line)).unwrap())
    # Our side is closed, theirs goes on: what is left open is closed with the task.
    talk(Question(task, "tcpeof", LINE_FAULTS), lambda conn: [conn.shutdown().unwrap(), conn.read_until_eof().unwrap()][1])
    one = Question(task, "tcpsocket", LINE_FAULTS)
    socket = tcp.Socket()
    socket.settimeout(one.patience)
    steps = (lambda: socket.connect(HOST, TCP_PORT), lambda: socket.send(one.line), lambda: socket.receive("*l"))
    for step in steps:
        outcome = step()
        if isinstance(outcome, tuple):
            one.got(outcome[1])
            break
    else:
        assert isinstance(outcome, bytes)
        one.got(outcome.decode())


@rule("TCP_CALLBACKS", condition=asked)
def tcp_callbacks(task: Task) -> None:
    first, second = Question(task, "tcpfirst", TALK_FAULTS), Question(task, "tcpsecond", LINE_FAULTS)

    def answered(err: Failure | None, data: bytes | None, conn: Any) -> None:
        first.got_line(err or (data or b"") + b"\n")
        second.began = monotonic()
        if err:
            second.got(Failure("was not asked: " + err, kind=err.kind))
        else:
            conn.add_write(None, second.line)
            conn.add_read(lambda err, data: second.got_line(err or data + b"\n"), "\n")

    # Each budget is for one step, because two questions are asked on one connection.
    waits = SHORT_PATIENCE if "silent" in (first.fault, second.fault) else PATIENCE
    tcp.request(
        HOST, TCP_PORT, data=first.line, stop_pattern="\n", callback=answered, connect_timeout=PATIENCE, read_timeout=waits
    )
    whole = Question(task, "tcppieces", LINE_FAULTS)
    pieces: list[bytes] = []

    def arrived(err: Failure | None, data: bytes | None) -> None:
        if err is None:
            pieces.append(data or b"")
        else:
            whole.got_line(b"".join(pieces) if err == tcp_sync.END_OF_STREAM else err)

    tcp.request(HOST, TCP_PORT, data=whole.line, partial=True, shutdown=True, callback=arrived, timeout=whole.patience)


@rule("UDP_BOTH", condition=asked)
def udp_both(task: Task) -> None:
    back, one = Question(task, "udpback", DATAGRAM_FAULTS), Question(task, "udpline", DATAGRAM_FAULTS)

    def ask(one: Question, **how: Any) -> Any:
        return udp.sendto(HOST, UDP_PORT, one.text, timeout=0.1 if one.fault == "silent" else 0.3, retransmits=2, **how)

    ask(back, callback=lambda is_ok, data: back.got(data.decode() if is_ok else data))
    is_ok, data = ask(one)
    one.got(data.decode() if is_ok else data)


@rule("CHAIN", condition=asked)
def chain(task: Task) -> None:
    """What was a nest of callbacks, as straight code: each answer is the next question."""
    one = Question(task, "chain", NO_FAULTS)
    try:
        text = redis.request(REDIS, ["ECHO", one.text]).unwrap()
        text = http.request(WEB + text).unwrap().text
        conn = tcp_sync.connect(HOST, TCP_PORT).unwrap()
        conn.write(text + "\n").unwrap()
        text = conn.read_until("\n").unwrap().decode()
        one.got(dns.request(f"{text}.soak.test", "txt").unwrap()[0])
    except RequestFailed as error:
        one.got(error.failure)


def never_answered(task: Task) -> bool:
    return asked(task) and crc32(str(task.queue_id).encode()) % 20 == 0


@rule("CUT", condition=never_answered, timeout=0.05)
def cut(task: Task) -> None:
    """Stopped while it waits, for another client each time."""
    silent = f"silent-{task.queue_id}-cut"
    ways = (
        lambda: http.request(WEB + silent),
        lambda: dns.request(silent + ".soak.test", "a"),
        lambda: redis.request(REDIS, ["BLPOP", silent, 3], is_write=True),
        lambda: redis.request(REDIS, ["ECHO", silent]),
        lambda: tcp_sync.connect(HOST, TCP_PORT).unwrap().read_until("\n"),
        lambda: udp.sendto(HOST, UDP_PORT, silent, timeout=3.0),
    )
    for turn in range(1000):
        ways[(crc32(silent.encode()) + turn) % len(ways)]()


@rule("CENSUS", condition=lambda task: not asked(task))
def census(task: Task) -> tuple[bool, str]:
    """What the worker holds: asked while no other message is under way."""
    gc.collect()
    everything = gc.get_objects()
    crew, network = task.environment.crew, task.network
    pools = [server.pool for server in network.redis.servers]
    found = {
        "greenlets": sum(isinstance(one, greenlet.greenlet) for one in everything) - len(crew.idle),
        "disowned": crew.disowned,
        "objects": len(everything),
        "http_connections": network.http.connections,
        "redis_resting": sum(pool.resting for pool in pools),
        "redis_in_use": sum(pool.in_use for pool in pools),
        "requests": {name: counters.requests for name, counters in network.stats.items()},
        "in_flight": {name: counters.in_flight for name, counters in network.stats.items()},
    }
    return True, json.dumps(found)
