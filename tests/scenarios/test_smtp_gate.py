"""swaks through the SMTP gate of the examples to a real Postfix: mail passes, who is listed is refused, addresses arrive."""

import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import running_daemon
from tests.support.partners import free_port, require
from tests.support.postfix import running_postfix
from tests.support.rules import ROOT

GATE = (ROOT / "rules" / "examples" / "smtp_gate.py").read_text()
HELLO = (ROOT / "rules" / "examples" / "hello_world.py").read_text()
CONF = """
[listen.gate]
protocol = "tcp"
bind = "127.0.0.1:{port}"
server = "127.0.0.1:{server}"
request = "smtp_gate if not ip in friends"
accept_proxy = "127.0.0.4"
{send_proxy}
[modules.smtp_gate]
lists = ["bl.example.org"]
[maps.friends]
source = "file:friends.map"
type = "ip"
[[dns.fake_records]]
name = "66.0.0.127.bl.example.org"
replies = ["127.0.0.2"]
[[dns.fake_records]]
name = "7.0.0.127.bl.example.org"
rcode = "nxdomain"
[[dns.fake_records]]
name = "77.2.0.192.bl.example.org"
replies = ["127.0.0.2"]
"""


def swaks(port: int, client: str, *words: str) -> subprocess.CompletedProcess[str]:
    program = require("swaks", package="swaks")
    command: list[str] = [
        str(program),
        "--server",
        f"127.0.0.1:{port}",
        "--local-interface",
        client,
        "--helo",
        "client.example.org",
    ]
    command += ["--from", "ann@example.org", "--to", "bob@example.net", "--body", "x" * 20_000, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)


@pytest.mark.parametrize("version", ["", "v1", "v2"])
def test_swaks_through_the_gate_to_postfix(tmp_path: Path, version: str) -> None:
    settings = {"smtpd_upstream_proxy_protocol": "haproxy"} if version else {}
    port = free_port()
    (tmp_path / "friends.map").write_text("127.0.0.67\n")
    with running_postfix(settings) as postfix:
        send_proxy = f'send_proxy = "{version}"' if version else ""
        toml = CONF.format(port=port, server=postfix.port, send_proxy=send_proxy)
        with running_daemon(tmp_path, {"smtp_gate": GATE}, toml) as daemon:
            passed = swaks(port, "127.0.0.7")
            assert passed.returncode == 0, passed.stdout
            (mail,) = postfix.mails(1)
            assert b"x" * 998 in mail.replace(b"\n", b"")
            assert (b"[127.0.0.7]" in mail) == bool(version), mail[:600]

            refused = swaks(port, "127.0.0.66")
            assert "554 5.7.1 127.0.0.66 is listed by bl.example.org" in refused.stdout
            assert refused.returncode != 0
            assert "127.0.0.66" not in postfix.log

            # Before the gate stands a proxy of its own, and says for whom it comes.
            for words, listed in (
                (["--proxy-version", "1", "--proxy-family", "TCP4"], "192.0.2.77"),
                (["--proxy-version", "2", "--proxy-family", "AF_INET", "--proxy-protocol", "STREAM"], "192.0.2.77"),
            ):
                proxied = ["--proxy-source", listed, "--proxy-source-port", "4711"]
                proxied += ["--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25"]
                told = swaks(port, "127.0.0.4", *words, *proxied)
                assert "554 5.7.1 192.0.2.77 is listed by bl.example.org" in told.stdout, told.stdout
            assert postfix.mails(0) == []
            assert "Traceback" not in daemon.process.output()


@pytest.mark.parametrize("sent", [b"", b"anything\n"])
def test_netcat_reads_hello_world_and_ends(tmp_path: Path, sent: bytes) -> None:
    program = require("nc", package="netcat-openbsd")
    port = free_port()
    toml = f'[listen.hello]\nprotocol = "tcp"\nbind = "127.0.0.1:{port}"\nrequest = "hello_world"\n'
    with running_daemon(tmp_path, {"hello_world": HELLO}, toml):
        done = subprocess.run([program, "127.0.0.1", str(port)], input=sent, capture_output=True, timeout=10, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello world\n", b"")
