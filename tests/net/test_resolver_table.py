"""Answers stay as long as they may and no longer, what is used stays longest, and the table does not grow."""

import pytest

from filterd.net.resolver_pending import Pending
from filterd.net.resolver_table import MAX_AGE, Kept, Table
from filterd.proto.dns import Reply


def put(table: Table, question: bytes, *, now: float = 0.0, ttl: int = 60, **more: bool) -> Reply:
    reply = Reply(None, ("192.0.2.1",), ttl, **more)
    pending = table.find(question, now)
    if isinstance(pending, Pending):
        pending.peer = "server"
        table.answered(pending, reply, now)
    return reply


def is_known(table: Table, question: bytes, now: float = 0.0) -> bool:
    return isinstance(table.find(question, now), Kept)


def test_a_question_under_way_is_found_until_it_is_answered() -> None:
    table = Table(10)
    pending = table.find(b"q", 0.0)
    assert isinstance(pending, Pending)
    assert (pending.question, pending.asked, pending.tried, pending.inquiries) == (b"q", 0.0, (), [])
    assert table.find(b"q", 1e9) is pending
    reply = Reply(None, ("192.0.2.1",), 60)
    table.answered(pending, reply, 100.0)
    assert table.find(b"q", 110.0) == Kept(reply, 100.0, 160.0, "")
    assert not is_known(table, b"other", 110.0)


@pytest.mark.parametrize(("ttl", "expires"), [(1, 1.0), (60, 60.0), (0x7FFFFFFF, MAX_AGE)])
def test_an_answer_is_good_until_it_expires(ttl: int, expires: float) -> None:
    table = Table(10)
    put(table, b"q", ttl=ttl)
    assert is_known(table, b"q", expires - 0.01)
    assert not is_known(table, b"q", expires)


def test_what_may_not_be_kept_leaves_with_its_question() -> None:
    table = Table(10)
    put(table, b"q", ttl=0)
    put(table, b"r", truncated=True)
    large = table.find(b"s", 0.0)
    assert isinstance(large, Pending)
    large.large = True
    table.answered(large, Reply(None, ("192.0.2.1",), 60), 0.0)
    assert len(table) == 0
    none = Table(0)
    put(none, b"q")
    assert len(none) == 0


def test_a_question_that_has_become_old_leaves_as_well() -> None:
    table = Table(2)
    pending = table.find(b"q", 0.0)
    assert isinstance(pending, Pending)
    put(table, b"r")
    assert len(table) == 2
    table.answered(pending, Reply("server fail", ()), 0.0)
    assert len(table) == 1
    assert is_known(table, b"r")


def test_one_that_was_asked_anew_meanwhile_stays() -> None:
    table = Table(2)
    first, second = Pending(b"q", 0.0), table.find(b"q", 0.0)
    table.answered(first, Reply("server fail", ()), 0.0)
    assert table.find(b"q", 0.0) is second


def test_what_is_used_stays_when_the_rest_is_forgotten() -> None:
    table = Table(100)
    put(table, b"used")
    for i in range(1000):
        put(table, b"%d" % i)
        assert is_known(table, b"used")
        assert len(table) <= 101
    assert is_known(table, b"999")
    assert not is_known(table, b"0")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_size_is_a_bound(size: int) -> None:
    table = Table(size)
    for i in range(3 * size):
        put(table, b"%d" % i)
    assert size // 2 <= len(table) <= size + 1


def test_putting_again_what_is_there_makes_nothing_old() -> None:
    table = Table(4)
    for _ in range(10):
        put(table, b"q")
        put(table, b"r")
    assert len(table) == 2


def test_clear_forgets_everything() -> None:
    table = Table(2)
    put(table, b"q")
    put(table, b"r")
    table.clear()
    assert len(table) == 0
    assert not is_known(table, b"q")
