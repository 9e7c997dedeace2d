"""Streams that several workers serve: a call to filterd's own listener may come to any of them."""

from pathlib import Path

import gevent
import pytest

from tests.support.client import Client
from tests.support.console import until
from tests.support.daemon import running_daemon
from tests.support.partners import free_port

pytestmark = pytest.mark.timeout(120)

COUNTDOWN = """
import os

from filterd import Txn, action, service, tcp_sync


@action("begin", stages="tcp.accept")
def begin(txn: Txn) -> None:
    txn.priv, txn.vars["found"] = [], [txn.priv, "found" in txn.vars, "kept" in txn.vars]


@service("countdown")
def countdown(txn: Txn) -> None:
    number = int(txn.req.readline())
    txn.priv.append(number)
    txn.vars["sess.kept"] = number
    rest = ""
    if number:
        conn = tcp_sync.connect("127.0.0.1", @PORT@).unwrap()
        conn.write(f"{number - 1}\\n").unwrap()
        rest = conn.read_until_eof().unwrap().decode()
    assert txn.vars["found"] == [None, False, False], "what another transaction has kept"
    assert txn.priv == [number] and txn.vars["sess.kept"] == number, "what another transaction has changed"
    txn.res.send(f"{number} {os.getpid()}\\n{rest}")
"""


def test_txn_get_priv_with_four_workers(tmp_path: Path) -> None:
    """HAProxy's test of that name, in its form with threads: `priv` is fresh for each transaction, and its own, while services
    call their own listener; none waits for itself, whichever worker the call comes to.
    """
    port = free_port()
    toml = f"""
        [listen.self]
        protocol = "tcp"
        bind = "127.0.0.1:{port}"
        accept = "begin"
        service = "countdown"
    """
    workers: set[str] = set()

    def ask() -> None:
        with Client(("127.0.0.1", port)) as client:
            lines = [line.split() for line in client.send(b"10\n").read_all().decode().splitlines()]
        assert [number for number, _ in lines] == [str(number) for number in range(10, -1, -1)]
        workers.update(pid for _, pid in lines)

    def spread() -> bool:
        gevent.joinall([gevent.spawn(ask) for _ in range(20)], raise_error=True)
        return len(workers) > 1

    rules = {"countdown": COUNTDOWN.replace("@PORT@", str(port))}
    with running_daemon(tmp_path, rules, toml, workers=4):
        until(spread)
