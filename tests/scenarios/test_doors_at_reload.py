"""What becomes of connections that are open while the daemon is reloaded or reopens its log, and of what it has no room for."""

import re
import signal
from functools import partial
from pathlib import Path

import pytest

from filterd.proto.milter_commands import EndOfHeaders
from tests.support.client import Client
from tests.support.console import order, until
from tests.support.control import ask, reachable
from tests.support.daemon import Daemon, running_daemon
from tests.support.load import RULE, Outcome, loaded, mail_of
from tests.support.load_control import Watch
from tests.support.load_doors import DOORS, SpamcDoor, judged
from tests.support.mta import Mta, message
from tests.support.partners import free_port

QUICK = 'trial_time = "200ms"\n'

pytestmark = pytest.mark.timeout(120)


def rules(version: int) -> dict[str, str]:
    return {"load": RULE.replace("@VERSION@", str(version))}


def listeners(ports: dict[str, int]) -> str:
    return "".join(f'[listen.{name}]\nprotocol = "{name}"\nbind = "127.0.0.1:{port}"\n' for name, port in ports.items())


def reload(daemon: Daemon, version: int) -> None:
    (daemon.conf.parent / "rules" / "load.py").write_text(rules(version)["load"])
    assert order(daemon, "reload")["problems"] == []


def test_idle_connections_end_at_a_reload_and_busy_ones_with_their_answer(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("milter", "spamc")}
    log = tmp_path / "log"
    told = f'[log]\nfile = "{log}"\n'
    milter, spamc = (("127.0.0.1", port) for port in ports.values())
    with running_daemon(tmp_path, rules(0), QUICK + listeners(ports) + told) as daemon:
        for port in ports.values():
            reachable(port)
        with Mta(milter) as idle, Mta(milter) as busy, Client(spamc) as half, Client(spamc) as silent:
            first, second = message(mail_of("first")), message(mail_of("second"))
            assert judged(idle.say(*first), twice=False) == Outcome("answered", "first", "0")
            begun = second.index(EndOfHeaders())
            busy.say(*second[:begun])
            request = SpamcDoor(spamc).request(mail_of("third"))
            half.send(request[:30])

            # A log that is opened again is nobody's concern.
            log.rename(tmp_path / "log.1")
            daemon.process.process.send_signal(signal.SIGUSR1)
            until(log.exists)
            assert judged(idle.say(*message(mail_of("again"))), twice=False) == Outcome("answered", "again", "0")
            until(lambda: "filterd.message" in log.read_text())

            reload(daemon, 1)
            # Between two messages the MTA is let go, and finds the new rules where it calls again.
            assert idle.client.is_closed
            with Mta(milter) as new:
                assert judged(new.say(*message(mail_of("new"))), twice=False) == Outcome("answered", "new", "1")
            # Who was in the middle is judged by the rules that were there when it came.
            assert judged(busy.say(*second[begun:]), twice=False) == Outcome("answered", "second", "0")
            assert busy.client.is_closed
            assert SpamcDoor(spamc).read(half.send(request[30:]).read_all()) == Outcome("answered", "third", "0")
            assert silent.is_closed
        until(lambda: len(order(daemon, "status")["workers"]) == 1)


def test_what_there_is_no_room_for_is_put_off_at_every_door_and_all_is_counted(tmp_path: Path) -> None:
    ports = {protocol: free_port() for protocol, _ in DOORS.values() if protocol != "http"}
    limit = "[limits]\ntasks = 2\n"
    with running_daemon(tmp_path, rules(0), QUICK + listeners(ports) + limit, workers=2) as daemon:
        ports["http"] = daemon.port
        for port in ports.values():
            reachable(port)
        doors = {name: partial(made, ("127.0.0.1", ports[protocol])) for name, (protocol, made) in DOORS.items()}
        with loaded(doors, clients=2) as tally:

            def is_mixed() -> bool:
                return all(
                    tally.kinds[door, kind] - before[door, kind] > 4 for door in DOORS for kind in ("answered", "tempfail")
                )

            before = tally.kinds.copy()
            until(is_mixed)
            reload(daemon, 1)
            before = tally.kinds.copy()
            until(is_mixed)
        assert tally.problems + tally.losses == []
        assert set(tally.versions) == {"", "0", "1"}
        # Nobody was killed, so every message is in the books, those of the workers that have ended too.
        until(lambda: len(order(daemon, "status")["workers"]) == 2)
        watch = Watch(ports["control"])
        for path in ("/stat", "/metrics"):
            watch.look(path)
            assert (watch.scanned, watch.problems) == (tally.count("answered"), [])
        metrics = ask(ports["control"], "/metrics").body.decode()
        refused = re.search(r"^filterd_messages_refused_total (\S+)$", metrics, re.MULTILINE)
        assert refused is not None
        assert float(refused[1]) == tally.count("tempfail")
