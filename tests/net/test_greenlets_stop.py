"""Stopping jobs on reused greenlets: every `finally` runs, and no stop or late wake-up reaches the next job."""

import time
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
from filterd.net.greenlets import MAX_THROWS, Crew, Stop, running
from tests.support.batches import Work, run, stop_soon

# -- stopping


def test_stop_ends_a_waiting_job_and_every_finally_runs(batch: Work) -> None:
    steps: list[str] = []

    def job() -> None:
        try:
            try:
                gevent.sleep(5.0)
            except Exception:  # noqa: BLE001 - a Stop is none
                steps.append("caught")
            finally:
                steps.append("inner")
        finally:
            steps.append("outer")

    batch.add(job)
    stop_soon(batch)
    batch.join()
    assert steps == ["inner", "outer"]
    assert [str(error) for error in batch.failures] == ["enough"]


def test_what_has_not_begun_is_dropped(batch: Work) -> None:
    begun: list[int] = []
    # Ahead of the batch's own turn: nothing has begun, and somebody must still wake the owner.
    batch.crew.hub.loop.run_callback(batch.stop, Stop("before it began"))
    batch.add(lambda: begun.append(1))
    batch.join()
    assert begun == []
    assert batch.idle


def test_a_job_has_its_own_limit_from_its_first_wait_on(crew: Crew) -> None:
    batch = Work(crew, seconds=0.05)
    steps: list[object] = []

    def slow() -> None:
        began = time.monotonic()
        try:
            gevent.sleep(5.0)
        finally:
            steps.append(time.monotonic() - began >= 0.05)

    def busy() -> None:
        end = time.monotonic() + 0.06  # what does not wait is the CPU guard's affair; and the timer must not fire early for it
        while time.monotonic() < end:
            pass

    run(batch, busy, slow, lambda: steps.append("quick"))
    assert steps == ["quick", True]
    assert [str(error) for error in batch.failures] == ["its own timeout of 0.05 s is over"]
    assert [error.kind for error in batch.failures if isinstance(error, Stop)] == ["timeout"]


def test_a_limit_that_was_not_reached_hits_nobody_later(crew: Crew) -> None:
    batch = Work(crew, seconds=0.02)
    run(batch, lambda: gevent.sleep(0.005))
    batch.seconds = None
    run(batch, lambda: gevent.sleep(0.04))
    assert batch.failures == []


def test_a_stopped_runner_is_not_used_again(crew: Crew, batch: Work) -> None:
    seen: list[Any] = []

    def job() -> None:
        seen.append(getcurrent())
        gevent.sleep(5.0)

    batch.add(job)
    stop_soon(batch)
    batch.join()
    assert crew.alive == 0
    run(batch, lambda: seen.append(getcurrent()))
    assert seen[0].dead
    assert seen[1] is not seen[0]


def test_each_stopped_job_gets_an_exception_of_its_own(batch: Work) -> None:
    for _ in range(3):
        batch.add(lambda: gevent.sleep(5.0))
    stop_soon(batch)
    batch.join()
    assert len({id(error) for error in batch.failures}) == 3


def test_a_finally_that_waits_is_given_time(batch: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greenlets, "GRACE", 5.0)
    steps: list[str] = []

    def job() -> None:
        try:
            gevent.sleep(5.0)
        finally:
            gevent.sleep(0.005)
            steps.append("tidied up")

    batch.add(job)
    stop_soon(batch)
    batch.join()
    assert steps == ["tidied up"]


def test_a_finally_that_waits_too_long_is_stopped_again(crew: Crew, batch: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greenlets, "GRACE", 0.005)
    steps: list[str] = []

    def job() -> None:
        try:
            gevent.sleep(5.0)
        finally:
            try:
                gevent.sleep(5.0)
            finally:
                steps.append("inner finally")

    batch.add(job)
    stop_soon(batch)
    batch.join()
    assert steps == ["inner finally"]
    assert (crew.disowned, crew.alive) == (0, 0)


@pytest.mark.parametrize("count", [1, MAX_THROWS])
def test_a_job_that_swallows_stop_is_told_again(crew: Crew, batch: Work, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(greenlets, "GRACE", 0.002)
    swallowed: list[BaseException] = []

    def job() -> None:
        while len(swallowed) < count:
            try:
                gevent.sleep(5.0)
            except BaseException as error:  # noqa: BLE001 - the fault in question
                swallowed.append(error)

    batch.add(job)
    stop_soon(batch)
    batch.join()
    assert [type(error) for error in swallowed] == [Stop] * count
    assert (batch.failures, crew.disowned, crew.alive) == ([], 0, 0)


def test_a_job_that_will_not_end_is_disowned_and_the_batch_goes_on(
    crew: Crew, batch: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        raise ValueError("its end is nobody's business any more")

    batch.add(job)
    stop_soon(batch)
    batch.join()
    assert swallowed == MAX_THROWS
    assert (crew.disowned, crew.alive) == (1, 1)
    assert [str(error) for error in batch.failures] == ["enough; it swallowed 5 requests to stop and was abandoned"]
    done: list[int] = []
    run(batch, lambda: done.append(1))
    stubborn = False
    gevent.sleep(0.05)
    assert done == [1]
    assert len(batch.failures) == 1
    assert crew.alive == len(crew.idle) == 1


def test_a_job_added_while_the_batch_is_being_stopped_fails_at_once(batch: Work) -> None:
    begun: list[int] = []

    def job() -> None:
        try:
            gevent.sleep(5.0)
        finally:
            batch.add(lambda: begun.append(1))

    batch.add(job)
    stop_soon(batch)
    batch.join()
    assert begun == []
    assert [str(error) for error in batch.failures] == ["enough", "enough"]
    run(batch, lambda: begun.append(2))  # the next batch of jobs is a new matter
    assert begun == [2]


def test_when_the_owner_is_killed_its_jobs_are_stopped(crew: Crew, batch: Work) -> None:
    steps: list[str] = []

    def job() -> None:
        try:
            gevent.sleep(5.0)
        finally:
            steps.append("finally")

    owner = gevent.spawn(run, batch, job, job)
    gevent.sleep(0.005)
    owner.kill()
    gevent.sleep(0)
    gevent.sleep(0)
    assert steps == ["finally", "finally"]
    assert [(str(error), getattr(error, "kind", "")) for error in batch.failures] == [
        ("whoever waited for it is gone", "cancelled")
    ] * 2
    assert batch.idle
    assert crew.alive == 0


def test_stopping_a_runner_that_has_nothing_to_do_does_nothing(crew: Crew, batch: Work) -> None:
    run(batch, lambda: None)
    crew.stop(crew.idle[0], Stop("late"))
    assert crew.idle[0].throws == 0


def test_a_job_cut_while_it_held_the_loop_ends_its_runner_and_the_rest_goes_on(crew: Crew, batch: Work) -> None:
    done: list[int] = []

    def cut() -> None:
        # What the CPU guard's signal does, in the middle of a job.
        runner = running()
        assert runner is not None
        runner.throws += 1
        raise Stop("held the loop", "limit")

    run(batch, cut, lambda: done.append(1), lambda: gevent.sleep(0))
    assert done == [1]
    assert [str(error) for error in batch.failures] == ["held the loop"]
    assert crew.alive == len(crew.idle) == 1
