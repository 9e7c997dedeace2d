"""What the daemon holds after many messages: greenlets, descriptors and memory must not grow.

A daemon with one rule that asks an HTTP backend, one that waits, one that fails and a callback gets 20,000 messages on 64
connections. Greenlets and Python objects are counted inside the daemon by a rule of its own, descriptors and memory by
the kernel.
Prints a table and exits with 1 if anything grew.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gevent
import psutil
from gevent import socket
from gevent.pywsgi import WSGIServer

MESSAGES = 20_000
CONNECTIONS = 64
ROUNDS = 5
"""The first round fills pools and caches; the others are compared with it."""

MEMORY_MARGIN = 0.05
"""Of the resident memory after the first round: what the allocator may differ by."""

RULES = """\
import gc

import greenlet

from filterd import Task, http, rule, sleep

URL = "http://127.0.0.1:PORT/"


def census_asked(task: Task) -> bool:
    return task.queue_id == "census"


@rule("CENSUS", condition=census_asked)
def census(task: Task) -> tuple[bool, int, int]:
    gc.collect()
    everything = gc.get_objects()
    return True, sum(isinstance(one, greenlet.greenlet) for one in everything), len(everything)


@rule("ASKS")
def asks(task: Task) -> bool:
    return http.request(URL).unwrap().is_success


@rule("CALLS_BACK")
def calls_back(task: Task) -> None:
    http.request(URL, callback=lambda err, code: task.insert_result("CALLED_BACK", 1.0, code))


@rule("WAITS")
def waits(task: Task) -> None:
    sleep(0.001)


@rule("FAILS")
def fails(task: Task) -> None:
    raise ValueError("on purpose")


@rule("STOPPED", timeout=0.01, condition=lambda task: task.queue_id is not None and task.queue_id.endswith("7"))
def stopped(task: Task) -> None:
    sleep(60)
"""

CONF = """\
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

MAIL = b"From: a@example.org\r\nSubject: hello\r\n\r\n" + b"Hello, this is a line of text.\r\n" * 60


def main() -> None:
    backend = WSGIServer(("127.0.0.1", 0), _answer, log=None)
    backend.start()
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        conf = Path(folder) / "filterd.toml"
        conf.write_text(CONF.replace("PORT", str(port)))
        (Path(folder) / "rules.py").write_text(RULES.replace("PORT", str(backend.server_port)))
        daemon = subprocess.Popen([sys.executable, "-m", "filterd", "run", "-c", str(conf)], stderr=subprocess.DEVNULL)
        try:
            counts = _rounds(port, daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait(30)
            backend.stop()
    first, last = counts[0], counts[-1]
    grown = [name for name in ("greenlets", "descriptors") if last[name] > first[name]]
    grown += ["memory"] if last["memory"] > first["memory"] * (1 + MEMORY_MARGIN) else []
    grown += ["objects"] if last["objects"] > first["objects"] * (1 + MEMORY_MARGIN) else []
    print("grew: " + ", ".join(grown) if grown else "nothing grew")
    if grown:
        sys.exit(1)


def _rounds(port: int, pid: int) -> list[dict[str, int]]:
    _wait_for(port)
    (worker,) = psutil.Process(pid).children()
    pid = worker.pid
    print(" ".join(f"{name:>12}" for name in ("messages", "greenlets", "objects", "descriptors", "memory")))
    counts = []
    for number in range(ROUNDS):
        clients = [gevent.spawn(_client, port, MESSAGES // ROUNDS // CONNECTIONS) for _ in range(CONNECTIONS)]
        gevent.joinall(clients, raise_error=True)
        greenlets, objects = map(int, _ask(port, "census")["symbols"]["CENSUS"]["options"])
        status = Path(f"/proc/{pid}/status").read_text()
        found = {
            "greenlets": greenlets,
            "objects": objects,
            "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
            "memory": int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]),  # KB
        }
        print(" ".join(f"{value:>12}" for value in ((number + 1) * MESSAGES // ROUNDS, *found.values())))
        counts.append(found)
    return counts


def _client(port: int, messages: int) -> None:
    for number in range(messages):
        reply = _ask(port, str(number))
        assert {"ASKS", "CALLED_BACK"} <= set(reply["symbols"]), reply


def _ask(port: int, queue_id: str) -> Any:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(f"POST /checkv2 HTTP/1.1\r\nQueue-Id: {queue_id}\r\nContent-Length: {len(MAIL)}\r\n\r\n".encode() + MAIL)
        data = b""
        while piece := sock.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return json.loads(body)


def _answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            gevent.sleep(0.1)
        else:
            return
    raise SystemExit("the daemon did not start")
