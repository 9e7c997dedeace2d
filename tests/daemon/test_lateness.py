"""The clock that tells how late the loop is."""

import time

import gevent
from gevent import get_hub

from filterd.daemon.lateness import INTERVAL, LatenessClock


def wait_for(told: list[float], count: int) -> None:
    while len(told) < count:
        gevent.sleep(0.01)


def test_it_rings_and_tells_how_late_it_was() -> None:
    told: list[float] = []
    clock = LatenessClock(get_hub().loop, told.append)
    wait_for(told, 2)
    # One hold over several rings is one late ring.
    time.sleep(4 * INTERVAL)
    wait_for(told, 4)
    assert told[2] >= 2 * INTERVAL
    assert told[3] < 2 * INTERVAL
    clock.close()
    gevent.sleep(1.5 * INTERVAL)
    assert len(told) == 4


def test_it_is_never_early() -> None:
    told: list[float] = []
    clock = LatenessClock(get_hub().loop, told.append)
    wait_for(told, 1)
    clock.close()
    assert min(told) >= 0.0
