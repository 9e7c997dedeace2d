"""A Sendmail of its own beside filterd: own configuration, own queue, one mailbox, everything on loopback.

Debian's packages of Postfix and Sendmail exclude each other. So this one is not installed but unpacked (`.ci/run`), as
`sendmail.sendmail`, and its configuration is written out here: no m4, no files in /etc.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.partners import Running, free_port, require, running
from tests.support.smtp import taken_from

__all__ = ["Sendmail", "running_sendmail"]

_CONFIGURATION = """V10/Berkeley
Djmx.example.net
DnMAILER-DAEMON
O QueueDirectory={folder}/queue
O DaemonPortOptions=Name=MTA, Addr=127.0.0.1, Port={port}, Family=inet
O DeliveryMode=interactive
O PidFile={folder}/pid
O LogLevel=9
O SmtpGreetingMessage=$j ESMTP
O Timeout.ident=0
O SuperSafe=False
O HelpFile=
O StatusFile=
O InputMailFilters=filterd
Xfilterd, {milter}
HReceived: from $s ($_) by $j id $i; $b
H?D?Date: $a
H?M?Message-Id: <$t.$i@$j>
H?F?From: $g
S3
R$*<$*>$*	$2
S0
R$*	$#local $: $1
S1
S2
S4
Mlocal, P={folder}/deliver, F=lsDFMmn, S=0, R=0, U=nobody, A=deliver $g $u
Mprog, P=/bin/false, F=lsDFM, S=0, R=0, A=false
"""

_DELIVER = """#!/bin/sh
file=$(mktemp {folder}/arriving/XXXXXX) || exit 75
{{ echo "Return-Path: <$1>"; shift; echo "Delivered-To: $*"; cat; }} > "$file"
mv "$file" {folder}/mail/
"""

# It insists on a host name with a dot before it reads its configuration, and waits a minute where there is none.
_AS_HOST = 'echo mx.example.net > /proc/sys/kernel/hostname && exec "$@"'


class Sendmail:
    """Where it listens for SMTP, the folder with its queue, and the mailbox that all recipients share."""

    def __init__(self, folder: Path, port: int, process: Running) -> None:
        self.folder = folder
        self.port = port
        self.process = process

    @property
    def log(self) -> str:
        return (self.folder / "traffic").read_text(errors="replace")

    def mails(self, count: int = 1) -> list[bytes]:
        """What has arrived since the last call, in order of arrival; waits for so many mails, ten seconds at most."""
        return taken_from(self.folder / "mail", count, told=lambda: self.log)

    @property
    def held(self) -> list[str]:
        """The queue ids of the messages in quarantine."""
        return [file.name.removeprefix("hf") for file in (self.folder / "queue").glob("hf*")]


@contextmanager
def running_sendmail(milter: str) -> Iterator[Sendmail]:
    """A Sendmail that asks a milter, `S=inet:PORT@127.0.0.1, …`. Needs root, as Sendmail does."""
    program = require("sendmail.sendmail", package="sendmail-bin, unpacked by .ci/run")
    if os.geteuid():
        pytest.skip("Sendmail runs as root only")
    folder = Path(tempfile.mkdtemp(prefix="sendmail"))
    try:
        folder.chmod(0o755)
        port = free_port()
        nobody = pwd.getpwnam("nobody")
        for name in ("queue", "mail", "arriving"):
            (folder / name).mkdir(mode=0o700)
            if name != "queue":
                os.chown(folder / name, nobody.pw_uid, nobody.pw_gid)
        (folder / "sendmail.cf").write_text(_CONFIGURATION.format(folder=folder, port=port, milter=milter))
        (folder / "deliver").write_text(_DELIVER.format(folder=folder))
        (folder / "deliver").chmod(0o755)
        argv: list[str | Path] = ["unshare", "--uts", "sh", "-c", _AS_HOST, "sh", program]
        argv += [f"-C{folder}/sendmail.cf", "-bD", f"-X{folder}/traffic"]
        with running(argv, ready=port, patience=15.0) as process:
            yield Sendmail(folder, port, process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
