"""Ten rules for each message, on backends that misbehave: every message must be answered, with its own data, and nothing leak.

The rules are in `soak_rules.py`, the backends in `soak_backends.py` and `soak_dns.py`; each backend also vanishes now and then
and comes back, and some clients of the daemon leave before they are answered. A value that is not the answer to its question is
an error, and so is a failure that nothing explains: neither did the question ask for it, nor was its backend away.
"""

import json
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from math import inf
from pathlib import Path
from socket import SOCK_DGRAM
from time import monotonic
from typing import Any

import gevent
import psutil
from gevent.event import Event

from bench.soak_backends import Backend, EchoServer, LineServer, RedisRelay, WebServer
from bench.soak_dns import DnsServer
from filterd.net.udp import MOST_HELD
from tests.support.certificates import Certificates
from tests.support.client import Client
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.partners import free_port
from tests.support.redis_servers import RestartedRedis

__all__ = ["FORMS", "Report", "main", "soak"]

MESSAGES = 100_000
CONNECTIONS = 64
ROUNDS = 5
"""The first round fills pools and caches; the others are compared with it."""

MINUTES = 40
"""The long form gives up then."""

MORE_MEMORY, MORE_OBJECTS = 1.05, 1000
"""What may be more after the last round than after the first: the allocator's doing, and some hundred parked runners."""

AWAY, BACK = 0.3, 0.25
"""Seconds that a backend is away, and that all are there. A Redis command asked again outlives half as long, mostly."""

GRACE = 0.25
"""Seconds after its return in which a backend that was away explains a failure: a call may have begun to fail before."""

LEAVERS = 40
"""Of so many messages one more is sent by a client that leaves before the answer."""

FORMS = frozenset(
    """httpget httppost httpclose httpsafe httpmap0 httpmap1 httpmap2 httpback httpnested httpquery httpnamed
    dnsa dnstxt dnsmany0 dnsmany1 dnsmany2 dnsmany3 dnsback dnsold dnsshared
    redisecho redisset redisscript redisback redisscriptback redispush redispop redisselect
    tcpline tcpbytes tcpeof tcpsocket tcpfirst tcpsecond tcppieces udpback udpline chain""".split()
)
OUTCOMES = ("right", "asked for", "away", "crossed", "late", "unexplained", "wrong")
"""A failure may be asked for by the question, its backend may be away, an answer too late. The last two may not be."""

COUNTED = ("greenlets", "objects", "descriptors", "memory", "in_flight")
ENDING = ("greenlets", "held", "in_flight", "http_connections", "redis_in_use", "disowned")
"""What must be in the end as it was in the beginning."""

MOST_UDP = 64 + MOST_HELD
"""Sockets: sixteen for each of two name servers, as many that wait for their last answer, and those that the client of
datagrams keeps because theirs may still come.
"""

MOST_LATE, FEWEST_LATE = 0.0005, 40
"""Of all questions, and in a short run so many: a machine that has other things to do makes all late that are under way."""

FAILING = frozenset("reset vanish half garbage silent nxdomain servfail".split())
"""What a question asks for that has no answer."""

TOML = """
[limits]
task_timeout = "15s"
[dns]
nameservers = ["127.0.0.1:{dns}", "127.0.0.1:{dns2}"]
timeout = "150ms"
retransmits = 3
cache = 100
[redis]
servers = "127.0.0.1:{relay}"
timeout = "2s"
[log]
level = "error"
[modules.soak]
http = {http}
https = {https}
ca = "{ca}"
tcp = {tcp}
udp = {udp}
"""


class Trouble:
    """Sends one backend after the other away, and knows when each was."""

    def __init__(self, backends: Sequence[tuple[str, Backend]]) -> None:
        self.count = 0
        self._backends = backends
        # [backend, begin, end]; the end is infinite while it is away. The oldest explain nothing any more.
        self._absences: deque[tuple[str, list[float]]] = deque(maxlen=500)

    def cut(self, backend: str) -> None:
        """A connection is cut just now."""
        self._absences.append((backend, [monotonic(), monotonic()]))

    def explains(self, form: str, began: float, ended: float) -> bool:
        """A backend of this form was away while the question was open. Of two name servers one is always there."""
        return any(
            span[0] <= ended and began <= span[1] + GRACE
            for backend, span in self._absences
            if backend != "dns" and (form.startswith(backend) or form == "chain")
        )

    @contextmanager
    def made(self) -> Iterator[None]:
        """All backends are there during the block, but for one now and then, and none after it."""
        ending = Event()
        with ExitStack() as there:
            for _, backend in self._backends:
                backend.start()
                there.callback(backend.stop)
            making = gevent.spawn(self._make, ending)
            try:
                yield
            finally:
                ending.set()
                making.get()

    def _make(self, ending: Any) -> None:
        for name, backend in cycle(self._backends):
            if ending.wait(BACK):
                return
            span = [monotonic(), inf]
            self._absences.append((name, span))
            backend.stop()
            gevent.sleep(AWAY)
            backend.start()
            span[1] = monotonic()
            self.count += 1


@dataclass(slots=True)
class Report:
    """What was found. `problems` are sentences; none of them is what one wants."""

    messages: int = 0
    left: int = 0
    absences: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each form had each outcome: right, wrong, asked for, backend away, late, unexplained."""
    samples: dict[str, str] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    rows: list[dict[str, Any]] = field(default_factory=list)
    """What was counted after each round, when everything had ended."""

    def count(self, outcome: str) -> int:
        return sum(number for (_, one), number in self.outcomes.items() if one == outcome)


def main() -> None:
    report = soak(MESSAGES, rounds=ROUNDS, seconds=MINUTES * 60, tell=partial(print, flush=True))
    if report.messages < MESSAGES:
        report.problems.append(f"only {report.messages} of {MESSAGES} messages were sent in {MINUTES} minutes")
    print(f"\n{'form':<16}" + "".join(f"{name:>14}" for name in OUTCOMES))
    for form in sorted(FORMS):
        print(f"{form:<16}" + "".join(f"{report.outcomes[form, name]:>14}" for name in OUTCOMES))
    print(f"{'all':<16}" + "".join(f"{report.count(name):>14}" for name in OUTCOMES))
    print("requests: " + ", ".join(f"{name} {number}" for name, number in report.requests.items()))
    print(f"backends were away {report.absences} times; {report.left} clients left before the answer")
    for problem in report.problems:
        print("PROBLEM: " + problem)
    if report.problems:
        sys.exit(1)
    print("every message was answered, every answer was its own, nothing leaked")


def soak(messages: int, *, rounds: int = 1, seconds: float = inf, tell: Callable[[str], object] = lambda line: None) -> Report:
    """Send so many messages on CONNECTIONS connections and see what comes of them, for so many seconds at most."""
    report = Report()
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        names = ("http", "https", "tcp", "udp", "dns", "dns2", "relay", "redis")
        ports = {name: free_port() for name in names}
        certificates = Certificates(Path(home))
        redis = RestartedRedis("--dir", home, port=ports["redis"])
        backends: list[tuple[str, Backend]] = [
            ("http", WebServer(ports["http"])),
            ("http", WebServer(ports["https"], tls=certificates.server_context())),
            ("tcp", LineServer(ports["tcp"])),
            ("udp", EchoServer(ports["udp"])),
            ("dns", DnsServer(ports["dns"])),
            ("dns", DnsServer(ports["dns2"], tcp=False)),
            ("redis", RedisRelay(ports["relay"], redis, lambda: trouble.cut("redis"))),
            ("redis", redis),
        ]
        trouble = Trouble(backends)
        source = Path(__file__).with_name("soak_rules.py").read_text()
        toml = TOML.format(**ports, ca=certificates.ca_file)
        daemon = stack.enter_context(running_daemon(Path(home), {"soak": source}, toml))
        _census(daemon)  # what is made at the first time is there after it
        before = _census(daemon)
        end = monotonic() + seconds
        tell(" ".join(f"{name:>11}" for name in ("messages", "a second", *COUNTED)))
        for number in range(rounds):
            numbers = iter(range(number * messages // rounds, (number + 1) * messages // rounds))
            began, already = monotonic(), report.messages
            with trouble.made():
                clients = [gevent.spawn(_client, daemon.port, numbers, end, trouble, report) for _ in range(CONNECTIONS)]
                gevent.joinall(clients, raise_error=True)
                rate = (report.messages - already) / (monotonic() - began)
            found = _settled(daemon, before)
            report.rows.append(found)
            tell(" ".join(f"{value:>11.0f}" for value in (report.messages, rate, *(found[name] for name in COUNTED))))
        report.absences = trouble.count
        _judge(report, before)
        log = daemon.process.output()
        if log:
            report.problems.append(f"the daemon complained: {log[:2000]}")
    return report


def _client(port: int, numbers: Iterator[int], end: float, trouble: Trouble, report: Report) -> None:
    with Client(("127.0.0.1", port)) as client:
        client.sock.settimeout(60)
        for number in numbers:
            if monotonic() > end:
                return
            if number % LEAVERS == 0:
                with Client(("127.0.0.1", port)) as leaver:
                    leaver.send(_request(f"gone{number}"))
                    gevent.sleep(0.01)
                report.left += 1
            client.send(_request(str(number)))
            status, _, body = client.read_reply()
            report.messages += 1
            if status == 200:
                _read(str(number), json.loads(body), trouble, report)
            else:
                report.problems.append(f"message {number} was answered with {status}: {body[:200]!r}")


def _request(queue_id: str) -> bytes:
    head = ("POST /checkv2 HTTP/1.1", "Connection: keep-alive", "Flags: no_log", f"Queue-Id: {queue_id}")
    return "\r\n".join((*head, f"Content-Length: {len(MAIL)}", "", "")).encode() + MAIL


def _read(number: str, reply: dict[str, Any], trouble: Trouble, report: Report) -> None:
    symbols = {name.lower(): hit["options"] for name, hit in reply["symbols"].items()}
    if symbols.keys() != FORMS or any(len(options) != 1 for options in symbols.values()):
        odd = {name: symbols.get(name) for name in symbols.keys() ^ FORMS}
        odd.update((name, options) for name, options in symbols.items() if len(options) != 1)
        report.problems.append(f"message {number}: not one answer to each question: {odd}, {reply.get('messages')}")
        return
    failures = reply["messages"].get("rule_failures", "")
    if failures and (not failures.startswith("CUT: ") or ";" in failures):
        report.problems.append(f"message {number}: {failures}")
    for form, (told,) in symbols.items():
        outcome = _outcome(number, form, told, trouble)
        report.outcomes[form, outcome] += 1
        if outcome in ("wrong", "unexplained", "late"):
            report.samples.setdefault(f"{form} {outcome}", told)


def _outcome(number: str, form: str, told: str, trouble: Trouble) -> str:
    """One of OUTCOMES."""
    whose, fault, outcome, began, ended, detail = told.split(" ", 5)
    if whose != number or outcome == "wrong" or (outcome == "right" and fault in FAILING):
        return "wrong"
    if outcome == "right":
        return "right"
    if fault in FAILING or (fault == "cut" and outcome != "right") or detail.startswith("was not asked"):
        return "asked for"
    # A request that must not be sent twice, on a kept connection that is closed in the same moment: nobody could know.
    if form in ("httppost", "httpquery") and outcome == "closed":
        return "crossed"
    if trouble.explains(form, float(began), float(ended)):
        return "away"
    return "late" if outcome == "timeout" else "unexplained"


def _census(daemon: Daemon) -> dict[str, Any]:
    """What the daemon holds while only this is under way."""
    (told,) = daemon.scan(MAIL, Queue_Id="census")["symbols"]["CENSUS"]["options"]
    found: dict[str, Any] = json.loads(told)
    (process,) = psutil.Process(daemon.process.pid).children()  # the worker of the supervisor
    sockets = Counter("udp" if one.type == SOCK_DGRAM else "tcp" for one in process.net_connections())
    found["descriptors"] = process.num_fds()
    found["memory"] = process.memory_info().rss // 1024
    found["udp"] = sockets["udp"]
    # What is kept on purpose: the resolver's sockets, and Redis connections that rest.
    found["held"] = found["descriptors"] - sockets["udp"] - found["redis_resting"]
    found["in_flight"] = sum(found["in_flight"].values())
    return found


def _settled(daemon: Daemon, before: dict[str, Any]) -> dict[str, Any]:
    """What is held once nothing is left to end: connections close by themselves when their backend has gone."""
    for _ in range(50):
        found = _census(daemon)
        if all(found[name] <= before[name] for name in ENDING):
            break
        gevent.sleep(0.1)
    return found


def _judge(report: Report, before: dict[str, Any]) -> None:
    first, last = report.rows[0], report.rows[-1]
    report.requests = last["requests"]
    problems = report.problems
    for name in ENDING:
        if last[name] > before[name]:
            problems.append(f"{name}: {before[name]} before, {last[name]} after all has ended")
    if last["udp"] > MOST_UDP:
        problems.append(f"{last['udp']} UDP sockets are open; {MOST_UDP} may be")
    most = {"memory": first["memory"] * MORE_MEMORY, "objects": first["objects"] + MORE_OBJECTS}
    for name, limit in most.items():
        if last[name] > limit:
            problems.append(f"{name}: {first[name]} after the first round, {last[name]} after the last")
    for name in ("wrong", "unexplained"):
        if report.count(name):
            told = [sample for key, sample in report.samples.items() if key.endswith(name)]
            problems.append(f"{report.count(name)} {name}: " + "; ".join(told[:5]))
    late = report.count("late")
    if late > max(MOST_LATE * sum(report.outcomes.values()), FEWEST_LATE):
        problems.append(f"{late} late: " + "; ".join(told for key, told in report.samples.items() if key.endswith("late")))
    if len(problems) > 20:
        problems[20:] = [f"and {len(problems) - 20} more"]
