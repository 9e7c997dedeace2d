"""docs/running.md is true: its configuration is taken, its commands run, every path and metric it names exists."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.proto.control import ENDPOINTS, SCANS
from tests.support.control import ask, reachable
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.partners import free_port, require
from tests.test_docs import BLOCK

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "running.md"
TEXT = PAGE.read_text()
BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(TEXT)]


def commands(folder: Path, block: str) -> "subprocess.CompletedProcess[str]":
    """Runs lines of a shell that has a `filterd`, and somebody who types a password."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "filterd").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m filterd "$@"\n')
    (tools / "filterd").chmod(0o755)
    return subprocess.run(
        ["bash", "-euc", block],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        input="s3cret\nch4nge\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, int, Path]]:
    """The daemon with the page's configuration, on a port of ours, with the passwords its commands make."""
    folder = tmp_path_factory.mktemp("running")
    port = free_port()
    (folder / "mail.eml").write_bytes(MAIL)
    making = next(block for kind, block in BLOCKS if kind == "sh" and "filterd password" in block)
    done = commands(folder, making)
    assert (done.returncode, done.stderr) == (0, "")
    toml = "".join(block for kind, block in BLOCKS if kind == "toml").replace("11334", str(port))
    with running_daemon(
        folder, {"none": "from filterd import rule\n\n@rule('A')\ndef a(task):\n    return True\n"}, toml
    ) as daemon:
        yield daemon, reachable(port), folder


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, id=block.partition("\n")[0]) for kind, block in BLOCKS if kind == "sh" and "umask" not in block],
)
def test_its_commands_work(told: tuple[Daemon, int, Path], block: str) -> None:
    _, port, folder = told
    if "rspamc" in block:
        require("rspamc", package="rspamd")
    require("curl", package="curl")
    done = commands(folder, block.replace("11334", str(port)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_every_path_of_the_controller_is_in_it() -> None:
    named = set(re.findall(r"`/([a-z0-9/]+)", TEXT))
    few = {
        "bayes/classifiers",
        "neighbours",
        "learnclass",
        "fuzzydel",
        "fuzzydelhash",
        "process",
        "report",
        "report_ifspam",
        "skip",
    }
    assert {*ENDPOINTS, *SCANS} - named - {"statreset"} == few
    assert "`statreset`" in TEXT


def test_every_metric_of_filterd_is_in_it_and_no_other(told: tuple[Daemon, int, Path]) -> None:
    daemon, port, _ = told
    daemon.scan(MAIL)
    shown = set(re.findall(r"^# TYPE (filterd_\w+)", ask(port, "/metrics").body.decode(), re.MULTILINE))
    named = set(re.findall(r"\b((?:filterd|rspamd)_\w+)", TEXT))
    shorthand = {f"filterd_client_{count}_total" for count in ("replies", "errors", "timeouts")}
    assert shown - named - shorthand == {"filterd_rule_failures_total"}
    everything = set(re.findall(r"^# TYPE (\w+)", ask(port, "/metrics").body.decode(), re.MULTILINE))
    assert named - everything == set()
