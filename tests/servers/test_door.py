"""The front door over real connections: each dialect finds its server, and who is wrong is told in his own protocol."""

import json
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import gevent
import pytest

from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import Crew
from filterd.net.listen import Listener, open_socket
from filterd.servers.door import Door
from filterd.servers.http import HttpServer
from filterd.servers.spamc import SpamcServer
from tests.support.client import Client
from tests.support.engine import MAIL
from tests.support.many import at_once

VERDICT = Verdict("no action", 1.5, 15.0, {"add header": 6.0})
POST = b"POST /checkv2 HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(MAIL), MAIL)
CHECK = b"CHECK SPAMC/1.5\r\nContent-length: %d\r\n\r\n%b" % (len(MAIL), MAIL)
EXIM = CHECK.replace(b"SPAMC/1.5", b"RSPAMC/1.3")


@contextmanager
def serving(
    *, http: bool = True, timeout: float = 60.0, scan: Callable[[ScanRequest], Verdict] = lambda _: VERDICT
) -> Iterator[Listener]:
    spamc = SpamcServer(scan, max_message=100_000).serve
    web = HttpServer(scan, max_message=100_000).serve
    door = Door({**({"http": web} if http else {}), "spamc": spamc, "rspamc": spamc}, timeout=timeout)
    listener = Listener(open_socket(("127.0.0.1", 0)), door.serve, crew=Crew(), name="listen.test")
    listener.start()
    try:
        yield listener
    finally:
        listener.drain(0.2)


def ask(listener: Listener, *pieces: bytes) -> bytes:
    with Client(listener.address) as client:
        for piece in pieces:
            client.send(piece)
            gevent.sleep(0.001)
        return client.read_all()


@pytest.mark.parametrize("pieces", [1, 1000])
@pytest.mark.parametrize(
    ("data", "start"), [(POST, b"HTTP/1.1 200 "), (CHECK, b"SPAMD/1.1 0 EX_OK\r\n"), (EXIM, b"RSPAMD/1.3 0 EX_OK\r\n")]
)
def test_one_port_speaks_three_dialects(data: bytes, start: bytes, pieces: int) -> None:
    cut = [data] if pieces == 1 else [data[at : at + 1] for at in range(len(data))]
    with serving() as listener:
        assert ask(listener, *cut).startswith(start)


def test_a_kept_connection_goes_on_after_the_first_request() -> None:
    keep = POST.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n", 1)
    with serving() as listener, Client(listener.address) as client:
        for _ in range(3):
            assert client.send(keep).read_reply()[0] == 200


def test_many_clients_of_all_dialects_at_once_each_get_their_own_answer() -> None:
    def by_size(request: ScanRequest) -> Verdict:
        gevent.sleep(0.01)
        return Verdict("no action", float(request.message.size), 15.0)

    forms = [b"POST /checkv2 HTTP/1.1", b"CHECK SPAMC/1.5", b"CHECK RSPAMC/1.3"]
    sizes = list(range(1, 151))
    asked = [forms[n % 3] + b"\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n for n in sizes]
    with serving(scan=by_size) as listener:
        replies = at_once(partial(ask, listener, each) for each in asked)
    read = [
        re.compile(rb'HTTP/1.1 200 .*"score":([\d.]+),', re.DOTALL),
        re.compile(rb"SPAMD/1.1 0 EX_OK\r\nSpam: False ; ([\d.]+) / "),
        re.compile(rb"RSPAMD/1.3 0 EX_OK\r\nMetric: default; False; ([\d.]+) / "),
    ]
    found = [read[n % 3].match(reply) for n, reply in zip(sizes, replies, strict=True)]
    assert [match and float(match[1]) for match in found] == sizes


WRONG = {
    "SMTP": (b"EHLO mx.example.org\r\n", b"554 5.5.1 this port speaks HTTP and SPAMC and RSPAMC, not SMTP\r\n"),
    "the milter protocol": (b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff", b""),
    "the PROXY protocol": (b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n" + POST, b""),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_protocol_is_named_in_the_log_and_answered_in_kind(name: str, caplog: pytest.LogCaptureFixture) -> None:
    data, expected = WRONG[name]
    with serving() as listener:
        assert ask(listener, data) == expected
    (record,) = [record for record in caplog.records if record.name == "filterd.door"]
    assert record.getMessage().startswith("listen.test: wrong protocol from 127.0.0.1:")
    assert f"this port speaks HTTP and SPAMC and RSPAMC, not {name}" in record.getMessage()


def test_a_tls_client_is_told_by_an_alert(caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.create_default_context()
    with serving() as listener, Client(listener.address) as client:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        incoming.write(client.send(outgoing.read()).read_all())
        with pytest.raises(ssl.SSLError, match="UNEXPECTED_MESSAGE"):
            tls.do_handshake()
    assert "not TLS" in caplog.text


def test_http_on_a_port_for_spamc_is_refused_as_http() -> None:
    with serving(http=False) as listener, Client(listener.address) as client:
        status, _, body = client.send(POST).read_reply()
    assert (status, json.loads(body)["error"]) == (400, "this port speaks SPAMC and RSPAMC, not HTTP")


@pytest.mark.parametrize(("dialect", "start"), [(b"SPAMC/1.5", b"SPAMD/1.0 76 "), (b"RSPAMC/1.3", b"RSPAMD/1.3 76 ")])
def test_spamc_on_a_port_for_http_is_refused_as_spamc(dialect: bytes, start: bytes) -> None:
    web = HttpServer(lambda _: VERDICT, max_message=100_000).serve
    listener = Listener(open_socket(("127.0.0.1", 0)), Door({"http": web}).serve, crew=Crew())
    listener.start()
    try:
        assert ask(listener, CHECK.replace(b"SPAMC/1.5", dialect)).startswith(start + b"this port speaks HTTP, not ")
    finally:
        listener.drain(0.2)


def test_who_ends_before_it_is_clear_is_told_so_or_forgotten() -> None:
    with serving() as listener:
        for data in (b"", b"CHE"):
            with Client(listener.address) as client:
                assert client.send(data).end().read_all() == b""


def test_who_never_says_what_it_speaks_is_cut() -> None:
    with serving(timeout=0.05) as listener, Client(listener.address) as client:
        assert client.send(b"CHEC").is_closed


def test_an_unclear_beginning_is_busy_and_survives_a_drain() -> None:
    with serving() as listener, Client(listener.address) as client:
        client.send(POST[:3])
        gevent.sleep(0.05)
        ending = gevent.spawn(listener.drain, 5.0)
        gevent.sleep(0.05)
        assert client.send(POST[3:]).read_reply()[0] == 200
        assert ending.get(timeout=5) == 0
