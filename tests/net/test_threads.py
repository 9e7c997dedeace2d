"""Work in threads: the loop turns meanwhile, results and errors come back, and nothing runs twice at once in one thread."""

import os
import threading
import time

import gevent
import pytest

from filterd.net.threads import OneThread, in_thread


def test_the_loop_turns_while_a_thread_works() -> None:
    """The thread waits for what a greenlet does: without a turn of the loop neither would ever go on."""
    reading, writing = os.pipe()
    gevent.spawn(os.write, writing, b"x")
    assert in_thread(os.read, reading, 1) == b"x"
    os.close(reading)
    os.close(writing)


def test_what_it_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        in_thread(divmod, 1, 0)


def test_it_is_another_thread() -> None:
    assert in_thread(threading.get_ident) != threading.get_ident()


def test_one_thread_does_one_thing_after_the_other() -> None:
    thread = OneThread()
    order: list[str] = []

    def work(name: str) -> int:
        order.append(f"{name} begins")
        time.sleep(0.05)
        order.append(f"{name} ends")
        return threading.get_ident()

    jobs = [gevent.spawn(thread.run, work, name) for name in "ab"]
    gevent.joinall(jobs, raise_error=True)
    assert order in (["a begins", "a ends", "b begins", "b ends"], ["b begins", "b ends", "a begins", "a ends"])
    thread.close()


def test_what_nobody_waits_for_any_more_is_still_done_in_its_turn() -> None:
    thread = OneThread()
    done: list[str] = []

    def slow() -> None:
        time.sleep(0.1)
        done.append("slow")

    first = gevent.spawn(thread.run, slow)
    gevent.sleep(0.02)
    first.kill()
    assert done == []
    thread.run(done.append, "next")
    assert done == ["slow", "next"]
    thread.close()
    thread.close()
    thread.run(done.append, "again")
    assert done[-1] == "again"
    thread.close()
