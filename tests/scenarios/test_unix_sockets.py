"""Unix sockets of the daemon: who may connect is what the configuration says, from the first moment."""

import grp
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.daemon import ROOT, running_daemon, written

RULE = """\
from filterd import Task, rule


@rule("SEEN", score=1.0)
def seen(task: Task) -> bool:
    return True
"""

PING = b"GET /ping HTTP/1.0\r\n\r\n"


def ping(address: tuple[str, int] | str) -> bytes:
    """Answered once every door is open: before that the other one may not be there yet."""
    with Client(address) as client:
        return client.send(PING).read_reply()[2]


def door(bind: str) -> str:
    return f'[listen.local]\nprotocol = "http"\nbind = "{bind}"\n'


@pytest.mark.parametrize(("option", "mode"), [("", 0o600), (" mode=0660", 0o660), (" mode=666", 0o666)])
def test_the_mode_is_as_written_and_else_for_the_owner_alone(option: str, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    with running_daemon(tmp_path, {"seen": RULE}, door(f"unix:{path}{option}")) as daemon:
        ping(("127.0.0.1", daemon.port))
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == mode
        assert ping(str(path)) == b"pong\r\n"
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
@pytest.mark.parametrize(
    ("options", "owner", "group"),
    [
        ("owner=nobody", "nobody", None),
        ("group=nogroup", None, "nogroup"),
        ("mode=0660 owner=nobody group=nogroup", "nobody", "nogroup"),
    ],
)
def test_the_owner_and_group_are_as_written(options: str, owner: str | None, group: str | None, tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    with running_daemon(tmp_path, {"seen": RULE}, door(f"unix:{path} {options}")) as daemon:
        ping(("127.0.0.1", daemon.port))
        found = path.stat()
        assert found.st_uid == (os.geteuid() if owner is None else pwd.getpwnam(owner).pw_uid)
        assert found.st_gid == (os.getegid() if group is None else grp.getgrnam(group).gr_gid)


@pytest.mark.parametrize("option", ["owner=nobody-by-this-name", "group=no-group-by-this-name"])
def test_an_owner_that_does_not_exist_is_said_and_nothing_is_served(option: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    conf = written(tmp_path, {"seen": RULE}, door(f"unix:{path} {option}"), 0)
    command = [sys.executable, "-m", "filterd", "run", "-c", str(conf)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == 2
    assert f"cannot give {path} to " in done.stderr
    assert option.partition("=")[2] in done.stderr


def test_a_socket_left_behind_by_a_daemon_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "scan.sock"
    toml = door(f"unix:{path}")
    with running_daemon(tmp_path, {"seen": RULE}, toml) as daemon:
        ping(("127.0.0.1", daemon.port))
        daemon.process.process.kill()
        daemon.process.process.wait(10)
    assert path.exists()
    with running_daemon(tmp_path, {"seen": RULE}, toml) as daemon:
        ping(("127.0.0.1", daemon.port))
        assert ping(str(path)) == b"pong\r\n"
