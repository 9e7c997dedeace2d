"""What a message costs as there is more to do: more rules, more messages at once, larger ones, more lookups.

`python -m bench scaling` writes bench/results/scaling.json and, where matplotlib is installed, a picture of each of the four.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from bench.backends import running_backends
from bench.load import CLIENT_CORE
from bench.peers import pinned
from bench.speed import RESULTS, machine, written
from bench.speed_rounds import Budget, measured
from bench.speed_scenarios import Load, Scenario

__all__ = ["AXES", "main"]

AXES = {
    "rules": "rules, each of which looks at a header",
    "messages": "messages at once, each with one http.request",
    "bytes": "bytes of a message that is read whole (Rspamd: without rules)",
    "lookups": "lookups of one message, all at once",
}

MOST_BYTES = 200_000_000
"""What is sent in one round at most."""


def points(axis: str, most: int) -> Iterator[tuple[int, Scenario, int]]:
    """How much, the scenario, and how many messages make a round."""
    match axis:
        case "rules":
            for count in (1, 10, 100, 1000):
                yield count, Scenario(axis, "", None, {"many": count}), most
        case "messages":
            for count in (1, 10, 100, 1000):
                loads = (Load(count),)
                yield count, Scenario(axis, "", None, {"web": 1}, loads=loads, keepalive=True), max(most, 2 * count)
        case "bytes":
            for size in (2_000, 20_000, 200_000, 2_000_000, 20_000_000, 50_000_000):
                loads = (Load(16 if size < 1_000_000 else 2, size=size),)
                yield size, Scenario(axis, "", None, {"read_all": 1}, loads=loads, empty=True), min(most, MOST_BYTES // size)
        case "lookups":
            for count in (1, 5, 20, 50, 100, 200, 500):
                yield count, Scenario(axis, "", None, {"lookups": count}, loads=(Load(4),)), max(most * 5 // (count + 5), 20)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench scaling", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=1000, help="of one round, where they are small")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(AXES), help=", ".join(AXES))
    given = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    with pinned(CLIENT_CORE), running_backends() as backends:
        for axis in given.only:
            print(f"{AXES[axis]}\n{'':>10} {'rspamd ms':>10} {'filterd ms':>10} {'p99 ms':>8} {'p99 ms':>8}")
            found[axis] = []
            for count, scenario, messages in points(axis, given.messages):
                (row,) = measured(scenario, Budget(given.rounds, messages=messages), backends)
                theirs, ours = row.theirs.told(), row.ours.told()
                found[axis].append({"count": count, "rspamd": theirs, "filterd": ours})
                if row.error:
                    print(f"{count:>10} FAILED: {row.error}", flush=True)
                    continue
                figures = f"{theirs['cpu_ms']:10.3f} {ours['cpu_ms']:10.3f} {theirs['p99_ms']:8.1f} {ours['p99_ms']:8.1f}"
                print(f"{count:>10} {figures}", flush=True)
    written("scaling", {"machine": machine(), "rounds": given.rounds, **found})
    if find_spec("matplotlib") is None:
        print("matplotlib is not installed: no pictures")
    else:
        draw(found)
    if any("error" in point[name] for points in found.values() for point in points for name in ("rspamd", "filterd")):
        sys.exit(1)


def draw(found: dict[str, list[dict[str, Any]]]) -> None:
    """One picture for each axis, bench/results/scaling-NAME.png."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    for axis, rows in found.items():
        figure, axes = pyplot.subplots(figsize=(7, 4.5))
        for name in ("rspamd", "filterd"):
            good = [row for row in rows if "error" not in row[name]]
            axes.loglog([row["count"] for row in good], [row[name]["cpu_ms"] for row in good], marker="o", label=name)
        axes.set_xlabel(AXES[axis])
        axes.set_ylabel("ms of CPU a message")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
        figure.tight_layout()
        figure.savefig(RESULTS / f"scaling-{axis}.png", dpi=120)
        pyplot.close(figure)
