"""The built wheel works outside of the checkout, with the rules and the configuration it brings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, Daemon
from tests.support.engine import MAIL
from tests.support.partners import free_port, running


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder the wheel was installed into."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"], cwd=ROOT, check=True)
    (wheel,) = (folder / "dist").iterdir()
    install: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        folder / "site",
        wheel,
    ]
    subprocess.run(install, check=True)
    return folder / "site"


def surroundings(installed: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed)}


def test_the_daemon_runs_from_the_wheel_and_its_shipped_rules_hit(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    program = installed / "bin" / "filterd"
    command: list[str | Path] = [sys.executable, program, "run", "--set", f'listen.scan.bind="127.0.0.1:{port}"']
    with running(command, ready=port, cwd=tmp_path, env=surroundings(installed), patience=20) as process:
        reply = Daemon(port, process, tmp_path).scan(MAIL)
        assert "Traceback" not in process.output()
    assert set(reply["symbols"]) == {"MISSING_DATE"}
    assert reply["symbols"]["MISSING_DATE"]["metric_score"] == 1.0


def test_the_command_line_scans_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mail.eml").write_bytes(MAIL)
    command: list[str | Path] = [sys.executable, installed / "bin" / "filterd", "scan", "--json", "mail.eml"]
    done = subprocess.run(command, cwd=tmp_path, env=surroundings(installed), capture_output=True, timeout=15, check=True)
    assert set(json.loads(done.stdout)["symbols"]) == {"MISSING_DATE"}


def test_it_is_the_installed_package_that_is_tried(installed: Path, tmp_path: Path) -> None:
    code = "import filterd, filterd.daemon.config as c; print(filterd.__file__); print(c.default_config_path())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=surroundings(installed),
        capture_output=True,
        text=True,
        timeout=15,
        check=True,
    )
    assert [Path(line).is_relative_to(installed) for line in done.stdout.splitlines()] == [True, True]
