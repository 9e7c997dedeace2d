"""A caller waits for all of its answers, a question that is answered waits nowhere, and ids cannot be foreseen."""

from collections import Counter

import gevent

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


def test_the_event_happens_with_the_last_answer() -> None:
    inquiry = Inquiry(2)
    inquiry.left = 2
    waiting = gevent.spawn(inquiry.event.wait)
    gevent.sleep(0)
    inquiry.take(1, (REPLY, 0.0, "b"))
    gevent.sleep(0)
    assert not waiting.ready()
    inquiry.take(0, (REPLY, 0.0, "a"))
    waiting.get(timeout=5)
    assert [answer and answer[2] for answer in inquiry.answers] == ["a", "b"]


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
