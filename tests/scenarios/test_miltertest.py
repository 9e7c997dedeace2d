"""The milter door as OpenDKIM's `miltertest` sees it: the Lua scripts of tests/miltertest."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import running_daemon
from tests.support.orders import ACTIONS, ORDERS
from tests.support.partners import free_port, require

SCRIPTS = Path(__file__).parents[1] / "miltertest"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    toml = f'[listen.milter]\nprotocol = "milter"\nbind = "127.0.0.1:{port}"\n{ACTIONS}'
    with running_daemon(tmp_path_factory.mktemp("filterd"), {"orders": ORDERS}, toml):
        yield port


@pytest.mark.parametrize("script", ["verdicts", "many", "old"])
def test_miltertest_is_content(port: int, script: str) -> None:
    program = require("miltertest", package="miltertest")
    words: list[str | Path] = [program, "-D", f"port={port}", "-D", f"folder={SCRIPTS}", "-s", SCRIPTS / f"{script}.lua"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=15, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
