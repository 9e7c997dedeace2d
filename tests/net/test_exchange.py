"""Two directions between two sockets: what moves, what waits, and what is broken for good."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket

from filterd.net.exchange import Exchange
from filterd.net.greenlets import Stop
from filterd.net.stream import Stream
from filterd.outcome import RequestFailed


def pair(name: str) -> tuple[Stream, Any]:
    """Our stream, and the other end as a socket of gevent."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    inner = socket.socket(fileno=ours.detach())
    inner.setblocking(False)
    other = gsocket.socket(fileno=theirs.detach(), family=socket.AF_UNIX)
    other.settimeout(5)
    return Stream(inner, name), other


class Ends:
    """An exchange with both other ends in the hands of the test."""

    def __init__(self, *, idle: float = 60.0, total: float = 60.0, limit: int = 65536, has_server: bool = True) -> None:
        stream, self.client = pair("client")
        self.dialled = 0
        self.server: Any = None
        self.exchange = Exchange(
            stream, self.connect if has_server else None, idle=idle, deadline=monotonic() + total, limit=limit
        )

    def connect(self, until: float) -> Stream:
        self.dialled += 1
        gevent.sleep(0.001)
        stream, self.server = pair("server")
        return stream

    def close(self) -> None:
        self.exchange.end()
        self.exchange.client.close()
        self.client.close()
        if self.server is not None:
            self.server.close()


@contextmanager
def ends(**keywords: Any) -> Iterator[Ends]:
    made = Ends(**keywords)
    try:
        yield made
    finally:
        made.close()


def refused(work: Callable[[], object]) -> RequestFailed:
    with pytest.raises(RequestFailed) as raised:
        work()
    return raised.value


def soon(seconds: float = 5.0) -> float:
    return monotonic() + seconds


def test_what_is_read_is_held_up_to_the_limit() -> None:
    with ends(limit=1024) as both:
        both.client.sendall(b"x" * 3000)
        request = both.exchange.request
        assert request.fill(soon())
        assert (request.buffer.in_len, request.buffer.full, request.received) == (1024, True, 1024)


def test_a_full_buffer_is_no_end_of_the_stream() -> None:
    with ends(limit=1024) as both:
        both.client.sendall(b"x" * 1025)
        assert both.exchange.request.fill(soon())
        with pytest.raises(RequestFailed, match="no room for more than 1024 bytes"):
            both.exchange.request.fill(soon())
        assert not both.exchange.request.buffer.eof


def test_the_end_of_a_sender_is_told_once_and_for_all() -> None:
    with ends() as both:
        both.client.shutdown(socket.SHUT_WR)
        request = both.exchange.request
        assert [request.fill(soon()), request.fill(soon())] == [False, False]
        assert request.buffer.eof


def test_the_server_is_reached_once_however_many_want_it() -> None:
    with ends() as both:
        reached = [gevent.spawn(both.exchange.reach_server, soon()) for _ in range(3)]
        assert len({id(one.get()) for one in reached}) == 1
        assert both.dialled == 1


def test_without_a_server_it_is_said() -> None:
    with ends(has_server=False) as both:
        with pytest.raises(RequestFailed, match="this listener has no server"):
            both.exchange.request.write(b"x", soon())
        with pytest.raises(RequestFailed, match="there is no server yet"):
            both.exchange.response.fill(soon())


def test_a_read_that_is_out_of_its_own_time_breaks_nothing() -> None:
    with ends() as both:
        with pytest.raises(RequestFailed) as raised:
            both.exchange.request.fill(soon(0.01))
        assert raised.value.failure.kind == "timeout"
        assert both.exchange.broken is None
        both.client.sendall(b"late")
        assert both.exchange.request.fill(soon())
        assert both.exchange.request.buffer.dup() == b"late"


def test_a_write_that_was_cut_in_the_middle_breaks_the_exchange() -> None:
    with ends() as both:
        with pytest.raises(RequestFailed):
            both.exchange.response.write(b"x" * 10_000_000, soon(0.05))
        for use in (both.exchange.request.fill, both.exchange.reach_server):
            with pytest.raises(RequestFailed) as raised:
                use(soon())
            assert raised.value.failure is both.exchange.broken
            assert (both.exchange.broken.kind, both.exchange.broken.phase) == ("timeout", "write")


def test_a_writer_that_is_stopped_in_the_middle_breaks_it_too() -> None:
    with ends() as both:

        def write() -> None:
            with pytest.raises(Stop):
                both.exchange.response.write(b"x" * 10_000_000, soon())

        writer = gevent.spawn(write)
        gevent.sleep(0.01)
        gevent.kill(writer, Stop("enough"))
        writer.get()
        assert str(both.exchange.broken) == "cut off in the middle of a write"


def test_a_writer_waits_for_the_one_before_it() -> None:
    """What two of them write is not mixed."""
    with ends() as both:
        parts = [bytes([number]) * 500_000 for number in b"ab"]
        writers = [gevent.spawn(both.exchange.response.write, part, soon()) for part in parts]
        read = b""
        while len(read) < 1_000_000:
            read += both.client.recv(65536)
        gevent.joinall(writers, raise_error=True)
        assert read == b"".join(parts)


def test_a_reset_breaks_the_exchange_for_good() -> None:
    with ends() as both:
        both.exchange.reach_server(soon())
        both.client.close()
        with pytest.raises(RequestFailed) as raised:
            for _ in range(2):
                both.exchange.response.write(b"x", soon())
        assert raised.value.failure.kind == "closed"
        with pytest.raises(RequestFailed):
            both.exchange.check()


@pytest.mark.parametrize(
    ("keywords", "told"),
    [({"idle": 0.05}, "idle for 0.05 s (idle_timeout)"), ({"total": 0.05}, "the time of the connection is over (timeout)")],
)
def test_an_exchange_in_which_nothing_moves_is_over(keywords: dict[str, float], told: str) -> None:
    with ends(**keywords) as both:
        with pytest.raises(RequestFailed) as raised:
            both.exchange.request.fill(both.exchange.deadline)
        assert str(raised.value.failure) == told
        assert both.exchange.broken is raised.value.failure


def test_the_other_direction_keeps_a_silent_one_alive() -> None:
    with ends(idle=0.6) as both:
        both.exchange.reach_server(soon())
        reader = gevent.spawn(both.exchange.response.fill, soon())
        for _ in range(6):
            gevent.sleep(0.15)
            both.client.sendall(b"x")
            assert both.exchange.request.fill(soon())
        both.server.sendall(b"at last")
        assert reader.get() is True


def test_a_receiver_that_takes_a_little_now_and_then_is_not_idle() -> None:
    with ends(idle=0.6) as both:
        data = b"x" * 3_000_000
        writer = gevent.spawn(both.exchange.response.write, data, soon(10))
        read = 0
        for _ in range(6):
            gevent.sleep(0.15)
            read += len(both.client.recv(200_000))
        while read < len(data):
            read += len(both.client.recv(65536))
        writer.get()
        assert both.exchange.response.moved == len(data)


def test_pump_passes_on_what_is_held_then_all_that_comes_then_the_end() -> None:
    with ends(limit=1024) as both:
        request = both.exchange.request
        both.client.sendall(b"a" * 1024)
        request.fill(soon())
        request.buffer.forward(10)
        pump = gevent.spawn(request.pump, soon())
        both.client.sendall(b"b" * 100_000)
        both.client.shutdown(socket.SHUT_WR)
        pump.get()
        read = b""
        while data := both.server.recv(65536):
            read += data
        assert read == b"a" * 1024 + b"b" * 100_000
        assert (request.received, request.moved) == (101_024, 101_024)


def test_pump_of_an_ended_sender_passes_on_the_rest() -> None:
    with ends() as both:
        both.client.sendall(b"rest")
        both.client.shutdown(socket.SHUT_WR)
        request = both.exchange.request
        while request.fill(soon()):
            pass
        request.pump(soon())
        assert [both.server.recv(10), both.server.recv(10)] == [b"rest", b""]


@pytest.mark.parametrize("waits_for", ["client", "server", "a slow client"])
def test_after_the_end_nobody_waits(waits_for: str) -> None:
    with ends() as both:
        exchange = both.exchange
        exchange.reach_server(soon())
        work: Any = {
            "client": lambda: exchange.request.fill(soon(60)),
            "server": lambda: exchange.response.fill(soon(60)),
            "a slow client": lambda: exchange.response.write(b"x" * 10_000_000, soon(60)),
        }[waits_for]
        waiter = gevent.spawn(refused, work)
        gevent.sleep(0.01)
        exchange.end()
        exchange.end()
        assert waiter.get(timeout=5).failure.kind == "closed"
        assert exchange.server is not None
        assert exchange.server.sock is None
        assert exchange.client.sock is not None
        with pytest.raises(RequestFailed, match="the stream has ended"):
            exchange.check()


def test_a_server_that_is_reached_too_late_is_left_again() -> None:
    with ends() as both:
        reacher = gevent.spawn(refused, lambda: both.exchange.reach_server(soon()))
        gevent.sleep(0)
        both.exchange.end()
        assert "the stream has ended" in str(reacher.get())
        assert both.server.recv(1) == b""
