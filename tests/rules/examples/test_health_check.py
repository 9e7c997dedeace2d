"""The health checker of rules/examples in a daemon: services come and go, and the map follows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from filterd.engine.loader import load_rules
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.http_server import Asked, answer, http_serving
from tests.support.peers import dead_port, serving
from tests.support.rules import RULES

SOURCE = (RULES / "examples" / "health_check.py").read_text()
ASKS = """
from filterd import maps, rule

@rule("ASKS", score=0.0)
def asks(task):
    return True, *(f"{key}={value}" for key, value in sorted(maps["healthy"].edits.items()))
"""


def down_and_up(daemon: Daemon) -> tuple[list[str], list[str]]:
    symbols = daemon.scan(MAIL)["symbols"]
    return symbols.get("SERVICE_DOWN", {}).get("options", []), symbols["ASKS"].get("options", [])


def until(condition: Callable[[], Any]) -> None:
    while not condition():
        gevent.sleep(0.02)


def test_the_map_follows_the_services(tmp_path: Path) -> None:
    status = "200 OK"

    def respond(asked: Asked) -> bytes:
        return answer(b"", status)

    with http_serving(respond) as web, serving(lambda connection: connection.recv(1)) as tcp, dead_port() as dead:
        toml = f"""
        [log]
        level = "notice"
        format = "text"
        [modules.health_check]
        seconds = 0.05
        services = {{ web = "{web.url("/health")}", box = "tcp://127.0.0.1:{tcp.port}", gone = "tcp://127.0.0.1:{dead}" }}
        [maps.healthy]
        type = "map"
        """
        with running_daemon(tmp_path, {"health_check": SOURCE, "asks": ASKS}, toml) as daemon:
            until(lambda: down_and_up(daemon) == (["gone"], ["box=accepts", "web=200 OK"]))
            status = "503 Busy"
            until(lambda: down_and_up(daemon) == (["web", "gone"], ["box=accepts"]))
            status = "200 OK"
            until(lambda: down_and_up(daemon) == (["gone"], ["box=accepts", "web=200 OK"]))
            lines = [line for line in daemon.process.output().splitlines() if "health_check" in line or "work" in line]
    told = [line.split()[1] for line in lines if " web " in line]
    assert told == ["alert", "notice"]
    assert sum(" gone does not work: " in line for line in lines) == 1
    assert any("alert   filterd.rule: web does not work: 503 Busy rule=periodic look" in line for line in lines)


def test_it_is_not_loaded_by_default(tmp_path: Path) -> None:
    """Whoever names the folder of shipped rules gets what lies in it, and nothing below."""
    assert [file for file in load_rules([RULES]).files if "examples" in file] == []
