"""A real Exim that asks the daemon, by both of its variants, with the ACLs of contrib/exim as they are."""

import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.doors import Doors
from tests.support.partners import require

ROOT = Path(__file__).parents[2]
VARIANTS = {"rspamd": "variant=rspamd", "spamassassin": ""}

CONFIGURATION = """
primary_hostname = mx.example.org
exim_path = {exim}
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {folder}/spool
log_file_path = {folder}/log/%s
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
keep_environment =
spamd_address = 127.0.0.1 {port} {variant}
acl_smtp_rcpt = accept
acl_smtp_data = check_data

begin acl
check_data:
  .include {acl}
  accept

begin routers
everything:
  driver = accept
  transport = mailbox

begin transports
mailbox:
  driver = appendfile
  file = {folder}/mailbox
  user = Debian-exim
  group = Debian-exim
"""

Send = Callable[..., str]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not one of pytest's folders, which only their owner can enter: Exim works as another user."""
    with TemporaryDirectory(prefix="filterd-exim-") as name:
        yield Path(name)


@pytest.fixture
def mailbox(folder: Path) -> Path:
    return folder / "mailbox"


@pytest.fixture
def exim(folder: Path) -> Callable[[str, int], Send]:
    """Makes an Exim for a variant and a port; it is given the subject and answers with its reply to the message."""
    program = require("exim4", package="exim4-daemon-heavy")
    if os.geteuid():
        pytest.skip("Exim takes a configuration of one's own from root only")
    try:
        user = pwd.getpwnam("Debian-exim")
    except KeyError:
        pytest.skip("there is no user Debian-exim")
    os.chown(folder, user.pw_uid, user.pw_gid)

    def configured(variant: str, port: int) -> Send:
        conf = folder / f"{variant}.conf"
        acl = ROOT / "contrib" / "exim" / f"{variant}-acl.conf"
        conf.write_text(
            CONFIGURATION.format(exim=program, folder=folder, port=port, variant=VARIANTS[variant], acl=folder / acl.name)
        )
        (folder / acl.name).write_bytes(acl.read_bytes())

        def send(subject: str, body: bytes = b"hello\r\n") -> str:
            dialogue = b"\r\n".join(
                (
                    b"EHLO client.example.com",
                    b"MAIL FROM:<a@example.org>",
                    b"RCPT TO:<b@example.net>",
                    b"RCPT TO:<c@example.net>",
                    b"DATA",
                    b"From: a@example.org",
                    b"Subject: " + subject.encode(),
                    b"Message-ID: <1@x>",
                    b"",
                    body + b".",
                    b"QUIT",
                    b"",
                )
            )
            run = [str(program), "-C", str(conf)]
            receive = [*run, "-odq", "-oMa", "192.0.2.1", "-oMs", "client.example.com", "-bs"]
            ended = subprocess.run(receive, input=dialogue, capture_output=True, timeout=18, check=False)
            said = ended.stdout.decode().partition("354 ")[2].splitlines()
            assert said, ended.stderr
            if said[1].startswith("250 OK id="):
                # A step of its own: it would have to start itself with rights that only an installed Exim gets.
                deliver = [*run, "-M", said[1].removeprefix("250 OK id=")]
                ended = subprocess.run(deliver, stdin=subprocess.DEVNULL, capture_output=True, timeout=18, check=False)
                assert (folder / "mailbox").exists(), ended.stderr
            return said[1]

        return send

    return configured


both_variants = pytest.mark.parametrize("variant", VARIANTS)


@both_variants
def test_ham_is_delivered_and_marked(variant: str, exim: Callable[[str, int], Send], filterd: Doors, mailbox: Path) -> None:
    assert exim(variant, filterd.port)("hello").startswith("250 OK")
    delivered = mailbox.read_text()
    assert "\nX-Spam-Score: 0.5\n" in delivered
    assert "\nX-Spam: " not in delivered


def test_rspamd_variant_marks_spam(exim: Callable[[str, int], Send], filterd: Doors, mailbox: Path) -> None:
    assert exim("rspamd", filterd.port)("spam").startswith("250 OK")
    delivered = mailbox.read_text()
    assert "\nX-Spam: Yes\n" in delivered
    assert "\nX-Spam-Score: 7.5\nX-Spam-Action: add header\n" in delivered


def test_spamassassin_variant_refuses_what_reaches_the_threshold(exim: Callable[[str, int], Send], filterd: Doors) -> None:
    assert exim("spamassassin", filterd.port)("spam") == "550 Message looks like spam (7.5 points)"


@both_variants
def test_what_a_rule_rejects_is_refused_whatever_its_score(
    variant: str, exim: Callable[[str, int], Send], filterd: Doors, mailbox: Path
) -> None:
    assert exim(variant, filterd.port)("reject: x") == "550 Message looks like spam (0.5 points)"
    assert not mailbox.exists()


@both_variants
def test_a_soft_reject_is_deferred(variant: str, exim: Callable[[str, int], Send], filterd: Doors, mailbox: Path) -> None:
    assert exim(variant, filterd.port)("soft reject: x").startswith("451 ")
    assert not mailbox.exists()


def test_rspamd_variant_tells_the_rules_about_the_mail(exim: Callable[[str, int], Send], filterd: Doors) -> None:
    exim("rspamd", filterd.port)("hello from exim")
    lines = [line for line in filterd.log().splitlines() if '"door":"rspamc"' in line]
    assert '"ip":"192.0.2.1"' in lines[-1]
    assert '"from":"a@example.org","rcpts":["b@example.net","c@example.net"]' in lines[-1]


@both_variants
def test_a_message_of_megabytes_goes_through(variant: str, exim: Callable[[str, int], Send], filterd: Doors) -> None:
    assert exim(variant, filterd.port)("large", b"0123456789abcde\r\n" * 200_000).startswith("250 OK")


@both_variants
def test_a_daemon_that_has_too_much_to_do_defers(
    variant: str, exim: Callable[[str, int], Send], busy: Doors, mailbox: Path
) -> None:
    assert exim(variant, busy.port)("hello").startswith("451 ")
    assert not mailbox.exists()


@both_variants
def test_a_daemon_that_is_not_there_defers(variant: str, exim: Callable[[str, int], Send], mailbox: Path) -> None:
    assert exim(variant, 1)("hello").startswith("451 ")
    assert not mailbox.exists()
