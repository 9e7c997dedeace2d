"""A real Haraka with haraka-plugin-rspamd that asks the daemon, with contrib/haraka/rspamd.ini as it is but for the port.

Haraka comes from npm and not from Debian: where it is not installed these tests are skipped, also where CI=true.
"""

import shutil
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.doors import Doors
from tests.support.partners import Running, free_port, running

ROOT = Path(__file__).parents[2]
SINK = """
exports.hook_rcpt = (next) => next(OK)
exports.hook_queue = function (next, connection) {
  const file = require('fs').createWriteStream(process.env.SINK)
  file.once('close', () => next(OK))
  connection.transaction.message_stream.pipe(file)
}
"""
# It does not ask about mail from its own machine, unless told so.
LOCAL = "\n[check]\nlocal_ip = true\nprivate_ip = true\n"


@dataclass(frozen=True)
class Haraka:
    port: int
    mailbox: Path
    process: Running

    def send(self, subject: str) -> tuple[int, bytes]:
        with smtplib.SMTP("127.0.0.1", self.port, timeout=15) as client:
            client.ehlo("client.example.com")
            client.mail("a@example.org")
            client.rcpt("b@example.net")
            client.rcpt("c@example.net")
            return client.data(f"From: a@example.org\r\nSubject: {subject}\r\nX-Old: 1\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n")


@contextmanager
def running_haraka(folder: Path, filterd: int) -> Iterator[Haraka]:
    program = shutil.which("haraka")
    if program is None:
        pytest.skip("haraka is not installed (npm, see .ci/run)")
    port = free_port()
    config = folder / "config"
    config.mkdir()
    shutil.copy(Path(program).resolve().parents[1] / "config" / "connection.ini", config)
    (folder / "plugins").mkdir()
    (folder / "plugins" / "sink.js").write_text(SINK)
    (config / "plugins").write_text("rspamd\nsink\n")
    (config / "smtp.ini").write_text(f"listen=127.0.0.1:{port}\nnodes=0\n")
    (config / "me").write_text("mx.example.org\n")
    example = (ROOT / "contrib" / "haraka" / "rspamd.ini").read_text()
    assert "\nport = 11333\n" in example
    (config / "rspamd.ini").write_text(example.replace("11333", str(filterd)) + LOCAL)
    mailbox = folder / "mailbox"
    with running([program, "-c", str(folder)], ready=port, env={"SINK": str(mailbox)}, cwd=folder, patience=15) as process:
        yield Haraka(port, mailbox, process)


@pytest.fixture(scope="module")
def haraka(tmp_path_factory: pytest.TempPathFactory, filterd: Doors) -> Iterator[Haraka]:
    with running_haraka(tmp_path_factory.mktemp("haraka"), filterd.port) as server:
        yield server


def test_a_rules_header_edits_reach_the_delivered_mail(haraka: Haraka, filterd: Doors) -> None:
    code, _ = haraka.send("hello")
    head = haraka.mailbox.read_text().partition("\n\n")[0]
    assert code == 250
    assert "X-T: from a rule" in head
    assert "X-Old" not in head
    line = [line for line in filterd.log().splitlines() if "c@example.net" in line][-1]
    assert '"from":"a@example.org","rcpts":["b@example.net","c@example.net"]' in line
    assert '"queue_id":null' not in line


def test_spam_is_marked(haraka: Haraka) -> None:
    assert haraka.send("spam")[0] == 250
    assert "SPAM_WORD" in haraka.mailbox.read_text().partition("\n\n")[0]


def test_the_subject_is_rewritten(haraka: Haraka) -> None:
    assert haraka.send("rewrite subject: x")[0] == 250
    assert "Subject: *** SPAM *** rewrite subject: x" in haraka.mailbox.read_text()


def test_a_reject_and_a_soft_reject_say_what_the_rule_says(haraka: Haraka) -> None:
    code, text = haraka.send("reject: x")
    assert (code, b"told to reject" in text) == (550, True)
    code, text = haraka.send("soft reject: x")
    assert (code, b"told to soft reject" in text) == (451, True)


def test_a_daemon_that_has_too_much_to_do_defers(tmp_path: Path, busy: Doors) -> None:
    with running_haraka(tmp_path, busy.port) as server:
        assert server.send("hello")[0] == 450
        assert not server.mailbox.exists()
