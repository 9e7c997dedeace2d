"""Half an hour at 70 % load with every kind of rule: memory, descriptors and latency must stay what they are.

`python -m bench endurance --minutes 30`. A closed loop says what a message costs; an open loop then sends at 70 % of what that
allows, and a latency counts from when a message was due. The daemon's worker and the load have a core each; the backends share
the load's. Each reply must have its symbols, and the servers that rules ask must have been asked exactly what they should.
The last quarter is compared with the second, since the first warms up; of latencies only those of minutes in which nobody else
had the worker's core for long, as the kernel counts it: at 70 %, a third of the core for others makes a queue without end.
Goes to bench/results/endurance.txt and endurance.json.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from math import nan
from statistics import mean, median

import psutil

from bench.backends import Backends, running_backends
from bench.dialogues import over_http
from bench.load import CLIENT_CORE, Result, Wrong, exchange, run
from bench.open_loop import MOST_AT_ONCE, OpenLoop
from bench.peers import Peer, filterd, pinned
from bench.reading import message
from bench.speed import machine, written
from bench.speed_rounds import SETTLING, checking, compare, rest_of
from bench.speed_scenarios import Scenario
from tests.support.partners import free_port

__all__ = ["Minute", "Report", "endure", "main", "verdict"]

SHARE = 0.7
"""Of what the worker's core can do."""

STRAIGHT = Scenario(
    "all",
    "every kind of rule",
    None,
    dict.fromkeys(("headers", "web", "names", "store", "talk", "read_all"), 1),
    keepalive=True,
)
CALLBACKS = replace(STRAIGHT, counts=dict.fromkeys(("web", "names", "store", "talk"), 1))
BOTH = replace(STRAIGHT, counts=STRAIGHT.counts | dict.fromkeys(CALLBACKS.counts, 2))
"""Every kind of rule in the straight style and, where it asks a server, with callbacks too: each message asks twice."""

MIX = {2_000: 8, 12_000: 3, 200_000: 1}
"""So many messages of each size; VARIANTS times as many are made, since no two mails are alike."""
VARIANTS = 5
MAILS = [message(size + number) for size, share in MIX.items() for number in range(share * VARIANTS)]

WARMING, MEASURING, AT_ONCE = 20, 60, 32
"""The closed loop: of each mail so many for nothing, so many that count, so many at once."""

MORE = {"memory": 0.05, "descriptors": 0.1, "p50": 0.2}
"""What may be more in the last quarter: the allocator's doing, messages under way at the moment, what is left of others'."""

MOST_WAITED = 10.0
"""Percent of a minute that the worker may have waited for its core, where the minute's latency shall tell something."""

CONTROL = """
[listen.control]
protocol = "control"
bind = "127.0.0.1:PORT"
trusted = ["127.0.0.1"]
"""


@dataclass(frozen=True, slots=True)
class Minute:
    """What one line says: milliseconds, MiB. `waited` is for a core that ran something else; `late` says by how much
    the load itself was late with one message of a hundred.
    """

    messages: int
    load: float
    waited: float
    p50: float
    p99: float
    late: float
    memory: float
    descriptors: float
    most_descriptors: int
    open: int
    under_way: int
    in_flight: int

    def told(self, number: int) -> str:
        return (
            f"{number:>6} {self.messages:>8} {self.load:>6.1f} {self.waited:>8.1f} "
            f"{self.p50:>7.1f} {self.p99:>7.1f} {self.late:>7.1f} "
            f"{self.memory:>7.1f} {self.descriptors:>5.0f} {self.most_descriptors:>5} "
            f"{self.open:>5} {self.under_way:>9} {self.in_flight:>9}"
        )


HEAD = (
    f"{'minute':>6} {'messages':>8} {'load %':>6} {'waited %':>8} {'p50 ms':>7} {'p99 ms':>7} {'late ms':>7} "
    f"{'MiB':>7} {'files':>5} {'most':>5} {'open':>5} {'under way':>9} {'in flight':>9}"
)


@dataclass(slots=True)
class Report:
    """What was found. `problems` are sentences; none of them is what one wants."""

    cost: float = nan
    """Seconds of CPU for a message in a closed loop."""
    rate: float = nan
    """Messages a second that were sent."""
    minutes: list[Minute] = field(default_factory=list)
    sent: int = 0
    answered: int = 0
    held: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench endurance", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=int, default=30)
    minutes = parser.parse_args().minutes
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    before = machine()
    with pinned(CLIENT_CORE), running_backends() as backends:
        report = endure(minutes, backends, tell=tell)
    told, is_flat = verdict(report.minutes)
    for line in (*told, *(f"PROBLEM: {problem}" for problem in report.problems)):
        tell(line)
    written("endurance", {"machine": before, **asdict(report), "verdict": told}, "\n".join(lines))
    if report.problems or not is_flat:
        sys.exit(1)


def endure(
    minutes: int, backends: Backends, *, minute: float = 60.0, measuring: int = MEASURING, tell: Callable[[str], object]
) -> Report:
    """So many minutes, each of `minute` seconds, after so many of each mail in a closed loop."""
    report = Report()
    control = free_port()
    toml = STRAIGHT.toml("", backends) + CONTROL.replace("PORT", str(control))
    check = checking(STRAIGHT.symbols() | {f"BACK_{name}" for name in CALLBACKS.symbols()})
    asking = ", ".join(f"{number} {name}" for name, number in BOTH.asked().items() if number)
    tell(
        f"one worker; each message looks at ten headers, reads itself whole and asks {asking}: half straight, half by callbacks"
    )
    tell("messages of " + ", ".join(f"{size // 1000} KB" for size in MIX) + ", " + ":".join(map(str, MIX.values())))
    with filterd(_sources(), toml) as peer:
        report.cost = _cost(peer, check, measuring)
        report.rate = SHARE / report.cost
        tell(
            f"a message takes {report.cost * 1e3:.2f} ms of CPU where {AT_ONCE} are under way: {1 / report.cost:.0f} a second "
            f"fill a core, {SHARE:.0%} are {report.rate:.0f} a second\n{HEAD}"
        )
        _metrics(control)  # what is loaded when it is first asked belongs to no minute
        asked = backends.counts()
        loop = OpenLoop(peer.port, MAILS, report.rate, check)
        try:
            for one in _minutes(peer, loop, control, minutes, minute):
                report.minutes.append(one)
                tell(one.told(len(report.minutes)))
        except psutil.NoSuchProcess:
            report.problems.append("the worker has ended")
        loop.drain()
        time.sleep(SETTLING)
        report.sent, report.answered, report.held = loop.sent, loop.answered, loop.held
        tell(f"{loop.sent} messages sent, {loop.answered} answered rightly")
        tell(f"{loop.held} waited for one of {MOST_AT_ONCE} connections")
        report.problems += [f"{count} messages {kind}" for kind, count in loop.problems.items()] + loop.samples
        try:
            compare(rest_of(asked, backends.counts()), BOTH, loop.sent, MOST_AT_ONCE, by_tcp=True)
        except Wrong as error:
            report.problems.append(str(error))
        found = _metrics(control)
        for name in ("messages_timed_out", "messages_refused", "messages_unscanned", "rule_failures", "rules_cut"):
            if found(f"filterd_{name}_total"):
                report.problems.append(f"the daemon counted {name}: {found(f'filterd_{name}_total')}")
    return report


def verdict(minutes: list[Minute]) -> tuple[list[str], bool]:
    """The last quarter beside the second, a line for each figure; is all flat?"""
    quarter = len(minutes) // 4
    if not quarter:
        return ["too short to say what is flat: that takes four minutes"], True
    told, is_flat = [], True
    for name, more in MORE.items():
        second, last = (
            [getattr(one, name) for one in some if name != "p50" or one.waited <= MOST_WAITED]
            for some in (minutes[quarter : 2 * quarter], minutes[-quarter:])
        )
        if not second or not last:
            told.append(f"{name}: NOT JUDGED, others had the worker's core in every minute of a quarter")
            is_flat = False
            continue
        grown = median(last) / median(second) - 1
        is_flat &= grown <= more
        told.append(
            f"{name}: {median(second):.1f} in {len(second)} minutes of the second quarter, {median(last):.1f} in {len(last)} "
            f"of the last: {grown:+.1%}, {more:.0%} may be more: {'flat' if grown <= more else 'NOT FLAT'}"
        )
    return told, is_flat


def _sources() -> list[str]:
    """The rules of both styles. Those with callbacks get other symbols, and look up other names, which no cache knows."""
    callbacks = (re.sub(r'f"(WEB|NAMES|STORE|TALK)_', r'f"BACK_\1_', one) for one in CALLBACKS.sources("callbacks"))
    return [*STRAIGHT.sources(""), *(one.replace('f"n{', 'f"back{') for one in callbacks)]


def _cost(peer: Peer, check: Callable[[bytes], None], messages: int) -> float:
    """Seconds of CPU for a message of the mix."""
    for mail in MAILS:
        run(peer.port, over_http(mail), min(WARMING, messages), AT_ONCE, check)
    cpu = peer.cpu()
    for mail in MAILS:
        run(peer.port, over_http(mail), messages, AT_ONCE, check)
    time.sleep(SETTLING)
    return (peer.cpu() - cpu) / (messages * len(MAILS))


def _minutes(peer: Peer, loop: OpenLoop, control: int, minutes: int, minute: float) -> Iterator[Minute]:
    worker = psutil.Process(peer.pids[1])
    began = time.perf_counter()
    loop.restart(began)
    looked, cpu, waited = began, peer.cpu(), peer.waited()
    for number in range(minutes):
        memory, descriptors = [], []
        end = began + (number + 1) * minute
        while (now := time.perf_counter()) < end:
            loop.run(min(now + 1.0, end))
            memory.append(worker.memory_info().rss / 2**20)
            descriptors.append(worker.num_fds())
        latencies, lateness = (Result(seconds or [nan], minute) for seconds in loop.taken())
        used, kept, now = peer.cpu(), peer.waited(), time.perf_counter()
        found = _metrics(control)
        yield Minute(
            messages=len(latencies.seconds),
            load=(used - cpu) / (now - looked) * 100,
            waited=(kept - waited) / (now - looked) * 100,
            p50=latencies.percentile(0.5) * 1e3,
            p99=latencies.percentile(0.99) * 1e3,
            late=lateness.percentile(0.99) * 1e3,
            memory=median(memory),
            descriptors=mean(descriptors),
            most_descriptors=max(descriptors),
            open=found('filterd_open_connections{listener="scan"}'),
            under_way=found("filterd_messages_under_way"),
            in_flight=found("filterd_client_in_flight"),
        )
        looked, cpu, waited = now, used, kept


def _metrics(port: int) -> Callable[[str], int]:
    """What the daemon counts: the sum over all labels of a name that comes without them."""
    text = exchange(port, b"GET /metrics HTTP/1.0\r\n\r\n").decode()

    def found(name: str) -> int:
        return sum(int(float(line.split()[-1])) for line in text.splitlines() if re.match(re.escape(name) + r"[{ ]", line))

    return found
