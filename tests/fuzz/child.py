"""One target fuzzed in a process of its own: `python -m tests.fuzz.child NAME SECONDS SEED CORPUS CASES CURRENT [guided]`.

CURRENT is a file that holds the input under way (its length in eight bytes, then the bytes), for the parent to read should this
process be killed by it. With `guided` atheris chooses the inputs by what they reach in the code; else an input is kept when its
outcome is a new one.
"""

import hashlib
import json
import mmap
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["main"]

ADDRESS_SPACE = 4 * 2**30
KEPT = 3000
PATIENCE = 40.0
"""How much slower code is that atheris looks into, at worst: what is only slow is found by plain runs."""
ENOUGH = 50
"""Findings after which a run ends: there is something to repair first."""


class Session:
    """What is known of a target while it is fuzzed."""

    def __init__(self, name: str, corpus: Path, cases: Path, current: Path, *, patience: float) -> None:
        # Imported here, or atheris would come too late to look into filterd.
        from tests.fuzz.judge import Finding, judge, minimised
        from tests.fuzz.table import TARGETS

        self.target = TARGETS[name]
        self.folder, self.cases = corpus / name, cases / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._finding, self._judge, self._minimised = Finding, judge, minimised
        self.patience = patience
        self.known: set[str] = set()
        self.inputs = 0
        self.outcomes: set[str] = set()
        room = self.target.largest + 8
        current.write_bytes(bytes(room))
        with current.open("r+b") as file:
            self._current = mmap.mmap(file.fileno(), room)

    def try_out(self, data: bytes) -> bool:
        """Judge an input; True if its outcome is a new one."""
        data = data[: self.target.largest]
        self._current[:8] = len(data).to_bytes(8, "little")
        self._current[8 : 8 + len(data)] = data
        self.inputs += 1
        found = self._judge(self.target, data, patience=self.patience)
        if isinstance(found, self._finding):
            if found.what not in self.known:
                self.known.add(found.what)
                self._store(self._minimised(self.target, data, found), f"{found.what}\n{found.details}")
            return False
        if found in self.outcomes:
            return False
        self.outcomes.add(found)
        return True

    def keep(self, data: bytes) -> None:
        """Put an input into the corpus of later runs."""
        (self.folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def _store(self, data: bytes, told: str) -> None:
        self.cases.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest()[:12]
        (self.cases / name).write_bytes(data)
        sys.stderr.write(f"{self.target.name}: {name}: {told}\n")
        if len(self.known) >= ENOUGH:
            raise SystemExit(1)


def _plainly(session: Session, seconds: float, dice: random.Random, done: Callable[[], None]) -> None:
    from tests.fuzz.mutation import Mutator

    target = session.target
    corpus = [*target.corpus(), *(file.read_bytes() for file in session.folder.iterdir())]
    for data in corpus:
        session.try_out(data)
    mutator = Mutator(dice, target.words, target.largest)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if target.make is not None and dice.random() < 0.2:
            data = target.make(dice)
        else:
            data = mutator.mutate(dice.choice(corpus), dice.choice(corpus))
        if session.try_out(data):
            if len(corpus) < KEPT:
                corpus.append(data)
            session.keep(data)
    done()


def _guided(session: Session, seconds: float, seed: int, done: Callable[[], None]) -> None:
    atheris: Any = import_module("atheris")
    from tests.fuzz.mutation import Mutator

    target, dice = session.target, random.Random(seed)
    mutator = Mutator(dice, target.words, target.largest)
    seeds = target.corpus()
    for data in seeds:
        session.keep(data)

    def mutated(data: bytes, largest: int, chosen: int) -> bytes:
        dice.seed(chosen)
        way = dice.random()
        if way < 0.5:
            return bytes(atheris.Mutate(data, largest))
        if target.make is not None and way < 0.6:
            return target.make(dice)[:largest]
        return mutator.mutate(data, dice.choice(seeds))[:largest]

    def try_out(data: bytes) -> None:
        session.try_out(data)
        if time.monotonic() > end:
            done()
            os._exit(0)  # libFuzzer would take an exit for a fault of the target

    end = time.monotonic() + seconds
    options = [
        "-verbosity=0",
        "-print_final_stats=0",
        f"-seed={seed}",
        f"-max_len={target.largest}",
        "-timeout=120",
        "-rss_limit_mb=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(session.folder)], try_out, custom_mutator=mutated)
    atheris.Fuzz()


def main() -> None:
    name, seconds, seed, corpus, cases, current, *more = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if more:
        atheris: Any = import_module("atheris")  # no dependency: a type checker need not know it
        with atheris.instrument_imports(include=["filterd"]):
            import tests.fuzz.table  # noqa: F401 - what it imports is looked into
    session = Session(name, Path(corpus), Path(cases), Path(current), patience=PATIENCE if more else 1.0)
    began = time.monotonic()

    def done() -> None:
        told = {"target": name, "inputs": session.inputs, "seconds": round(time.monotonic() - began, 1)}
        told |= {"outcomes": len(session.outcomes), "findings": sorted(session.known)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    if more:
        _guided(session, float(seconds), int(seed), done)
    else:
        _plainly(session, float(seconds), random.Random(int(seed)), done)


if __name__ == "__main__":
    main()
