"""What lies in contrib/ works: the unit is well sandboxed, the container's first process is filterd."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import psutil
import pytest

from filterd.daemon.config import load_config
from tests.support.console import until
from tests.support.daemon import ROOT, Daemon, written
from tests.support.engine import MAIL
from tests.support.partners import free_port, require, running

UNIT = ROOT / "contrib" / "systemd" / "filterd.service"
DOCKER = ROOT / "contrib" / "docker"

RULES = {"quick": "from filterd import rule\n@rule('QUICK')\ndef quick(task): return True\n"}


def test_the_units_exposure_is_below_three() -> None:
    """The sum that systemd makes of what a service could do to its machine, from 0 to 10."""
    analyze = require("systemd-analyze", package="systemd")
    words = [str(analyze), "security", "--offline=true", "--threshold=30", "--no-pager", "--json=short", str(UNIT)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=15, check=False)
    found = {one["json_field"]: one for one in json.loads(done.stdout)}
    exposed = [name for name, one in found.items() if not one["set"] and (one["exposure"] or "0") != "0"]
    assert (done.returncode, done.stderr) == (0, ""), exposed


def test_the_unit_is_one_that_systemd_understands() -> None:
    analyze = require("systemd-analyze", package="systemd")
    text = UNIT.read_text()
    assert set(re.findall(r"^(ExecStart|ExecReload|Type|WatchdogSec)=", text, re.MULTILINE)) == {
        "ExecStart",
        "ExecReload",
        "Type",
        "WatchdogSec",
    }
    done = subprocess.run([analyze, "verify", "--man=no", UNIT], capture_output=True, text=True, timeout=15, check=False)
    # The program is not installed there on the machine of the tests.
    wrong = [line for line in done.stderr.splitlines() if UNIT.name in line and "/opt/filterd/bin/filterd" not in line]
    assert wrong == []


@pytest.mark.timeout(90)
def test_systemd_is_told_of_start_reload_and_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(45)
        told: list[str] = []

        def wait_for(start: str) -> None:
            while not told or not told[-1].startswith(start):
                told.append(systemd.recv(9999).decode())

        port = free_port()
        conf = written(tmp_path, RULES, 'trial_time = "100ms"\n', port)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
        command = [sys.executable, "-m", "filterd", "run", "-c", str(conf)]
        with running(command, ready=port, env=environment, cwd=ROOT, patience=40.0) as process:
            wait_for("READY=1\nSTATUS=1 of 1 workers, generation 1")
            wait_for("WATCHDOG=1")
            process.process.send_signal(signal.SIGHUP)
            wait_for("RELOADING=1\nMONOTONIC_USEC=")
            wait_for("READY=1\nSTATUS=1 of 1 workers, generation 2")
            (tmp_path / "rules" / "quick.py").write_text("1 / 0\n")
            process.process.send_signal(signal.SIGHUP)
            wait_for("READY=1\nSTATUS=1 of 1 workers, generation 2; the last reload has failed")
            process.process.send_signal(signal.SIGTERM)
            wait_for("STOPPING=1")
            assert process.process.wait(20) == 0


def test_the_container_runs_filterd_itself_and_not_as_root() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    words = {line.split()[0]: line.partition(" ")[2] for line in lines if re.match(r"[A-Z]+ ", line)}
    assert json.loads(words["ENTRYPOINT"]) == ["filterd-entrypoint"]
    assert json.loads(words["CMD"])[0] == "run"
    assert json.loads(words["HEALTHCHECK"].partition(" CMD ")[2]) == ["filterd-entrypoint", "health"]
    assert words["USER"] == "filterd"
    for name in re.findall(r"^COPY (?:--chmod=\d+ )?((?!--from)[^\n]+) \S+$", "\n".join(lines), re.MULTILINE):
        assert [one for one in name.split() if not (ROOT / one).exists()] == []


def test_what_the_container_lays_over_the_shipped_configuration_loads(tmp_path: Path) -> None:
    (tmp_path / "filterd.toml").write_text((ROOT / "conf" / "filterd.toml").read_text())
    (tmp_path / "local.d").mkdir()
    (tmp_path / "local.d" / "container.toml").write_text((DOCKER / "container.toml").read_text())
    assert tomllib.loads((DOCKER / "container.toml").read_text())
    config = load_config(tmp_path / "filterd.toml", rules=[str(ROOT / "rules")])
    assert [str(bind) for bind in config.listen["scan"].bind] == ["0.0.0.0:11333"]


@pytest.mark.timeout(90)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")
def test_as_the_first_process_it_is_healthy_takes_in_orphans_and_ends_at_term(tmp_path: Path) -> None:
    unshare = require("unshare", package="util-linux")
    orphaning = RULES["quick"] + (
        "import subprocess\n@rule('ORPHAN')\ndef orphan(task):\n"
        "    subprocess.run(['/bin/sh', '-c', 'sleep 0.2 &'], check=True)\n    return True\n"
    )
    port = free_port()
    conf = written(tmp_path, {"quick": orphaning}, "", port)
    (tmp_path / "filterd").write_text(f'#!/bin/sh\nexec {sys.executable} -m filterd "$@"\n')
    (tmp_path / "filterd").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    entrypoint = str(DOCKER / "entrypoint")
    command = [str(unshare), "--pid", "--fork", "--kill-child", entrypoint, "run", "-c", str(conf)]
    with running(command, ready=port, env=environment, cwd=ROOT, patience=40.0) as process:
        (first,) = psutil.Process(process.pid).children()
        daemon = Daemon(port, process, conf)
        assert set(daemon.scan(MAIL)["symbols"]) == {"QUICK", "ORPHAN"}
        # The orphan is its child for as long as it runs, and after its end if nobody takes notice of that.
        until(lambda: len(first.children()) == 1)
        health = [entrypoint, "health"]
        environment = {**os.environ, **environment, "FILTERD_PING": f"http://127.0.0.1:{port}/ping"}
        assert subprocess.run(health, env=environment, timeout=15, check=False).returncode == 0
        first.send_signal(signal.SIGTERM)
        assert process.process.wait(20) == 0
        done = subprocess.run(health, env=environment, capture_output=True, timeout=15, check=False)
        assert done.returncode == 1
