"""The text for Prometheus, read back by its own parser."""

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_plain

from filterd.daemon.metrics import render_metrics
from filterd.daemon.statistics import Statistics, merged
from filterd.engine.registry import Rule
from filterd.mail.verdict import Hit, Verdict
from filterd.net.counters import Counters

CONTROL = frozenset({"control"})


def totals() -> dict[str, Any]:
    rule, counters = Rule("A", None, runs=2, seconds=0.5, hits=1, errors=1), Counters()
    counters.requests, counters.replies, counters.errors, counters.timeouts = 10, 5, 2, 1
    one = Statistics(
        [rule],
        lambda: {"http": counters, "dns": Counters()},
        cuts=lambda: 3,
        cpu=lambda: {"A": 0.25},
        worker=lambda: {"under_way": 4},
    )
    one.count(Verdict("reject", 20.0, 15.0, seconds=0.02, symbols={"A": Hit("A", 1.0), 'od"d\n': Hit('od"d\n', 1.0)}))
    one.count(Verdict("no action", 0.0, 15.0, seconds=30.0))
    one.was_late(0.3)
    one.refused, one.failed, one.timed_out = 5, 6, 7
    told = one.snapshot()
    told["listeners"] = {"scan": {"accepted": 9, "open": 2}, "control": {"accepted": 4, "open": 1}}
    return merged([told])


def samples(accept: str = "") -> dict[str, float]:
    text, content_type = render_metrics(totals(), accept=accept, version="9.9", config_id="abc", control=CONTROL)
    read = read_openmetrics if content_type.startswith("application/openmetrics-text") else read_plain
    found = {}
    for family in read(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sample.labels.items())
            assert f"{sample.name}{{{labels}}}" not in found
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.mark.parametrize("accept", ["", "text/plain;version=0.0.4", "application/openmetrics-text; version=1.0.0,*/*;q=0.1"])
def test_rspamds_names_are_there(accept: str) -> None:
    found = samples(accept)
    expected = {
        "rspamd_build_info{version=9.9}": 1,
        "rspamd_config{id=abc}": 1,
        "rspamd_scan_time_average{}": 15.01,
        "rspamd_read_only{}": 0,
        "rspamd_scanned_total{}": 2,
        "rspamd_learned_total{}": 0,
        "rspamd_learns_total{}": 0,
        "rspamd_spam_total{}": 1,
        "rspamd_ham_total{}": 1,
        "rspamd_connections{}": 2,
        "rspamd_control_connections_total{}": 4,
        "rspamd_actions_total{type=reject}": 1,
        "rspamd_actions_total{type=soft reject}": 0,
        "rspamd_actions_total{type=no action}": 1,
        "rspamd_pools_allocated{}": 0,
        "rspamd_allocated_bytes{}": 0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["process_start_time_seconds{}"] > 1e9


def test_rules_clients_doors_and_the_loop_are_there() -> None:
    expected = {
        "filterd_rule_seconds_count{rule=A}": 2,
        "filterd_rule_seconds_sum{rule=A}": 0.5,
        "filterd_rule_hits_total{rule=A}": 1,
        "filterd_rule_errors_total{rule=A}": 1,
        "filterd_rule_cpu_seconds_total{rule=A}": 0.25,
        "filterd_symbol_hits_total{symbol=A}": 1,
        'filterd_symbol_hits_total{symbol=od"d\n}': 1,
        "filterd_client_requests_total{client=http}": 10,
        "filterd_client_replies_total{client=http}": 5,
        "filterd_client_errors_total{client=http}": 2,
        "filterd_client_timeouts_total{client=http}": 1,
        "filterd_client_in_flight{client=http}": 2,
        "filterd_client_in_flight{client=dns}": 0,
        "filterd_hub_lateness_seconds_count{}": 1,
        "filterd_hub_lateness_seconds_sum{}": 0.3,
        "filterd_hub_lateness_seconds_bucket{le=0.25}": 0,
        "filterd_hub_lateness_seconds_bucket{le=0.5}": 1,
        "filterd_hub_blocked_seconds_total{}": 0.3,
        "filterd_rules_cut_total{}": 3,
        "filterd_scan_seconds_bucket{le=0.01}": 0,
        "filterd_scan_seconds_bucket{le=0.025}": 1,
        "filterd_scan_seconds_bucket{le=+Inf}": 2,
        "filterd_scan_seconds_count{}": 2,
        "filterd_messages_refused_total{}": 5,
        "filterd_messages_unscanned_total{}": 6,
        "filterd_messages_timed_out_total{}": 7,
        "filterd_connections_total{listener=scan}": 9,
        "filterd_open_connections{listener=control}": 1,
        "filterd_workers{}": 1,
        "filterd_messages_under_way{}": 4,
    }
    found = samples()
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["filterd_resident_memory_bytes{}"] > 1_000_000


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("Application/OpenMetrics-Text; version=no-number", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("\udcff", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_form_is_chosen_by_the_client_whatever_it_says(accept: str, content_type: str) -> None:
    assert render_metrics(totals(), accept=accept, version="9.9", config_id="abc", control=CONTROL)[1] == content_type


def test_openmetrics_has_an_end() -> None:
    text, _ = render_metrics(totals(), accept="application/openmetrics-text", version="9.9", config_id="abc", control=CONTROL)
    assert text.endswith(b"# EOF\n")


def test_a_name_that_is_no_text_does_not_break_the_others() -> None:
    told = totals()
    told["symbols"]["\udcff"] = 1
    text, _ = render_metrics(told, accept="", version="9.9", config_id="abc", control=CONTROL)
    assert b'filterd_symbol_hits_total{symbol="?"} 1.0' in text
