"""What the controller's JSON objects hold, made of counts: /stat, /auth, /counters, /symbols, /actions, /pie.

The counts are the mapping that `daemon.statistics` makes. The keys are those that `rspamc stat`, `rspamc counters`, the web
interface, netdata and Telegraf read in Rspamd 3.4. What filterd does not have (memory pools, learned messages) is 0 there:
`rspamc` would otherwise print nonsense.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ACTIONS", "SymbolFacts", "actions", "auth", "counters", "pie", "stat", "symbols"]

ACTIONS = ("reject", "soft reject", "rewrite subject", "add header", "greylist", "no action")
"""The actions of Rspamd, in its order."""

_SPAM = ACTIONS[:4]
_SCAN_TIMES = 31
_ABSENT = (
    "pools_allocated",
    "pools_freed",
    "bytes_allocated",
    "chunks_allocated",
    "shared_chunks_allocated",
    "chunks_freed",
    "chunks_oversized",
    "fragmented",
    "total_learns",
)
# Label, colour and actions of each piece of the pie, as the web interface draws it.
_PIECES = (
    ("Clean", "#66cc00", ("no action",)),
    ("Temporarily rejected", "#cc9966", ("soft reject",)),
    ("Probable spam", "#FFD700", ("add header", "rewrite subject")),
    ("Greylisted", "#436EEE", ("greylist",)),
    ("Rejected", "#FF0000", ("reject",)),
)


@dataclass(frozen=True, slots=True)
class SymbolFacts:
    """What is known of a symbol before any message: its score, groups and description; `rule` is what inserts it."""

    name: str
    score: float
    groups: Sequence[str] = ()
    description: str | None = None
    rule: str | None = None


def stat(
    totals: Mapping[str, Any], *, version: str, config_id: str, now: float, read_only: bool, control: frozenset[str]
) -> dict[str, Any]:
    """/stat. `control` are the names of the listeners that are control listeners; `now` is the time of day."""
    counted = _since_reset(totals)
    by_action = counted["actions"]
    spam = sum(by_action.get(action, 0) for action in _SPAM)
    recent = list(totals["recent"])[-_SCAN_TIMES:]
    listeners = totals["listeners"]
    return {
        "version": version,
        "config_id": config_id,
        "uptime": int(now - totals["started"]),
        "read_only": read_only,
        "scanned": counted["messages"],
        "learned": 0,
        "actions": {**dict.fromkeys(ACTIONS, 0), **by_action},
        "scan_times": [round(seconds, 6) for seconds in recent] + [None] * (_SCAN_TIMES - len(recent)),
        "spam_count": spam,
        "ham_count": counted["messages"] - spam,
        "connections": sum(one["open"] for name, one in listeners.items() if name not in control),
        "control_connections": sum(one["accepted"] for name, one in listeners.items() if name in control),
        **dict.fromkeys(_ABSENT, 0),
        "statfiles": [],
    }


def auth(stat: Mapping[str, Any]) -> dict[str, Any]:
    """/auth: the short form of /stat."""
    by_action = stat["actions"]
    return {
        "version": stat["version"],
        "auth": "ok",
        "uptime": stat["uptime"],
        "clean": by_action["no action"],
        "probable": by_action["add header"] + by_action["rewrite subject"],
        "greylist": by_action["greylist"],
        "reject": by_action["reject"],
        "soft_reject": by_action["soft reject"],
        "scanned": stat["scanned"],
        "learned": stat["learned"],
        "read_only": stat["read_only"],
        "config_id": stat["config_id"],
    }


def counters(totals: Mapping[str, Any], facts: Iterable[SymbolFacts], *, now: float) -> list[dict[str, Any]]:
    """/counters: each symbol with what it did; `frequency` is hits a second since the start, `time` seconds on average."""
    return [
        {
            "symbol": one.name,
            "weight": one.score,
            "frequency": _frequency(totals, one.name, now),
            "frequency_stddev": 0.0,
            "hits": totals["symbols"].get(one.name, 0),
            "time": _average(totals, one.name),
        }
        for one in facts
    ]


def symbols(totals: Mapping[str, Any], facts: Iterable[SymbolFacts], *, now: float) -> list[dict[str, Any]]:
    """/symbols: the same by group; a symbol stands in each of its groups."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in facts:
        told: dict[str, Any] = {"symbol": one.name, "weight": one.score}
        if one.description is not None:
            told["description"] = one.description
        told["frequency"] = _frequency(totals, one.name, now)
        told["frequency_stddev"] = 0.0
        told["time"] = _average(totals, one.name)
        for group in one.groups or ("ungrouped",):
            groups.setdefault(group, []).append(told)
    return [{"group": group, "rules": rules} for group, rules in groups.items()]


def actions(thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    """/actions: those with a threshold by rising score, then the others, whose value is null."""
    earned = sorted(thresholds.items(), key=lambda pair: pair[1])
    told: list[dict[str, Any]] = [{"action": action, "value": score} for action, score in earned]
    return told + [{"action": action, "value": None} for action in ACTIONS if action not in thresholds]


def pie(totals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """/pie: how many messages met which fate."""
    by_action = _since_reset(totals)["actions"]
    numbers = [float(sum(by_action.get(action, 0) for action in names)) for _, _, names in _PIECES]
    return [
        {"color": color, "label": label, "data": number, "value": number}
        for (label, color, _), number in zip(_PIECES, numbers, strict=True)
    ]


def _since_reset(totals: Mapping[str, Any]) -> dict[str, Any]:
    base = totals["reset"]
    before = base["actions"]
    return {
        "messages": totals["messages"] - base["messages"],
        "actions": {action: number - before.get(action, 0) for action, number in totals["actions"].items()},
    }


def _frequency(totals: Mapping[str, Any], name: str, now: float) -> float:
    hits, started = totals["symbols"].get(name, 0), totals["started"]
    return float(round(hits / max(now - started, 1.0), 6))


def _average(totals: Mapping[str, Any], name: str) -> float:
    runs, seconds = totals["rules"].get(name, (0, 0.0))[:2]
    return float(round(seconds / runs, 6)) if runs else 0.0
