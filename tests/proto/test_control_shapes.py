"""The controller's JSON objects, made of counts: what rspamc, the web interface and exporters read."""

from typing import Any

from filterd.proto import control_shapes
from filterd.proto.control_shapes import SymbolFacts

TOTALS: dict[str, Any] = {
    "started": 1000.0,
    "messages": 30,
    "actions": {"reject": 4, "soft reject": 2, "add header": 5, "greylist": 1, "no action": 17, "hold": 1},
    "recent": [0.5, 0.25],
    "symbols": {"A": 6, "B": 0},
    "rules": {"A": [3, 1.5, 6, 0], "B": [0, 0.0, 0, 0]},
    "listeners": {
        "scan": {"accepted": 50, "open": 3},
        "milter": {"accepted": 5, "open": 2},
        "control": {"accepted": 7, "open": 1},
    },
    "reset": {"messages": 10, "actions": {"reject": 1, "no action": 9}},
}
FACTS = [
    SymbolFacts("A", 2.5, ("headers", "odd"), "An A"),
    SymbolFacts("B", -1.0),
    SymbolFacts("V", 0.0, ("odd",)),
]


def stat(**changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "version": "9.9",
        "config_id": "abc",
        "now": 1060.9,
        "read_only": True,
        "control": frozenset({"control"}),
    }
    return control_shapes.stat(TOTALS | changes, **options)


def test_stat_counts_since_the_last_reset() -> None:
    told = stat()
    assert (told["scanned"], told["spam_count"], told["ham_count"]) == (20, 10, 10)
    assert told["actions"] == {
        "reject": 3,
        "soft reject": 2,
        "rewrite subject": 0,
        "add header": 5,
        "greylist": 1,
        "no action": 8,
        "hold": 1,
    }
    assert (told["version"], told["config_id"], told["uptime"], told["read_only"]) == ("9.9", "abc", 60, True)


def test_stat_has_the_keys_that_rspamc_prints() -> None:
    told = stat()
    for key in ("pools_allocated", "pools_freed", "bytes_allocated", "chunks_allocated", "shared_chunks_allocated",
                "chunks_freed", "chunks_oversized", "fragmented", "total_learns", "learned"):  # fmt: skip
        assert told[key] == 0
    assert told["statfiles"] == []


def test_connections_of_mail_are_the_open_ones_those_of_control_all() -> None:
    told = stat()
    assert (told["connections"], told["control_connections"]) == (5, 7)


def test_scan_times_are_the_latest_31_and_then_null() -> None:
    assert stat()["scan_times"] == [0.5, 0.25, *[None] * 29]
    assert stat(recent=[float(n) for n in range(40)])["scan_times"] == [float(n) for n in range(9, 40)]


def test_auth_is_the_short_form() -> None:
    assert control_shapes.auth(stat()) == {
        "version": "9.9",
        "auth": "ok",
        "uptime": 60,
        "clean": 8,
        "probable": 5,
        "greylist": 1,
        "reject": 3,
        "soft_reject": 2,
        "scanned": 20,
        "learned": 0,
        "read_only": True,
        "config_id": "abc",
    }


def test_counters_have_hits_a_second_and_seconds_a_run() -> None:
    first, second, third = control_shapes.counters(TOTALS, FACTS, now=1060.0)
    assert first == {"symbol": "A", "weight": 2.5, "frequency": 0.1, "frequency_stddev": 0.0, "hits": 6, "time": 0.5}
    assert (second["hits"], second["frequency"], second["time"]) == (0, 0.0, 0.0)
    assert (third["symbol"], third["hits"], third["time"]) == ("V", 0, 0.0)


def test_a_start_that_was_just_now_makes_no_great_frequency() -> None:
    assert control_shapes.counters(TOTALS, FACTS, now=1000.0)[0]["frequency"] == 6.0


def test_symbols_stand_in_each_of_their_groups() -> None:
    told = {
        group["group"]: [one["symbol"] for one in group["rules"]] for group in control_shapes.symbols(TOTALS, FACTS, now=1060)
    }
    assert told == {"headers": ["A"], "odd": ["A", "V"], "ungrouped": ["B"]}
    rule = control_shapes.symbols(TOTALS, FACTS, now=1060.0)[0]["rules"][0]
    assert rule == {
        "symbol": "A",
        "weight": 2.5,
        "description": "An A",
        "frequency": 0.1,
        "frequency_stddev": 0.0,
        "time": 0.5,
    }


def test_actions_stand_by_rising_threshold_then_those_without() -> None:
    assert control_shapes.actions({"reject": 15.0, "hold": 8.0, "add header": 6.0}) == [
        {"action": "add header", "value": 6.0},
        {"action": "hold", "value": 8.0},
        {"action": "reject", "value": 15.0},
        {"action": "soft reject", "value": None},
        {"action": "rewrite subject", "value": None},
        {"action": "greylist", "value": None},
        {"action": "no action", "value": None},
    ]


def test_the_pie_has_rspamds_pieces() -> None:
    assert {piece["label"]: piece["value"] for piece in control_shapes.pie(TOTALS)} == {
        "Clean": 8.0,
        "Temporarily rejected": 2.0,
        "Probable spam": 5.0,
        "Greylisted": 1.0,
        "Rejected": 3.0,
    }
    assert all(piece["data"] == piece["value"] and piece["color"].startswith("#") for piece in control_shapes.pie(TOTALS))
