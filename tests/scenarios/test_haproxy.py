"""HAProxy before the daemon, in both versions of its protocol: each message is known to come from the client, not from it."""

import json
import socket
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running_daemon
from tests.support.partners import free_port, require, running

RULE = """\
from filterd import Task, rule


@rule("SEEN", score=1.0)
def seen(task: Task) -> bool:
    return True
"""

HAPROXY = """\
global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend front
  bind 127.0.0.1:FRONT
  default_backend back
backend back
  server filterd 127.0.0.1:BACK OPTIONS
"""

REQUEST = b"POST /checkv2 HTTP/1.1\r\nContent-Length: 12\r\nQueue-Id: %b\r\n\r\nSubject: x\n\n"
CLIENT = "127.0.0.9"


def scanned(port: int, queue_id: str) -> bytes:
    """The reply to one message, sent from CLIENT."""
    with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(CLIENT, 0)) as connection:
        connection.sendall(REQUEST % queue_id.encode())
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def peers(daemon: Daemon) -> dict[str, str]:
    """Who brought each message, by queue id, as the log has it."""
    lines = [json.loads(line) for line in daemon.process.output().splitlines() if line.startswith("{")]
    return {line["queue_id"]: line["peer"].rpartition(":")[0] for line in lines if "queue_id" in line}


@pytest.mark.parametrize(
    "options",
    [
        "send-proxy",
        "send-proxy-v2",
        # Health checks come as connections of its own (LOCAL), many in the time of this test.
        "send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 20ms fall 1 rise 1",
    ],
)
def test_messages_through_haproxy_come_from_the_client(options: str, tmp_path: Path) -> None:
    program = require("haproxy", package="haproxy")
    front, back = free_port(), free_port()
    door = f'[listen.proxied]\nprotocol = "http"\nbind = "127.0.0.1:{back}"\naccept_proxy = "127.0.0.1"\n'
    with running_daemon(tmp_path, {"seen": RULE}, door) as daemon:
        assert daemon.ask(b"", "/ping")[0] == 200  # once that is answered every door is open
        conf = tmp_path / "haproxy.cfg"
        conf.write_text(HAPROXY.replace("FRONT", str(front)).replace("BACK", str(back)).replace("OPTIONS", options))
        with running([program, "-db", "-f", conf], ready=front):
            replies = [scanned(front, f"q{number}") for number in range(3)]
        assert [b'"SEEN"' in reply for reply in replies] == [True] * 3
        assert peers(daemon) == {"q0": CLIENT, "q1": CLIENT, "q2": CLIENT}
        assert "PROXY header" not in daemon.process.output()
