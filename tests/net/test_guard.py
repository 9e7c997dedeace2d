"""The CPU guard at work, each case in a process of its own: its signals are the process's."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from filterd.net.guard import CpuGuard

ROOT = Path(__file__).parents[2]

DRIVER = """\
import json, signal, sys
from dataclasses import replace
from math import inf

import gevent

from filterd.engine.loader import load_rules
from filterd.engine.scheduler import Engine
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.results import Scoring
from filterd.net.greenlets import Crew
from filterd.net.guard import CpuGuard
from filterd.net.network import Network
from filterd.task import Environment

folder, limit, messages, wall = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "True"
rules = load_rules([folder])
crew = Crew()
engine = Engine(
    rules.registry.rules.values(), Environment(Network(), crew, Scoring(), {}, 30.0, burst_timeout=limit), files=rules.code
)
guard = CpuGuard(limit, rules.code, wall=wall)
before = signal.getsignal(signal.SIGPROF)
guard.start()

def scan(number):
    request = ScanRequest(Message(b"Subject: x\\r\\n\\r\\n"), Envelope({"queue-id": [str(number)]}))
    verdict = engine.scan(request)
    return {
        "symbols": {name: list(hit.options) for name, hit in verdict.symbols.items()},
        "failures": [[one.rule, one.kind, one.text, one.where, one.traceback] for one in verdict.failures],
    }

jobs = [gevent.spawn(scan, number) for number in range(messages)]
gevent.joinall(jobs, raise_error=True)
guard.stop()
told = {"verdicts": [job.value for job in jobs], "cuts": guard.cuts, "cpu": guard.cpu,
        "alive": crew.alive, "idle": len(crew.idle),
        "restored": signal.getsignal(signal.SIGPROF) is before, "timer": signal.getitimer(signal.ITIMER_PROF)}
print(json.dumps(told))
"""

BESIDE = """
from filterd import rule, sleep

@rule("BESIDE")
def beside(task):
    return True

@rule("WAITS")
def waits(task):
    sleep(0.01)
    return True
"""


class Outcome:
    """What the process reported. `line` gives the place of a text in the rule file."""

    def __init__(self, file: Path, report: dict[str, Any]) -> None:
        self.file = file
        self.report = report
        self.symbols: dict[str, list[str]] = report["verdicts"][0]["symbols"]
        self.failures: list[list[str]] = report["verdicts"][0]["failures"]

    def place(self, text: str, file: str = "bad") -> str:
        path = self.file.with_name(f"{file}.py")
        (line,) = [number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line]
        return f"{path}:{line}"


def outcome_of(
    folder: Path,
    source: str,
    *,
    limit: float = 0.2,
    messages: int = 1,
    wall: bool = False,
    beside: str = BESIDE,
    **shared: str,
) -> Outcome:
    """Scan with a rule file bad.py of this source, and innocent rules beside it."""
    (folder / "bad.py").write_text("from filterd import Task, log, rule, sleep\n" + dedent(source))
    (folder / "innocent.py").write_text(beside)
    for name, text in shared.items():
        (folder / f"{name}.py").write_text(dedent(text))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, folder, str(limit), str(messages), str(wall)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=18,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Outcome(folder.resolve() / "bad.py", json.loads(done.stdout))


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("while True: pass  # here", "# here"),
        ("try:\n        for _ in iter(int, 1): pass  # here\n    except Exception:\n        pass", "# here"),
        ("import re; re.match(r'(a+)+$', 'a' * 40 + 'b')  # here", "# here"),
        ("return sorted(range(10_000_000), key=lambda n: -n)[0]  # here", "# here"),
        ("[len(str(n)) for n in range(100_000_000)]  # here", "# here"),
    ],
    ids=["loop", "except Exception", "regular expression", "sort", "comprehension"],
)
def test_code_that_runs_on_is_cut_and_named_and_the_others_count(tmp_path: Path, body: str, line: str) -> None:
    out = outcome_of(tmp_path, f'@rule("RUNS_ON")\ndef runs_on(task):\n    {body}\n    return True\n')
    assert set(out.symbols) == {"BESIDE", "WAITS"}
    ((rule, kind, text, where, traceback),) = out.failures
    assert (rule, kind, where) == ("RUNS_ON", "limit", out.place(line))
    file, number = where.rsplit(":", 1)
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert f'File "{file}", line {number}, in ' in traceback
    assert text.startswith("limit: held the loop for 0.")
    assert "(burst_timeout 0.2 s) in " in text
    assert text.endswith(out.place(line))
    assert out.report["cuts"] >= 1


def test_the_function_is_named(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        def spins():
            while True:  # here
                x = 1

        @rule("RUNS_ON")
        def runs_on(task):
            spins()
        """,
    )
    assert " in spins, " in out.failures[0][2]


def test_shared_code_is_cut_where_it_loops(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        from _shared import spins

        @rule("RUNS_ON")
        def runs_on(task):
            spins()
        """,
        _shared="def spins():\n    while True: pass  # here\n",
    )
    ((_, kind, text, where, _),) = out.failures
    assert (kind, where) == ("limit", out.place("# here", "_shared"))
    assert " in spins, " in text


def test_library_code_is_cut_at_the_line_that_called_it(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        import fractions

        @rule("RUNS_ON")
        def runs_on(task):
            sum(fractions.Fraction(1, n) for n in range(1, 10**9))  # here
        """,
    )
    ((_, kind, _, where, _),) = out.failures
    assert (kind, where) == ("limit", out.place("# here"))


def test_children_and_callbacks_are_cut_too(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        @rule("RUNS_ON")
        def runs_on(task):
            def child():
                sleep(0.01)
                while True: pass  # here
            task.spawn(child)
            return True
        """,
    )
    assert set(out.symbols) == {"RUNS_ON", "BESIDE", "WAITS"}
    ((rule, kind, _, where, _),) = out.failures
    assert (rule, kind, where) == ("RUNS_ON", "limit", out.place("# here"))


def test_a_rule_is_cut_after_it_has_waited_too(tmp_path: Path) -> None:
    out = outcome_of(tmp_path, '@rule("LATER")\ndef later(task):\n    sleep(0.05)\n    while True: pass  # here\n')
    assert [(one[0], one[1], one[3]) for one in out.failures] == [("LATER", "limit", out.place("# here"))]


def test_a_rule_that_swallows_the_cut_is_cut_again(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        @rule("STUBBORN")
        def stubborn(task):
            for _ in range(2):
                n = 1
                try:
                    for _ in iter(int, 1): n += 1
                except BaseException:
                    pass
            while True: pass  # here
        """,
    )
    assert [(one[1], one[3]) for one in out.failures] == [("limit", out.place("# here"))]
    assert out.report["cuts"] == 3


def test_a_runner_that_was_cut_is_not_used_again(tmp_path: Path) -> None:
    out = outcome_of(tmp_path, '@rule("RUNS_ON")\ndef runs_on(task):\n    while True: pass\n', messages=3)
    assert [len(one["failures"]) for one in out.report["verdicts"]] == [1, 1, 1]
    assert out.report["alive"] == out.report["idle"]


def test_the_signal_is_left_as_it_was(tmp_path: Path) -> None:
    out = outcome_of(tmp_path, '@rule("HIT")\ndef hit(task):\n    return True\n')
    assert (out.report["restored"], out.report["timer"], out.report["cuts"]) == (True, [0.0, 0.0], 0)


# -- whom it spares


def test_a_rule_that_waits_is_not_cut(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        @rule("PATIENT")
        def patient(task):
            sleep(0.5)
            return True

        @rule("POLITE")
        def polite(task):
            for _ in range(15):
                sum(range(300_000))
                sleep(0)
            return True
        """,
        limit=0.15,
    )
    assert out.failures == []
    assert {"PATIENT", "POLITE"} <= set(out.symbols)


def test_one_rule_on_many_messages_in_one_turn_of_the_loop_is_not_cut(tmp_path: Path) -> None:
    """Each holds the loop for a moment only, all of them together for longer than the limit."""
    source = """\
        from time import monotonic

        @rule("MODEST")
        def modest(task):
            end = monotonic() + 0.03
            while monotonic() < end: pass
            return True
        """
    # No rule waits: all of them are run by one greenlet, one after the other.
    out = outcome_of(tmp_path, source, messages=40, limit=0.3, beside="def register(registry): pass")
    assert [one["failures"] for one in out.report["verdicts"]] == [[]] * 40


# Python code that takes longer than the limit, as a function of a module of any name; at its end it says so.
SLOW = """
def slow(*_):
    end = monotonic() + 0.6
    while monotonic() < end:
        pass
    task.insert_result("TO_ITS_END")
"""


@pytest.mark.parametrize(
    ("call", "reaches_its_end"),
    [
        ('outside("filterd.mail.slow", task)()', True),
        ('outside("redis.connection", task, "filterd.net.redis")()', True),
        ('outside("redis.connection", task, "json")()', False),
        ('logging.getLogger("filterd.rule").addHandler(SlowHandler(task)); log.warning("x")', True),
        ('logging.getLogger("somebodys").addHandler(SlowHandler(task)); logging.getLogger("somebodys").warning("x")', True),
        ('sys.path.insert(0, __file__ + "/.."); sys.task = task; import slow_library', True),
    ],
    ids=["filterd", "called by filterd", "a library", "log", "a library's log", "import"],
)
def test_what_others_rely_on_is_not_cut_in_the_middle(tmp_path: Path, call: str, *, reaches_its_end: bool) -> None:
    """What filterd does and calls, a log line, an import: they come to their end. Then the rule is cut, when it goes on."""
    source = f"""\
        import logging, sys
        from time import monotonic

        def outside(name, task, caller=None):
            module = {{"__name__": name, "monotonic": monotonic, "task": task}}
            exec(compile({SLOW!r}, "/somewhere.py", "exec"), module)
            if caller is None:
                return module["slow"]
            calling = {{"__name__": caller, "slow": module["slow"]}}
            exec(compile("def calls(): slow()", "/elsewhere.py", "exec"), calling)
            return calling["calls"]

        class SlowHandler(logging.Handler):
            def __init__(self, task):
                super().__init__()
                self.emit = outside("handlers", task)

        @rule("OWN")
        def own(task):
            {call}
            while True: pass
        """
    (tmp_path / "slow").mkdir()
    library = SLOW.replace("task.", "sys.task.") + "slow()\n"
    (tmp_path / "slow" / "slow_library.py").write_text("import sys\nfrom time import monotonic\n" + library)
    out = outcome_of(tmp_path, source.replace('__file__ + "/.."', repr(str(tmp_path / "slow"))))
    assert [(one[0], one[1]) for one in out.failures] == [("OWN", "limit")]
    assert ("TO_ITS_END" in out.symbols) is reaches_its_end


# -- what it cannot cut


def test_code_in_c_that_never_looks_at_signals_is_named_afterwards_and_its_result_counts(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        @rule("IN_C")
        def in_c(task):
            return True, sum(range(30_000_000))
        """,
        limit=0.1,
    )
    ((rule, kind, text, where, stack),) = out.failures
    assert (rule, kind, where) == ("IN_C", "limit", out.place("return True, sum"))
    assert stack.startswith("Called by:\n")
    assert "in in_c\n    return True, sum(range(30_000_000))" in stack
    assert text.startswith("limit: held the loop for ")
    assert text.endswith("(burst_timeout 0.1 s) in code that could not be interrupted; its result counts")
    assert out.symbols["IN_C"] == [str(sum(range(30_000_000)))]
    assert set(out.symbols) == {"IN_C", "BESIDE", "WAITS"}
    assert out.report["cuts"] == 0


WAITED = """\
    @rule("IN_C")
    def in_c(task):
        def adds():
            {before}
            return sum(range(30_000_000))
        {call}
        return True
    """


@pytest.mark.parametrize(
    ("before", "call"),
    [
        ("sleep(0.01)", "adds()"),
        ("pass", "task.spawn(adds).get()"),
        ("sleep(0.01)", "task.map(adds.__call__, [])\n        adds()"),
    ],
    ids=["after a wait", "in a child", "after a map"],
)
def test_it_is_named_also_after_a_wait_and_in_a_child(tmp_path: Path, before: str, call: str) -> None:
    out = outcome_of(tmp_path, WAITED.format(before=before, call=call), limit=0.1)
    ((rule, kind, text, where, stack),) = out.failures
    assert (rule, kind, where) == ("IN_C", "limit", out.place("return sum"))
    assert "code that could not be interrupted; its result counts" in text
    assert "in adds\n    return sum(range(30_000_000))" in stack
    assert set(out.symbols) == {"IN_C", "BESIDE", "WAITS"}


# -- a limit of a rule's own, and what all of them compute


def test_a_rule_may_have_a_shorter_or_a_longer_limit(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        from time import thread_time

        def compute(seconds):
            end = thread_time() + seconds
            while thread_time() < end:
                pass

        @rule("SHORT", burst_timeout=0.1, score=1.0)
        def short(task):
            compute(30)

        @rule("SHORT_CHILD", burst_timeout=0.1, score=1.0)
        def short_child(task):
            task.spawn(compute, 30)

        @rule("LONG", burst_timeout=30, score=1.0)
        def long(task):
            compute(1.0)
            return True
        """,
        limit=0.5,
    )
    assert {rule: "(burst_timeout 0.1 s)" in text for rule, _, text, _, _ in out.failures} == {
        "SHORT": True,
        "SHORT_CHILD": True,
    }
    assert set(out.symbols) == {"LONG", "BESIDE", "WAITS"}


def test_what_each_rule_computes_is_added_up_and_waiting_is_not(tmp_path: Path) -> None:
    out = outcome_of(
        tmp_path,
        """\
        from time import thread_time

        def compute(seconds):
            end = thread_time() + seconds
            while thread_time() < end:
                pass

        @rule("BUSY")
        def busy(task):
            for _ in range(20):
                compute(0.05)
                sleep(0.001)

        @rule("BUSY_CHILD")
        def busy_child(task):
            task.map(compute, [0.05] * 10)

        @rule("IDLE")
        def idle(task):
            sleep(1.0)
        """,
        limit=10,
    )
    cpu = out.report["cpu"]
    # A tick is 20 ms, and the kernel's clock may be as coarse again.
    assert 0.8 < cpu["BUSY"] < 1.2
    assert 0.3 < cpu["BUSY_CHILD"] < 0.7
    assert cpu.get("IDLE", 0.0) < 0.1


def test_a_blocking_call_is_cut_in_wall_clock_time_only(tmp_path: Path) -> None:
    source = """\
        import time

        @rule("BLOCKS")
        def blocks(task):
            time.sleep(1)  # here
            return True
        """
    by_cpu = outcome_of(tmp_path, source)
    assert "could not be interrupted" in by_cpu.failures[0][2]
    assert "BLOCKS" in by_cpu.symbols
    by_clock = outcome_of(tmp_path, source, wall=True)
    assert by_clock.failures[0][3] == by_clock.place("# here")
    assert "BLOCKS" not in by_clock.symbols


# -- in this process


def test_stopping_a_guard_that_was_never_started_does_nothing() -> None:
    before = signal.getsignal(signal.SIGPROF)
    CpuGuard(1.0, frozenset()).stop()
    assert signal.getsignal(signal.SIGPROF) is before


def test_a_guard_can_be_started_and_stopped_again_and_again() -> None:
    before = signal.getsignal(signal.SIGPROF)
    guard = CpuGuard(1.0, frozenset(), tick=0.0001)
    for _ in range(100):
        guard.start()
        guard.stop()
    assert signal.getsignal(signal.SIGPROF) is before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
