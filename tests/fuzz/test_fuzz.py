"""Every target, shortly: its seeds, what once broke it, and some hundred inputs that are the same each time.

`python -m tests.fuzz` goes on from there.
"""

import json
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.fuzz.judge import Finding, judge, minimised
from tests.fuzz.mutation import Mutator
from tests.fuzz.table import TARGETS
from tests.fuzz.target import CASES, SEEDS, Target, in_pieces, pieces

ROOT = Path(__file__).parents[2]
INPUTS = 40
LARGEST = 8 * 1024


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_mutated_inputs_break_nothing(target: Target) -> None:
    dice = random.Random(zlib.crc32(target.name.encode()))
    corpus = target.corpus()
    mutator = Mutator(dice, target.words, min(target.largest, LARGEST))
    made = [target.make(dice) for _ in range(INPUTS // 4)] if target.make is not None else []
    for data in [b"", *target.seeds, *made, *(mutator.mutate(dice.choice(corpus), dice.choice(corpus)) for _ in range(INPUTS))]:
        found = judge(target, data)
        assert not isinstance(found, Finding), (data, found.what, found.details)


CASE_FILES = [(target, file) for target in TARGETS.values() for file in target.files()]


@pytest.mark.parametrize(("target", "file"), CASE_FILES, ids=[f"{target.name}/{file.name}" for target, file in CASE_FILES])
def test_what_once_broke_something_does_not(target: Target, file: Path) -> None:
    found = judge(target, file.read_bytes())
    assert not isinstance(found, Finding), (found.what, found.details)


def test_every_case_and_seed_is_of_a_target() -> None:
    folders = {folder.name for place in (CASES, SEEDS) for folder in place.iterdir() if folder.is_dir()}
    assert folders <= set(TARGETS)


def a_target(**keywords: object) -> Target:
    def run(data: bytes) -> object:
        if data.startswith(b"refuse"):
            raise ValueError("declared")
        if b"bug" in data:
            raise KeyError("not declared")
        if data == b"slow":
            return sum(range(5_000_000))
        if data == b"large":
            return len(bytearray(200 * 2**20))
        return len(data)

    return Target("test", run, (b"seed",), raises=(ValueError,), **keywords)  # type: ignore[arg-type]


def test_the_judge_tells_what_is_allowed_from_what_is_not() -> None:
    target = a_target()
    assert judge(target, b"fine") == "0"
    assert judge(target, b"refuse 12") == "ValueError: declared"
    found = judge(target, b"a bug in it")
    assert isinstance(found, Finding)
    assert found.what.startswith("KeyError at tests/fuzz/test_fuzz.py:")
    assert "not declared" in found.details
    slow = judge(a_target(cpu=0.01), b"slow")
    assert isinstance(slow, Finding)
    assert slow.what == "slow"
    large = judge(target, b"large")
    assert isinstance(large, Finding)
    assert large.what == "large"


def test_an_endless_input_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(data: bytes) -> object:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.judge.HANGS", 0.05)
    found = judge(Target("test", run, ()), b"x")
    assert isinstance(found, Finding)
    assert found.what.startswith("hangs at tests/fuzz/test_fuzz.py:")


def test_what_broke_something_is_made_shorter() -> None:
    target = a_target()
    data = b"a" * 500 + b"bug" + b"b" * 500
    found = judge(target, data)
    assert isinstance(found, Finding)
    assert minimised(target, data, found) == b"bug"


class Lines:
    """A codec; with a fault when it is told to have one."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        if self.fault == "raises" and b"!" in data:
            raise ValueError("declared")
        if self.fault == "forgets":
            return data.split(b"\n")[:-1]
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("", "bytes"), ("raises", "ValueError"), ("forgets", "AssertionError at tests/fuzz/target.py")],
)
def test_a_codec_must_not_depend_on_how_its_bytes_are_cut(fault: str, expected: str) -> None:
    target = Target("test", in_pieces(lambda: Lines(fault), ValueError), ())
    found = judge(target, b"one!\ntwo\n" * 50)
    assert expected in (found.what if isinstance(found, Finding) else found)


def test_pieces_are_the_whole() -> None:
    for size in (0, 1, 100, 70_000):
        data = random.Random(size).randbytes(size)
        assert b"".join(pieces(data)) == data
        assert len(list(pieces(data))) < 5000


def test_mutations_stay_within_their_size_and_are_repeatable() -> None:
    made = [Mutator(random.Random(1), (b"word",), 200).mutate(b"x" * 100, b"y" * 100) for _ in range(2)]
    assert made[0] == made[1]
    mutator = Mutator(random.Random(2), (b"word",), 200)
    every = [mutator.mutate(b"x" * 100 + b"12", b"") for _ in range(500)]
    assert max(map(len, every)) == 200
    assert len(set(every)) > 400


def test_the_command_fuzzes_and_tells(tmp_path: Path) -> None:
    options = ["--seconds", "0.5", "--seed", "1", "--plain", "--corpus", tmp_path / "corpus", "--cases", tmp_path / "cases"]
    command = [sys.executable, "-m", "tests.fuzz", "ip", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=18)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["target"], told["findings"], told["seed"]) == ("ip", [], 1)
    assert told["inputs"] > 10
    assert not (tmp_path / "cases").exists()
    assert list((tmp_path / "corpus" / "ip").iterdir())


def test_the_command_knows_its_targets() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=18
    )
    assert done.returncode == 2
    assert "there is no target nothing; there are proxy, http-request" in done.stderr
