"""The supervisor's loop: descriptors, moments and signals."""

import os
import signal
from collections.abc import Iterator

import pytest

from filterd.daemon.loop import READ, WRITE, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_moments_come_in_their_order_and_can_be_taken_back(loop: Loop) -> None:
    ran: list[str] = []
    loop.later(0.02, lambda: ran.append("second"))
    loop.later(0.01, lambda: ran.append("first"))
    loop.later(0.0, lambda: ran.append("never")).cancel()
    loop.later(0.015, lambda: ran.append("never")).cancel()
    while len(ran) < 2:
        loop.turn()
    assert ran == ["first", "second"]


def test_descriptors_are_watched_until_they_are_not(loop: Loop) -> None:
    read, write = os.pipe()
    seen: list[int] = []
    loop.watch(read, READ, seen.append)
    os.write(write, b"x")
    loop.turn()
    assert seen == [READ]
    loop.watch(write, WRITE, lambda events: loop.unwatch(read))
    loop.turn()
    seen.clear()
    loop.unwatch(write)
    loop.unwatch(write)
    loop.later(0.01, lambda: seen.append(-1))
    while not seen:
        loop.turn()
    assert seen == [-1]
    os.close(read)
    os.close(write)


def test_what_is_closed_in_a_turn_is_not_called_in_it(loop: Loop) -> None:
    (one, one_end), (two, two_end) = os.pipe(), os.pipe()
    seen: list[int] = []

    def first(which: int, other: int) -> None:
        seen.append(which)
        loop.unwatch(other)

    loop.watch(one, READ, lambda events: first(one, two))
    loop.watch(two, READ, lambda events: first(two, one))
    os.write(one_end, b"x")
    os.write(two_end, b"x")
    loop.turn()
    assert len(seen) == 1
    for descriptor in (one, one_end, two, two_end):
        os.close(descriptor)


def test_signals_end_a_wait_and_are_given_back_in_the_end() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    loop = Loop()
    seen: list[str] = []
    loop.on_signal(signal.SIGUSR1, lambda: seen.append("signal"))
    loop.later(0.0, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    while not seen:
        loop.turn()
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_callback_that_fails_is_logged_and_the_loop_goes_on(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    ran: list[int] = []
    loop.later(0.0, lambda: 1 // 0)
    loop.later(0.0, lambda: ran.append(1))
    while not ran:
        loop.turn()
    assert "ZeroDivisionError" in caplog.text
    assert "the supervisor stumbled; it goes on" in caplog.text
