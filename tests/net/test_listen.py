"""Listening sockets: which may be opened, and what becomes of the connections."""

import logging
import os
import socket
from contextlib import closing
from pathlib import Path

import gevent
import pytest

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
