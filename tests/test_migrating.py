"""docs/migrating.md and docs/porting.md are true: every name of the old worlds has a row, every row's code works."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

import filterd
from filterd.daemon.assembly import Assembly
from filterd.daemon.config import load_config
from filterd.engine.loader import LoadError
from filterd.engine.scheduler import Engine
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.tls import _context
from tests.support.certificates import Certificates
from tests.support.daemon import running_daemon
from tests.support.engine import rule_of
from tests.support.expressions import task_of
from tests.support.http_server import Asked, answer, http_serving
from tests.support.migrating import FAKE_DNS, Row, Services, read_rows, services
from tests.support.migrating_names import NAMES, PROOFS
from tests.support.migrating_streams import STREAM_NAMES, STREAM_PROOFS
from tests.support.partners import RedisServer, ask_redis
from tests.support.rules import assembled
from tests.test_docs import blocks

PAGE = Path(__file__).parents[1] / "docs" / "migrating.md"
ROWS = read_rows(PAGE)
ALL_NAMES = NAMES | STREAM_NAMES
ALL_PROOFS = PROOFS | STREAM_PROOFS
"""Those of streams are run in tests/test_migrating_streams.py."""

MAIL = b"""\
Received: from mail.example.org (mail.example.org [192.0.2.77]) by mx.example.net with ESMTPS; Thu, 1 Jan 2026 10:00:01 +0000
Received: from inside (inside [10.0.0.1]) by mail.example.org with ESMTP; Thu, 1 Jan 2026 10:00:00 +0000
From: Ann <ann@example.org>
To: bob@example.net
Cc: eve@example.net
Subject: =?utf-8?q?hello?=
List-Unsubscribe: <https://www.example.com/x>, <mailto:carl@example.com>
Date: Thu, 1 Jan 2026 10:00:00 +0000
Message-ID: <1@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Hello carl@example.com
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


@pytest.mark.parametrize(
    ("document", "name"), [(document, name) for document, (_, names) in ALL_NAMES.items() for name in names]
)
def test_every_name_of_the_old_world_has_a_row(document: str, name: str) -> None:
    sections = ALL_NAMES[document][0]
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    assert [row.old for row in ROWS if row.section in sections and word.search(row.old)] != []


def rows_of(section: str, key: str) -> list[Row]:
    return [row for row in ROWS if row.section == section and key in row.old]


def test_every_row_with_code_is_proven_and_the_others_say_why() -> None:
    proven = {row.old for section, proofs in ALL_PROOFS.items() for key in proofs for row in rows_of(section, key)}
    assert [row.old for row in ROWS if row.code and row.old not in proven] == []
    assert [row.old for row in ROWS if not row.code and not re.match(r"—: \w+ \w+", row.words)] == []
    assert {row.section for row in ROWS} == ALL_PROOFS.keys()


@pytest.mark.parametrize("row", [row for row in ROWS if row.toml], ids=lambda row: str(row.old))
def test_what_is_said_for_all_calls_is_configuration(tmp_path: Path, row: Row) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).touch()
    file = tmp_path / "filterd.toml"
    file.write_text(row.toml)
    config = load_config(file)
    assert [config.origin(line.partition(" = ")[0]) for line in row.toml.splitlines()] == [str(file)] * len(
        row.toml.splitlines()
    )


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
    maps = '[maps.bad_ips]\ntype = "ip"\n[maps.routes]\ntype = "map"\n'
    with assembled(folder, [rules], f'{FAKE_DNS}[redis]\nservers = "127.0.0.1:{_redis.port}"\n{maps}') as assembly:
        assembly.hooks.start()
        yield assembly


class Run:
    """The code of one row in a rule of its own; `names` are what it stands among, before and after."""

    def __init__(self, services: Services, row: Row, proof: str) -> None:
        self.row = row
        self.proof = proof
        self.web = services.web
        self.seen: list[Any] = []
        self.replies: list[Any] = []
        self.names: dict[str, Any] = {name: getattr(filterd, name) for name in filterd.__all__} | services.names
        self.names.update(params=filterd.redis.parse_server("module"), done=lambda *args: self.seen.append(args))
        if "cert=cert" in row.code:
            self.names["secure"] = services.mutual.url()
        if row.section == "TCP, by callbacks":
            self.names["servers"] = services.names["tcp_servers"]

    def line(self, task: filterd.Task) -> None:
        self.names["task"] = task
        if self.row.section in PRELUDES:
            PRELUDES[self.row.section](self)
        if self.row.section != IN_A_ROUTE:
            exec(self.row.code, self.names)
        if self.row.section in STRAIGHT:
            # Now, because at the end of the message connections are closed.
            self.prove()

    def prove(self, **further: object) -> None:
        asked = self.web.asked[-1] if self.web.asked else None
        prove(self.proof, self.names | {"seen": self.seen, "replies": self.replies, "asked": asked} | further)


def prove(proof: str, names: dict[str, Any]) -> None:
    told = {name: value for name, value in names.items() if re.search(rf"\b{name}\b", proof)}
    assert eval(proof, dict(names)), f"not so: {proof}, with {told}"


def connect(run: Run) -> None:
    run.names["conn"] = filterd.tcp_sync.connect(run.names["host"], run.names["port"]).unwrap()


def connect_socket(run: Run) -> None:
    sock = run.names["sock"] = filterd.tcp.Socket()
    assert sock.connect(run.names["host"], run.names["port"]) == 1


def mark_route(run: Run) -> None:
    run.names["keep"] = lambda task, reply: run.replies.append(reply)
    exec('@route("HTTP_REPLY")\ndef http_reply(task, reply):\n    keep(task, reply)', run.names)


def come_by_a_reply(run: Run) -> None:
    def http_reply(task: filterd.Task, reply: Any) -> None:
        run.names["reply"] = reply
        exec(run.row.code, run.names)

    nobody = f"http://127.0.0.1:{run.names['dead']}/"
    filterd.http.query(nobody if run.row.old == "`$http_err`" else run.names["url"], route=http_reply)


def ask_three(run: Run) -> None:
    filterd.http.request(run.names["url"])
    filterd.http.request(f"http://127.0.0.1:{run.names['dead']}/")
    filterd.http.request(run.names["slow"], timeout=0.05)


IN_A_ROUTE = "Pseudo-variables in a route"
STRAIGHT = ("TCP, straight", "LuaSocket")
PRELUDES: dict[str, Callable[[Run], None]] = {
    "TCP, straight": connect,
    IN_A_ROUTE: come_by_a_reply,
    "Statistics": ask_three,
    "LuaSocket": connect_socket,
}
WITH_A_ROUTE = ("Parameters", "Functions", "Setting pseudo-variables")
IN_A_FILE = ("Registering", "At the top of a file")
IN_A_RULE = [(section, key) for section, proofs in PROOFS.items() if section not in IN_A_FILE for key in proofs]


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own authority is one of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    _context.cache_clear()
    yield
    _context.cache_clear()


@pytest.mark.parametrize(("section", "key"), IN_A_RULE)
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
    if key == "connect_ssl":
        request.getfixturevalue("trusted")
    caplog.set_level("DEBUG", "filterd.rule")
    run = Run(services_running, row, PROOFS[section][key])
    if section in WITH_A_ROUTE:
        mark_route(run)
    other = rule_of(lambda task: None, "OTHER", type="postfilter")
    verdict = scan(Engine([rule_of(run.line, "ROW"), other], worker.environment))
    handle = run.names.get("handle")
    while isinstance(handle, filterd.http.Handle) and not handle.done:
        gevent.sleep(0.01)
    while row.code.startswith("spawn(") and not run.seen:
        gevent.sleep(0.001)
    if section not in STRAIGHT:
        levels = [one.levelno for one in caplog.records if one.name == "filterd.rule"]
        run.prove(verdict=verdict, logged=caplog.text, levels=levels, maps=worker.maps.maps)


def scan(engine: Engine) -> Verdict:
    verdict = engine.scan(ScanRequest(Message(MAIL), ENVELOPE))
    assert verdict.failures == ()
    return verdict


@pytest.mark.parametrize(("section", "key"), [(section, key) for section in IN_A_FILE for key in PROOFS[section]])
def test_the_line_works_at_the_top_of_a_rule_file(tmp_path: Path, section: str, key: str) -> None:
    (row,) = rows_of(section, key)
    file = tmp_path / "example.py"
    file.write_text(
        "from filterd import *\ndef check(task):\n    return True\n"
        'register_symbol(name="OTHER", callback=lambda task: None)\n' + row.code + "\n"
    )
    with assembled(tmp_path, [file], "[modules.module]\nlevel = 3\n") as assembly:
        assembly.hooks.load()
        verdict = scan(assembly.engine)
        names = vars(assembly.rules.modules[0])
        assembly.hooks.start()
        while names.get("SEEN") == []:
            gevent.sleep(0.001)
        assembly.hooks.finish(1)
        registry = assembly.rules.registry
        further = {
            "rules": registry.rules,
            "settings": registry.settings,
            "verdict": verdict,
            "get": lambda text: assembly.engine.compiler.get(text, task_of()),
        }
        prove(PROOFS[section][key], names | further)


# -- what is said between the tables


def kamailio(folder: Path, port: int, change: tuple[str, str] = ("", "")) -> Path:
    """The page's example of a query and its route, asking this port."""
    (block,) = blocks("python", PAGE)
    file = folder / "ask.py"
    file.write_text(block.values[0].replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace(*change))
    return file


def test_a_query_and_its_route(tmp_path: Path, services_running: Services) -> None:
    with assembled(tmp_path, [kamailio(tmp_path, services_running.web.port)]) as assembly:
        assert scan(assembly.engine).symbols["REPLIED"].options == ("200 OK",)
    assert services_running.web.asked[-1].body == b"from=ann%40example.org"
    with assembled(tmp_path, [kamailio(tmp_path, services_running.names["dead"])]) as assembly:
        assert scan(assembly.engine).symbols == {}


def test_a_route_that_does_not_exist_is_found_at_load(tmp_path: Path) -> None:
    file = kamailio(tmp_path, 8080, ('@route("HTTP_REPLY")', '@route("ANOTHER")'))
    with pytest.raises(LoadError, match="there is no route 'HTTP_REPLY'"), assembled(tmp_path, [file]):
        pass


def test_a_library_in_plain_python_waits_as_our_own_calls_do(tmp_path: Path) -> None:
    """Both messages' connections must be there before either is answered."""
    rule = """
        from http.client import HTTPConnection
        from filterd import rule

        @rule("PLAIN", score=1.0)
        def plain(task):
            connection = HTTPConnection("127.0.0.1", int(task.get_request_header("Port")), timeout=5)
            connection.request("GET", "/")
            return True, connection.getresponse().read().decode()
    """

    def respond(asked: Asked) -> bytes:
        while server.accepted < 2:
            gevent.sleep(0.01)
        return answer(b"both are here")

    with http_serving(respond) as server, running_daemon(tmp_path, {"plain": rule}) as daemon:
        scans = [gevent.spawn(daemon.scan, MAIL, Port=str(server.port)) for _ in range(2)]
        replies = [one.get() for one in scans]
    assert [reply["symbols"]["PLAIN"]["options"] for reply in replies] == [["both are here"]] * 2


@pytest.mark.parametrize("name", ["images"])
def test_what_nothing_answers_to_yet(name: str) -> None:
    """Else it deserves a row."""
    assert not hasattr(filterd.Task, name)
    assert not hasattr(Message, name)
