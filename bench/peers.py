"""The servers that are measured: filterd, Rspamd, spamd and Haraka, each on a port of its own, pinned to one core."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.accounting import Tree
from bench.load import SERVER_CORE, Wrong, exchange, ping
from tests.support.partners import free_port

__all__ = ["SPAMD_SYMBOL", "Absent", "Peer", "filterd", "found", "haraka", "pinned", "rspamd", "spamd"]

PATIENCE = 180.0
"""Seconds to start in, on a machine that may be busy."""

FILTERD = """\
[listen.scan]
protocol = "http"
bind = "127.0.0.1:PORT"
[rules]
paths = "rules"
[workers]
count = COUNT
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
  dns { nameserver = ["NAMESERVER"]; }
  dns_max_requests = 1000;
}
logging { type = "file"; filename = "FOLDER/log"; level = "error"; }
actions { reject = 15; add_header = 6; greylist = 4; }
worker "normal" { bind_socket = "127.0.0.1:PORT"; count = COUNT; }
lua = "FOLDER/rules.lua";
MORE
"""

SPAMD_SYMBOL = "HAS_SUBJECT"
"""Spamd does not start without any rule: it has this one, which looks at a header."""

SPAMD = f"""\
use_bayes 0
util_rb_tld org net
header {SPAMD_SYMBOL} exists:Subject
"""

HARAKA = {
    "plugins": "web\n",
    "smtp.ini": "listen=127.0.0.1:PORT\nnodes=0\n",
    "log.ini": "[main]\nlevel=error\n",
    "me": "mx.example.org\n",
    "web_url": "URL\n",
}


class Absent(SystemExit):
    """A program is not installed; the text says in which package it is."""


class Peer(Tree):
    """A running server: `port`, and what its processes have used."""

    def __init__(self, name: str, port: int, pid: int) -> None:
        super().__init__(pid)
        self.name = name
        self.port = port


def found(program: str, package: str, *, kind: str = "Debian") -> str:
    """The path of a program; Absent names the package of one that is not there."""
    path = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"]))
    if path is None:
        raise Absent(f"{program} is not installed ({kind} package {package})")
    return path


@contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """What is started in this block stays on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _running(
    name: str, command: list[str], port: int, cores: Collection[int], log: Path, answers: Callable[[int], bool] = ping
) -> Iterator[Peer]:
    with log.open("wb") as printed, pinned(cores):
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE  # Rspamd compiles its patterns at its first start
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Wrong(f"{name} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield Peer(name, port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def filterd(
    rules: str | Sequence[str] = (),
    toml: str = "",
    *,
    name: str = "filterd",
    workers: int = 1,
    cores: Collection[int] = SERVER_CORE,
) -> Iterator[Peer]:
    """Filterd with rule files, as source texts, and more lines of configuration."""
    with tempfile.TemporaryDirectory() as home:
        folder, port = Path(home), free_port()
        conf = folder / "filterd.toml"
        conf.write_text(FILTERD.replace("PORT", str(port)).replace("COUNT", str(workers)) + toml)
        (folder / "rules").mkdir()
        for number, source in enumerate([rules] if isinstance(rules, str) else rules):
            (folder / "rules" / f"rules{number}.py").write_text(source)
        command = [sys.executable, "-m", "filterd", "run", "-c", str(conf)]
        with _running(name, command, port, cores, folder / "printed") as peer:
            yield peer


@contextmanager
def rspamd(
    lua: str = "",
    more: str = "",
    *,
    nameserver: str = "127.0.0.1:53",
    name: str = "rspamd",
    workers: int = 1,
    cores: Collection[int] = SERVER_CORE,
) -> Iterator[Peer]:
    """Rspamd with rules in Lua and no module or filter: it parses each message whole all the same."""
    program = found("rspamd", "rspamd")
    with tempfile.TemporaryDirectory() as home:
        folder, port = Path(home), free_port()
        folder.chmod(0o755)
        words = {"FOLDER": home, "PORT": str(port), "COUNT": str(workers), "NAMESERVER": nameserver, "MORE": more}
        text = RSPAMD
        for word, value in words.items():
            text = text.replace(word, value)
        conf = folder / "rspamd.conf"
        conf.write_text(text)
        (folder / "rules.lua").write_text(lua)
        with _running(name, [program, "-f", "-i", "-c", str(conf)], port, cores, folder / "printed") as peer:
            yield peer


@contextmanager
def spamd() -> Iterator[Peer]:
    """SpamAssassin's daemon with one child, one rule and no plugin but the one that runs rules; it writes no log."""
    program = found("spamd", "spamd")
    with tempfile.TemporaryDirectory() as home:
        folder, port = Path(home), free_port()
        folder.chmod(0o755)
        for name, file, text in (
            ("rules", "rules.cf", SPAMD),
            ("site", "init.pre", "loadplugin Mail::SpamAssassin::Plugin::Check\n"),
        ):
            (folder / name).mkdir()
            (folder / name / file).write_text(text)
        command = [program, "--local", "--nouser-config", f"--configpath={folder}/rules", f"--siteconfigpath={folder}/site"]
        # A child that were replaced would take what it had used out of the sum.
        command += ["--min-children=1", "--max-children=1", "--max-conn-per-child=1000000000"]
        command += [f"--listen=127.0.0.1:{port}", f"--pidfile={folder}/pid", "--syslog=null"]
        if os.geteuid() == 0:
            command += ["--username=nobody"]  # else it changes its user for each message
        with _running("spamd", command, port, SERVER_CORE, folder / "printed", _pongs) as peer:
            yield peer


@contextmanager
def haraka(plugin: str, url: str) -> Iterator[Peer]:
    """Haraka with one process and one plugin, as source text, which gets the address of a web server."""
    program = found("haraka", "Haraka", kind="npm")
    with tempfile.TemporaryDirectory() as home:
        folder, port = Path(home), free_port()
        for name in ("config", "plugins"):
            (folder / name).mkdir()
        (folder / "plugins" / "web.js").write_text(plugin)
        for name, text in HARAKA.items():
            (folder / "config" / name).write_text(text.replace("PORT", str(port)).replace("URL", url))
        # It does without any other file of its own, but not without this one.
        shutil.copy(Path(program).resolve().parents[1] / "config" / "connection.ini", folder / "config")
        with _running("haraka", [program, "-c", home], port, SERVER_CORE, folder / "printed", _says_goodbye) as peer:
            yield peer


def _pongs(port: int) -> bool:
    try:
        return b"PONG" in exchange(port, b"PING SPAMC/1.5\r\n\r\n")
    except OSError:
        return False


def _says_goodbye(port: int) -> bool:
    try:
        return b"\r\n221 " in exchange(port, b"QUIT\r\n")
    except OSError:
        return False
