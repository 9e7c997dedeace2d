"""One event and whoever waits for it, stopped ones and late ones included."""

from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.event import Event
from filterd.net.greenlets import Crew, Stop
from tests.support.batches import Work, run, stop_soon


@pytest.fixture
def batch() -> Work:
    return Work(Crew())


def test_wait_returns_at_once_when_it_has_happened() -> None:
    event = Event()
    event.set()
    event.set()
    assert event.happened
    assert event.wait() is True
    assert event.wait(until=0.0) is True


def test_all_waiters_wake_in_their_order_and_not_inside_set(batch: Work) -> None:
    event, steps = Event(), []

    def waiter(name: str) -> None:
        assert event.wait()
        steps.append(name)

    def setter() -> None:
        event.set()
        steps.append("set")
        event.wait()

    run(batch, lambda: waiter("first"), lambda: waiter("second"), setter)
    assert steps == ["set", "first", "second"]
    assert batch.failures == []


def test_until_ends_the_wait_and_leaves_no_place_behind(batch: Work) -> None:
    event, outcomes = Event(), []

    def waiter() -> None:
        end = monotonic() + 0.02
        outcomes.append((event.wait(until=end), monotonic() >= end))
        outcomes.append((event.wait(until=monotonic() - 1.0), True))

    run(batch, waiter)
    assert outcomes == [(False, True), (False, True)]
    assert event._places == []
    event.set()


def test_an_event_in_time_wins_over_a_timer_that_is_due_as_well(batch: Work) -> None:
    event, outcomes = Event(), []

    def busy() -> None:
        end = monotonic() + 0.02
        while monotonic() < end:
            pass
        event.set()

    run(batch, lambda: outcomes.append(event.wait(until=monotonic() + 0.005)), busy)
    assert outcomes == [True]


def test_a_stop_is_told_what_was_waited_for_and_others_wait_on(batch: Work) -> None:
    event, outcomes = Event(), []
    others = Work(batch.crew)
    batch.add(lambda: event.wait(phase="dns", peer="127.0.0.1:53"))
    others.add(lambda: outcomes.append(event.wait()))
    stop_soon(batch)
    batch.join()
    assert [(error.phase, error.peer) for error in batch.failures if isinstance(error, Stop)] == [("dns", "127.0.0.1:53")]
    assert len(event._places) == 1
    event.set()
    others.join()
    assert outcomes == [True]


def test_a_waiter_stopped_between_set_and_its_wake_up_is_left_alone(batch: Work) -> None:
    event, received = Event(), []
    following = Work(batch.crew)
    hub: Any = batch.crew.hub

    def next_job() -> None:
        timer = hub.loop.timer(0.005)
        timer.start(gevent.getcurrent().switch, "mine")
        received.append(hub.switch())
        timer.close()

    def script() -> None:
        event.set()
        batch.stop(Stop("enough"))
        following.add(next_job)

    batch.add(event.wait)
    hub.loop.run_callback(lambda: hub.loop.run_callback(script))
    batch.join()
    run(following, next_job)
    assert received == ["mine", "mine"]


def test_it_serves_any_greenlet() -> None:
    event = Event()
    other = gevent.spawn(event.wait)
    gevent.sleep(0)
    event.set()
    other.join()
    assert other.value is True
