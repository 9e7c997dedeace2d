"""`python -m tests.fuzz [TARGET…] --seconds N`: fuzz the named targets, or all, one after the other, N seconds each.

What breaks is minimised and stored under tests/fuzz/cases/TARGET/, where the suite replays it; inputs worth another run are
kept under build/fuzz/TARGET/. With atheris installed (it is no dependency) inputs are chosen by what they reach in the code.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.table import TARGETS
from tests.fuzz.target import CASES, HERE

ROOT = HERE.parents[1]
GRACE = 120.0
"""Seconds beyond its time after which a target's process is killed: something in C does not end."""


def main() -> int:
    arguments = _arguments()
    unknown = [name for name in arguments.targets if name not in TARGETS]
    if unknown:
        sys.stderr.write(f"there is no target {', '.join(unknown)}; there are {', '.join(TARGETS)}\n")
        return 2
    if arguments.list:
        sys.stdout.write("\n".join(TARGETS) + "\n")
        return 0
    broken = 0
    for name in arguments.targets or TARGETS:
        broken += _fuzz(name, arguments)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target; default: 60")
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same inputs, without atheris")
    parser.add_argument("--plain", action="store_true", help="without atheris, even if it is installed")
    parser.add_argument("--corpus", type=Path, default=ROOT / "build" / "fuzz", help="where inputs are kept for the next run")
    parser.add_argument("--cases", type=Path, default=CASES, help="where what breaks is stored")
    parser.add_argument("--list", action="store_true", help="name the targets")
    return parser.parse_args()


def _fuzz(name: str, arguments: argparse.Namespace) -> bool:
    """Whether something was found."""
    seed = random.randrange(2**31) if arguments.seed is None else arguments.seed
    guided = [] if arguments.plain or find_spec("atheris") is None else ["guided"]
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "current"
        words = [name, str(arguments.seconds), str(seed), str(arguments.corpus), str(arguments.cases), str(current), *guided]
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.child", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        try:
            told, _ = process.communicate(timeout=arguments.seconds + GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
        lines = [line for line in told.splitlines() if line.startswith("{")]
        if lines:
            result = json.loads(lines[-1])
            result["seed"] = seed
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
            return bool(result["findings"])
        return _ended_early(name, process.returncode, current, arguments.cases)


def _ended_early(name: str, code: int, current: Path, cases: Path) -> bool:
    """The process is gone without a word: the input it was at is to blame."""
    raw = current.read_bytes() if current.exists() else b""
    data = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
    if code != 1:
        folder = cases / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
    sys.stdout.write(json.dumps({"target": name, "findings": [f"the process ended with {code}"], "bytes": len(data)}) + "\n")
    sys.stdout.flush()
    return True


if __name__ == "__main__":
    sys.exit(main())
