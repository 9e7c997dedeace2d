"""The end of a connection whose client may still be sending: the answer arrives, and waiting for the client ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest

from filterd.net import linger
from filterd.net.greenlets import Crew
from filterd.net.linger import answer_and_end
from filterd.net.listen import Connection, Listener, open_socket
from tests.support.client import Client


@contextmanager
def serving() -> Iterator[Listener]:
    def serve(connection: Connection) -> None:
        connection.read(1)
        answer_and_end(connection, b"no\r\n")

    listener = Listener(open_socket(("127.0.0.1", 0)), serve, crew=Crew())
    listener.start()
    try:
        yield listener
    finally:
        listener.drain(0.2)


def ended(listener: Listener) -> bool:
    for _ in range(200):
        if not listener.open:
            return True
        gevent.sleep(0.01)
    return False


def test_a_client_that_is_still_sending_gets_the_answer() -> None:
    with serving() as listener, Client(listener.address) as client:
        client.send(b"x" * 3_000_000).end()
        assert client.read_all() == b"no\r\n"
        client.sock.close()
        assert ended(listener)


@pytest.mark.parametrize(("limit", "value"), [("LINGER", 0.05), ("LINGER_BYTES", 10)])
def test_a_client_that_never_ends_is_left(limit: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linger, limit, value)
    with serving() as listener, Client(listener.address) as client:
        client.send(b"x" * 1000)
        assert client.sock.recv(10) == b"no\r\n"
        assert ended(listener)


def test_a_client_that_has_gone_does_not_matter() -> None:
    with serving() as listener:
        with Client(listener.address) as client:
            client.send(b"xy")
        assert ended(listener)
