"""filterd beside Rspamd: CPU for each message of the whole process tree, latency and memory, the same rules on both sides.

`python -m bench speed` runs all scenarios, `--only S0,S4` some, `--rounds 9` more often, `--seconds 3` longer. Server and load
have a core each; rounds go from one server to the other and back, and a ratio is the median of the rounds' ratios: how many
times filterd's CPU Rspamd needs. Each reply must have its symbols, and the servers that rules ask must have been asked exactly
what they should: otherwise the row fails and says what was missing. Results go to bench/results/speed.json and speed.txt.

Needed are the Debian packages rspamd, nginx-light, unbound and redis-server; for all rows also haproxy and spamd, and Haraka
from npm, as .ci/run installs it. A row whose program is not installed is left out, and a line says so.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.backends import Backends, running_backends
from bench.load import CLIENT_CORE, Wrong
from bench.peers import Absent, pinned
from bench.speed_mail import NOTES, beside_haraka, beside_spamd
from bench.speed_rounds import Budget, Row, Series, measured
from bench.speed_scenarios import SCENARIOS
from bench.speed_streams import beside_haproxy

__all__ = ["RESULTS", "machine", "main", "table", "written"]

RESULTS = Path(__file__).with_name("results")
BESIDE: dict[str, Callable[[Budget, Backends], list[Row]]] = {
    "S6T": beside_haproxy,
    "S0S": beside_spamd,
    "S2H": beside_haraka,
}
"""Rows beside other programs than Rspamd."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench speed", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each row, beside one to warm up")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long one round of one server takes")
    parser.add_argument("--messages", type=int, help="in one round, instead of --seconds")
    parser.add_argument("--only", type=lambda text: text.split(","), help="scenarios, by commas")
    given = parser.parse_args()
    names = [scenario.name for scenario in SCENARIOS] + list(BESIDE)
    if unknown := set(given.only or ()) - set(names):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    budget = Budget(given.rounds, given.seconds, given.messages)
    rows: list[Row] = []
    notes: list[str] = []
    with pinned(CLIENT_CORE), running_backends() as backends:
        for name in names:
            if given.only and name not in given.only:
                continue
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                if name in BESIDE:
                    rows += _beside(name, budget, backends, notes)
                else:
                    (scenario,) = (one for one in SCENARIOS if one.name == name)
                    rows += measured(scenario, budget, backends)
            except Wrong as error:
                rows.append(Row(name, "", None, "start", Series(error=str(error)), Series()))
    if not backends.outside:
        notes.append("this machine has no address but loopback's: no lookups by UDP")
    notes.append(f"filterd by Python {sys.version.split(' [')[0]}: one built without a profile takes 1.2 to 1.5 times as much")
    text = table(rows, notes)
    print(text)
    written("speed", {"machine": machine(), "rounds": given.rounds, "rows": [_told(row) for row in rows]}, text)
    if any(row.error for row in rows):
        sys.exit(1)


def _beside(name: str, budget: Budget, backends: Backends, notes: list[str]) -> list[Row]:
    """The rows, with what is to be known about them; a program that is not installed has none."""
    try:
        rows = BESIDE[name](budget, backends)
    except Absent as absent:
        notes.append(f"{name} is left out: {absent}")
        return []
    notes += [NOTES[name]] if name in NOTES else []
    return rows


def machine() -> dict[str, Any]:
    """What figures are from."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "rspamd": _version("rspamd", "--version"),
        "haproxy": _version("haproxy", "-v"),
        "spamd": _version("spamd", "--version"),
        "haraka": _version("haraka", "--version"),
        "load before": os.getloadavg(),
    }


def written(name: str, figures: object, text: str = "") -> None:
    """Into bench/results/."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    if text:
        (RESULTS / f"{name}.txt").write_text(text + "\n")


def table(rows: list[Row], notes: list[str]) -> str:
    """One line for each row; a row without its figures says why."""
    width = max((len(row.what) for row in rows), default=0)
    head = (
        f"{'':5}{'CPU ms a message':{width}} {'other':>8} {'filterd':>8} {'ratio':>6} {'target':>6}"
        f" {'p50/p99 ms':>15} {'filterd':>15} {'MiB':>5} {'filterd':>7}"
    )
    lines = [head]
    for row in rows:
        start = f"{row.scenario:5}{row.what:{width}}"
        if row.error:
            lines.append(f"{start} FAILED: {row.error}")
            continue
        theirs, ours = row.theirs.told(), row.ours.told()
        ratio, target = row.ratio or 0.0, row.target or 0.0
        mark = "<" if ratio < target else ""
        figures = [f"{side['cpu_ms']:8.3f}" for side in (theirs, ours)]
        figures += [f"{ratio:6.2f}", f"{mark}{row.target:g}".rjust(6) if row.target else " " * 6]
        figures += [f"{side['p50_ms']:.1f}/{side['p99_ms']:.1f}".rjust(15) for side in (theirs, ours)]
        figures += [f"{theirs['peak_mib']:5.0f}", f"{ours['peak_mib']:7.0f}"]
        lines.append(" ".join([start, *figures]))
    return "\n".join([*lines, *notes])


def _told(row: Row) -> dict[str, object]:
    return {
        "scenario": row.scenario,
        "what": row.what,
        "target": row.target,
        "other": row.other,
        "ratio": row.ratio,
        row.other or "other": row.theirs.told(),
        "filterd": row.ours.told(),
    }


def _version(program: str, option: str) -> str | None:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is None:
        return None
    lines = subprocess.run([path, option], capture_output=True, text=True, check=False).stdout.splitlines()
    return re.sub(r"\x1b\[[\d;]*m", "", lines[0]) if lines else None
