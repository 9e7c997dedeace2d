"""A picture of others' state: when it is drawn, by how many, and who waits for it."""

from collections.abc import Callable
from time import monotonic

import gevent
import pytest

from filterd.net.redis_picture import Picture
from filterd.net.stream import failed
from filterd.outcome import RequestFailed


class Painter:
    """Draws 1, 2, 3, …, each taking `seconds`; refuses while `refuses`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.refuses = False
        self.drawn = 0

    def __call__(self) -> int:
        self.drawn += 1
        number = self.drawn
        gevent.sleep(self.seconds)
        if self.refuses:
            raise failed("no", "server", peer="sentinel", phase="connect", since=monotonic())
        return number


def later(condition: Callable[[], bool]) -> None:
    end = monotonic() + 5
    while not condition():
        assert monotonic() < end
        gevent.sleep(0.005)


def test_the_first_is_waited_for_and_drawn_once() -> None:
    painter = Painter(0.02)
    picture = Picture(painter, peer="sentinel")
    askers = [gevent.spawn(picture.get, None) for _ in range(5)]
    assert [asker.get() for asker in askers] == [1] * 5
    assert picture.get(None) == 1
    assert painter.drawn == 1


def test_who_waits_for_the_first_waits_no_longer_than_his_time() -> None:
    picture = Picture(Painter(0.2), peer="sentinel")
    with pytest.raises(RequestFailed) as raised:
        picture.get(monotonic() + 0.02)
    failure = raised.value.failure
    assert (failure.kind, failure.peer, failure.phase) == ("timeout", "sentinel", "connect")
    assert picture.get(None) == 1, "the drawing goes on without him"


def test_an_old_one_is_good_enough_while_the_next_is_drawn() -> None:
    picture = Picture(Painter(0.02), peer="sentinel", every=0.05)
    assert picture.get(None) == 1
    gevent.sleep(0.06)
    assert picture.get(None) == 1
    later(lambda: picture.get(None) == 2)


def test_doubt_has_it_drawn_again_but_not_at_every_call() -> None:
    painter = Painter()
    picture = Picture(painter, peer="sentinel", pause=0.05)
    assert picture.get(None) == 1
    for _ in range(10):
        picture.doubt()
        picture.get(None)
        gevent.sleep(0)
    assert painter.drawn == 1
    later(lambda: picture.get(None) == 2)
    gevent.sleep(0.06)
    picture.doubt()
    later(lambda: painter.drawn == 3)
    gevent.sleep(0.06)
    assert (picture.get(None), painter.drawn) == (3, 3)


def test_a_drawing_that_fails_leaves_the_last_one() -> None:
    painter = Painter()
    picture = Picture(painter, peer="sentinel", pause=0.01)
    assert picture.get(None) == 1
    painter.refuses = True
    picture.doubt()
    for _ in range(3):
        gevent.sleep(0.02)
        assert picture.get(None) == 1
    assert painter.drawn > 2, "it is tried again"
    painter.refuses = False
    later(lambda: picture.get(None) > 1)


def test_without_any_the_failure_is_told_and_the_next_call_tries_again() -> None:
    painter = Painter()
    painter.refuses = True
    picture = Picture(painter, peer="sentinel")
    for _ in range(2):
        with pytest.raises(RequestFailed, match="no"):
            picture.get(None)
    painter.refuses = False
    assert picture.get(None) == 3


def test_a_bug_in_the_drawing_is_not_a_picture_that_hangs(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> int:
        raise ZeroDivisionError("a bug")

    picture = Picture(broken, peer="sentinel")
    for _ in range(2):
        with pytest.raises(RequestFailed, match="sentinel"):
            picture.get(None)
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err
