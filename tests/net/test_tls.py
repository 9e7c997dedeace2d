"""TLS against servers whose certificates are good, wrong, expired or self-made, and against peers that speak something else."""

import os
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest

from filterd.net.greenlets import Crew, Stop
from filterd.net.stream import Stream
from filterd.net.tls import TlsSettings, TlsStream
from filterd.outcome import Failure, RequestFailed
from tests.support.batches import Work, stop_soon
from tests.support.certificates import Certificates
from tests.support.partners import require
from tests.support.peers import LOOPBACK, Peer, reset, serving, silent

BIG = b"x" * 5_000_000
CARELESS = TlsSettings(verify_host=False, verify_peer=False)


def soon(seconds: float = 5.0) -> float:
    return monotonic() + seconds


def connected(peer: Peer, settings: TlsSettings, name: str | None = "mx.test", *, until: float | None = None) -> TlsStream:
    plain = Stream.connect((LOOPBACK, peer.port), until=soon())
    return TlsStream(plain, settings.context(), name, until=soon() if until is None else until)


def failure_of(step: Callable[[], object]) -> Failure:
    with pytest.raises(RequestFailed) as caught:
        step()
    return caught.value.failure


def echo(connection: Any) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture
def trusting(certificates: Certificates) -> TlsSettings:
    return TlsSettings(ca_path=str(certificates.ca_file))


# -- whom to trust

VERDICTS: list[tuple[Any, dict[str, bool], str | None]] = [
    ("good", {}, None),
    ("good", {"verify_host": False}, None),
    ("wrong-name", {}, "certificate verify failed: Hostname mismatch, certificate is not valid for 'mx.test'."),
    ("wrong-name", {"verify_host": False}, None),
    ("wrong-name", {"verify_peer": False}, None),
    ("expired", {}, "certificate verify failed: certificate has expired"),
    ("expired", {"verify_host": False}, "certificate verify failed: certificate has expired"),
    ("expired", {"verify_peer": False}, None),
    ("self-signed", {}, "certificate verify failed: self-signed certificate"),
    ("self-signed", {"verify_host": False}, "certificate verify failed: self-signed certificate"),
    ("self-signed", {"verify_peer": False, "verify_host": False}, None),
]


@pytest.mark.parametrize(("kind", "checks", "text"), VERDICTS, ids=lambda value: str(value)[:30])
def test_a_certificate_is_judged_by_the_settings(
    certificates: Certificates, kind: Any, checks: dict[str, Any], text: str | None
) -> None:
    settings = TlsSettings(ca_path=str(certificates.ca_file), **checks)
    with serving(echo, tls=certificates.server_context(kind)) as peer:
        if text is None:
            stream = connected(peer, settings)
            stream.write(b"hello", until=soon())
            assert stream.read(until=soon()) == b"hello"
            stream.close()
        else:
            failure = failure_of(lambda: connected(peer, settings))
            assert (failure, failure.kind, failure.phase) == (text, "tls", "tls")
            assert failure.peer == f"127.0.0.1:{peer.port}"


def test_the_system_s_authorities_are_trusted_by_default(certificates: Certificates) -> None:
    with serving(echo, tls=certificates.server_context()) as peer:
        failure = failure_of(lambda: connected(peer, TlsSettings()))
    assert failure == "certificate verify failed: unable to get local issuer certificate"


def test_an_address_may_be_the_name(certificates: Certificates, trusting: TlsSettings) -> None:
    with serving(echo, tls=certificates.server_context()) as peer:
        connected(peer, trusting, "127.0.0.1").close()
        assert "mismatch" in failure_of(lambda: connected(peer, trusting, "127.0.0.2"))


def test_a_directory_of_authorities(certificates: Certificates, tmp_path: Path) -> None:
    openssl = require("openssl", package="openssl")
    command = [str(openssl), "x509", "-noout", "-hash", "-in", str(certificates.ca_file)]
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / f"{digest}.0").write_bytes(certificates.ca_file.read_bytes())
    with serving(echo, tls=certificates.server_context()) as peer:
        connected(peer, TlsSettings(ca_path=str(tmp_path))).close()


def test_a_name_that_cannot_be_one_is_a_failure(certificates: Certificates, trusting: TlsSettings) -> None:
    with serving(echo, tls=certificates.server_context()) as peer:
        for name in (".test", "a" * 300 + ".test"):
            failure = failure_of(lambda name=name: connected(peer, trusting, name))  # type: ignore[misc]
            assert failure.startswith(f"{name!r} is no name for a server: ")
            assert (failure.kind, failure.phase) == ("tls", "tls")


def test_the_server_learns_the_name(certificates: Certificates, trusting: TlsSettings) -> None:
    names = []
    context = certificates.server_context()
    context.sni_callback = lambda connection, name, context: names.append(name)
    with serving(echo, tls=context) as peer:
        connected(peer, trusting).close()
    assert names == ["mx.test"]


def test_a_client_certificate_is_shown_when_asked_for(certificates: Certificates) -> None:
    ca, cert, key = (
        str(path) for path in (certificates.ca_file, certificates.certificate("client"), certificates.key("client"))
    )
    with serving(echo, tls=certificates.server_context(ask_client=True)) as peer:
        stream = connected(peer, TlsSettings(ca_path=ca, client_cert=cert, client_key=key))
        stream.write(b"x", until=soon())
        assert stream.read(until=soon()) == b"x"
        stream.close()
        # TLS 1.3 tells it with the first read.
        stream = connected(peer, TlsSettings(ca_path=ca))
        failure = failure_of(lambda: stream.read(until=soon()))
        stream.close()
    assert failure.kind == "tls"
    assert "certificate required" in failure


@pytest.mark.parametrize(("least", "works"), [("1.2", True), ("1.3", False)])
def test_the_least_version(certificates: Certificates, least: str, works: bool) -> None:
    context = certificates.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    settings = TlsSettings(ca_path=str(certificates.ca_file), min_version=least)
    with serving(echo, tls=context) as peer:
        if works:
            connected(peer, settings).close()
        else:
            failure = failure_of(lambda: connected(peer, settings))
            assert (failure, failure.kind) == ("tlsv1 alert protocol version", "tls")


def test_a_context_is_made_once_for_equal_settings() -> None:
    assert TlsSettings(verify_host=False).context() is TlsSettings(verify_host=False).context()
    assert TlsSettings().context() is not CARELESS.context()


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (TlsSettings(min_version="1.1"), ValueError, "tls_min_version '1.1' is not one of"),
        (TlsSettings(ca_path="/nowhere.pem"), OSError, "No such file"),
        (TlsSettings(client_cert="/nowhere.pem"), OSError, "No such file"),
    ],
)
def test_settings_that_cannot_be(settings: TlsSettings, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        settings.context()


# -- the handshake with something else


def test_a_silent_peer() -> None:
    with serving(silent) as peer:
        failure = failure_of(lambda: connected(peer, CARELESS, until=soon(0.03)))
    assert failure.startswith(f"timeout: TLS handshake with 127.0.0.1:{peer.port} after 0.0")
    assert (failure.kind, failure.phase) == ("timeout", "tls")


def test_a_peer_that_drips_a_handshake_cannot_outlive_the_end() -> None:
    def talk(server: Any) -> None:
        for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
            server.sendall(bytes([byte]))
            gevent.sleep(0.01)

    with serving(talk) as peer:
        assert failure_of(lambda: connected(peer, CARELESS, until=soon(0.05))).kind == "timeout"


TALKS: dict[str, tuple[Callable[[Any], object], str]] = {
    "plain text": (lambda server: server.sendall(b"220 hello\r\n"), "wrong version number"),
    "closes": (lambda server: server.recv(10), "Connection reset by peer"),
    "reads, then closes": (lambda server: server.recv(65536), "the peer closed the connection during the TLS handshake"),
    "resets": (reset, "Connection reset by peer"),
}


@pytest.mark.parametrize(("talk", "text"), TALKS.values(), ids=TALKS)
def test_a_peer_that_speaks_no_tls(talk: Callable[[Any], object], text: str) -> None:
    with serving(talk) as peer:
        failure = failure_of(lambda: connected(peer, CARELESS))
    assert (failure, failure.kind, failure.phase) == (text, "tls", "tls")


def test_a_stop_during_the_handshake_closes_the_socket() -> None:
    batch = Work(Crew())
    ended = []
    with serving(lambda server: ended.append([server.recv(65536) != b"", server.recv(1)])) as peer:
        batch.add(lambda: connected(peer, CARELESS))
        gevent.spawn_later(0.02, stop_soon, batch)
        batch.join()
        gevent.sleep(0.01)
    assert [(error.phase, error.peer) for error in batch.failures if isinstance(error, Stop)] == [
        ("tls", f"127.0.0.1:{peer.port}")
    ]
    assert ended == [[True, b""]]


# -- the session


def test_much_data_in_both_directions(certificates: Certificates, trusting: TlsSettings, hub_free: None) -> None:
    with serving(echo, tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        writing = gevent.spawn(lambda: stream.write(BIG, until=soon()))
        got = 0
        while got < len(BIG):
            got += len(stream.read(until=soon()))
        writing.get()
        assert not stream.eof
        stream.close()


@pytest.mark.parametrize("farewell", [True, False], ids=["said goodbye", "just left"])
def test_the_end_of_the_session_is_the_end_of_the_stream(
    certificates: Certificates, trusting: TlsSettings, farewell: bool
) -> None:
    def talk(server: Any) -> None:
        server.sendall(b"all")
        if farewell:
            server.unwrap()

    with serving(talk, tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        got = [stream.read(until=soon()) for _ in range(3)]
        assert (got, stream.eof) == ([b"all", b"", b""], True)
        stream.close()


def test_half_close_leaves_the_other_direction_open(certificates: Certificates, trusting: TlsSettings) -> None:
    def talk(server: Any) -> None:
        got = b""
        while data := server.recv(100):
            got += data
        server.sendall(got.upper())

    with serving(talk, tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        stream.write(b"question", until=soon())
        stream.shutdown()
        assert stream.read(until=soon()) == b"QUESTION"
        assert stream.read(until=soon()) == b""
        stream.close()


def test_a_silent_session_is_a_timeout_of_reading(certificates: Certificates, trusting: TlsSettings) -> None:
    with serving(silent, tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        failure = failure_of(lambda: stream.read(until=soon(0.02)))
        assert (failure.kind, failure.phase) == ("timeout", "read")
        stream.close()


def test_a_write_nobody_reads_is_a_timeout(certificates: Certificates, trusting: TlsSettings) -> None:
    with serving(lambda server: gevent.sleep(0.5), tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        failure = failure_of(lambda: stream.write(BIG * 4, until=soon(0.05)))
        assert (failure.kind, failure.phase) == ("timeout", "write")
        stream.close()


def test_garbage_in_the_session_is_a_failure_of_tls(certificates: Certificates, trusting: TlsSettings) -> None:
    def talk(server: Any) -> None:
        server.recv(1)
        os.write(server.fileno(), b"garbage, not a record of TLS")
        server.recv(1)

    with serving(talk, tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        stream.write(b"x", until=soon())
        failure = failure_of(lambda: stream.read(until=soon()))
        assert (failure, failure.kind, failure.phase) == ("wrong version number", "tls", "read")
        failure = failure_of(lambda: stream.write(b"x", until=soon()))
        assert (failure.kind, failure.phase) == ("tls", "write")
        stream.close()


def test_a_reset_of_the_session_is_told_as_closed(certificates: Certificates, trusting: TlsSettings) -> None:
    with serving(reset, tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        failure = failure_of(lambda: stream.read(until=soon()))
        assert (failure, failure.kind, failure.phase) == ("Connection reset by peer", "closed", "read")
        stream.close()


def test_after_close_every_call_says_so(certificates: Certificates, trusting: TlsSettings) -> None:
    with serving(echo, tls=certificates.server_context()) as peer:
        stream = connected(peer, trusting)
        stream.close()
        for step in (lambda: stream.read(until=None), lambda: stream.write(b"x", until=None), stream.shutdown):
            assert failure_of(step).kind == "closed"
