"""Servers behind a stream listener: which is taken, and what it is told."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Literal

import gevent
import pytest

from filterd.net.backend import Backend, proxy_header
from filterd.net.greenlets import Crew
from filterd.net.listen import Connection, Listener, open_socket
from filterd.net.network import Network
from filterd.outcome import RequestFailed
from filterd.proto.proxy import Header, HeaderParser
from tests.support.client import Client
from tests.support.partners import free_port
from tests.support.streams import backend


@contextmanager
def connection(address: Any = ("127.0.0.1", 0)) -> Iterator[Connection]:
    """A connection as a listener has it."""
    came: list[Connection] = []
    go_on = gevent.event.Event()

    def serve(one: Connection) -> None:
        came.append(one)
        go_on.wait()

    listener = Listener(open_socket(address), serve, crew=Crew())
    listener.start()
    with Client(listener.address):
        while not came:
            gevent.sleep(0.001)
        yield came[0]
        go_on.set()
    listener.drain(1.0)


def soon() -> float:
    return monotonic() + 5


def told(data: bytes) -> Header:
    header = HeaderParser().feed(data)
    assert header is not None
    return header


def test_the_first_that_can_be_reached_is_taken_and_so_the_next_time() -> None:
    with backend() as one, backend() as two, connection() as client:
        servers = Backend(
            Network().tcp,
            [("127.0.0.1", free_port()), ("localhost", one.port), ("127.0.0.1", two.port)],
            timeout=5.0,
        )
        for _ in range(3):
            stream = servers.connect(client, soon())
            assert stream.peer == f"localhost:{one.port}"
            stream.close()


def test_when_none_can_be_reached_the_last_one_is_told_of() -> None:
    ports = [free_port(), free_port()]
    with connection() as client, pytest.raises(RequestFailed) as raised:
        Backend(Network().tcp, [("127.0.0.1", port) for port in ports], timeout=5.0).connect(client, soon())
    assert (raised.value.failure.kind, raised.value.failure.peer) == ("connect", f"127.0.0.1:{ports[1]}")


def test_a_silent_server_leaves_time_for_the_next() -> None:
    with socket.socket() as silent, backend() as good, connection() as client:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        # Its queue is full, and it accepts nobody.
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        servers = Backend(Network().tcp, [silent.getsockname(), ("127.0.0.1", good.port)], timeout=0.1)
        stream = servers.connect(client, soon())
        assert stream.peer == f"127.0.0.1:{good.port}"
        stream.close()
        for one in fill:
            one.close()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("address", [("127.0.0.1", 0), ("::1", 0)])
def test_the_header_comes_first_and_names_both_ends(version: Literal[1, 2], address: tuple[str, int]) -> None:
    heard: list[bytes] = []

    def listen(sock: Any) -> None:
        heard.append(sock.recv(1000))

    with backend(listen) as server, connection(address) as client:
        stream = Backend(Network().tcp, [("127.0.0.1", server.port)], timeout=5.0, send_proxy=version).connect(client, soon())
        server.wait_idle()
        while not heard:
            gevent.sleep(0.001)
        stream.close()
        header = told(heard[0])
        assert client.ends() == (header.destination, header.source)
        assert (header.version, header.family) == (version, "inet" if address[0] == "127.0.0.1" else "inet6")


@pytest.mark.parametrize("version", [1, 2])
def test_who_is_not_known_is_told_as_unknown(version: Literal[1, 2], tmp_path: Any) -> None:
    with connection(str(tmp_path / "x.sock")) as client:
        header = told(proxy_header(client, version))
        assert (header.source, header.destination, header.is_local) == (None, None, False)
    with connection() as client:
        client.forwarded(Header(version=2))
        assert told(proxy_header(client, version)).source is None


def test_a_client_behind_a_proxy_is_passed_on_and_so_is_the_proxys_own_check() -> None:
    with connection() as client:
        client.forwarded(Header(family="inet", transport="stream", source=("192.0.2.1", 4711), destination=("192.0.2.25", 25)))
        header = told(proxy_header(client, 2))
        assert (header.source, header.destination) == (("192.0.2.1", 4711), ("192.0.2.25", 25))
    with connection() as client:
        client.forwarded(Header(is_local=True))
        assert told(proxy_header(client, 2)).is_local
        assert proxy_header(client, 1) == b"PROXY UNKNOWN\r\n"


def test_addresses_of_two_families_are_unknown() -> None:
    with connection() as client:
        client.forwarded(
            Header(family="inet6", transport="stream", source=("::ffff:192.0.2.1", 4711), destination=("2001:db8::1", 25))
        )
        assert proxy_header(client, 1) == b"PROXY UNKNOWN\r\n"


def test_mapped_addresses_are_told_as_what_they_are() -> None:
    with connection() as client:
        client.forwarded(
            Header(family="inet6", transport="stream", source=("::ffff:192.0.2.1", 47), destination=("::ffff:192.0.2.25", 25))
        )
        assert proxy_header(client, 1) == b"PROXY TCP4 192.0.2.1 192.0.2.25 47 25\r\n"
