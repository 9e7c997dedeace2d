"""One process of the supervisor: what it is told, what it says, how it ends; with programs that misbehave in its place."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filterd.daemon import child as child_module
from filterd.daemon.child import Child, memory_file, resident
from filterd.daemon.loop import Loop

OPTIONS = """import os, signal, socket, sys, time
link = socket.socket(fileno=int(sys.argv[sys.argv.index('--link') + 1]))
link.setblocking(True)
"""


class Started:
    """A child that runs a program, and what became of it."""

    def __init__(self, loop: Loop, **options: Any) -> None:
        self.loop = loop
        self.heard: list[dict[str, Any]] = []
        self.words = ""
        self.child = Child(loop, "one", {"do": "serve"}, on_message=self._heard, on_exit=self._ended, **options)

    def _heard(self, child: Child, message: dict[str, Any]) -> None:
        self.heard.append(message)

    def _ended(self, child: Child) -> None:
        self.words = child.last_words()

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < end
            self.loop.later(0.05, lambda: None)
            self.loop.turn()

    def end(self) -> str:
        """Wait for it, and tell how it ended."""

        def is_over() -> bool:
            pid, status = os.waitpid(self.child.pid, os.WNOHANG)
            if pid:
                self.child.reaped(os.waitstatus_to_exitcode(status))
            return pid != 0

        self.until(is_over)
        return self.child.end_told()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Started]]:
    loop = Loop()

    def run(program: str, **options: Any) -> Started:
        monkeypatch.setattr(child_module, "_command", lambda: [sys.executable, "-c", OPTIONS + program])
        return Started(loop, **options)

    yield run
    loop.close()


def test_what_it_said_before_its_end_is_heard(start: Callable[..., Started]) -> None:
    program = "link.sendall(b'{\"heard\":\"' + link.recv(99).strip().hex().encode() + b'\"}\\n' * 1 + b'{\"n\":1}\\n' * 20000)"
    started = start(program)
    assert started.end() == "exit code 0"
    assert bytes.fromhex(started.heard[0]["heard"]) == b'{"do":"serve"}'
    assert started.heard[1:] == [{"n": 1}] * 20000
    started.child.send({"do": "too late"})
    started.child.kill("too late")


def test_what_the_line_does_not_take_at_once_is_sent_later(start: Callable[..., Started]) -> None:
    program = (
        "time.sleep(0.3)\ndata = b''\n"
        "while data.count(b'\\n') < 51: data += link.recv(65536)\n"
        "link.sendall(b'{\"got\": %d}\\n' % len(data))"
    )
    started = start(program)
    for _ in range(50):
        started.child.send({"text": "x" * 50_000})
    assert started.end() == "exit code 0"
    assert started.heard == [{"got": 15 + 50 * 50_012}]


def test_one_that_does_not_read_is_killed(start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "MOST_UNSENT", 1_000_000)
    started = start("signal.signal(signal.SIGUSR2, signal.SIG_IGN)\nlink.send(b'{}\\n')\ntime.sleep(60)")
    started.until(lambda: started.heard)
    for _ in range(3):
        started.child.send({"text": "x" * 700_000})
    assert started.end() == "signal 9 (SIGKILL): it does not read what it is told"


def test_one_that_speaks_nonsense_is_killed(start: Callable[..., Started]) -> None:
    started = start("signal.signal(signal.SIGUSR2, signal.SIG_IGN)\nlink.send(b'nonsense\\n')\ntime.sleep(60)")
    assert started.end() == (
        "signal 9 (SIGKILL): it does not speak to the supervisor as it should: a line is no JSON object: b'nonsense'"
    )


@pytest.mark.parametrize("last", ["", "link.send(b'half')\n"])
def test_one_that_hangs_up_and_stays_is_killed(
    start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setattr(child_module, "PATIENCE", 0.1)
    started = start(f"signal.signal(signal.SIGUSR2, signal.SIG_IGN)\n{last}link.close()\ntime.sleep(60)")
    assert started.end() == "signal 9 (SIGKILL): it has closed its link and does not end"


def test_one_that_hangs_leaves_its_last_words(start: Callable[..., Started]) -> None:
    program = (
        "import faulthandler\nfaulthandler.register(signal.SIGUSR2, int(sys.argv[sys.argv.index('--last-words') + 1]))\n"
        "link.send(b'{}\\n')\nwhile True: pass"
    )
    started = start(program)
    started.until(lambda: started.heard)
    started.child.kill("it hangs")
    started.child.kill("said twice")
    assert started.end() == "signal 9 (SIGKILL): it hangs"
    # It may still be in the line before.
    assert re.search(r'File "<string>", line [67] in <module>', started.words)


def test_a_program_that_cannot_be_started_is_an_error_and_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_command", lambda: ["/nowhere/python"])
    loop = Loop()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        Started(loop)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    loop.close()


def test_ends_are_told_for_people(start: Callable[..., Started]) -> None:
    assert start("sys.exit(3)").end() == "exit code 3"
    assert start("os.kill(os.getpid(), signal.SIGTERM)").end() == f"signal {int(signal.SIGTERM)} (SIGTERM)"
    assert start(f"os.kill(os.getpid(), {signal.SIGRTMIN + 1})").end() == f"signal {signal.SIGRTMIN + 1}"


def test_files_in_memory_do_without_memfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    descriptor = memory_file("x")
    os.pwrite(descriptor, b"words", 0)
    assert os.pread(descriptor, 99, 0) == b"words"
    os.close(descriptor)


def test_the_memory_of_a_process_is_known_while_it_lives() -> None:
    found = resident(os.getpid())
    assert found is not None
    assert found > 10 * 2**20
    assert resident(2**22 + 1) is None
