"""Ten rules for each message, on backends that misbehave: every message must be answered, with its own data, and nothing leak.

The rules are in `soak_rules.py`, the backends in `soak_backends.py`; each backend also vanishes now and then and comes back, and
some clients of the daemon leave before they are answered. A value that is not the answer to its question is an error, and so is a
failure that nothing explains: neither the question asked for it, nor was its backend away.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic

import gevent

from bench.soak_backends import Backend, DnsServer, EchoServer, LineServer, RedisRelay, WebServer, quiet_ports
from tests.support.daemon import running_daemon
from tests.support.redis_servers import RestartedRedis

__all__ = ["FORMS", "Report", "main", "soak"]

MESSAGES = 100_000
CONNECTIONS = 64
ROUNDS = 5
"""The first round fills pools and caches; the others are compared with it."""

MINUTES = 40
"""The long form gives up then."""

GROWTH = 0.05
"""Of memory and objects after the first round: what the allocator may differ by."""

AWAY, BACK = 0.15, 0.25
"""Seconds that a backend is away, and that all are there."""

GRACE = 0.25
"""Seconds after its return in which a backend that was away explains a failure: a call may have begun to fail before."""

LEAVERS = 40
"""Of so many messages one more is sent by a client that leaves before the answer."""

FORMS = frozenset(
    """httpget httppost httpclose httpmap0 httpmap1 httpmap2 httpback httpnested httpquery httpnamed
    dnsa dnstxt dnsmany0 dnsmany1 dnsmany2 dnsmany3 dnsback dnsold dnsshared
    redisecho redisset redisscript redisback redisscriptback redispush redispop redisselect
    tcpline tcpbytes tcpeof tcpsocket tcpfirst tcpsecond tcppieces udpback udpline chain""".split()
)
FAILING = frozenset("reset vanish half garbage silent nxdomain servfail".split())
"""What a question asks for that has no answer."""

TOML = """
[limits]
task_timeout = "15s"
[dns]
nameservers = ["127.0.0.1:{dns}", "127.0.0.1:{dns2}"]
timeout = "250ms"
retransmits = 3
[redis]
servers = "127.0.0.1:{relay}"
timeout = "2s"
[log]
level = "error"
[modules.soak]
http = {http}
tcp = {tcp}
udp = {udp}
"""


@dataclass(slots=True)
class Absence:
    """A backend is away; `end` is infinite while it is."""

    backend: str
    begin: float
    end: float = inf


@dataclass(slots=True)
class Report:
    """What was found. `problems` are sentences; none of them is what one wants."""

    messages: int = 0
    left: int = 0
    seconds: float = 0.0
    absences: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each form had each outcome: right, wrong, asked for, backend away, late, unexplained."""
    samples: dict[str, str] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(number for (_, one), number in self.outcomes.items() if one == outcome)


def main() -> None:
    report = soak(MESSAGES, rounds=ROUNDS, seconds=MINUTES * 60, tell=print)
    columns = ("right", "asked for", "backend away", "late", "unexplained", "wrong")
    print(f"\n{'form':<16}" + "".join(f"{name:>14}" for name in columns))
    for form in sorted(FORMS):
        print(f"{form:<16}" + "".join(f"{report.outcomes[form, name]:>14}" for name in columns))
    print(f"{'all':<16}" + "".join(f"{report.count(name):>14}" for name in columns))
    print("requests: " + ", ".join(f"{name} {number}" for name, number in report.requests.items()))
    print(f"backends were away {report.absences} times, {report.left} clients left before the answer")
    for problem in report.problems:
        print("PROBLEM: " + problem)
    if report.problems:
        sys.exit(1)
    print("every message answered, every answer its own, nothing leaked")


def soak(messages: int, *, rounds: int = 1, seconds: float = inf, tell: Callable[[str], object] = lambda line: None) -> Report:
    """Send so many messages on CONNECTIONS connections and see what comes of them, for so many seconds at most."""
    report = Report()
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        names = ("http", "tcp", "udp", "dns", "dns2", "relay", "redis")
        ports = dict(zip(names, quiet_ports(len(names)), strict=True))
        trouble = _Trouble()
        redis = RestartedRedis("--dir", home, port=ports["redis"])
        backends: list[tuple[str, Backend]] = [
            ("http", WebServer(ports["http"])),
            ("tcp", LineServer(ports["tcp"])),
            ("udp", EchoServer(ports["udp"])),
            ("dns", DnsServer(ports["dns"])),
            ("dns", DnsServer(ports["dns2"], tcp=False)),
            ("redis", RedisRelay(ports["relay"], redis, lambda: trouble.happened("redis"))),
            ("redis", redis),
        ]
        for _, backend in backends:
            stack.callback(_stopped, backend)
            backend.start()
        source = Path(__file__).with_name("soak_rules.py").read_text()
        daemon = stack.enter_context(running_daemon(Path(home), {"soak": source}, TOML.format(**ports)))
        _census(daemon)  # what is made once is there after it
        before = _census(daemon)
        tell(" ".join(f"{name:>12}" for name in ("messages", "per second", *before, "in flight")))
        counts = []
        began = monotonic()
        with trouble.made(backends):
            for number in range(rounds):
                numbers = iter(range(number * messages // rounds, (number + 1) * messages // rounds))
                start = monotonic()
                clients = [gevent.spawn(_client, daemon.port, numbers, trouble, report) for _ in range(CONNECTIONS)]
                gevent.joinall(clients, timeout=max(began + seconds - start, 0), raise_error=True)
                if not all(client.ready() for client in clients):
                    gevent.killall(clients)
                    report.problems.append(f"after {seconds:g} s only {report.messages} of {messages} messages were sent")
                    break
    return report
