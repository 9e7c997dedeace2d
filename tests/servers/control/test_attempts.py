"""Wrong passwords are counted by address, with an end in time and in memory."""

from filterd.servers.control.attempts import Attempts


def test_after_so_many_failures_an_address_waits_until_the_window_has_passed() -> None:
    attempts = Attempts(allowed=3, window=60.0)
    assert [attempts.failed("192.0.2.1", 100.0 + n) for n in range(2)] == [1, 2]
    assert attempts.wait("192.0.2.1", 102.0) == 0.0
    assert attempts.failed("192.0.2.1", 102.0) == 3
    assert attempts.wait("192.0.2.1", 110.0) == 50.0
    assert attempts.wait("192.0.2.1", 160.0) == 0.0
    assert attempts.failed("192.0.2.1", 160.0) == 1


def test_others_do_not_wait_for_it() -> None:
    attempts = Attempts(allowed=1)
    attempts.failed("192.0.2.1", 100.0)
    assert attempts.wait("192.0.2.2", 100.0) == 0.0


def test_a_success_forgets_failures() -> None:
    attempts = Attempts(allowed=2)
    attempts.failed("192.0.2.1", 100.0)
    attempts.succeeded("192.0.2.1")
    attempts.succeeded("192.0.2.1")
    assert attempts.failed("192.0.2.1", 101.0) == 1


def test_an_ipv6_customer_has_one_count() -> None:
    attempts = Attempts(allowed=2)
    assert attempts.failed("2001:db8::1", 100.0) == 1
    assert attempts.failed("2001:db8::ffff:1", 100.0) == 2
    assert attempts.failed("2001:db8:0:1::1", 100.0) == 1


def test_what_is_no_address_is_counted_by_its_name() -> None:
    attempts = Attempts(allowed=1)
    attempts.failed("listen.a:b", 100.0)
    assert attempts.wait("listen.a:b", 100.0) == 60.0


def test_the_table_does_not_grow_and_forgets_the_oldest() -> None:
    attempts = Attempts(allowed=1, remembered=10)
    for number in range(1000):
        attempts.failed(f"10.0.{number // 256}.{number % 256}", 100.0)
    assert len(attempts) == 10
    assert attempts.wait("10.0.0.0", 100.0) == 0.0
    assert attempts.wait("10.0.3.231", 100.0) == 60.0
