"""curl against the daemon, as people and scripts use it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.doors import Doors
from tests.support.partners import require

SPAM = b"From: a@example.org\nSubject: spam\nMessage-ID: <1@x>\n\nhello\n"


def curl(*words: str, given: bytes = SPAM) -> tuple[int, bytes]:
    program = require("curl", package="curl")
    ended = subprocess.run([str(program), "-sS", *words], input=given, capture_output=True, timeout=15, check=False)
    return ended.returncode, ended.stdout


SENT: dict[str, tuple[str, ...]] = {
    "a body": ("--data-binary", "@-"),
    "GET with a body": ("-X", "GET", "--data-binary", "@-"),
    "chunked": ("-T", "-"),
    "HTTP/1.0": ("--http1.0", "--data-binary", "@-"),
    "an upgrade": ("--http2", "--data-binary", "@-"),
    "waiting for 100": ("-H", "Expect: 100-continue", "--data-binary", "@-"),
}


@pytest.mark.parametrize("way", SENT)
def test_a_message_is_judged_however_it_is_sent(filterd: Doors, way: str) -> None:
    for path in ("checkv2", "checkV2", "CHECKV2?from=a%40example.org"):
        code, said = curl(*SENT[way], f"http://127.0.0.1:{filterd.port}/{path}")
        assert (code, json.loads(said)["action"]) == (0, "add header")


@pytest.mark.parametrize("path", ["check", "symbols", "scan", "process", "report", "report_ifspam", "Scan"])
def test_the_old_commands_have_everything_below_default(filterd: Doors, path: str) -> None:
    _, said = curl("--data-binary", "@-", f"http://127.0.0.1:{filterd.port}/{path}")
    reply = json.loads(said)
    found = reply["default"]
    assert (found["is_spam"], found["score"], found["required_score"], found["action"]) == (True, 7.5, 15.0, "add header")
    assert found["SPAM_WORD"] == {
        "name": "SPAM_WORD",
        "score": 7.0,
        "description": "The subject says spam",
        "options": ["one", "two"],
    }
    assert reply["rmilter"]["add_headers"] == {"X-T": "from a rule"}
    assert not {"symbols", "thresholds", "milter"} & (set(reply) | set(found))


@pytest.mark.parametrize("header", ["Compression: zstd", "Content-Encoding: zstd"])
def test_zstd_goes_both_ways(filterd: Doors, header: str, tmp_path: Path) -> None:
    zstd = str(require("zstd", package="zstd"))
    packed = subprocess.run([zstd, "-q", "-c"], input=SPAM, capture_output=True, check=True).stdout
    _, said = curl("-H", header, "--data-binary", "@-", f"http://127.0.0.1:{filterd.port}/checkv2", given=packed)
    plain = subprocess.run([zstd, "-q", "-d", "-c"], input=said, capture_output=True, check=True).stdout
    assert json.loads(plain)["action"] == "add header"


def test_a_bomb_is_refused(filterd: Doors) -> None:
    zstd = str(require("zstd", package="zstd"))
    bomb = subprocess.run([zstd, "-q", "-c"], input=b"\0" * 60 * 2**20, capture_output=True, check=True).stdout
    assert len(bomb) < 10_000
    url = f"http://127.0.0.1:{filterd.port}/checkv2"
    _, said = curl("-w", "%{http_code}", "-H", "Compression: zstd", "--data-binary", "@-", url, given=bomb)
    assert said.endswith(b"413")
    assert b"more than 52428800 bytes" in said


def test_tls_on_a_plain_port_is_told_to_both_sides(filterd: Doors) -> None:
    program = require("curl", package="curl")
    argv = [str(program), "-sS", "-k", f"https://127.0.0.1:{filterd.port}/ping"]
    ended = subprocess.run(argv, capture_output=True, timeout=15, check=False)
    assert ended.returncode == 35
    assert b"alert" in ended.stderr
    assert "this port speaks HTTP and RSPAMC and SPAMC, not TLS" in filterd.log()


def test_http_2_without_asking_first_is_refused_and_named(filterd: Doors) -> None:
    code, _ = curl("--http2-prior-knowledge", f"http://127.0.0.1:{filterd.port}/ping")
    assert code != 0
    assert "this port speaks HTTP and RSPAMC and SPAMC, not HTTP/2" in filterd.log()


def test_a_daemon_that_has_too_much_to_do_fails(busy: Doors) -> None:
    for path in ("checkv2", "check"):
        _, said = curl("-w", "%{http_code}", "--data-binary", "@-", f"http://127.0.0.1:{busy.port}/{path}")
        reply, status = said[:-3], said[-3:]
        assert (status, set(json.loads(reply))) == (b"503", {"error"})
