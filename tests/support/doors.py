"""Daemons with every front door, whose rules do what the subject says."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.client import Client
from tests.support.daemon import Daemon, running_daemon
from tests.support.partners import free_port

__all__ = ["RULES", "Doors", "running_busy_doors", "running_doors"]

RULES = """
    from filterd import Task, rule, sleep


    @rule("SPAM_WORD", score=7.0, description="The subject says spam")
    def spam_word(task: Task) -> tuple[object, ...] | None:
        return (True, "one", "two") if "spam" in (task.message.subject or "") else None


    @rule("EVERY_MAIL", score=0.5)
    def every_mail(task: Task) -> bool:
        task.set_milter_reply({"add_headers": {"X-T": "from a rule"}, "remove_headers": {"X-Old": 0}})
        return True


    @rule("SLOW", score=0.0)
    def slow(task: Task) -> None:
        if "slow" in (task.message.subject or ""):
            sleep(60.0)


    @rule("DECIDES", score=0.0)
    def decides(task: Task) -> None:
        action, _, rest = (task.message.subject or "").partition(": ")
        if action in ("reject", "soft reject", "rewrite subject") and rest:
            task.set_pre_result(action, f"told to {action}")
        if action == "body":
            task.replace_body(b"changed\\n")


    @rule("TELLS", score=0.0)
    def tells(task: Task) -> tuple[object, ...]:
        return (True, *(told or "-" for told in (task.ip, task.mail_from, *task.rcpts, task.helo, task.user, task.queue_id)))
"""


@dataclass(frozen=True)
class Doors:
    """A daemon with an HTTP port and one for spamc only."""

    daemon: Daemon
    spamc_port: int

    @property
    def port(self) -> int:
        return self.daemon.port

    def log(self) -> str:
        return self.daemon.process.output()


@contextmanager
def running_doors(folder: Path, toml: str = "") -> Iterator[Doors]:
    """A daemon that has time."""
    port = free_port()
    listener = f'[listen.spamd]\nprotocol = "spamc"\nbind = "127.0.0.1:{port}"\n'
    with running_daemon(folder, {"told": RULES}, listener + toml) as daemon:
        yield Doors(daemon, port)


@contextmanager
def running_busy_doors(folder: Path) -> Iterator[Doors]:
    """A daemon that refuses every message, because it may scan one at a time and does so for a minute."""
    mail = b"Subject: slow\r\n\r\n"
    with (
        running_doors(folder, "[limits]\ntasks = 1\ntask_timeout = 60\n") as doors,
        Client(("127.0.0.1", doors.port)) as client,
    ):
        client.send(b"POST /checkv2 HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(mail), mail))
        while doors.daemon.ask(b"Subject: x\r\n\r\n")[0] != 503:
            pass
        try:
            yield doors
        finally:
            # In a hurry: it would wait for the message that it is at.
            os.kill(doors.daemon.process.pid, signal.SIGQUIT)
