"""One connected socket against peers that refuse, stay silent, drip, reset and half-close."""

import _socket
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import gevent
import gevent.socket
import pytest

from filterd.net.greenlets import Crew, Stop
from filterd.net.stream import Address, Stream, gather, peer_name
from filterd.outcome import Failure, RequestFailed
from tests.support.batches import Work, stop_soon
from tests.support.peers import LOOPBACK, dead_port, drip, full_queue, reset, serving, silent

BIG = b"x" * 20_000_000


def soon(seconds: float = 5.0) -> float:
    return monotonic() + seconds


def failure_of(step: Callable[[], object]) -> Failure:
    with pytest.raises(RequestFailed) as caught:
        step()
    return caught.value.failure


@contextmanager
def linked() -> Iterator[tuple[Stream, socket.socket]]:
    """A stream and the other end of it, a plain socket that does not block."""
    ours, theirs = _socket.socketpair()
    ours.setblocking(False)
    stream = Stream(ours, "the peer")
    with socket.socket(fileno=theirs.detach()) as other:
        other.setblocking(False)
        try:
            yield stream, other
        finally:
            stream.close()
            gevent.sleep(0)


def hold_the_loop(seconds: float) -> None:
    sleep(seconds)


# -- connecting


def test_connect_read_write_close(hub_free: None) -> None:
    def talk(server: Any) -> None:
        server.sendall(server.recv(100).upper())

    with serving(talk) as peer:
        stream = Stream.connect((LOOPBACK, peer.port), until=soon())
        assert stream.peer == f"127.0.0.1:{peer.port}"
        stream.write(b"hello", until=soon())
        assert stream.read(3, until=soon()) == b"HEL"
        assert stream.read(until=soon(), expect_wait=True) == b"LO"
        assert (stream.eof, stream.read(until=soon()), stream.eof) == (False, b"", True)
        stream.close()
        stream.close()


def test_connect_to_ipv6_and_to_a_unix_socket(tmp_path: Path) -> None:
    with serving(silent, host="::1") as peer:
        stream = Stream.connect(("::1", peer.port), until=soon())
        assert stream.peer == f"[::1]:{peer.port}"
        stream.close()
    with serving(silent, unix=tmp_path / "s"):
        stream = Stream.connect(str(tmp_path / "s"), until=soon(), peer="the scanner")
        assert stream.peer == "the scanner"
        stream.close()


def test_a_refused_connection() -> None:
    with dead_port() as port:
        failure = failure_of(lambda: Stream.connect((LOOPBACK, port), until=soon()))
    assert failure == "Connection refused"
    assert (failure.kind, failure.phase, failure.peer) == ("connect", "connect", f"127.0.0.1:{port}")


def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    failure = failure_of(lambda: Stream.connect(str(tmp_path / "s"), until=soon()))
    assert (failure, failure.kind, failure.peer) == ("No such file or directory", "connect", f"unix:{tmp_path}/s")
    failure = failure_of(lambda: Stream.connect("/" + "x" * 200, until=soon()))
    assert (failure, failure.kind) == ("AF_UNIX path too long", "connect")


def test_a_listener_that_never_answers_is_a_timeout() -> None:
    with full_queue() as (address, _):
        failure = failure_of(lambda: Stream.connect(address, until=soon(0.05)))
    assert failure.startswith(f"timeout: connect to 127.0.0.1:{address[1]} after 0.")
    assert (failure.kind, failure.phase) == ("timeout", "connect")
    assert failure.elapsed >= 0.05


def test_a_full_queue_of_a_unix_socket_is_waited_for(tmp_path: Path) -> None:
    with full_queue(tmp_path / "s") as (address, listening):
        failure = failure_of(lambda: Stream.connect(address, until=soon(0.02)))
        assert (failure.kind, failure.phase) == ("timeout", "connect")
        assert failure.elapsed >= 0.02
        gevent.spawn_later(0.01, lambda: [listening.accept()[0].close() for _ in range(2)])
        Stream.connect(address, until=soon()).close()


def test_a_source_address() -> None:
    with serving(lambda server: server.sendall(server.getpeername()[0].encode())) as peer:
        stream = Stream.connect((LOOPBACK, peer.port), until=soon(), source="127.0.0.7")
        assert stream.read(until=soon()) == b"127.0.0.7"
        stream.close()
        failure = failure_of(lambda: Stream.connect((LOOPBACK, peer.port), until=soon(), source="192.0.2.1"))
    assert (failure, failure.kind, failure.phase) == ("Cannot assign requested address", "connect", "connect")


def test_no_descriptors_left_is_a_failure_like_any_other() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as lowest:
        free = lowest.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        failure = failure_of(lambda: Stream.connect((LOOPBACK, 1), until=soon()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (failure, failure.kind, failure.phase) == ("Too many open files", "connect", "connect")


def test_a_connection_made_in_time_counts_though_the_loop_was_held() -> None:
    # On loopback the kernel has made it before anybody can look; the end is past as well.
    with serving(silent) as peer:
        for _ in range(20):
            Stream.connect((LOOPBACK, peer.port), until=soon(-1.0)).close()


# -- reading


def test_a_read_brings_what_has_arrived_and_at_least_one_byte() -> None:
    with serving(drip(b"abc", 0.005)) as peer:
        stream = Stream.connect((LOOPBACK, peer.port), until=soon())
        got = []
        while data := stream.read(until=soon()):
            got.append(data)
        stream.close()
    assert got == [b"a", b"b", b"c"]


@pytest.mark.parametrize("expect_wait", [False, True])
def test_a_silent_peer_is_a_timeout_of_reading(expect_wait: bool) -> None:
    with linked() as (stream, _):
        failure = failure_of(lambda: stream.read(until=soon(0.02), expect_wait=expect_wait))
        assert failure.startswith("timeout: read from the peer after 0.0")
        assert (failure.kind, failure.phase, failure.peer) == ("timeout", "read", "the peer")
        assert failure.elapsed >= 0.02


@pytest.mark.parametrize("expect_wait", [False, True])
def test_data_in_time_wins_over_an_end_that_came_while_the_loop_was_held(expect_wait: bool) -> None:
    with linked() as (stream, theirs):
        reading = gevent.spawn(lambda: stream.read(until=soon(0.01), expect_wait=expect_wait))
        gevent.sleep(0)
        theirs.send(b"in time")
        hold_the_loop(0.03)
        assert reading.get() == b"in time"


def test_an_end_in_the_past_still_takes_what_is_there() -> None:
    with linked() as (stream, theirs):
        theirs.send(b"x")
        assert stream.read(until=soon(-1.0)) == b"x"
        assert failure_of(lambda: stream.read(until=soon(-1.0))).kind == "timeout"


def test_a_reset_is_told_as_closed() -> None:
    with serving(reset) as peer:
        stream = Stream.connect((LOOPBACK, peer.port), until=soon())
        failure = failure_of(lambda: stream.read(until=soon()))
        stream.close()
    assert (failure, failure.kind, failure.phase) == ("Connection reset by peer", "closed", "read")


def test_what_was_looked_at_stays_to_be_read() -> None:
    with linked() as (stream, other):
        gevent.spawn_later(0.02, other.sendall, b"hello")
        assert stream.peek(4, until=soon()) == b"hell"
        assert stream.read(until=soon()) == b"hello"
        assert failure_of(lambda: stream.peek(until=monotonic() + 0.02)).kind == "timeout"
        other.sendall(b"late")
        assert stream.peek(until=monotonic() - 1) == b"late"
        assert stream.read(until=soon()) == b"late"
        other.close()
        assert stream.peek(until=soon()) == b""


def test_what_has_arrived_can_be_dropped() -> None:
    with linked() as (stream, theirs):
        theirs.send(b"before")
        stream.drop_received()
        stream.drop_received()
        theirs.send(b"after")
        assert stream.read(until=soon()) == b"after"
        theirs.close()
        stream.drop_received()
        assert stream.read(until=soon()) == b""


# -- writing


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_write_sends_all_of_it(kind: Any) -> None:
    counts: list[int] = []

    def talk(server: Any) -> None:
        count = 0
        while data := server.recv(1_000_000):
            count += len(data)
        counts.append(count)

    with serving(talk) as peer:
        stream = Stream.connect((LOOPBACK, peer.port), until=soon())
        stream.write(kind(BIG), until=soon())
        stream.shutdown()
        assert stream.read(until=soon()) == b""
        stream.close()
    assert counts == [len(BIG)]


def test_a_write_nobody_reads_is_a_timeout() -> None:
    with linked() as (stream, _):
        failure = failure_of(lambda: stream.write(BIG, until=soon(0.02)))
        assert failure.startswith("timeout: write to the peer after 0.0")
        assert (failure.kind, failure.phase) == ("timeout", "write")


def test_room_in_time_wins_over_an_end_that_came_while_the_loop_was_held() -> None:
    with linked() as (stream, theirs):
        while True:
            try:
                assert stream.sock is not None
                stream.sock.send(b"x" * 1000)
            except BlockingIOError:
                break
        writing = gevent.spawn(lambda: stream.write(b"y", until=soon(0.01)))
        gevent.sleep(0)
        while True:
            try:
                theirs.recv(1_000_000)
            except BlockingIOError:
                break
        hold_the_loop(0.03)
        writing.get()
        assert theirs.recv(10) == b"y"


def test_writing_to_a_peer_that_has_gone_is_told_as_closed() -> None:
    with linked() as (stream, theirs):
        theirs.close()
        failure = failure_of(lambda: stream.write(b"x", until=soon()))
        assert (failure, failure.kind, failure.phase) == ("Broken pipe", "closed", "write")


def test_a_peer_that_goes_while_we_wait_to_write() -> None:
    with linked() as (stream, theirs):
        gevent.spawn_later(0.01, theirs.close)
        failure = failure_of(lambda: stream.write(BIG, until=soon()))
        assert (failure, failure.kind, failure.phase) == ("Broken pipe", "closed", "write")


def test_half_close_leaves_the_other_direction_open() -> None:
    with linked() as (stream, theirs):
        stream.shutdown()
        assert theirs.recv(1) == b""
        theirs.send(b"still here")
        assert stream.read(until=soon()) == b"still here"
        assert failure_of(lambda: stream.write(b"x", until=soon())) == "Broken pipe"


def test_half_close_of_a_connection_that_is_gone() -> None:
    with serving(reset) as peer:
        stream = Stream.connect((LOOPBACK, peer.port), until=soon())
        failure_of(lambda: stream.read(until=soon()))
        failure = failure_of(stream.shutdown)
        stream.close()
    assert (failure.kind, failure.phase) == ("closed", "write")


# -- sharing and closing

STEPS: dict[str, Callable[[Stream], object]] = {
    "read": lambda stream: stream.read(until=soon()),
    "write": lambda stream: stream.write(BIG, until=soon()),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_two_greenlets_cannot_do_the_same_at_once(step: Callable[[Stream], object]) -> None:
    with linked() as (stream, _):
        first = gevent.spawn(step, stream)
        gevent.sleep(0)
        with pytest.raises(RuntimeError, match=r"two greenlets (read|write) at once on one connection to the peer"):
            step(stream)
        stream.close()
        first.join()


def test_one_greenlet_may_read_while_another_writes() -> None:
    with linked() as (stream, theirs):
        reading = gevent.spawn(lambda: stream.read(until=soon()))
        gevent.sleep(0)
        stream.write(b"question", until=soon())
        assert theirs.recv(100) == b"question"
        theirs.send(b"answer")
        assert reading.get() == b"answer"


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_close_wakes_who_waits_and_tells_him(step: Callable[[Stream], object]) -> None:
    with linked() as (stream, _):
        waiting = gevent.spawn(lambda: failure_of(lambda: step(stream)))
        gevent.sleep(0)
        stream.close()
        failure = waiting.get()
        assert (failure, failure.kind) == ("the connection is closed on our side", "closed")
        assert stream.sock is None


def test_close_and_stop_in_one_turn_of_the_loop() -> None:
    batch = Work(Crew())
    with linked() as (stream, _):
        batch.add(lambda: stream.read(until=soon()))
        loop = batch.crew.hub.loop

        def script() -> None:
            stream.close()
            batch.stop(Stop("enough"))

        loop.run_callback(lambda: loop.run_callback(script))
        batch.join()
    assert [str(error) for error in batch.failures] == ["enough"]


def test_after_close_every_call_says_so() -> None:
    with linked() as (stream, _):
        stream.close()
        for step in (*STEPS.values(), Stream.shutdown, Stream.drop_received):
            failure = failure_of(lambda step=step: step(stream))  # type: ignore[misc]
            assert (failure, failure.kind) == ("the connection is closed on our side", "closed")


@pytest.mark.parametrize("phase", ["connect", "read", "write"])
def test_a_stop_learns_what_was_waited_for_and_the_socket_stays_usable(phase: str) -> None:
    batch = Work(Crew())
    with linked() as (stream, theirs), full_queue() as (address, _):
        steps: dict[str, Callable[[], object]] = {
            "connect": lambda: Stream.connect(address, until=None),
            "read": lambda: stream.read(until=None),
            "write": lambda: stream.write(BIG, until=None),
        }
        batch.add(steps[phase])
        stop_soon(batch)
        batch.join()
        peer = peer_name(address) if phase == "connect" else "the peer"
        assert [(error.phase, error.peer) for error in batch.failures if isinstance(error, Stop)] == [(phase, peer)]
        theirs.send(b"x")
        assert stream.read(until=soon()) == b"x"


# -- names and data


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("127.0.0.1", 25), "127.0.0.1:25"),
        (("::1", 25), "[::1]:25"),
        (("mx.test", 25), "mx.test:25"),
        ("/run/x", "unix:/run/x"),
    ],
)
def test_peers_are_named(address: Address, name: str) -> None:
    assert peer_name(address) == name


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"x", b"x"),
        ("ü", b"\xc3\xbc"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (["a", b"b", bytearray(b"c"), memoryview(b"d")], b"abcd"),
        ((), b""),
    ],
)
def test_data_is_gathered(data: Any, sent: bytes) -> None:
    assert gather(data) == sent


@pytest.mark.parametrize("data", [[1, 2], 5, None, [None]])
def test_other_data_is_refused(data: Any) -> None:
    with pytest.raises(TypeError):
        gather(data)


def test_waits_can_be_ended_and_the_connection_stays_open() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        stream = Stream(ours, "peer")
        stream.wake()  # nobody waits
        reader = gevent.spawn(outcome, lambda: stream.read(until=monotonic() + 60))
        writer = gevent.spawn(outcome, lambda: stream.write(b"x" * 10_000_000, until=monotonic() + 60))
        gevent.sleep(0.01)
        stream.wake()
        assert [one.get(timeout=5) for one in (reader, writer)] == ["timeout"] * 2
        theirs.sendall(b"still there")
        assert stream.read(until=monotonic() + 5) == b"still there"
        stream.close()


def test_who_has_been_woken_by_the_peer_meanwhile_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        stream = Stream(ours, "peer")
        reader = gevent.spawn(stream.read, until=monotonic() + 60)
        gevent.sleep(0.01)
        theirs.sendall(b"x")
        stream.wake()
        assert reader.get(timeout=5) == b"x"
        stream.close()


def outcome(work: Callable[[], object]) -> str:
    try:
        work()
    except RequestFailed as error:
        return error.failure.kind
    return "done"
