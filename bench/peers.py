"""The servers that are measured: filterd and Rspamd, each on a port of its own, pinned to one core."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.load import free_port, ping

__all__ = ["Peer", "filterd", "rspamd"]

SERVER_CORE = {0}

FILTERD = """\
[listen.scan]
protocol = "http"
bind = "127.0.0.1:PORT"
[rules]
paths = "rules.py"
[workers]
count = 1
[log]
level = "error"
"""

RSPAMD = """\
options {
  filters = "";
  pidfile = "FOLDER/rspamd.pid";
  dynamic_conf = "FOLDER/dynamic";
  tempdir = "FOLDER";
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
  history_file = "FOLDER/history";
  cache_file = "FOLDER/symbols.cache";
  hs_cache_dir = "FOLDER";
  dns { nameserver = ["127.0.0.1:53"]; }
}
logging { type = "file"; filename = "FOLDER/log"; level = "error"; }
actions { reject = 15; add_header = 6; greylist = 4; }
worker "normal" { bind_socket = "127.0.0.1:PORT"; count = 1; }
"""


class Peer:
    """A running server: `port`, and what its processes have used."""

    def __init__(self, name: str, port: int, pid: int) -> None:
        self.name = name
        self.port = port
        self._process = psutil.Process(pid)

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of the whole process tree."""
        total = 0.0
        for process in self._tree():
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def memory(self) -> int:
        """Bytes resident, of the largest process of the tree."""
        return max(process.memory_info().rss for process in self._tree())

    def _tree(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]


@contextmanager
def _running(name: str, command: list[str], port: int) -> Iterator[Peer]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(process.pid, SERVER_CORE)
        deadline = time.monotonic() + 60  # Rspamd compiles its patterns at its first start
        while not ping(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start")
            time.sleep(0.1)
        peer = Peer(name, port, process.pid)
        for child in peer._tree():
            child.cpu_affinity(sorted(SERVER_CORE))
        yield peer
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def filterd(rules: str) -> Iterator[Peer]:
    """Filterd with one rule file, as source text."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        conf = Path(folder) / "filterd.toml"
        conf.write_text(FILTERD.replace("PORT", str(port)))
        (Path(folder) / "rules.py").write_text(rules)
        with _running("filterd", [sys.executable, "-m", "filterd", "run", "-c", str(conf)], port) as peer:
            yield peer


@contextmanager
def rspamd() -> Iterator[Peer]:
    """Rspamd without a rule or filter: it parses each message whole all the same."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        Path(folder).chmod(0o755)
        conf = Path(folder) / "rspamd.conf"
        conf.write_text(RSPAMD.replace("FOLDER", folder).replace("PORT", str(port)))
        with _running("rspamd", ["rspamd", "-f", "-i", "-c", str(conf)], port) as peer:
            yield peer
