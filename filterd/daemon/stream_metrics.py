"""What stream listeners and their actions have done, in the form of Prometheus."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, Metric, SummaryMetricFamily

__all__ = ["stream_metrics"]

_FATES: Final = ("ended", "rejected", "dropped", "refused", "timeouts", "broken", "unreachable")


def stream_metrics(told: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics of a snapshot, of one worker or the sum of several."""
    fates = CounterMetricFamily(
        "filterd_streams", "Streams that are over, by what became of them.", labels=("listener", "fate")
    )
    size = CounterMetricFamily("filterd_stream_bytes", "Bytes from and to clients.", labels=("listener", "direction"))
    for name, counts in told["listeners"].items():
        for fate in _FATES:
            fates.add_metric((name, fate), counts[fate])
        for direction in ("received", "sent"):
            size.add_metric((name, direction), counts[direction])
    seconds = SummaryMetricFamily("filterd_action_seconds", "Seconds in an action, waits included.", labels=("action",))
    errors = CounterMetricFamily("filterd_action_errors", "Streams on which an action failed.", labels=("action",))
    for name, (runs, spent, failed) in told["actions"].items():
        seconds.add_metric((name,), runs, spent)
        errors.add_metric((name,), failed)
    yield from (fates, size, seconds, errors)
