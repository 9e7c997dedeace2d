"""docs/migrating.md and docs/porting.md are true: every name of the old worlds has a row, every row's code works."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

import filterd
from filterd.daemon.assembly import Assembly
from filterd.daemon.config import load_config
from filterd.engine.scheduler import Engine
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.tls import _context
from tests.support.certificates import Certificates
from tests.support.engine import rule_of
from tests.support.migrating import FAKE_DNS, Row, Services, read_rows, services
from tests.support.migrating_names import NAMES, PROOFS
from tests.support.partners import RedisServer, ask_redis
from tests.support.rules import assembled

PAGE = Path(__file__).parents[1] / "docs" / "migrating.md"
ROWS = read_rows(PAGE)

MAIL = b"""\
Received: from mail.example.org (mail.example.org [192.0.2.77]) by mx.example.net with ESMTPS; Thu, 1 Jan 2026 10:00:01 +0000
Received: from inside (inside [10.0.0.1]) by mail.example.org with ESMTP; Thu, 1 Jan 2026 10:00:00 +0000
From: Ann <ann@example.org>
To: bob@example.net
Cc: eve@example.net
Subject: =?utf-8?q?hello?=
Date: Thu, 1 Jan 2026 10:00:00 +0000
Message-ID: <1@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Hello Bob
--b
Content-Type: application/pdf; name=a.pdf
Content-Transfer-Encoding: base64
Content-Id: <a>
Content-Disposition: attachment

JVBERi0x
--b--
"""
ENVELOPE = Envelope.of(
    ip="192.0.2.77",
    mail_from="ann@example.org",
    rcpts=["bob@example.net", "eve@example.net"],
    helo="mail.example.org",
    hostname="mx77.example.org",
    user="ann",
    queue_id="Q1",
    headers=[("X-Tag", "a tag"), ("Flags", "pass_all")],
)


# -- the names


@pytest.mark.parametrize(("document", "name"), [(document, name) for document, (_, names) in NAMES.items() for name in names])
def test_every_name_of_the_old_world_has_a_row(document: str, name: str) -> None:
    sections = NAMES[document][0]
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    assert [row.old for row in ROWS if row.section in sections and word.search(row.old)] != []


def rows_of(section: str, key: str) -> list[Row]:
    return [row for row in ROWS if row.section == section and key in row.old]


def test_every_row_with_code_is_proven_and_the_others_say_why() -> None:
    proven = {row.old for section, proofs in PROOFS.items() for key in proofs for row in rows_of(section, key)}
    assert [row.old for row in ROWS if row.code and row.old not in proven] == []
    assert [row.old for row in ROWS if not row.code and not re.match(r"—: \w+ \w+", row.words)] == []
    assert {row.section for row in ROWS} == PROOFS.keys()


@pytest.mark.parametrize("row", [row for row in ROWS if row.toml], ids=lambda row: str(row.old))
def test_what_is_said_for_all_calls_is_configuration(tmp_path: Path, row: Row) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).touch()
    (tmp_path / "filterd.toml").write_text(row.toml)
    config = load_config(tmp_path / "filterd.toml")
    section, _, rest = row.toml.partition(".")
    key = rest.partition(" ")[0] if rest else ""
    assert config.origin(f"{section}.{key}") != "default" if key.isidentifier() else config.http.tls_client_key is not None


# -- the lines of code


@pytest.fixture(scope="module")
def services_running(certificates: Certificates) -> Iterator[Services]:
    with services(certificates) as running:
        yield running


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, _redis: RedisServer) -> Iterator[Assembly]:
    folder = tmp_path_factory.mktemp("migrating")
    rules = folder / "rules"
    rules.mkdir()
    with assembled(folder, [rules], f'{FAKE_DNS}[redis]\nservers = "127.0.0.1:{_redis.port}"\n') as assembly:
        yield assembly


class Run:
    """One line of the page in a rule of its own; `names` are what it stands among, before and after."""

    def __init__(self, worker: Assembly, services: Services, section: str, row: Row) -> None:
        self.row = row
        self.seen: list[Any] = []
        self.replies: list[Any] = []
        self.network = worker.environment.network
        self.names: dict[str, Any] = {name: getattr(filterd, name) for name in filterd.__all__} | services.names
        self.names.update(done=lambda *args: self.seen.append(args), params=filterd.redis.parse_server("module"))
        if "cert=cert" in row.code:
            self.names["secure"] = services.mutual.url()
        if section.startswith("TCP"):
            self.names["servers"] = services.names["tcp_servers"]
        before = PRELUDES.get(section)

        def line(task: filterd.Task) -> None:
            self.names["task"] = task
            if before is not None:
                before(self)
            if section != "Pseudo-variables in a route":
                exec(row.code, self.names)

        self.verdict: Verdict = Engine([rule_of(line, "ROW")], worker.environment).scan(ScanRequest(Message(MAIL), ENVELOPE))
        handle = self.names.get("handle")
        while isinstance(handle, filterd.http.Handle) and not handle.done:
            gevent.sleep(0.01)

    def route(self, task: filterd.Task, reply: Any) -> None:
        self.replies.append(reply)


def connect(run: Run) -> None:
    run.names["conn"] = filterd.tcp_sync.connect(run.names["host"], run.names["port"]).unwrap()


def connect_socket(run: Run) -> None:
    sock = run.names["sock"] = filterd.tcp.Socket()
    assert sock.connect(run.names["host"], run.names["port"]) == 1


def mark_route(run: Run) -> None:
    run.names["keep"] = run.route
    exec('@route("HTTP_REPLY")\ndef http_reply(task, reply):\n    keep(task, reply)', run.names)


def come_by_a_reply(run: Run) -> None:
    address = f"http://127.0.0.1:{run.names['dead']}/" if run.row.old == "`$http_err`" else run.names["url"]
    filterd.http.query(address, route=lambda task, reply: exec(run.row.code, run.names | {"reply": reply}, run.names))


def ask_three(run: Run) -> None:
    for address in (run.names["url"], f"http://127.0.0.1:{run.names['dead']}/"):
        filterd.http.request(address)
    filterd.http.request(run.names["slow"], timeout=0.05)


PRELUDES: dict[str, Callable[[Run], None]] = {
    "TCP, straight": connect,
    "Parameters": mark_route,
    "Functions": mark_route,
    "Setting pseudo-variables": mark_route,
    "Pseudo-variables in a route": come_by_a_reply,
    "Statistics": ask_three,
    "LuaSocket": connect_socket,
}
IN_A_RULE = [(section, key) for section, proofs in PROOFS.items() if section != "Registering" for key in proofs]


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own authority is one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    _context.cache_clear()
    yield
    _context.cache_clear()


@pytest.mark.parametrize(("section", "key"), IN_A_RULE, ids=lambda part: str(part))
def test_the_line_works_in_a_rule(
    worker: Assembly,
    services_running: Services,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
    section: str,
    key: str,
) -> None:
    (row,) = rows_of(section, key)
    ask_redis(redis_server.port, "SET", "k", "v")
    if "connect_ssl" in key:
        request.getfixturevalue("trusted")
    caplog.set_level("INFO", "filterd.rule")
    run = Run(worker, services_running, section, row)
    assert run.verdict.failures == ()
    web = SimpleNamespace(**{name: getattr(services_running, name).asked for name in ("web", "secure", "mutual")})
    asked = (web.web or [None])[-1]
    found = {"verdict": run.verdict, "seen": run.seen, "replies": run.replies, "asked": asked, "logged": caplog.text}
    prove(PROOFS[section][key], run.names | found)


def prove(proof: str, names: dict[str, Any]) -> None:
    told = {name: value for name, value in names.items() if re.search(rf"\b{name}\b", proof)}
    assert eval(proof, dict(names)), f"not so: {proof}, with {told}"


@pytest.mark.parametrize("key", PROOFS["Registering"])
def test_the_line_works_at_the_top_of_a_rule_file(tmp_path: Path, key: str) -> None:
    (row,) = rows_of("Registering", key)
    file = tmp_path / "example.py"
    file.write_text(
        "from filterd import *\ndef check(task):\n    return True\n"
        'register_symbol(name="OTHER", callback=lambda task: None)\n' + row.code + "\n"
    )
    with assembled(tmp_path, [file], "[modules.module]\nlevel = 3\n") as assembly:
        verdict = assembly.engine.scan(ScanRequest(Message(MAIL), ENVELOPE))
        assert verdict.failures == ()
        names = vars(assembly.rules.modules[0])
        prove(PROOFS["Registering"][key], {**names, "rules": assembly.rules.registry.rules, "verdict": verdict})
