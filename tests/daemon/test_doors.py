"""Which server stands behind which door, and that it is told what the configuration says."""

from pathlib import Path
from typing import Any

import pytest

from filterd.daemon.config import load_config
from filterd.daemon.doors import server_for
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.proto.milter_verdict import Texts
from filterd.servers.door import Door
from filterd.servers.http import HttpServer
from filterd.servers.milter import MilterServer


def scan(request: ScanRequest) -> Verdict:
    return Verdict("no action", 0.0, 15.0)


def server_of(folder: Path, toml: str) -> Any:
    conf = folder / "filterd.toml"
    conf.write_text(f'[listen.door]\nbind = "127.0.0.1:0"\n{toml}')
    config = load_config(conf)
    serve: Any = server_for(config.listen["door"], config, scan)
    return serve.__self__


def test_http(tmp_path: Path) -> None:
    server = server_of(tmp_path, 'protocol = "http"\ntimeout = "5s"\n[limits]\nmessage = "1k"\n')
    assert isinstance(server, Door)
    assert server.servers.keys() == {"http", "rspamc", "spamc"}
    serve: Any = server.servers["http"]
    server = serve.__self__
    assert isinstance(server, HttpServer)
    assert (server.max_message, server.timeout, server.keepalive_timeout) == (1024, 5.0, 60.0)


def test_a_milter_waits_for_the_clients_of_its_mta(tmp_path: Path) -> None:
    server = server_of(tmp_path, 'protocol = "milter"\n[limits]\nmessage = "1k"\n')
    assert isinstance(server, MilterServer)
    assert (server.max_message, server.timeout, server.idle_timeout) == (1024, 60.0, 7210.0)
    assert (server.texts, server.reject_oversized) == (Texts(), False)


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ('reject_message = "No"', Texts(reject="No")),
        ('tempfail_message = "Later"', Texts(tempfail="Later")),
        ('quarantine_message = "Kept"', Texts(quarantine="Kept")),
        ('spam_header = "X-Junk"', Texts(spam_header="X-Junk")),
        ("discard_on_reject = true", Texts(discard_rejected=True)),
        ("quarantine_on_reject = true", Texts(quarantine_rejected=True)),
    ],
)
def test_each_key_of_a_milter_reaches_it(tmp_path: Path, line: str, texts: Texts) -> None:
    assert server_of(tmp_path, f'protocol = "milter"\n{line}\n').texts == texts


def test_a_milter_may_be_less_patient_and_reject_what_is_too_large(tmp_path: Path) -> None:
    server = server_of(tmp_path, 'protocol = "milter"\nkeepalive_timeout = "1s"\noversize = "reject"\n')
    assert (server.idle_timeout, server.reject_oversized) == (1.0, True)
