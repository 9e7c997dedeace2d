"""Listening sockets: which may be opened, and what becomes of the connections."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import gevent
import pytest

from filterd.net import listen
from filterd.net.greenlets import Crew
from filterd.net.listen import BindError, Connection, Listener, open_socket
from tests.support.client import Client


def hello(connection: Connection) -> None:
    connection.write(b"hello\n")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            open_socket(("127.0.0.1", port))


def test_ipv6_is_listened_on() -> None:
    with closing(open_socket(("::1", 0))) as sock:
        assert sock.getsockname()[0] == "::1"


def test_a_unix_socket_has_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    with closing(open_socket(str(path), mode=0o660)):
        assert path.stat().st_mode & 0o777 == 0o660


def test_a_unix_socket_is_for_its_owner_alone_by_default(tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    with closing(open_socket(str(path))):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "scan.sock")
    open_socket(path).close()
    assert Path(path).exists()
    open_socket(path).close()


def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "scan.sock")
    with closing(open_socket(path)), pytest.raises(BindError, match="somebody is listening there"):
        open_socket(path)


def test_a_file_at_the_path_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    path.write_text("precious")
    with pytest.raises(BindError, match="it is no socket"):
        open_socket(str(path))
    assert path.read_text() == "precious"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="No such file or directory"):
        open_socket(str(tmp_path / "no" / "scan.sock"))


def test_connections_are_served_and_closed() -> None:
    listener = Listener(open_socket(("127.0.0.1", 0)), hello, crew=Crew())
    listener.start()
    for _ in range(3):
        with Client(listener.address) as client:
            assert client.read_all() == b"hello\n"
    listener.drain(0.1)
    assert (listener.accepted, listener.open) == (3, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_connection_knows_both_its_ends_and_sends_without_delay(host: str) -> None:
    seen: list[object] = []

    def serve(connection: Connection) -> None:
        assert connection.sock is not None
        assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        seen.append(connection.ends())
        connection.close()
        seen.append(connection.ends())

    listener = Listener(open_socket((host, 0)), serve, crew=Crew())
    listener.start()
    here = "::1" if ":" in host else "127.0.0.1"
    with Client((here, int(listener.address[1]))) as client:
        ours = client.sock.getsockname()[:2]
        assert client.read_all() == b""
    listener.drain(0.1)
    assert seen == [((here, listener.address[1]), ours), None]


def test_an_error_in_one_connection_is_logged_and_the_next_is_served(caplog: pytest.LogCaptureFixture) -> None:
    first = iter([True])

    def serve(connection: Connection) -> None:
        if next(first, False):
            raise ValueError("inside")
        hello(connection)

    listener = Listener(open_socket(("127.0.0.1", 0)), serve, crew=Crew(), name="listen.test")
    listener.start()
    with Client(listener.address) as client:
        assert client.read_all() == b""
    with Client(listener.address) as client:
        assert client.read_all() == b"hello\n"
    listener.drain(0.1)
    assert "listen.test: serving 127.0.0.1:" in caplog.text
    assert "ValueError: inside" in caplog.text


def test_a_peers_own_fault_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd")

    def serve(connection: Connection) -> None:
        connection.read(until=0.0)

    listener = Listener(open_socket(("127.0.0.1", 0)), serve, crew=Crew())
    listener.start()
    with Client(listener.address) as client:
        assert client.read_all() == b""
    listener.drain(0.1)
    assert [(record.levelname, "timeout: read" in record.getMessage()) for record in caplog.records] == [("INFO", True)]


def test_a_drain_cuts_what_does_not_end_in_time_and_says_how_many() -> None:
    def forever(connection: Connection) -> None:
        connection.busy = True
        gevent.sleep(60)

    listener = Listener(open_socket(("127.0.0.1", 0)), forever, crew=Crew())
    listener.start()
    with Client(listener.address) as client:
        gevent.sleep(0.02)
        assert listener.drain(0.05) == 1
        assert client.is_closed


def test_accepting_goes_on_after_descriptors_ran_out(caplog: pytest.LogCaptureFixture) -> None:
    import resource

    listener = Listener(open_socket(("127.0.0.1", 0)), hello, crew=Crew())
    client = Client(listener.address)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    hogs: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                hogs.append(os.dup(0))
        listener.start()
        gevent.sleep(0.05)
        assert "cannot accept: Too many open files" in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for hog in hogs:
            os.close(hog)
    assert client.read_all() == b"hello\n"
    client.sock.close()
    listener.drain(0.1)


def talking(connection: Connection) -> None:
    """Answers each line with itself, and is between two requests after that."""
    while data := connection.read(until=None):
        connection.busy = True
        if data == b"slow\n":
            gevent.sleep(0.1)
        connection.write(data, until=None)
        connection.busy = False
        if connection.draining:
            return


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener(open_socket(("127.0.0.1", 0)), talking, crew=Crew())
    listener.start()
    try:
        yield listener
    finally:
        if not listener.draining:
            listener.drain(0.0)


def test_a_drain_ends_who_is_between_two_requests_and_answers_who_has_just_asked() -> None:
    with listening() as listener, Client(listener.address) as idle, Client(listener.address) as asking:
        for client in (idle, asking):
            assert client.send(b"x\n").sock.recv(9) == b"x\n"
        asking.send(b"slow\n")
        # Nothing has been read of it yet: the loop has not turned since.
        assert not any(runner.job.busy for runner in listener._batch.waiting if runner.job is not None)
        assert listener.drain(5.0) == 0
        assert idle.is_closed
        assert asking.read_all() == b"slow\n"


def test_a_drain_waits_a_moment_for_the_first_request_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "FIRST_REQUEST", 0.3)
    with listening() as listener, Client(listener.address) as asking, Client(listener.address) as silent:
        while listener.accepted < 2:
            gevent.sleep(0.01)
        draining = gevent.spawn(listener.drain, 30.0)
        gevent.sleep(0.05)
        asking.send(b"x\n")
        assert asking.read_all() == b"x\n"
        assert silent.is_closed
        assert draining.get(timeout=10) == 0


def test_who_stands_in_the_queue_is_taken_in_before_the_socket_closes() -> None:
    with listening() as listener:
        # The loop does not turn here, so nobody is accepted.
        assert not isinstance(listener.address, str)
        clients = [socket.create_connection(listener.address) for _ in range(5)]
        for client in clients:
            client.sendall(b"x\n")
        assert listener.accepted == 0
        listener.take_in()
        assert listener.accepted == 5
        assert listener.drain(5.0) == 0
        for client in clients:
            assert client.recv(9) == b"x\n"
            client.close()
        listener.take_in()


@pytest.mark.parametrize(
    ("turns", "seconds", "at_once"),
    [(1, 0.0, 1), (1, 0.0015, 2), (1, 0.0105, 11), (1, 5.0, 17), (2, 5.0, 1)],
    ids=["a short turn", "a longer one", "a long one", "a very long one", "none waited in the turn before"],
)
def test_the_longer_a_turn_of_the_loop_was_the_more_are_accepted_in_the_next(turns: int, seconds: float, at_once: int) -> None:
    with listening() as listener, ExitStack() as clients:
        assert not isinstance(listener.address, str)
        for _ in range(20):
            clients.enter_context(socket.create_connection(listener.address))
        # The loop does not turn here; this is what it would have left.
        loop = listener.crew.hub.loop
        listener._turn, listener._turn_began = loop.iteration - turns, loop.now() - seconds
        listener._ready()
        assert listener.accepted == at_once


def test_a_drain_can_be_hurried() -> None:
    with listening() as listener, Client(listener.address) as client:
        client.send(b"x\n")
        assert client.sock.recv(9) == b"x\n"
        client.send(b"slow\n")
        gevent.sleep(0.02)
        draining = gevent.spawn(listener.drain, 30.0)
        gevent.sleep(0.01)
        listener.cut(0.0)
        assert draining.get(timeout=10) == 1
        assert client.is_closed
