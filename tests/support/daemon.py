"""The real daemon in a process of its own, with rule files and configuration of a test."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from tests.support.client import Client
from tests.support.partners import Running, free_port, running

__all__ = ["Daemon", "running_daemon", "written"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Daemon:
    """A daemon on `port`; `process` has its pid and what it has written."""

    port: int
    process: Running
    conf: Path

    def scan(self, raw: bytes, **headers: str) -> dict[str, Any]:
        """The /checkv2 reply; request headers as keywords, with _ for -."""
        status, body = self.ask(raw, **headers)
        assert status == 200, body
        reply: dict[str, Any] = json.loads(body)
        return reply

    def ask(self, raw: bytes, path: str = "/checkv2", **headers: str) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        with Client(("127.0.0.1", self.port)) as client:
            client.sock.settimeout(60)
            client.send(f"POST {path} HTTP/1.1\r\nContent-Length: {len(raw)}\r\n{lines}\r\n".encode() + raw)
            status, _, body = client.read_reply()
        return status, body


def written(folder: Path, rules: Mapping[str, str], toml: str, port: int, *, workers: int = 1) -> Path:
    """A configuration file in `folder`, with rule files beside it. `toml` may go on with [workers]."""
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    for name, source in rules.items():
        (folder / "rules" / f"{name}.py").write_text(dedent(source))
    conf = folder / "filterd.toml"
    listener = f'[listen.scan]\nprotocol = "http"\nbind = "127.0.0.1:{port}"\n'
    conf.write_text(f'{listener}[rules]\npaths = "rules"\n[workers]\ncount = {workers}\n{dedent(toml)}')
    return conf


@contextmanager
def running_daemon(folder: Path, rules: Mapping[str, str], toml: str = "", *, workers: int = 1) -> Iterator[Daemon]:
    """Starts it and stops it by its pid; `rules` are sources by file name without .py."""
    port = free_port()
    conf = written(folder, rules, toml, port, workers=workers)
    command = [sys.executable, "-m", "filterd", "run", "-c", str(conf)]
    # A supervisor that is killed cannot tidy up behind itself, and its workers.
    with running(command, ready=port, cwd=ROOT, patience=60.0, grace=20.0) as process:
        yield Daemon(port, process, conf)
