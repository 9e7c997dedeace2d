"""The command in a process of its own and in ours, and a folder with rules to run it on."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from filterd.cli.main import main

ROOT = Path(__file__).parents[2]

RULES = '''"""Rules for the tests of the command line."""

from filterd import Task, log, register_symbol, rule, sleep, virtual

INSIDE = {"now": 0, "most": 0}


@rule("HAS_SUBJECT", score=2.5, group="headers", description="The message has a subject")
def subject(task: Task):
    return (2, task.message.subject) if task.message.subject else None


@rule("SHORT", score=0.5, flags="nice empty")
def short(task: Task):
    return task.message.size < 10


@rule("WHO", score=0.0)
def who(task: Task):
    return (True, task.ip, task.mail_from, *task.rcpts, task.helo, task.hostname, task.user, task.queue_id,
            task.get_request_header("X-Extra"))


@rule("PARENT", type="callback")
def parent(task: Task):
    if task.message.has_header("X-Kid"):
        task.insert_result("KID", 1.0)
        task.insert_result("NOBODY", 1.0)


virtual("KID", parent="PARENT", score=1.25)


@rule("BROKEN", score=1.0)
def broken(task: Task):
    if task.message.has_header("X-Broken"):
        raise LookupError("no such luck")


@rule("WARNING", score=0.0)
def warning(task: Task):
    if task.message.has_header("X-Warning"):
        log.warning("watch out")


@rule("TOGETHER", score=0.0)
def together(task: Task):
    """Says how many messages were here at the same time, once there are as many as the header wants."""
    wanted = int(task.message.header("X-Together") or 0)
    if wanted:
        INSIDE["now"] += 1
        INSIDE["most"] = max(INSIDE["most"], INSIDE["now"])
        for _ in range(50):
            if INSIDE["most"] < wanted:
                sleep(0.01)
        sleep(0.01)
        INSIDE["now"] -= 1
        return True, INSIDE["most"]


@rule("LATE", score=0.0)
def late(task: Task):
    if task.message.has_header("X-Late"):
        sleep(0.2)


@rule("DECIDE", type="prefilter")
def decide(task: Task):
    wanted = task.message.header("X-Action")
    if wanted:
        task.set_pre_result(wanted, "because it says so")
'''

CONFIG = """
[listen.scan]
protocol = "http"
bind = ["127.0.0.1:{port}", "unix:scan.sock"]
[rules]
paths = ["rules"]
[workers]
count = 1
[log]
format = "text"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory too, but for `rules/` with the rules above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "some.py").write_text(RULES)
    return tmp_path


@pytest.fixture
def config(folder: Path) -> Callable[..., str]:
    """Writes f.toml with a listener on the port, and more lines; gives its name."""

    def write(port: int = 0, more: str = "") -> str:
        (folder / "f.toml").write_text(CONFIG.format(port=port) + more)
        return "f.toml"

    return write


@pytest.fixture
def mail(folder: Path) -> Callable[..., str]:
    """Writes a message with these headers and gives its name: `mail("a.eml", "Subject: x")`."""

    def write(name: str, *headers: str, body: str = "Hello!\n") -> str:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in headers) + "\n" + body)
        return name

    return write


@pytest.fixture
def run() -> Iterator[Callable[..., Result]]:
    """The command in this process: `run("check", "-c", "f.toml")`. Logging is as before afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("filterd")
    before = root.handlers[:], root.level, ours.level
    flags = logging.logThreads, logging.logProcesses, logging.logMultiprocessing

    def invoke(*words: str, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(main, list(words), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    yield invoke
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing = flags


@pytest.fixture
def argv() -> Callable[..., list[str]]:
    """The words that start the real command."""
    return lambda *words: [sys.executable, "-m", "filterd", *words]


@pytest.fixture
def real(
    folder: Path, argv: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """The command in a process of its own, in the folder; what it printed is text."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def invoke(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            argv(*words), cwd=folder, input=stdin, capture_output=True, text=True, timeout=15, env={**os.environ}
        )

    return invoke
