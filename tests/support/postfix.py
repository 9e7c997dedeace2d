"""A Postfix of its own beside filterd: own configuration, own queue, one mailbox, everything on loopback."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.partners import Running, free_port, require, running
from tests.support.smtp import taken_from

__all__ = ["Postfix", "running_postfix"]

_SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """Where it listens for SMTP, the folder with its queue, and the mailbox that all recipients share."""

    def __init__(self, folder: Path, port: int, process: Running) -> None:
        self.folder = folder
        self.port = port
        self.process = process

    @property
    def log(self) -> str:
        return (self.folder / "mail.log").read_text(errors="replace")

    def mails(self, count: int = 1) -> list[bytes]:
        """What has arrived since the last call, in order of arrival; waits for so many mails, ten seconds at most."""
        return taken_from(self.folder / "mail" / "all" / "new", count, told=lambda: self.log)

    @property
    def arrived(self) -> int:
        """How many mails lie in the mailbox."""
        return sum(1 for _ in (self.folder / "mail" / "all" / "new").glob("*"))

    def submit(self, mail: bytes) -> None:
        """Hand in a mail from this machine, as the sendmail command does."""
        words: list[str | Path] = [
            require("sendmail", package="postfix"),
            "-C",
            self.folder / "conf",
            "-i",
            "-f",
            "ann@example.org",
        ]
        subprocess.run([*words, "bob@example.net"], input=mail, check=True, timeout=15)

    @property
    def held(self) -> list[str]:
        """The queue ids of the messages that are on hold."""
        return [file.name for file in (self.folder / "queue" / "hold").rglob("*") if file.is_file()]

    def release(self) -> None:
        """Let go what is on hold."""
        self._run("postsuper", "-H", "ALL")
        self._run("postqueue", "-f")

    def drop_held(self) -> None:
        """Throw away what is on hold."""
        self._run("postsuper", "-d", "ALL", "hold")

    def _run(self, program: str, *words: str) -> None:
        path = require(program, package="postfix")
        subprocess.run([path, "-c", self.folder / "conf", *words], capture_output=True, check=True, timeout=15)


@contextmanager
def running_postfix(settings: Mapping[str, str]) -> Iterator[Postfix]:
    """A Postfix with these lines of main.cf beside those that make it a small world. Needs root, as Postfix does."""
    program = require("postfix", package="postfix")
    if os.geteuid():
        pytest.skip("Postfix runs as root only")
    # Its processes run under its own user: pytest's folders are closed to it.
    folder = Path(tempfile.mkdtemp(prefix="postfix"))
    try:
        folder.chmod(0o755)
        port = free_port()
        _write(folder, port, settings)
        subprocess.run([program, "-c", folder / "conf", "check"], check=True, capture_output=True, timeout=30)
        (folder / "queue" / "quick-start").touch()  # it has just been checked
        with running([program, "-c", folder / "conf", "start-fg"], ready=port, patience=15.0) as process:
            try:
                yield Postfix(folder, port, process)
            finally:
                # The script that we started only waits for its master process, which ends the others.
                os.kill(int((folder / "queue" / "pid" / "master.pid").read_text()), signal.SIGTERM)
                process.process.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, port: int, settings: Mapping[str, str]) -> None:
    for name in ("conf", "queue", "data", "mail"):
        (folder / name).mkdir()
    nobody = pwd.getpwnam("nobody")
    owner = pwd.getpwnam("postfix")
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    main = {
        "compatibility_level": "3.6",
        "queue_directory": folder / "queue",
        "data_directory": folder / "data",
        "maillog_file": folder / "mail.log",
        "maillog_file_prefixes": folder,
        "mail_owner": "postfix",
        "myhostname": "mx.example.net",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8 192.0.2.0/24",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "alias_maps": "",
        "alias_database": "",
        "virtual_mailbox_domains": "example.net",
        "virtual_mailbox_base": folder / "mail",
        "virtual_mailbox_maps": "static:all/",
        "virtual_uid_maps": f"static:{nobody.pw_uid}",
        "virtual_gid_maps": f"static:{nobody.pw_gid}",
        "virtual_minimum_uid": "1",
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
        "smtpd_peername_lookup": "no",
        "smtpd_authorized_xclient_hosts": "127.0.0.1",
        "milter_default_action": "tempfail",
        **settings,
    }
    (folder / "conf" / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
    (folder / "conf" / "master.cf").write_text(_SERVICES.format(port=port))
