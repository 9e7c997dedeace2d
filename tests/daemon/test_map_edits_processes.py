"""Changes of maps among workers that are processes of their own, over real sockets."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent.subprocess import PIPE, Popen

from filterd.daemon.map_journal import MapJournal

ROOT = Path(__file__).parents[2]

WORKER = """
import json, sys
import gevent
from gevent import socket
from gevent.fileobject import FileObject
from filterd.daemon.map_edits import LineBus, MapEdits
from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import new_map

line = socket.socket(fileno=int(sys.argv[1]))
bus = LineBus(lambda edit: line.sendall(json.dumps(edit).encode() + b"\\n"))

def listen():
    for text in line.makefile("r"):
        bus.hear(json.loads(text))

gevent.spawn(listen)
live = LiveMap("m", new_map("ip"), has_source=False)
MapEdits({"m": live}, bus)
orders = FileObject(sys.stdin.fileno(), "r")
for order in orders:
    word, *rest = json.loads(order)
    if word == "many":
        with live.edit() as edit:
            for number in range(rest[0]):
                edit.add(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
        answer = len(live)
    elif word == "set":
        live[rest[0]] = rest[1]
        answer = live[rest[0]]
    elif word == "discard":
        answer = live.discard(rest[0])
    else:
        answer = [len(live), live.get(rest[0])]
    print(json.dumps(answer), flush=True)
"""


class Supervisor:
    """It has the journal, and a line to each worker."""

    def __init__(self) -> None:
        self.journal = MapJournal()
        self.lines: list[Any] = []

    def add(self, line: Any) -> None:
        for piece in self.journal.picture():
            line.sendall(json.dumps(piece).encode() + b"\n")
        self.lines.append(line)
        gevent.spawn(self._listen, line)

    def _listen(self, line: Any) -> None:
        for text in line.makefile("r"):
            placed = json.dumps(self.journal.take(json.loads(text))).encode() + b"\n"
            for one in self.lines:
                one.sendall(placed)


class Worker:
    def __init__(self, process: Any) -> None:
        self.process = process

    def order(self, *words: object) -> Any:
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def until(self, key: str, expected: list[Any]) -> None:
        while self.order("get", key) != expected:
            gevent.sleep(0.01)


@contextmanager
def worker(supervisor: Supervisor) -> Iterator[Worker]:
    ours, theirs = gsocket.socketpair()
    process: Any = Popen(
        [sys.executable, "-c", WORKER, str(theirs.fileno())], cwd=ROOT, stdin=PIPE, stdout=PIPE, pass_fds=[theirs.fileno()]
    )
    theirs.close()
    try:
        supervisor.add(ours)
        yield Worker(process)
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        supervisor.lines.remove(ours)
        ours.close()


def test_what_one_worker_changes_the_others_have_and_those_that_start_later() -> None:
    supervisor = Supervisor()
    with ExitStack() as running:
        one, two = (running.enter_context(worker(supervisor)) for _ in range(2))
        assert one.order("many", 20_000) == 20_000
        two.until("10.0.78.31", [20_000, True])
        assert two.order("set", "10.0.0.5", "changed") == "changed"
        one.until("10.0.0.5", [20_000, "changed"])
        assert two.order("discard", "10.0.0.7") is True
        three = running.enter_context(worker(supervisor))
        for each in (one, three):
            each.until("10.0.0.7", [19_999, None])
        assert three.order("get", "10.0.0.5") == [19_999, "changed"]
        assert three.order("set", "10.9.9.9", "new") == "new"
        for each in (one, two):
            each.until("10.9.9.9", [20_000, "new"])
