"""Streams in /metrics: of one worker, of several, and of one that has ended."""

from typing import Any

from filterd.daemon.metrics import render_metrics
from filterd.daemon.statistics import Statistics, merged, remains
from filterd.servers.stream import StreamCounts


def counted() -> dict[str, Any]:
    one = StreamCounts()
    one.ended, one.rejected, one.received, one.sent, one.open = 3, 2, 100, 50, 1
    return {"listeners": {"gate": one.as_dict()}, "actions": {"smtp_gate": [5, 0.5, 1]}}


def test_streams_of_all_workers_are_added_up() -> None:
    snapshots = [Statistics(streams=counted).snapshot(), Statistics(streams=counted).snapshot(), Statistics().snapshot()]
    totals = merged(snapshots)
    text = render_metrics(totals, accept="", version="0", config_id="x", control=frozenset())[0].decode()
    for line in (
        'filterd_streams_total{fate="ended",listener="gate"} 6.0',
        'filterd_streams_total{fate="rejected",listener="gate"} 4.0',
        'filterd_streams_total{fate="unreachable",listener="gate"} 0.0',
        'filterd_stream_bytes_total{direction="received",listener="gate"} 200.0',
        'filterd_stream_bytes_total{direction="sent",listener="gate"} 100.0',
        'filterd_action_seconds_count{action="smtp_gate"} 10.0',
        'filterd_action_seconds_sum{action="smtp_gate"} 1.0',
        'filterd_action_errors_total{action="smtp_gate"} 2.0',
    ):
        assert line in text.splitlines()


def test_a_worker_that_has_ended_has_no_stream_open() -> None:
    left = remains(Statistics(streams=counted).snapshot())["streams"]
    assert left["listeners"]["gate"]["open"] == 0
    assert left["listeners"]["gate"]["ended"] == 3
    assert left["actions"] == {"smtp_gate": [5, 0.5, 1]}
