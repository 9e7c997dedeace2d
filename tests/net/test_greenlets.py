"""Reused greenlets: jobs run at the same time, each as if its greenlet were new. For stopping see test_greenlets_stop."""

import gc
import subprocess
import sys
import weakref
from contextvars import ContextVar
from typing import Any

import gevent
import gevent.event
import gevent.local
import gevent.lock
import gevent.pool
import gevent.queue
import gevent.select
import gevent.socket
import gevent.threadpool
import pytest
from gevent import getcurrent

from filterd.net import greenlets
from filterd.net.event import Event
from filterd.net.greenlets import Crew, Runner, Stop, close_forgotten_timeouts, running
from tests.support.batches import Job, Work, run

# -- running


def test_jobs_run_at_the_same_time_and_join_waits_for_the_last(batch: Work) -> None:
    steps: list[str] = []
    both = Event()

    def first() -> None:
        steps.append("first waits")
        both.wait()
        steps.append("first ends")

    def second() -> None:
        steps.append("second sets")
        both.set()

    run(batch, first, second)
    assert steps == ["first waits", "second sets", "first ends"]
    assert batch.idle


def test_nothing_runs_before_the_loop_turns(batch: Work) -> None:
    done: list[int] = []
    batch.add(lambda: done.append(1))
    assert done == []
    assert not batch.idle
    batch.join()
    assert done == [1]


def test_join_of_an_empty_batch_returns_at_once(batch: Work) -> None:
    batch.join()


def test_a_batch_can_be_joined_again(batch: Work) -> None:
    done: list[int] = []
    for number in range(3):
        run(batch, lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == [0, 1, 2]


def test_a_hundred_jobs_that_never_wait_share_one_runner(crew: Crew, batch: Work) -> None:
    seen: set[Any] = set()
    run(batch, *[lambda: seen.add(getcurrent())] * 100)
    assert len(seen) == 1
    assert crew.alive == len(crew.idle) == 1


def test_when_a_job_waits_the_rest_goes_to_another_runner(crew: Crew, batch: Work) -> None:
    seen: list[Any] = []

    def waits() -> None:
        seen.append(getcurrent())
        gevent.sleep(0)

    run(batch, waits, waits, lambda: seen.append(getcurrent()), lambda: seen.append(getcurrent()))
    first, second, third, fourth = seen
    assert first is not second is not third
    assert third is fourth
    assert crew.alive == len(crew.idle) == 3
    for _ in range(10):
        run(batch, waits, waits)
    assert crew.alive == 3


def test_jobs_added_while_others_run_are_joined_too(batch: Work) -> None:
    steps: list[str] = []

    def grandchild() -> None:
        gevent.sleep(0.002)
        steps.append("grandchild")

    def child() -> None:
        gevent.sleep(0.002)
        batch.add(grandchild)
        steps.append("child")

    def parent() -> None:
        batch.add(child)
        steps.append("parent")

    run(batch, parent)
    assert steps == ["parent", "child", "grandchild"]


def test_jobs_added_from_outside_while_it_is_joined(batch: Work) -> None:
    steps: list[str] = []
    late = gevent.spawn_later(0.002, batch.add, lambda: steps.append("late"))

    def long() -> None:
        late.join()
        gevent.sleep(0.002)
        steps.append("long")

    run(batch, long)
    assert sorted(steps) == ["late", "long"]


def test_running_tells_the_runner_and_nothing_outside(batch: Work) -> None:
    seen: list[Any] = []
    run(batch, lambda: seen.append(running()))
    assert isinstance(seen[0], Runner)
    assert running() is None
    other = gevent.spawn(running)
    other.join()
    assert other.value is None


# -- what escapes a job

ESCAPES = [
    ValueError("x"),
    SystemExit(3),
    KeyboardInterrupt(),
    gevent.GreenletExit(),
    GeneratorExit(),
    gevent.Timeout(1),
    Stop("mine"),
]


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: type(error).__name__)
def test_whatever_escapes_a_job_is_its_own_failure(crew: Crew, batch: Work, error: BaseException, waits: bool) -> None:
    done: list[int] = []

    def breaks() -> None:
        if waits:
            gevent.sleep(0)
        raise error

    run(batch, breaks, lambda: done.append(1))
    assert batch.failures == [error]
    assert done == [1]
    assert crew.alive == len(crew.idle)


# -- each job is fresh

variable: ContextVar[str] = ContextVar("variable", default="fresh")


def test_context_variables_are_fresh_for_each_job(batch: Work) -> None:
    seen: list[str] = []

    def sets() -> None:
        seen.append(variable.get())
        variable.set("used")

    def sets_and_waits() -> None:
        sets()
        gevent.sleep(0)
        assert variable.get() == "used"

    variable.set("of the owner")
    for _ in range(2):
        run(batch, sets, sets, sets_and_waits, sets_and_waits, sets)
    assert seen == ["fresh"] * 10


class Local(gevent.local.local):
    made = 0

    def __init__(self) -> None:
        Local.made += 1
        self.value = "fresh"


def test_greenlet_locals_are_fresh_for_each_job(batch: Work) -> None:
    local, seen = Local(), []

    def uses() -> None:
        seen.append(local.value)
        local.value = "used"

    def uses_and_waits() -> None:
        uses()
        gevent.sleep(0)
        assert local.value == "used"

    before = Local.made
    for _ in range(2):
        run(batch, uses, uses, uses_and_waits, uses)
    assert seen == ["fresh"] * 8
    assert Local.made == before + 8


def test_what_a_job_hangs_on_its_greenlet_is_gone_with_it(crew: Crew, batch: Work) -> None:
    seen: list[object] = []

    def hangs() -> None:
        current: Any = getcurrent()
        seen.append(getattr(current, "note", None))
        current.note = "mine"

    run(batch, hangs, hangs)
    run(batch, hangs)
    assert seen == [None, None, None]
    assert crew.alive == 1


def test_a_link_is_called_once_when_the_job_ends_unless_taken_back(batch: Work) -> None:
    called: list[str] = []

    def links() -> None:
        runner = running()
        assert runner is not None
        kept, taken = (lambda _: called.append("kept")), (lambda _: called.append("taken"))
        runner.rawlink(kept)
        runner.rawlink(taken)
        runner.unlink(taken)
        runner.unlink(taken)
        assert called == []

    run(batch, links)
    run(batch, lambda: None)
    assert called == ["kept"]


PATCHED = """
import threading
from gevent import monkey
monkey.patch_all()
import gevent
from tests.support.batches import Work, run
from filterd.net.greenlets import Crew
local, seen, crew = threading.local(), [], Crew()
def job():
    seen.append(getattr(local, "value", None))
    local.value = 1
    seen.append(threading.current_thread().name != "MainThread")
    gevent.sleep(0)
before = len(threading._active)
for _ in range(5):
    run(Work(crew), job, job)
print(seen == [None, True] * 10, len(threading._active) - before, crew.alive)
"""


def test_thread_locals_and_dummy_threads_of_a_patched_process_end_with_the_job() -> None:
    done = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True 0 2\n", "")


@pytest.fixture
def noting_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gevent.Timeout, "start", gevent.Timeout.start)  # put back in the end
    close_forgotten_timeouts()
    noted = gevent.Timeout.start
    close_forgotten_timeouts()
    assert gevent.Timeout.start is noted  # a second call does not wrap it twice


def test_a_forgotten_timeout_hits_nobody(noting_timeouts: None, crew: Crew, batch: Work) -> None:
    ended: list[str] = []

    def forgets() -> None:
        gevent.Timeout(0.01).start()

    def next_job() -> None:
        gevent.sleep(0.03)
        ended.append("well")

    run(batch, forgets)
    run(batch, next_job)
    gevent.sleep(0.01)
    assert (ended, batch.failures, crew.alive) == (["well"], [], 1)


def test_a_timeout_still_works_inside_its_job_and_outside_of_jobs(noting_timeouts: None, batch: Work) -> None:
    def patient() -> None:
        with gevent.Timeout(0.005):
            gevent.sleep(5.0)

    run(batch, patient)
    assert [type(error) for error in batch.failures] == [gevent.Timeout]
    with pytest.raises(gevent.Timeout):
        patient()


def test_a_parked_runner_holds_nothing_of_its_last_job(crew: Crew, batch: Work) -> None:
    class Message:
        pass

    def job_for(message: Message, *, fails: bool) -> Job:
        def job() -> None:
            gevent.sleep(0)
            assert message is not None
            if fails:
                raise ValueError(message)

        return job

    for fails in (False, True):
        message = Message()
        alive = weakref.ref(message)
        run(batch, job_for(message, fails=fails))
        batch.failures.clear()
        del message
        gc.collect()
        assert alive() is None
    assert len(crew.idle) == 1


def test_no_more_runners_are_kept_than_allowed(crew: Crew, batch: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greenlets, "MAX_IDLE", 2)
    run(batch, *[lambda: gevent.sleep(0.002)] * 5)
    assert crew.alive == len(crew.idle) == 2


def test_a_runner_that_died_while_parked_is_passed_over(crew: Crew, batch: Work) -> None:
    run(batch, lambda: gevent.sleep(0), lambda: gevent.sleep(0))
    crew.hub.loop.run_callback(crew.idle[-1].throw, gevent.GreenletExit)
    gevent.sleep(0)
    done: list[int] = []
    run(batch, lambda: done.append(1))
    assert done == [1]
    assert crew.alive == len(crew.idle) == 1


def test_waiting_can_be_forbidden_until_the_runner_is_parked(crew: Crew, batch: Work) -> None:
    def refuse() -> None:
        raise RuntimeError("must not wait")

    def inline() -> None:
        runner = running()
        assert runner is not None
        runner.switch_out = refuse
        gevent.sleep(0)

    run(batch, inline)
    run(batch, lambda: gevent.sleep(0))
    assert [str(error) for error in batch.failures] == ["must not wait"]
    assert crew.alive == 1
