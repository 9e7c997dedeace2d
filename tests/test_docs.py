"""The documentation is true: its code runs, its output is what the program prints, its names exist."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer

from filterd.daemon.assembly import assemble
from filterd.daemon.config import load_config
from filterd.engine.expressions import Compiler
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.proto.milter_options import WANTED_MACROS
from tests.support.daemon import running_daemon
from tests.support.orders import ORDERS, ordered
from tests.support.partners import free_port
from tests.support.postfix import running_postfix
from tests.support.rules import mail
from tests.support.smtp import deliver

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

FAKE_DNS = """
[[dns.fake_records]]
name = "77.2.0.192.bl.example.org"
replies = ["127.0.0.2"]
[[dns.fake_records]]
name = "77.2.0.192.spam.example.net"
rcode = "nxdomain"
[[dns.fake_records]]
name = "example.org"
type = "mx"
replies = ["10 mx.example.org"]
[[dns.fake_records]]
name = "example.org"
type = "soa"
replies = ["ns.example.org admin.example.org 2026 3600 600 86400 300"]
[[dns.fake_records]]
name = "_imap._tcp.example.org"
type = "srv"
replies = ["0 1 143 imap.example.org"]
[[dns.fake_records]]
name = "_25._tcp.mx.example.org"
type = "tlsa"
replies = ["3 1 1 abababababababababababababababababababababababababababababababab"]
[[dns.fake_records]]
name = "example.org"
type = "caa"
replies = ['0 issue "ca.example.net"']
"""


def blocks(kind: str, *pages: Path) -> list[Any]:
    """Every code block of a kind, as a test parameter that tells where it stands."""
    found = []
    for page in pages or PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            if match[1] == kind:
                line = text[: match.start()].count("\n") + 1
                found.append(pytest.param(match[2], id=f"{page.name}:{line}"))
    return found


@pytest.fixture
def backend() -> Iterator[int]:
    """The web services the examples ask."""

    def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b'{"badness": 0.5, "reason": "seen in spam"}' if environ["PATH_INFO"] == "/reputation" else b""]

    server = WSGIServer(("127.0.0.1", 0), answer, log=None)
    server.start()
    yield int(server.address[1])
    server.stop()


def scanned(folder: Path, source: str, port: int, raw: bytes) -> Verdict:
    """A verdict by a block of the documentation as the only rule file; its services are on loopback."""
    rule = folder / "example.py"
    rule.write_text(source.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    conf = folder / "filterd.toml"
    maps = '[maps.friends]\nsource = "file:friends.txt"\n[maps.blocked]\ntype = "ip"\n'
    conf.write_text(f'{FAKE_DNS}[modules.blocked]\nsenders = ["ann@example.org"]\n{maps}')
    assembly = assemble(load_config(conf, rules=[str(rule)], sets=["limits.burst_timeout=0"]))
    try:
        envelope = Envelope.of(ip="192.0.2.77", mail_from="ann@example.org", rcpts=["bob@example.net"])
        return assembly.engine.scan(ScanRequest(Message(raw), envelope))
    finally:
        assembly.close()


@pytest.mark.parametrize("source", blocks("python"))
def test_every_rule_of_the_documentation_loads_and_runs_without_a_bug(tmp_path: Path, backend: int, source: str) -> None:
    verdict = scanned(tmp_path, source, backend, mail(Subject="BUY NOW AND HERE"))
    # Where an example asks a Redis or a policy server there is none, and that is an expected failure.
    assert [str(failure) for failure in verdict.failures if failure.kind == "exception"] == []


@pytest.mark.parametrize("toml", blocks("toml", ROOT / "docs" / "expressions.md", ROOT / "docs" / "writing-rules.md"))
def test_every_configuration_of_the_documentation_loads(tmp_path: Path, toml: str) -> None:
    conf = tmp_path / "filterd.toml"
    conf.write_text(toml)
    (tmp_path / "friends.txt").write_text("ann@example.org a friend\n")
    assembly = assemble(load_config(conf, sets=["limits.burst_timeout=0"]))
    try:
        verdict = assembly.engine.scan(ScanRequest(Message(mail()), Envelope.of(ip="192.0.2.77")))
    finally:
        assembly.close()
    assert verdict.failures == ()


def test_every_expression_of_the_page_about_them_compiles() -> None:
    text = (ROOT / "docs" / "expressions.md").read_text()
    compiler = Compiler(maps={"our_networks": {}, "our_hosts": {}}, conditions={"ours": "authenticated"})
    values = re.findall(r'\bvalue = "([^"\n]+)"', text)
    conditions = re.findall(r'\b(?:when|ours) = "([^"\n]+)"', text)
    assert len(values) > 5
    assert len(conditions) > 4
    for template in values:
        compiler.compile(template, "template")
    for condition in conditions:
        compiler.compile(condition, "condition")


def test_the_rules_of_the_readme_hit(tmp_path: Path, backend: int) -> None:
    hits: dict[str, tuple[str, ...]] = {}
    for block in blocks("python", ROOT / "README.md"):
        verdict = scanned(tmp_path, block.values[0], backend, mail(Subject="BUY NOW AND HERE"))
        assert verdict.failures == ()
        hits.update((name, hit.options) for name, hit in verdict.symbols.items())
    assert hits == {
        "SUBJECT_SHOUTS": (),
        "BAD_REPUTATION_HERE": ("seen in spam",),
        "ON_A_BLOCKLIST": ("bl.example.org",),
    }


def test_the_tours_of_the_api_page_go_through(tmp_path: Path, backend: int) -> None:
    hits: set[str] = set()
    failed: set[str] = set()
    for block in blocks("python", ROOT / "docs" / "api.md"):
        verdict = scanned(tmp_path, block.values[0], backend, mail(Subject="BUY NOW AND HERE"))
        hits.update(verdict.symbols)
        failed.update(failure.rule for failure in verdict.failures)
    # There is no Redis and no server at the port that the TCP examples ask.
    assert failed <= {"REDIS_COUNTS"}
    assert {name for name in hits if name.endswith("_TOUR")} == {
        "TASK_TOUR",
        "MESSAGE_TOUR",
        "HTTP_TOUR",
        "DNS_TOUR",
        "WORDS_TOUR",
    }
    assert {"FROM_KNOWN_NETWORK", "HTTP_RAISES", "HTTP_QUERY", "ANSWERED", "TASK_CHILDREN"} <= hits


README_MAIL = mail(Subject="BUY NOW AND HERE", without=["Message-ID"], Date="Thu, 01 Jan 2026 10:00:00 +0000")


def rules_beside_the_shipped_ones(folder: Path) -> Path:
    """A copy of `rules/` with the README's first rule dropped in, as its reader would have it."""
    rules = folder / "rules"
    rules.mkdir()
    for file in (ROOT / "rules").glob("*.py"):
        (rules / file.name).write_text(file.read_text())
    (rules / "subject.py").write_text(blocks("python", ROOT / "README.md")[0].values[0])
    return rules


def masked(text: str) -> list[str]:
    """Lines with times and runs of blanks made equal: what is compared is what a reader looks at."""
    text = re.sub(r"\d+\.\d+(?= ms| s\b)|(?<=\s)\d+\.\d\d?\d?$", "T", text, flags=re.MULTILINE)
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("block", blocks("console"))
def test_the_consoles_of_the_documentation_show_what_is_printed(tmp_path: Path, block: str) -> None:
    first, _, expected = block.partition("\n")
    words = shlex.split(first.removeprefix("$ filterd "))
    rules = rules_beside_the_shipped_ones(tmp_path)
    (tmp_path / "mail.eml").write_bytes(README_MAIL)
    command = [
        sys.executable,
        "-m",
        "filterd",
        words[0],
        "-c",
        str(ROOT / "conf" / "filterd.toml"),
        "--rules",
        str(rules),
        *words[1:],
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert masked(done.stdout) == masked(expected)


def test_the_curl_of_the_readme_gets_an_answer(tmp_path: Path) -> None:
    (line,) = [one.values[0] for one in blocks("sh", ROOT / "README.md") if one.values[0].startswith("curl")]
    (tmp_path / "mail.eml").write_bytes(README_MAIL)
    rule = blocks("python", ROOT / "README.md")[0].values[0]
    with running_daemon(tmp_path, {"subject": rule}) as daemon:
        words = shlex.split(line.replace("11333", str(daemon.port)))
        done = subprocess.run(["/usr/bin/env", *words], cwd=tmp_path, capture_output=True, timeout=15, check=True)
    assert set(json.loads(done.stdout)["symbols"]) == {"SUBJECT_SHOUTS"}


def test_the_postconf_of_the_readme_connects_a_postfix(tmp_path: Path) -> None:
    (block,) = [one.values[0] for one in blocks("sh", ROOT / "README.md") if one.values[0].startswith("postconf")]
    words = shlex.split(block)
    assert (words[:2], words[-2:]) == (["postconf", "-e"], ["postfix", "reload"])
    port = free_port()
    settings = dict(word.replace("11332", str(port)).split(" = ") for word in words[2:-2])
    listener = f'[listen.milter]\nprotocol = "milter"\nbind = "127.0.0.1:{port}"\n'
    with running_daemon(tmp_path, {"orders": ORDERS}, listener), running_postfix(settings) as postfix:
        assert [code for code, _ in deliver(postfix.port, ordered("reject"), ordered())] == [554, 250]
        postfix.mails(1)


@pytest.mark.parametrize("line", blocks("sh", ROOT / "README.md"))
def test_the_make_commands_of_the_readme_exist(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, timeout=15, check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_file_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in links if not (page.parent / target).exists()] == []
    named = re.findall(r"`((?:net|mail|proto|api|engine|servers|daemon|cli)/\w+\.py)`", text)
    assert [name for name in named if not (ROOT / "filterd" / name).exists()] == []


def test_the_page_on_milters_names_every_macro_that_is_asked_for() -> None:
    text = (ROOT / "docs" / "milter.md").read_text()
    asked = {name for names in WANTED_MACROS.values() for name in names.split()}
    assert {name for name in asked if f"`{name}`" not in text} == set()


def test_every_public_name_is_in_the_documentation() -> None:
    import filterd

    text = "".join(page.read_text() for page in PAGES)
    assert [name for name in filterd.__all__ if not re.search(rf"\b{re.escape(name)}\b", text)] == []
