"""Lists of servers: who is asked next, who is left alone for how long, and what is written in one line."""

from collections import Counter
from typing import get_args

import pytest

from filterd.net import upstream
from filterd.net.stream import Address
from filterd.net.upstream import Limits, Rotation, Upstreams

A, B, C = ("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.3", 80)


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(upstream, "monotonic", clock)
    return clock


def picks(upstreams: Upstreams, count: int) -> Counter[Address]:
    return Counter(upstreams.pick() for _ in range(count))


def fail_for(upstreams: Upstreams, server: Address, clock: Clock, *, seconds: float, times: int) -> None:
    for _ in range(times):
        upstreams.fail(server)
        clock.now += seconds / (times - 1)


# -- rotation


@pytest.mark.parametrize("rotation", ["round-robin", "hash"])
def test_round_robin_gives_each_its_turn(rotation: Rotation) -> None:
    upstreams = Upstreams([A, B, C], rotation=rotation)
    first = [upstreams.pick() for _ in range(3)]
    assert set(first) == {A, B, C}
    assert [upstreams.pick() for _ in range(3)] == first


def test_weights_share_out_the_calls_and_spread_them() -> None:
    upstreams = Upstreams([A, B], weights=[3, 1])
    turns = [upstreams.pick() for _ in range(8)]
    assert Counter(turns) == {A: 6, B: 2}
    assert "".join("b" if turn == B else "a" for turn in turns).replace("aaa", "").count("aa") <= 2, "not all of A first"


def test_master_slave_is_the_heaviest_and_of_equals_the_first() -> None:
    assert picks(Upstreams([A, B, C], rotation="master-slave"), 5) == {A: 5}
    assert picks(Upstreams([A, B, C], weights=[1, 5, 2], rotation="master-slave"), 5) == {B: 5}


def test_a_key_decides_in_every_rotation() -> None:
    for rotation in get_args(Rotation):
        upstreams = Upstreams([A, B, C], rotation=rotation)
        chosen = {key: upstreams.pick(key) for key in map(str, range(300))}
        assert all(upstreams.pick(key) == server for key, server in chosen.items())
        assert all(60 < count < 140 for count in Counter(chosen.values()).values()), "about a third each"


def test_text_and_bytes_are_one_key_and_order_does_not_matter() -> None:
    for key in map(str, range(50)):
        assert Upstreams([A, B, C]).pick(key) == Upstreams([C, A, B]).pick(key.encode())


def test_weights_count_for_keys() -> None:
    upstreams = Upstreams([A, B], weights=[9, 1])
    assert Counter(upstreams.pick(str(number)) for number in range(1000))[A] == pytest.approx(900, abs=50)


def test_a_server_that_leaves_moves_only_its_own_keys(clock: Clock) -> None:
    upstreams = Upstreams([A, B, C])
    before = {key: upstreams.pick(key) for key in map(str, range(300))}
    fail_for(upstreams, B, clock, seconds=10, times=6)
    after = {key: upstreams.pick(key) for key in before}
    assert B not in after.values()
    assert all(after[key] == server for key, server in before.items() if server != B)
    assert {after[key] for key, server in before.items() if server == B} == {A, C}


def test_avoid_leads_to_another_as_long_as_there_is_one() -> None:
    upstreams = Upstreams([A, B], rotation="master-slave")
    assert upstreams.pick(avoid=(A,)) == B
    assert upstreams.pick(avoid=(A, B)) == A
    assert Upstreams([A]).pick(avoid=(A,)) == A


# -- failing


def test_who_fails_too_often_for_too_long_leaves(clock: Clock) -> None:
    upstreams = Upstreams([A, B])
    fail_for(upstreams, A, clock, seconds=9.9, times=50)
    assert list(upstreams.alive) == [A, B], "not yet for error_time"
    clock.now += 0.2
    upstreams.fail(A)
    assert list(upstreams.alive) == [B]
    assert picks(upstreams, 5) == {B: 5}


def test_who_fails_seldom_stays(clock: Clock) -> None:
    upstreams = Upstreams([A, B])
    for _ in range(20):
        upstreams.fail(A)
        clock.now += 4.0
    assert list(upstreams.alive) == [A, B], "no more than 4 in 10 s"


def test_one_success_is_a_clean_slate(clock: Clock) -> None:
    upstreams = Upstreams([A, B])
    for _ in range(10):
        fail_for(upstreams, A, clock, seconds=9, times=5)
        upstreams.ok(A)
    assert list(upstreams.alive) == [A, B]


def test_the_only_one_never_leaves(clock: Clock) -> None:
    upstreams = Upstreams([A])
    fail_for(upstreams, A, clock, seconds=60, times=100)
    assert list(upstreams.alive) == [A]
    assert upstreams.pick() == A


def test_it_comes_back_on_probation_for_longer_each_time(clock: Clock) -> None:
    upstreams = Upstreams([A, B], limits=Limits(jitter=0.0))
    fail_for(upstreams, A, clock, seconds=10, times=6)
    left = clock.now - 10 / 5
    for absence in (60, 120, 240, 480, 600, 600):
        clock.now = left + absence - 0.01
        assert list(upstreams.alive) == [B]
        clock.now = left = left + absence
        assert list(upstreams.alive) == [A, B]
        assert picks(upstreams, 4)[A] == 2
        upstreams.fail(A)
    clock.now = left + 600
    upstreams.ok(A)
    upstreams.fail(A)
    assert list(upstreams.alive) == [A, B], "after one success it is like any other"


def test_what_is_told_late_of_an_absent_server_changes_nothing(clock: Clock) -> None:
    upstreams = Upstreams([A, B], limits=Limits(jitter=0.0))
    fail_for(upstreams, A, clock, seconds=10, times=6)
    upstreams.fail(A)
    clock.now += 60
    assert list(upstreams.alive) == [A, B], "calls that were under way when it left do not prolong its absence"


def test_jitter_spreads_the_returns(clock: Clock) -> None:
    upstreams = Upstreams([A, B])
    fail_for(upstreams, A, clock, seconds=10, times=6)
    clock.now += 57.9
    assert list(upstreams.alive) == [B]
    clock.now += 60 * 0.4
    assert list(upstreams.alive) == [A, B]


def test_where_nobody_is_alive_the_next_to_return_is_asked(clock: Clock) -> None:
    upstreams = Upstreams([A, B], limits=Limits(jitter=0.0))
    fail_for(upstreams, B, clock, seconds=10, times=6)
    fail_for(upstreams, A, clock, seconds=10, times=6)
    assert list(upstreams.alive) == []
    assert picks(upstreams, 3) == {B: 3}
    assert upstreams.pick("key", avoid=(B,)) == B


def test_a_slave_takes_over_and_hands_back(clock: Clock) -> None:
    upstreams = Upstreams([A, B], rotation="master-slave")
    fail_for(upstreams, A, clock, seconds=10, times=6)
    assert upstreams.pick() == B
    clock.now += 100
    assert upstreams.pick() == A


def test_strangers_are_nobodys_business() -> None:
    upstreams = Upstreams([A, B])
    upstreams.fail(C)
    upstreams.ok(C)
    assert list(upstreams.alive) == [A, B]


# -- making one


@pytest.mark.parametrize(
    ("text", "servers", "rotation"),
    [
        ("127.0.0.1:80", [("127.0.0.1", 80)], "round-robin"),
        ("a.test:80, b.test:81  c.test", [("a.test", 80), ("b.test", 81), ("c.test", 6379)], "round-robin"),
        ("[::1]:80 [::2]", [("::1", 80), ("::2", 6379)], "round-robin"),
        ("/run/a.sock,unix:/run/b.sock", ["/run/a.sock", "/run/b.sock"], "round-robin"),
        ("master-slave:a.test:1:10,b.test:2", [("a.test", 1), ("b.test", 2)], "master-slave"),
        ("hash: a.test b.test", [("a.test", 6379), ("b.test", 6379)], "hash"),
        ("a.test:1,a.test:1", [("a.test", 1)], "round-robin"),
    ],
)
def test_one_line_says_it_all(text: str, servers: list[Address], rotation: str) -> None:
    upstreams = Upstreams.parse(text, default_port=6379)
    assert list(upstreams.servers) == servers
    assert upstreams.rotation == rotation


def test_weights_in_the_line() -> None:
    assert picks(Upstreams.parse("a.test:1:3 b.test:1"), 8) == {("a.test", 1): 6, ("b.test", 1): 2}


@pytest.mark.parametrize(
    "text", ["", "hash:", "a.test", "a.test:0", "a.test:65536", "a.test:x", ":80", "a.test:80:0", "::1:80:1:1", "a:1 b:2:3:4"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="upstream"):
        Upstreams.parse(text)
