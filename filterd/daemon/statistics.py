"""What one worker has done, as plain numbers; and the numbers of several workers as one.

Promises:

* Counting a message costs less than a microsecond beyond what its symbols cost to walk over, and no memory that grows with the
  mail: names of symbols are kept up to a bound.
* A snapshot is plain JSON, and `merged` adds snapshots of any age: those of living workers, and what `remains` of ended ones.
"""

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from time import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the supervisor adds up what workers have counted, and has no use for gevent
    from filterd.engine.registry import Rule
    from filterd.mail.verdict import Verdict
    from filterd.net.counters import Counters
    from filterd.net.listen import Listener

__all__ = ["LATE_BUCKETS", "SCAN_BUCKETS", "Statistics", "merged", "rebased", "remains"]

Snapshot = Mapping[str, Any]

SCAN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LATE_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
BLOCKED = 0.05
"""From so many seconds on a late loop counts as blocked."""
RECENT = 31
SYMBOLS = 10_000

# Lists that are put one behind the other; those of numbers are added up.
_COLLECTED = frozenset(("workers", "errors"))


class Statistics:
    """The counts of one worker. What others count anyway (rules, clients, listeners) is read when a snapshot is made."""

    def __init__(
        self,
        rules: "Iterable[Rule]" = (),
        clients: "Callable[[], Mapping[str, Counters]]" = dict,
        listeners: "Iterable[Listener]" = (),
        *,
        errors: Callable[[], list[dict[str, Any]]] = list,
        worker: Callable[[], Mapping[str, Any]] = dict,
        cuts: Callable[[], int] = int,
        streams: "Callable[[], Mapping[str, Any]]" = dict,
        cpu: "Callable[[], Mapping[str, float]]" = dict,
    ) -> None:
        """`cpu` gives the seconds computed by rule or hook, `errors` the latest errors of the log, `worker` what is told of
        this worker beside its counts, `streams` the counts of stream listeners.
        """
        self.started = time()
        self._rules = tuple(rules)
        self._clients = clients
        self._listeners = listeners
        self._errors = errors
        self._worker = worker
        self._cuts = cuts
        self._streams = streams
        self._cpu = cpu
        self.messages = self.timed_out = self.refused = self.failed = self.failures = 0
        self.seconds = 0.0
        self.actions: dict[str, int] = {}
        self.symbols = {rule.name: 0 for rule in self._rules}
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.scan_buckets = [0] * (len(SCAN_BUCKETS) + 1)
        self.late_buckets = [0] * (len(LATE_BUCKETS) + 1)
        self.late = self.blocked = 0.0
        self._reset: dict[str, Any] = {"messages": 0, "actions": {}}

    def count(self, verdict: "Verdict") -> None:
        """One message has its verdict."""
        seconds = verdict.seconds
        self.messages += 1
        self.seconds += seconds
        self.recent.append(seconds)
        self.scan_buckets[bisect_left(SCAN_BUCKETS, seconds)] += 1
        action = verdict.action
        try:
            self.actions[action] += 1
        except KeyError:
            self.actions[action] = 1
        if verdict.timed_out:
            self.timed_out += 1
        if verdict.failures:
            self.failures += len(verdict.failures)
        symbols = self.symbols
        for name in verdict.symbols:
            try:
                symbols[name] += 1
            except KeyError:
                if len(symbols) < SYMBOLS:
                    symbols[name] = 1

    def was_late(self, seconds: float) -> None:
        """The loop came so many seconds late to a timer."""
        self.late += seconds
        self.late_buckets[bisect_left(LATE_BUCKETS, seconds)] += 1
        if seconds >= BLOCKED:
            self.blocked += seconds

    def reset(self) -> None:
        """Begin anew with what /stat shows; the counters that Prometheus reads go on, as counters must."""
        self._reset = {"messages": self.messages, "actions": dict(self.actions)}
        self.recent.clear()

    def snapshot(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        return {
            "started": self.started,
            "messages": self.messages,
            "seconds": self.seconds,
            "timed_out": self.timed_out,
            "refused": self.refused,
            "failed": self.failed,
            "failures": self.failures,
            "actions": dict(self.actions),
            "scan_buckets": list(self.scan_buckets),
            "recent": list(self.recent),
            "symbols": dict(self.symbols),
            "rules": {one.name: [one.runs, one.seconds, one.hits, one.errors] for one in self._rules if one.type != "virtual"},
            "cpu": dict(self._cpu()),
            "clients": {name: counters.as_dict() for name, counters in self._clients().items()},
            "listeners": _by_name(self._listeners),
            "streams": {"actions": {}, "listeners": {}, **self._streams()},
            "hub": {"late_buckets": list(self.late_buckets), "late": self.late, "blocked": self.blocked, "cuts": self._cuts()},
            "reset": {"messages": self._reset["messages"], "actions": dict(self._reset["actions"])},
            "workers": [{"pid": os.getpid(), "started": self.started, "rss": _resident(), **self._worker()}],
            "errors": self._errors(),
        }


def merged(snapshots: Iterable[Snapshot]) -> dict[str, Any]:
    """Several snapshots as one: numbers added up, the oldest start, every worker; of errors and scan times the latest."""
    total: dict[str, Any] = Statistics(worker=dict).snapshot() | {"workers": [], "started": time()}
    for one in snapshots:
        started = min(total["started"], one["started"])
        recent = [*total["recent"], *one["recent"]][-RECENT:]
        total = _sum(total, one)
        total |= {"started": started, "recent": recent}
    return total


def remains(snapshot: Snapshot) -> dict[str, Any]:
    """What is kept of a worker that has ended: all it has counted, nothing of what it was. What it asked for got no reply."""
    clients = {name: _ended(one) for name, one in snapshot["clients"].items()}
    listeners = {name: {**one, "open": 0} for name, one in snapshot["listeners"].items()}
    streams = snapshot["streams"]
    ended = {name: {**one, "open": 0} for name, one in streams["listeners"].items()}
    return {
        **snapshot,
        "workers": [],
        "clients": clients,
        "listeners": listeners,
        "streams": {**streams, "listeners": ended},
    }


def rebased(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot after a reset: for those of workers that have ended and cannot be told."""
    return {**snapshot, "recent": [], "reset": {"messages": snapshot["messages"], "actions": dict(snapshot["actions"])}}


def _ended(client: Mapping[str, int]) -> dict[str, int]:
    return {**client, "errors": client["errors"] + client["in_flight"], "in_flight": 0}


def _by_name(listeners: "Iterable[Listener]") -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for one in listeners:  # several sockets may be one listener
        told = found.setdefault(one.name.removeprefix("listen."), {"accepted": 0, "open": 0})
        told["accepted"] += one.accepted
        told["open"] += one.open
    return found


def _sum(left: Any, right: Any, key: str = "") -> Any:
    if isinstance(left, Mapping):
        both = {**left, **right}
        return {name: _sum(left[name], right[name], name) if name in left and name in right else both[name] for name in both}
    if isinstance(left, list):
        return [*left, *right] if key in _COLLECTED else [a + b for a, b in zip(left, right, strict=False)]
    return left + right


def _resident() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a third of the time of Path.open, on the loop
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0  # no Linux
