"""One mail by HTTP and by milter: the daemon's log says the same of both."""

import json
import time
from pathlib import Path
from typing import Any

from tests.support.daemon import ROOT, Daemon, running_daemon
from tests.support.mta import POSTFIX, QPSMTPD, Mta, message
from tests.support.partners import free_port
from tests.support.rules import mail

MAILS = [
    mail(),
    mail(Subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", without=["Message-ID"]),
    mail(without=["Date", "From"]),
    mail("X-Folded: one\r\n\ttwo\r\n three", Date="Thu, 01 Jan 2099 10:00:00 +0000"),
    mail(body="XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"),
    mail(From='"paypal@example.com" <x@example.org>', body="http://www.example.org/ " * 5000),
    mail(
        'Content-Type: multipart/mixed; boundary="b"',
        body='--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<a href="http://a.example">b</a>\r\n--b--\r\n',
    ),
]


def lines_of(daemon: Daemon, count: int) -> dict[str, dict[str, Any]]:
    """The log line of each message by its queue id, without what must differ."""
    end = time.monotonic() + 10
    while True:
        texts = [line for line in daemon.process.output().splitlines() if '"logger":"filterd.message"' in line]
        if len(texts) >= count or time.monotonic() > end:
            break
        time.sleep(0.02)
    found = [json.loads(line) for line in texts]
    assert len(found) == count
    own = {"time", "task_id", "door", "peer", "ms", "queue_id"}
    return {line["queue_id"]: {key: value for key, value in line.items() if key not in own} for line in found}


def test_one_mail_by_http_and_by_milter_is_judged_alike(tmp_path: Path) -> None:
    port = free_port()
    rules = {file.stem: file.read_text() for file in (ROOT / "rules").glob("*.py")}
    toml = f'[listen.milter]\nprotocol = "milter"\nbind = "127.0.0.1:{port}"\n'
    with running_daemon(tmp_path, rules, toml) as daemon:
        with Mta(("127.0.0.1", port), POSTFIX) as new, Mta(("127.0.0.1", port), QPSMTPD) as old:
            for number, raw in enumerate(MAILS):
                daemon.scan(
                    raw,
                    IP="192.0.2.1",
                    Helo="helo.example.org",
                    Hostname="client.example.org",
                    From="<a@example.org>",
                    Rcpt="<b@example.net>",
                    Queue_Id=f"http{number}",
                )
                new.say(*message(raw, queue_id=f"new{number}"))
                old.say(*message(raw, queue_id=f"old{number}", keeps_space=False))
        lines = lines_of(daemon, 3 * len(MAILS))
    for number in range(len(MAILS)):
        assert lines[f"new{number}"] == lines[f"http{number}"]
        assert lines[f"old{number}"] == lines[f"http{number}"]
    assert {line["action"] for line in lines.values()} >= {"no action", "reject"}
