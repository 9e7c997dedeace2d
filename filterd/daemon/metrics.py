"""The text for Prometheus: Rspamd's names for what Rspamd has, and filterd's own for rules, clients, doors and the loop.

Promises: it is made of one merged snapshot, so that all its numbers are of one moment; a counter never goes back (`/statreset`
does not touch them); no label comes from a message, but for names of symbols that rules made up, and those are bounded.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from filterd.daemon.statistics import LATE_BUCKETS, SCAN_BUCKETS
from filterd.daemon.stream_metrics import stream_metrics
from filterd.proto.control_shapes import ACTIONS

__all__ = ["render_metrics"]

PLAIN_TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text"

_SPAM = ACTIONS[:4]
# Names under which dashboards for Rspamd look for memory pools. There are none here.
_ABSENT = (
    "rspamd_pools_allocated",
    "rspamd_pools_freed",
    "rspamd_allocated_bytes",
    "rspamd_chunks_allocated",
    "rspamd_shared_chunks_allocated",
    "rspamd_chunks_freed",
    "rspamd_chunks_oversized",
    "rspamd_fragmented",
)
_CLIENT_COUNTS = {
    "requests": "Requests that were begun",
    "replies": "Requests that were answered, whatever the answer",
    "errors": "Requests that failed",
    "timeouts": "Requests that were given up for time",
}


def render_metrics(
    totals: Mapping[str, Any], *, accept: str, version: str, config_id: str, control: frozenset[str]
) -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics for who names it in `accept` (the request's header), else the older form."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(totals, version, config_id, control))
    # The library's own choice takes the version to write from the header, and raises for one that is no number.
    if OPEN_METRICS in accept.lower():
        text: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
        return text, f"{OPEN_METRICS}; version=1.0.0; charset=utf-8"
    return generate_latest(registry), PLAIN_TEXT


class _Snapshot(Collector):
    def __init__(self, totals: Mapping[str, Any], version: str, config_id: str, control: frozenset[str]) -> None:
        self.totals = totals
        self.version = version
        self.config_id = config_id
        self.control = control

    def describe(self) -> list[Metric]:
        return []  # nothing is collected when it is registered

    def collect(self) -> Iterator[Metric]:
        yield from self._rspamd()
        yield from self._messages()
        yield from self._rules()
        yield from self._clients()
        yield from self._doors()
        yield from stream_metrics(self.totals["streams"])
        yield from self._processes()

    def _rspamd(self) -> Iterator[Metric]:
        totals = self.totals
        actions, messages = totals["actions"], totals["messages"]
        spam = sum(actions.get(action, 0) for action in _SPAM)
        yield _labelled("rspamd_build_info", "A constant 1, with the version of filterd.", "version", {self.version: 1})
        yield _labelled("rspamd_config", "A constant 1, with the id of the configuration.", "id", {self.config_id: 1})
        average = totals["seconds"] / messages if messages else 0.0
        yield GaugeMetricFamily("rspamd_scan_time_average", "Seconds per message, on average.", average)
        yield GaugeMetricFamily("process_start_time_seconds", "Start of the oldest worker, Unix time.", totals["started"])
        yield GaugeMetricFamily("rspamd_read_only", "Always 0.", 0)
        yield CounterMetricFamily("rspamd_scanned", "Messages scanned.", messages)
        yield CounterMetricFamily("rspamd_learned", "Always 0: there is no classifier.", 0)
        yield CounterMetricFamily("rspamd_learns", "Always 0: there is no classifier.", 0)
        yield CounterMetricFamily("rspamd_spam", "Messages with a rejecting, marking or rewriting action.", spam)
        yield CounterMetricFamily("rspamd_ham", "Messages with another action.", messages - spam)
        open_, accepted = self._connections()
        yield GaugeMetricFamily("rspamd_connections", "Connections open on the doors for mail.", open_)
        yield CounterMetricFamily("rspamd_control_connections", "Connections accepted on control listeners.", accepted)
        by_action = {**dict.fromkeys(ACTIONS, 0), **actions}
        yield _labelled("rspamd_actions", "Messages by action.", "type", by_action, CounterMetricFamily)
        for name in _ABSENT:
            yield GaugeMetricFamily(name, "Always 0: filterd has no memory pools.", 0)

    def _connections(self) -> tuple[int, int]:
        listeners = self.totals["listeners"].items()
        return (
            sum(one["open"] for name, one in listeners if name not in self.control),
            sum(one["accepted"] for name, one in listeners if name in self.control),
        )

    def _messages(self) -> Iterator[Metric]:
        totals = self.totals
        buckets = _cumulated(SCAN_BUCKETS, totals["scan_buckets"])
        yield HistogramMetricFamily("filterd_scan_seconds", "Seconds a message took.", buckets, totals["seconds"])
        late = totals["timed_out"]
        yield CounterMetricFamily("filterd_messages_timed_out", "Messages whose budget ended before their rules.", late)
        yield CounterMetricFamily("filterd_messages_refused", "Messages refused for limits.tasks.", totals["refused"])
        yield CounterMetricFamily("filterd_messages_unscanned", "Messages that filterd itself failed on.", totals["failed"])
        yield CounterMetricFamily("filterd_rule_failures", "Failures of rules on messages.", totals["failures"])

    def _rules(self) -> Iterator[Metric]:
        seconds = SummaryMetricFamily("filterd_rule_seconds", "Seconds in a rule, waits included.", labels=("rule",))
        hits = CounterMetricFamily("filterd_rule_hits", "Messages on which a rule inserted its own symbol.", labels=("rule",))
        errors = CounterMetricFamily("filterd_rule_errors", "Messages on which a rule failed.", labels=("rule",))
        for name, (runs, spent, found, failed) in self.totals["rules"].items():
            seconds.add_metric((name,), runs, spent)
            hits.add_metric((name,), found)
            errors.add_metric((name,), failed)
        yield from (seconds, hits, errors)
        text = "Seconds of CPU time in a rule or hook, as each 20 ms of it found who was computing."
        yield _labelled("filterd_rule_cpu_seconds", text, "rule", self.totals["cpu"], CounterMetricFamily)
        symbols = self.totals["symbols"]
        yield _labelled("filterd_symbol_hits", "Messages with this symbol.", "symbol", symbols, CounterMetricFamily)

    def _clients(self) -> Iterator[Metric]:
        clients = self.totals["clients"]
        for count, text in _CLIENT_COUNTS.items():
            by_client = {name: one[count] for name, one in clients.items()}
            yield _labelled(f"filterd_client_{count}", f"{text}.", "client", by_client, CounterMetricFamily)
        in_flight = {name: one["in_flight"] for name, one in clients.items()}
        yield _labelled("filterd_client_in_flight", "Requests under way.", "client", in_flight)

    def _doors(self) -> Iterator[Metric]:
        doors = self.totals["listeners"]
        accepted = {name: one["accepted"] for name, one in doors.items()}
        yield _labelled("filterd_connections", "Connections accepted.", "listener", accepted, CounterMetricFamily)
        yield _labelled(
            "filterd_open_connections", "Connections open.", "listener", {name: one["open"] for name, one in doors.items()}
        )

    def _processes(self) -> Iterator[Metric]:
        hub, workers = self.totals["hub"], self.totals["workers"]
        late = _cumulated(LATE_BUCKETS, hub["late_buckets"])
        yield HistogramMetricFamily("filterd_hub_lateness_seconds", "By how much the loop was late.", late, hub["late"])
        text = "Seconds the loop was held, each time for 50 ms or longer, as four looks a second saw it."
        yield CounterMetricFamily("filterd_hub_blocked_seconds", text, hub["blocked"])
        yield CounterMetricFamily("filterd_rules_cut", "Rules cut for holding the loop (limits.burst_timeout).", hub["cuts"])
        yield GaugeMetricFamily("filterd_workers", "Worker processes.", len(workers))
        under_way = sum(one["under_way"] for one in workers if "under_way" in one)
        yield GaugeMetricFamily("filterd_messages_under_way", "Messages being scanned.", under_way)
        resident = sum(one.get("rss", 0) for one in workers)
        yield GaugeMetricFamily("filterd_resident_memory_bytes", "Memory of all workers.", resident)


def _labelled(
    name: str,
    text: str,
    label: str,
    values: Mapping[str, float],
    family: type[GaugeMetricFamily] | type[CounterMetricFamily] = GaugeMetricFamily,
) -> Metric:
    metric = family(name, text, labels=(label,))
    for key, value in values.items():
        metric.add_metric((key.encode("utf-8", "replace").decode(),), value)
    return metric


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    told: list[tuple[str, float]] = []
    sum_ = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        sum_ += count
        told.append((bound, sum_))
    return told
