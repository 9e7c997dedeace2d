"""A caller waits for all of its answers, a question that is answered waits nowhere, and ids cannot be foreseen."""

from collections import Counter
from time import monotonic

import gevent
from gevent import get_hub

from filterd.net.resolver_pending import Inquiry, Numbers, Pending
from filterd.net.stream import Address
from filterd.proto.dns import Reply

REPLY = Reply(None, ("192.0.2.1",), 60)


class Place:
    server: Address = ("192.0.2.53", 53)
    peer = "192.0.2.53:53"
    stream = False

    def __init__(self) -> None:
        self.forgotten: list[int] = []

    def forget(self, query_id: int) -> None:
        self.forgotten.append(query_id)


def test_who_waits_is_to_be_woken_with_the_last_answer() -> None:
    inquiry = Inquiry(2, 2)
    waiting = gevent.spawn(inquiry.wait, until=None, peer="192.0.2.53:53")
    gevent.sleep(0)
    assert not inquiry.take(1, (REPLY, 0.0, "b"))
    assert inquiry.take(0, (REPLY, 0.0, "a"))
    gevent.sleep(0)
    assert not waiting.ready(), "in the hub, when it is its turn"
    get_hub().loop.run_callback(inquiry.wake)
    waiting.get(timeout=5)
    assert [answer and answer[2] for answer in inquiry.answers] == ["a", "b"]


def test_answers_that_come_before_anybody_waits_wake_nobody() -> None:
    inquiry = Inquiry(1, 1)
    assert not inquiry.take(0, (REPLY, 0.0, "a"))
    assert inquiry.left == 0
    get_hub().loop.run_callback(inquiry.wake)
    gevent.sleep(0)


def test_a_wait_ends_at_its_moment_and_a_wake_up_that_is_late_hits_nobody() -> None:
    inquiry = Inquiry(1, 1)
    ended: list[str] = []

    def wait() -> None:
        inquiry.wait(until=monotonic() + 0.01, peer="")
        ended.append("waited")
        get_hub().loop.run_callback(inquiry.wake)
        gevent.sleep(0.05)
        ended.append("slept")

    began = monotonic()
    gevent.spawn(wait).get(timeout=5)
    assert monotonic() - began >= 0.05
    assert (inquiry.left, ended) == (1, ["waited", "slept"])


def test_what_arrives_while_the_loop_is_held_counts_though_time_is_up() -> None:
    inquiry = Inquiry(1, 1)
    loop = get_hub().loop

    def answered() -> None:
        assert inquiry.take(0, (REPLY, 0.0, "a"))
        loop.run_callback(inquiry.wake)

    def hold() -> None:
        end = monotonic() + 0.05
        while monotonic() < end:
            pass
        # As a socket does: it is ready, and read after the timers.
        loop.run_callback(loop.run_callback, answered)

    waiting = gevent.spawn(inquiry.wait, until=monotonic() + 0.02, peer="")
    loop.run_callback(hold)
    waiting.get(timeout=5)
    assert inquiry.answers == [(REPLY, 0.0, "a")]


def test_an_answered_question_leaves_every_place() -> None:
    pending, one, two = Pending(b"q", 0.0), Place(), Place()
    pending.places += [(one, 7), (two, 8), (one, 9)]
    pending.leave()
    assert pending.done
    assert (one.forgotten, two.forgotten) == ([7, 9], [8])


def test_numbers_are_of_the_whole_range_and_of_no_pattern() -> None:
    numbers, others = Numbers(), Numbers()
    drawn = [numbers.next() for _ in range(10_000)]
    assert drawn != [others.next() for _ in range(10_000)]
    assert 0 <= min(drawn) < 200
    assert 65_335 < max(drawn) <= 65_535
    assert max(Counter(drawn).values()) < 10
    assert all(200 < count < 1100 for count in Counter(number % 16 for number in drawn).values())
