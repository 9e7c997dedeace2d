"""Rounds of load on several servers in turn, each reply checked, and what the servers they ask were asked compared with what
they should have been.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from time import sleep
from typing import TypeVar

import orjson

from bench.backends import Backends
from bench.dialogues import over_http
from bench.load import ALL_CORES, SERVER_CORE, Dialogue, Result, Wrong, run
from bench.peers import Peer, filterd, rspamd
from bench.reading import message
from bench.speed_scenarios import Load, Scenario

__all__ = ["Budget", "Measure", "Row", "Series", "checking", "in_turn", "measured", "measuring", "rest_of"]

SETTLING = 0.05
"""Seconds for what a server still does when the last reply is here."""

MOST_AGAIN = 0.01
"""So many lookups may be asked twice: a datagram may be lost."""

MOST_NEW = 0.1
"""So many requests over kept connections may need a new one."""

WARMING, FEWEST = 400, 100
"""Messages of the round that counts for nothing, and of one that does."""


@dataclass(frozen=True, slots=True)
class Budget:
    """So many rounds, each of about so many seconds, or of so many messages."""

    rounds: int = 5
    seconds: float = 1.2
    messages: int | None = None


@dataclass(slots=True)
class Series:
    """What one server needed for one load: CPU seconds of a message by round, latencies in seconds, messages by second."""

    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    peak: int = 0
    error: str = ""

    @property
    def ms(self) -> float:
        """Milliseconds of CPU for a message: the median of the rounds."""
        return median(self.cpu) * 1e3

    def told(self) -> dict[str, object]:
        if self.error or not self.cpu:
            return {"error": self.error or "not measured"}
        result = Result(self.latencies, 0.0)
        return {
            "cpu_ms": self.ms,
            "cpu_ms_rounds": [seconds * 1e3 for seconds in self.cpu],
            "p50_ms": result.percentile(0.5) * 1e3,
            "p99_ms": result.percentile(0.99) * 1e3,
            "messages_per_second": median(self.rates),
            "messages": len(self.latencies),
            "peak_mib": self.peak / 2**20,
        }


@dataclass(slots=True)
class Row:
    """One line of the table: filterd beside another program."""

    scenario: str
    what: str
    target: float | None
    other: str
    theirs: Series
    ours: Series

    @property
    def error(self) -> str:
        errors = (("filterd", self.ours.error), (self.other, self.theirs.error))
        return "; ".join(f"{name}: {error}" for name, error in errors if error)

    @property
    def ratio(self) -> float | None:
        """Their CPU by ours: the median of the rounds' ratios."""
        rounds = [theirs / ours for theirs, ours in zip(self.theirs.cpu, self.ours.cpu, strict=False) if ours]
        return None if self.error or not rounds else median(rounds)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round took: latencies, seconds of CPU, and the peak of memory in bytes."""

    result: Result
    cpu: float
    peak: int


Measure = Callable[[int], Round]
"""Sends so many messages to one server. Raises Wrong where it measured something else than it should."""

Key = TypeVar("Key")


def in_turn(measures: Mapping[Key, Measure], budget: Budget) -> dict[Key, Series]:
    """Each measure once in each round, so that what disturbs one round disturbs all; first once to warm up."""
    series = {key: Series() for key in measures}
    counts: dict[Key, int] = {}
    for number in range(budget.rounds + 1):
        for key, measure in measures.items():
            one = series[key]
            if one.error:
                continue
            try:
                messages = counts.get(key) or budget.messages or WARMING
                took = measure(messages)
            except (Wrong, OSError) as error:
                one.error = f"{type(error).__name__}: {error}"
                continue
            rate = messages / took.result.elapsed
            counts[key] = budget.messages or max(int(rate * budget.seconds), FEWEST)
            if number:
                one.cpu.append(took.cpu / messages)
                one.latencies += took.result.seconds
                one.rates.append(rate)
                one.peak = max(one.peak, took.peak)
    return series


def checking(symbols: set[str]) -> Callable[[bytes], None]:
    """A check that a reply has these symbols and no others, and no failure in it."""

    def check(body: bytes) -> None:
        reply = orjson.loads(body)
        names = reply["symbols"].keys()
        if names != symbols:
            raise Wrong(f"missing {sorted(symbols - names)}, too many {sorted(names - symbols)}: {body[:500]!r}")
        if "rule_failures" in reply.get("messages", ()):
            raise Wrong(f"rules failed: {reply['messages']}")

    return check


def rest_of(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was asked between two looks; the second look itself is not counted."""
    return {name: after[name] - before[name] - (name in ("web", "web connections")) for name in after}


def compare(found: Mapping[str, int], scenario: Scenario, messages: int, connections: int, *, by_tcp: bool | None) -> None:
    """Raises Wrong where the backends were not asked what they should have been."""
    problems = []
    for name, each in scenario.asked().items():
        expected = each * messages
        most = int(expected * (1 + MOST_AGAIN)) if name == "names" else expected
        if not expected <= found[name] <= most:
            problems.append(f"{name}: {found[name]} requests where {expected} were due")
    for name in ("web", "slow", "tcp"):
        opened, requests = found[f"{name} connections"], found[name]
        if scenario.keepalive and name != "tcp":
            if opened > requests * MOST_NEW + 2 * connections:
                problems.append(f"{name}: {opened} connections for {requests} requests, which were to be kept")
        elif opened != requests:
            problems.append(f"{name}: {opened} connections for {requests} requests, where each was to have its own")
    if by_tcp is not None:
        wrong = found["names"] - found["names by tcp"] if by_tcp else found["names by tcp"]
        if wrong > found["names"] * MOST_AGAIN:
            problems.append(f"{wrong} of {found['names']} lookups went by {'UDP' if by_tcp else 'TCP'}")
    if problems:
        raise Wrong("; ".join(problems))


def measured(
    scenario: Scenario, budget: Budget, backends: Backends, *, peers: tuple[str, ...] = ("rspamd", "filterd")
) -> list[Row]:
    """The rows of a scenario. What went wrong is in a row's `error`."""
    cores = SERVER_CORE if scenario.workers == 1 else ALL_CORES
    measures: dict[tuple[str, Load], Measure] = {}
    with ExitStack() as stack:
        if "rspamd" in peers:
            more = f'redis {{ servers = "127.0.0.1:{backends.redis}"; }}'
            server = rspamd(
                scenario.lua(backends),
                more,
                nameserver=f"127.0.0.1:{backends.names}",
                workers=scenario.workers,
                cores=cores,
            )
            other = stack.enter_context(server)
            for load in scenario.loads:
                measures["rspamd", load.closing()] = _measure(scenario, other, load.closing(), backends)
        styles = [style for style in scenario.styles if "outside" not in style or backends.outside]
        for style in styles if "filterd" in peers else ():
            server = filterd(
                scenario.sources(style), scenario.toml(style, backends), name=style, workers=scenario.workers, cores=cores
            )
            ours = stack.enter_context(server)
            for load in scenario.loads if style == styles[0] else scenario.loads[:1]:
                measures[style, load] = _measure(scenario, ours, load, backends)
        found = in_turn(measures, budget)
    rows = []
    for (style, load), series in found.items():
        if style != "rspamd":
            theirs = found.get(("rspamd", load.closing()), Series())
            words = filter(None, (scenario.what, _told(scenario, style), load.told(scenario.loads[0])))
            rows.append(Row(scenario.name, ", ".join(words), scenario.target, "rspamd", theirs, series))
    return rows


def _measure(scenario: Scenario, peer: Peer, load: Load, backends: Backends) -> Measure:
    dialogue = over_http(message(load.size), keepalive=load.keepalive)
    is_rspamd = peer.name == "rspamd"
    check = checking(scenario.symbols(rspamd=is_rspamd))
    by_tcp = None if not scenario.counts.get("names") else not is_rspamd and "outside" not in peer.name
    return measuring(scenario, peer, dialogue, load.connections, check, backends, by_tcp=by_tcp)


def measuring(
    scenario: Scenario,
    peer: Peer,
    dialogue: Dialogue,
    connections: int,
    check: Callable[[bytes], None],
    backends: Backends,
    *,
    by_tcp: bool | None = None,
) -> Measure:
    """What sends messages to a server, so many at once, and compares with the scenario what the backends were asked."""

    def measure(messages: int) -> Round:
        asked, cpu = backends.counts(), peer.cpu()
        result = run(peer.port, dialogue, messages, connections, check)
        sleep(SETTLING)
        cpu = peer.cpu() - cpu
        compare(rest_of(asked, backends.counts()), scenario, messages, connections, by_tcp=by_tcp)
        return Round(result, cpu, peer.peak())

    return measure


def _told(scenario: Scenario, style: str) -> str:
    """How the rules are written, where a scenario has that in several ways."""
    words = []
    if "names" in scenario.counts and len(scenario.styles) > 2:
        words.append("by UDP" if "outside" in style else "by TCP")
        words.append("callbacks" if "callbacks" in style else "dns.many" if "many" in style else "one after the other")
    elif style:
        words.append(style)
    return ", ".join(words)
