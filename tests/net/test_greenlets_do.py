"""One job begun at once by who waits for it: `Batch.do` keeps every promise of `add` and `join`."""

from contextvars import ContextVar
from typing import Any

import gevent
import pytest
from gevent import getcurrent

from filterd.net import greenlets
from filterd.net.event import Event
from filterd.net.greenlets import MAX_THROWS, Crew, Stop, running
from tests.support.batches import Work, run, stop_soon


@pytest.mark.parametrize("waits", [False, True])
def test_the_job_runs_in_a_runner_and_is_over_when_do_returns(crew: Crew, batch: Work, waits: bool) -> None:
    seen: list[Any] = []

    def job() -> None:
        if waits:
            gevent.sleep(0.001)
        runner = running()
        assert runner is not None
        seen.append(runner.job)

    for number in (1, 2, 3):
        batch.do(job)
        assert seen == [job] * number
    assert batch.idle
    assert (crew.alive, len(crew.idle)) == (1, 1)


def test_it_begins_before_the_loop_turns(batch: Work) -> None:
    steps: list[str] = []
    gevent.get_hub().loop.run_callback(steps.append, "loop")
    batch.do(lambda: steps.append("job"))
    assert steps == ["job"]


def test_others_run_while_it_waits(batch: Work) -> None:
    event = Event()
    gevent.spawn_later(0.001, event.set)
    batch.do(event.wait)
    assert event.happened


@pytest.mark.parametrize("waits", [False, True])
def test_jobs_it_adds_are_waited_for(batch: Work, waits: bool) -> None:
    done: list[int] = []

    def child(number: int) -> None:
        gevent.sleep(0.001 * number)
        done.append(number)

    def job() -> None:
        batch.add(lambda: child(2))
        batch.add(lambda: child(1))
        if waits:
            gevent.sleep(0.0)
        done.append(0)

    batch.do(job)
    assert done == [0, 1, 2]


def test_where_others_are_queued_it_comes_after_them(batch: Work) -> None:
    done: list[int] = []
    batch.add(lambda: done.append(1))
    batch.do(lambda: done.append(2))
    assert done == [1, 2]


@pytest.mark.parametrize("waits", [False, True])
def test_what_escapes_it_is_its_failure(batch: Work, waits: bool) -> None:
    error = ValueError("its own")

    def job() -> None:
        if waits:
            gevent.sleep(0.0)
        raise error

    batch.do(job)
    assert batch.failures == [error]


def test_it_sees_a_context_of_its_own(batch: Work) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="fresh")
    seen: list[str] = []

    def job() -> None:
        seen.append(variable.get())
        variable.set("used")
        getcurrent().note = "used"  # type: ignore[attr-defined]

    variable.set("outside")
    batch.do(job)
    batch.do(job)
    assert seen == ["fresh", "fresh"]
    assert variable.get() == "outside"


def test_one_job_does_another(crew: Crew, batch: Work) -> None:
    other = Work(crew)
    steps: list[str] = []

    def inner() -> None:
        steps.append("inner")
        gevent.sleep(0.0)
        steps.append("inner ends")

    def outer() -> None:
        other.do(inner)
        steps.append("outer ends")

    run(batch, outer)
    assert steps == ["inner", "inner ends", "outer ends"]
    assert batch.failures == other.failures == []


def test_it_can_be_stopped_while_it_waits(crew: Crew, batch: Work) -> None:
    steps: list[str] = []

    def job() -> None:
        try:
            gevent.sleep(5.0)
        finally:
            steps.append("finally")

    stop_soon(batch)
    batch.do(job)
    assert steps == ["finally"]
    assert [str(error) for error in batch.failures] == ["enough"]
    assert crew.alive == 0  # a runner that was stopped is never used again
    batch.do(lambda: steps.append("next"))
    assert steps == ["finally", "next"]


def test_one_that_will_not_end_is_disowned(crew: Crew, batch: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greenlets, "GRACE", 0.002)
    stubborn = True
    swallowed = 0

    def job() -> None:
        nonlocal swallowed
        while stubborn:
            try:
                gevent.sleep(0.02)
            except BaseException:  # noqa: BLE001 - the fault in question
                swallowed += 1

    stop_soon(batch)
    batch.do(job)
    assert (swallowed, crew.disowned) == (MAX_THROWS, 1)
    stubborn = False
    gevent.sleep(0.05)
    done: list[int] = []
    batch.do(lambda: done.append(1))
    assert done == [1]
    assert len(batch.failures) == 1


def test_when_who_waits_is_killed_it_is_stopped(batch: Work) -> None:
    steps: list[str] = []

    def job() -> None:
        try:
            gevent.sleep(5.0)
        finally:
            steps.append("finally")

    owner = gevent.spawn(batch.do, job)
    gevent.sleep(0.001)
    owner.kill()
    gevent.sleep(0.001)
    assert steps == ["finally"]
    assert [str(error) for error in batch.failures] == ["whoever waited for it is gone"]


def test_one_that_is_cut_while_it_computes_ends_its_runner_only(crew: Crew, batch: Work) -> None:
    def job() -> None:
        runner = running()
        assert runner is not None
        runner.throws += 1  # as the CPU guard does
        raise Stop("held the loop", "limit")

    batch.do(job)
    assert [str(error) for error in batch.failures] == ["held the loop"]
    assert crew.alive == 0


def test_no_more_runners_are_kept_than_allowed(crew: Crew, batch: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greenlets, "MAX_IDLE", 0)
    done: list[int] = []
    batch.do(lambda: done.append(1))
    assert (done, crew.alive, crew.idle) == ([1], 0, [])
