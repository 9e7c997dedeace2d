"""One process that the supervisor has started: its link, its end, and what it left behind.

Promises:

* Nothing here waits: what the link does not take at once is sent when it does, and a child that takes nothing is killed.
* A child that is killed because it hangs, or that dies of a fault in C code, leaves the Python line it was at
  (`faulthandler`, written to a file in memory that the supervisor holds too).
* `on_exit` is called once, when the process is gone and all that it said has been heard.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import Any

from filterd.daemon.account import Account
from filterd.daemon.loop import READ, WRITE, Loop, Timer
from filterd.net.plain import pair
from filterd.proto.json_lines import JsonLines, ProtocolError, render

__all__ = ["Child", "memory_file", "resident"]

log = getLogger("filterd.supervisor")

MOST_UNSENT = 64 * 2**20
"""Bytes that may wait for a child to read them."""

PATIENCE = 5.0
"""Seconds in which a child that has closed its link must be gone."""

LAST_WORDS = 0.3
"""Seconds for a child that is to be killed to write down where it is."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_file(name: str) -> int:
    """A descriptor of an empty file that has no path."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def resident(pid: int) -> int | None:
    """Bytes of memory that a process holds; None where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None


def _command() -> list[str]:
    # A child finds filterd where we did: in the working directory only if we were started with that on the path.
    safe = [] if sys.path[0] in ("", str(Path.cwd())) else ["-P"]
    return [sys.executable, *safe, "-m", "filterd", "worker"]


class Child:
    """A process `filterd worker`. `begin` is the first message to it; `descriptors` are inherited. Raises OSError."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        begin: Mapping[str, Any],
        *,
        on_message: Callable[["Child", dict[str, Any]], object],
        on_exit: Callable[["Child"], object],
        descriptors: Collection[int] = (),
        account: Account | None = None,
    ) -> None:
        self.name = name
        self.began = monotonic()
        self.state = "starting"
        """starting, loaded, serving, draining."""
        self.serving_since = 0.0
        self.problems: list[str] = []
        """Why it could not begin, in its own words."""
        self.reason = ""
        """Why it was killed, in ours."""
        self.silent = 0.0
        """Seconds without a sign of life that the supervisor has looked for one."""
        self.under_way = 0
        self.messages = 0
        self.number = 0
        self.statistics: dict[str, Any] | None = None
        """The last snapshot it has sent."""
        self.returncode: int | None = None
        self._loop = loop
        self._on_message = on_message
        self._on_exit = on_exit
        self._unsent = bytearray()
        self._channel = JsonLines()
        self._killing: Timer | None = None
        self._box = memory_file("filterd-last-words")
        self._link, theirs = pair()
        given = [theirs.fileno(), self._box, *descriptors]
        as_user: dict[str, Any] = {}
        if account is not None:
            as_user = {"user": account.uid, "group": account.gid, "extra_groups": account.groups}
            as_user["env"] = {**os.environ, **account.environment}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                [*_command(), "--name", name, "--link", str(theirs.fileno()), "--last-words", str(self._box)],
                stdin=subprocess.DEVNULL,
                pass_fds=given,
                **as_user,
            )
        except BaseException:
            self._link.close()
            os.close(self._box)
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._loop.watch(self._link, READ, self._ready)
        self.send(begin)

    @property
    def age(self) -> float:
        return monotonic() - self.began

    def send(self, message: Mapping[str, Any]) -> None:
        if self._link.fileno() < 0:
            return
        self._unsent += render(message)
        if len(self._unsent) > MOST_UNSENT:
            self.kill("it does not read what it is told")
            return
        self._flush()

    def kill(self, reason: str) -> None:
        """End it at once, after it has had the time to write down where it is."""
        if self._killing is None and self.returncode is None:
            self.reason = self.reason or reason
            self._killing = self._loop.later(LAST_WORDS, lambda: self._signal(signal.SIGKILL))
            self._signal(signal.SIGUSR2)
            # If it only waits for something, its loop can tell more than the signal's handler, who sees the loop.
            self.send({"do": "where"})

    def _signal(self, number: int) -> None:
        # Not yet reaped, so the number is still its own.
        if self.returncode is None:
            os.kill(self.pid, number)

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._link.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            # It is ending; that it has ended is heard by other ways.
            self._unsent.clear()
        self._loop.watch(self._link, READ | WRITE if self._unsent else READ, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ:
            self._receive()

    def _receive(self) -> bool:
        """Handle what has arrived; False at the end of it."""
        try:
            data = self._link.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        try:
            messages = self._channel.feed(data)
        except ProtocolError as error:
            messages = []
            if data:
                self.kill(f"it does not speak to the supervisor as it should: {error}")
        if self._channel.closed:
            self._hang_up()
            # It cannot be told to end any more, so it ends by itself or not at all.
            self._loop.later(PATIENCE, lambda: self.kill("it has closed its link and does not end"))
        for message in messages:
            self._on_message(self, message)
        return bool(data) and not self._channel.closed

    def _hang_up(self) -> None:
        self._loop.unwatch(self._link)
        self._link.close()

    def reaped(self, returncode: int) -> None:
        """The process is gone: hear the rest, then say so."""
        self._process.returncode = self.returncode = returncode
        if self._killing is not None:
            self._killing.cancel()
        if self._link.fileno() >= 0:
            while self._receive():
                pass
            if self._link.fileno() >= 0:
                self._hang_up()
        self._on_exit(self)
        os.close(self._box)

    def last_words(self) -> str:
        """Where it was when it died, as far as that is known."""
        return os.pread(self._box, 65536, 0).decode(errors="replace").rstrip()

    def end_told(self) -> str:
        """How it ended, for people."""
        code = self.returncode or 0
        if code >= 0:
            how = f"exit code {code}"
        else:
            try:
                how = f"signal {-code} ({signal.Signals(-code).name})"
            except ValueError:
                how = f"signal {-code}"
        return f"{how}: {self.reason}" if self.reason else how
