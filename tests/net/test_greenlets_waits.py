"""Every kind of wait on a reused greenlet, against a stop, a wake-up and the next job in one turn of the loop."""

import select
import time
from collections.abc import Callable
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

from filterd.net.event import Event
from filterd.net.greenlets import Crew, Stop
from tests.support.batches import Job, Work, run, stop_soon

# Each of these functions makes a wait and what ends it.


def nothing() -> None: ...


def pair(*, timeout: float | None = None) -> tuple[Job, Job]:
    ours, theirs = gevent.socket.socketpair()
    ours.settimeout(timeout)

    def wait() -> None:
        try:
            ours.recv(1)
        finally:
            ours.close()
            theirs.close()

    return wait, lambda: theirs.fileno() < 0 or theirs.send(b"x")


def selecting(how: str) -> tuple[Job, Job]:
    ours, theirs = gevent.socket.socketpair()

    def wait() -> None:
        try:
            if how == "select":
                gevent.select.select([ours], [], [], 5.0)
            else:
                poll = gevent.select.poll()
                poll.register(ours, select.POLLIN)
                poll.poll(5000)
        finally:
            ours.close()
            theirs.close()

    return wait, lambda: theirs.fileno() < 0 or theirs.send(b"x")


def event(timeout: float | None = None) -> tuple[Job, Job]:
    one = gevent.event.Event()
    return lambda: one.wait(timeout), one.set


def own_event(seconds: float | None = None) -> tuple[Job, Job]:
    one = Event()
    return lambda: one.wait(until=None if seconds is None else time.monotonic() + seconds), one.set


def result() -> tuple[Job, Job]:
    one: Any = gevent.event.AsyncResult()
    return one.get, lambda: one.set(1)


def semaphore() -> tuple[Job, Job]:
    one = gevent.lock.Semaphore(0)

    def wait() -> None:
        with one:
            pass

    return wait, one.release


def rlock() -> tuple[Job, Job]:
    one, free = gevent.lock.RLock(), gevent.event.Event()

    def hold() -> None:
        with one:
            free.wait()

    def wait() -> None:
        with one:
            pass

    gevent.spawn(hold)
    gevent.sleep(0)
    return wait, free.set


def queue(kind: Any) -> tuple[Job, Job]:
    one = kind()
    return one.get, lambda: one.put(1)


def full_queue() -> tuple[Job, Job]:
    one: Any = gevent.queue.Queue(1)
    one.put(0)
    return lambda: one.put(1), one.get


def thread() -> tuple[Job, Job]:
    return lambda: gevent.get_hub().threadpool.apply(time.sleep, (0.003,)), nothing


def greenlet(how: str) -> tuple[Job, Job]:
    go = gevent.event.Event()
    other: Any = gevent.spawn(go.wait)
    ways: dict[str, Job] = {"join": other.join, "get": other.get, "joinall": lambda: gevent.joinall([other])}
    return ways[how], go.set


def timeout() -> tuple[Job, Job]:
    def wait() -> None:
        with gevent.Timeout(0.003, False):  # type: ignore[arg-type]
            gevent.sleep(5.0)

    return wait, nothing


def pool() -> tuple[Job, Job]:
    one, go = gevent.pool.Pool(1), gevent.event.Event()
    one.spawn(go.wait)
    return lambda: one.spawn(lambda: None), go.set


def raw() -> tuple[Job, Job]:
    # What a careless library does: a callback that switches to whatever lives in that greenlet by then.
    waiting: list[Any] = []

    def wait() -> None:
        waiting.append(getcurrent())
        gevent.get_hub().switch()

    return wait, lambda: waiting[0].switch("foreign")


WAITS: dict[str, Callable[[], tuple[Job, Job]]] = {
    "recv": pair,
    "recv with a timeout": lambda: pair(timeout=0.003),
    "select": lambda: selecting("select"),
    "poll": lambda: selecting("poll"),
    "sleep": lambda: (lambda: gevent.sleep(0.003), nothing),
    "sleep(0)": lambda: (lambda: gevent.sleep(0), nothing),
    "Event": event,
    "Event with a timeout": lambda: event(0.003),
    "own Event": own_event,
    "own Event with an end": lambda: own_event(0.003),
    "AsyncResult": result,
    "Semaphore": semaphore,
    "RLock": rlock,
    "Queue.get": lambda: queue(gevent.queue.Queue),
    "SimpleQueue.get": lambda: queue(gevent.queue.SimpleQueue),
    "Queue.put": full_queue,
    "threadpool": thread,
    "getaddrinfo": lambda: (lambda: gevent.get_hub().resolver.getaddrinfo("127.0.0.1", 80), nothing),
    "Greenlet.join": lambda: greenlet("join"),
    "Greenlet.get": lambda: greenlet("get"),
    "joinall": lambda: greenlet("joinall"),
    "Timeout": timeout,
    "Pool.spawn": pool,
    "raw switch": raw,
}
ORDERS = ["wake", "stop", "wake, stop", "stop, wake", "stop, next, wake"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", WAITS)
def test_a_stop_or_a_late_wake_up_never_reaches_the_next_job(crew: Crew, batch: Work, kind: str, order: str) -> None:
    wait, wake = WAITS[kind]()
    following = Work(crew)
    ended: list[str] = []
    received: list[object] = []
    loop = crew.hub.loop

    def job() -> None:
        try:
            wait()
        finally:
            ended.append("finally")

    def next_job() -> None:
        # A wait that takes whatever comes: it must be its own.
        token = object()
        timer = loop.timer(0.006)
        timer.start(getcurrent().switch, token)
        received.append(crew.hub.switch() is token)
        timer.close()

    def script() -> None:
        # In the hub, in one turn of the loop.
        for step in order.split(", "):
            if step == "wake":
                wake()
            elif step == "stop":
                batch.stop(Stop("enough"))
            else:
                following.add(next_job)

    batch.add(job)
    loop.run_callback(lambda: loop.run_callback(script))
    batch.join()
    run(following, next_job)
    assert ended == ["finally"]
    assert len(received) == 1 + order.count("next")
    assert all(received)
    assert following.failures == []
    assert [type(error) for error in batch.failures] in ([], [Stop])
    if order.startswith("stop"):
        assert len(batch.failures) == 1 or kind == "sleep(0)"


@pytest.mark.parametrize("kind", ["Semaphore", "RLock"])
def test_a_lock_is_free_again_after_a_stopped_wait(crew: Crew, batch: Work, kind: str) -> None:
    wait, release = WAITS[kind]()
    batch.add(wait)
    stop_soon(batch)
    batch.join()
    release()
    run(Work(crew), wait)
