"""PROXY headers on real connections: who may send one, what becomes of the connection, and what is never believed."""

import itertools
import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest

from filterd.mail.maps import BadKey
from filterd.net.greenlets import Crew
from filterd.net.listen import Connection, Listener, open_socket
from filterd.net.proxies import Proxies
from filterd.net.stream import Address
from filterd.proto.proxy import Header, render
from tests.support.client import Client

LINE = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n"
FROM_CLIENT = Header(
    family="inet",
    transport="stream",
    source=("192.0.2.1", 56324),
    destination=("198.51.100.1", 25),
    tlvs=((2, b"mx.example.org"),),
)
V2 = render(FROM_CLIENT)
LOOPBACK = ("127.0.0.0/8", "::1")


def tell(connection: Connection) -> None:
    """A protocol that says whom it believes to be there, and gives back what it reads, up to a line end."""
    data = b""
    while not data.endswith(b"\n"):
        data += connection.read(4096)
    told = (connection.peer, connection.client, connection.is_local)
    connection.write(f"{told} {data!r}".encode())


@contextmanager
def listening(address: Address, trusted: tuple[str, ...], *, timeout: float = 5.0, serve: object = tell) -> Iterator[Listener]:
    listener = Listener(
        open_socket(address),
        serve,  # type: ignore[arg-type]
        crew=Crew(),
        name="listen.test",
        proxies=Proxies(trusted, timeout=timeout) if trusted else None,
    )
    listener.start()
    try:
        yield listener
    finally:
        listener.drain(0.1)


def ask(listener: Listener, *pieces: bytes) -> str:
    with Client(listener.address) as client:
        try:
            for piece in pieces:
                client.send(piece)
                if len(pieces) > 1:
                    gevent.sleep(0.002)
            return client.read_all().decode()
        except (ConnectionResetError, BrokenPipeError):  # closed with bytes unread
            return ""


@pytest.mark.parametrize("header", [LINE, V2])
def test_the_connection_is_the_clients(header: bytes) -> None:
    expected = "('192.0.2.1:56324', ('192.0.2.1', 56324), False) b'hello\\n'"
    with listening(("127.0.0.1", 0), LOOPBACK) as listener:
        assert ask(listener, header + b"hello\n") == expected
        assert ask(listener, header, b"hello\n") == expected
        assert ask(listener, *[bytes([octet]) for octet in header + b"hello\n"]) == expected


def test_no_byte_behind_the_header_is_taken() -> None:
    long = b"x" * 100_000 + b"\n"
    with listening(("127.0.0.1", 0), LOOPBACK) as listener:
        for pieces in ([LINE + long], [LINE[:-1], b"\n" + long], [V2 + long[:1], long[1:]]):
            assert ask(listener, *pieces).count("x") == 100_000


def test_ipv6_and_unix_clients_are_named(tmp_path: Path) -> None:
    unix = render(Header(family="unix", transport="stream", source="/run/a\n\udcff.sock", destination=""))
    with listening(("::1", 0), LOOPBACK) as listener:
        assert ask(listener, b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n\n").startswith(
            "('[2001:db8::1]:1', ('2001:db8::1', 1), False)"
        )
        # What is IPv4 in IPv6 is IPv4: nobody escapes a list by his spelling.
        assert ask(listener, b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n\n").startswith(
            "('192.0.2.1:1', ('192.0.2.1', 1), False)"
        )
        assert ask(listener, unix + b"\n").startswith("('unix:/run/a??.sock', ")


def test_a_proxy_on_a_unix_socket_is_trusted_by_unix_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "scan.sock")
    with listening(path, ("unix:",)) as listener:
        assert ask(listener, LINE + b"\n").startswith("('192.0.2.1:56324', ('192.0.2.1', 56324), False)")
    with listening(path, LOOPBACK) as listener:
        assert ask(listener, b"plain\n") == "('listen.test', '', True) b'plain\\n'"
        assert ask(listener, LINE + b"\n") == ""


def test_a_proxys_own_connection_is_its_own(tmp_path: Path) -> None:
    own = render(Header(is_local=True))
    with listening(("127.0.0.1", 0), LOOPBACK) as listener:
        assert ask(listener, own + b"check\n").startswith("('127.0.0.1:")
    with listening(str(tmp_path / "scan.sock"), ("unix:",)) as listener:
        assert ask(listener, own + b"check\n") == "('listen.test', '', True) b'check\\n'"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", render(Header()), render(Header(family="inet"))])
def test_a_client_of_whom_nothing_is_told_is_never_taken_for_the_proxy(header: bytes, tmp_path: Path) -> None:
    with listening(("127.0.0.1", 0), LOOPBACK) as listener:
        told = ask(listener, header + b"\n")
        assert told.startswith("('unknown client behind 127.0.0.1:")
        assert told.endswith(", None, False) b'\\n'")
    with listening(str(tmp_path / "scan.sock"), ("unix:",)) as listener:
        assert ask(listener, header + b"\n") == "('unknown client behind listen.test', None, False) b'\\n'"


def test_the_header_and_the_ends_of_the_connection_it_speaks_of_are_kept() -> None:
    seen: list[object] = []

    def serve(connection: Connection) -> None:
        header = connection.header
        seen.append((header and header.tlv(2), connection.ends()))

    with listening(("127.0.0.1", 0), LOOPBACK, serve=serve) as listener:
        for header in (V2, render(Header()), render(Header(is_local=True))):
            assert ask(listener, header) == ""
    assert seen[:2] == [(b"mx.example.org", (("198.51.100.1", 25), ("192.0.2.1", 56324))), (None, None)]
    assert str(seen[2]).startswith("(None, (('127.0.0.1', ")


@pytest.mark.parametrize(
    "pieces",
    [[LINE + b"hello\n"], [V2 + b"hello\n"], [b"PRO", b"XY TCP4 "], [b"\r\n\r\n\0\r", b"\nQUIT\n!"]],
)
def test_from_another_address_a_header_is_a_fault(pieces: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
    with listening(("127.0.0.1", 0), ("192.0.2.0/24", "unix:")) as listener:
        assert ask(listener, *pieces) == ""
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "listen.test: connection from 127.0.0.1:" in record.getMessage()
    assert "which accept_proxy does not name" in record.getMessage()


def test_from_another_address_anything_else_is_served() -> None:
    with listening(("127.0.0.1", 0), ("192.0.2.0/24", "unix:")) as listener:
        assert ask(listener, b"hello\n").startswith("('127.0.0.1:")
        assert ask(listener, b"PRO", b"XIMA", b" and more", b"\n").endswith("b'PROXIMA and more\\n'")
        assert ask(listener, b"hello ", LINE).endswith(f"{b'hello ' + LINE!r}")


def test_a_short_beginning_is_no_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd")

    def until_closed(connection: Connection) -> None:
        while connection.read():
            pass
        connection.write(b"done")

    with listening(("127.0.0.1", 0), ("192.0.2.0/24",), serve=until_closed) as listener, Client(listener.address) as client:
        assert client.send(b"PROXY").end().read_all() == b"done"
    assert caplog.records == []


def test_without_accept_proxy_a_header_is_only_bytes() -> None:
    with listening(("127.0.0.1", 0), ()) as listener:
        told = ask(listener, LINE)
    assert told.startswith("('127.0.0.1:")
    assert told.endswith(f"{LINE!r}")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello\n", "no PROXY header, but b'hello\\n'"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\nhello\n", "a PROXY line that cannot be read"),
        (V2[:-1] + b"\0", None),
        (V2[:13] + b"\x51" + V2[14:], "unknown protocol 0x51"),
        (b"PROXY UNKNOWN" + b"x" * 200, "without an end"),
    ],
)
def test_a_trusted_proxy_must_send_a_whole_and_right_header(
    data: bytes, why: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(("127.0.0.1", 0), LOOPBACK) as listener:
        if why is None:
            assert ask(listener, data + b"\n").startswith("('192.0.2.1:56324'")
            return
        assert ask(listener, data) == ""
    (record,) = caplog.records
    assert (record.levelname, why in record.getMessage()) == ("WARNING", True)


def test_a_header_that_drips_is_cut_off_and_others_are_served_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    with listening(("127.0.0.1", 0), LOOPBACK, timeout=0.15) as listener, Client(listener.address) as slow:
        slow.send(b"PROXY")
        assert ask(listener, LINE + b"\n").startswith("('192.0.2.1:56324'")
        sent = 0
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            for octet in itertools.cycle(b" 1"):
                slow.send(bytes([octet]))
                sent += 1
                gevent.sleep(0.02)
    assert sent < len(" TCP4 192.0.2.1 198.51.100.1 56324 25\r\n")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "no whole PROXY header within 0.15 s" in record.getMessage()


def test_a_connection_without_a_byte_is_a_health_check(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd")
    with listening(("127.0.0.1", 0), LOOPBACK) as listener:
        with Client(listener.address) as client:
            client.end()
            assert client.read_all() == b""
        assert caplog.records == []
        with Client(listener.address) as client:
            assert client.send(b"PROXY TCP4 ").end().read_all() == b""
    assert "the connection ended in its PROXY header, after 11 bytes" in caplog.text


def test_a_proxy_that_resets_the_connection_in_its_header_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "filterd")
    with listening(("127.0.0.1", 0), LOOPBACK) as listener:
        client = Client(listener.address)
        client.send(b"PROXY ")
        gevent.sleep(0.02)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()
        gevent.sleep(0.02)
    (record,) = caplog.records
    assert (record.levelname, "Connection reset by peer" in record.getMessage()) == ("INFO", True)


def test_a_drain_does_not_wait_for_headers() -> None:
    with listening(("127.0.0.1", 0), LOOPBACK) as listener, Client(listener.address) as client:
        gevent.sleep(0.02)
        assert listener.drain(3.0) == 0
        assert client.is_closed


@pytest.mark.parametrize(
    ("address", "is_trusted"),
    [
        (("10.1.2.3", 1), True),
        (("::ffff:10.1.2.3", 1), True),
        (("11.0.0.1", 1), False),
        (("2001:db8::5", 1), True),
        (("2001:db9::5", 1), False),
        (("fe80::1%eth0", 1), True),
        ("", False),
        ("/run/x.sock", False),
    ],
)
def test_networks_are_trusted(address: Address, is_trusted: bool) -> None:
    assert Proxies(["10.0.0.0/8", "2001:db8::/32", "fe80::1"]).trusts(address) is is_trusted
    assert Proxies(["unix:"]).trusts(address) is isinstance(address, str)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(BadKey):
        Proxies(["localhost"])
