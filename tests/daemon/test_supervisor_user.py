"""Started as root: the workers run as the user of the configuration, and can do what they need to."""

import json
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gevent
import psutil
import pytest

from tests.support.console import all_serving, order, pids, until
from tests.support.daemon import ROOT, Daemon, written
from tests.support.engine import MAIL
from tests.support.partners import free_port, running
from tests.support.users import as_others

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else"),
]

NOBODY = pwd.getpwnam("nobody")

RULE = """
import os
from filterd import rule

@rule("WHO")
def who(task):
    try:
        os.setuid(0)
    except PermissionError:
        pass
    return True, f"{os.getuid()} {os.geteuid()} {os.getgid()} {0 in os.getgroups()} {os.environ['USER']}"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where others may look, but not write: pytest's own folders are closed to them."""
    path = Path(tempfile.mkdtemp(prefix="filterd-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def started(folder: Path, toml: str) -> tuple[Path, list[str], dict[str, str], int]:
    python, environment = as_others(NOBODY.pw_uid)
    port = free_port()
    conf = written(folder, {"who": RULE}, toml, port, workers=2)
    return conf, [python, "-m", "filterd", "run", "-c", str(conf)], environment, port


def test_workers_are_nobody_and_their_files_and_sockets_are_theirs(folder: Path) -> None:
    """Neither configuration nor rules can be read by them: what they need of these they are given."""
    path, log, pid_file = folder / "s.sock", folder / "log", folder / "pid"
    toml = 'trial_time = "200ms"\n[supervisor]\nuser = "nobody"\n'
    toml += f'pid_file = "{pid_file}"\n[listen.local]\nprotocol = "http"\nbind = "unix:{path}"\n[log]\nfile = "{log}"\n'
    conf, command, environment, port = started(folder, toml)
    conf.chmod(0o600)
    for path_of_rules in (folder / "rules", folder / "rules" / "deep"):
        path_of_rules.mkdir(exist_ok=True)
        path_of_rules.chmod(0o700)
    (folder / "rules" / "who.py").rename(folder / "rules" / "deep" / "who.py")
    conf.write_text(conf.read_text().replace('paths = "rules"', 'paths = "rules/deep"'))
    with running(command, ready=port, env=environment, cwd=ROOT, patience=40.0) as process:
        daemon = Daemon(port, process, conf)
        before = all_serving(daemon, 2)
        assert {psutil.Process(pid).uids() for pid in before} == {(NOBODY.pw_uid,) * 3}
        assert psutil.Process(process.pid).uids() == (0, 0, 0)
        assert pid_file.read_text() == f"{process.pid}\n"
        told = daemon.scan(MAIL)["symbols"]["WHO"]["options"]
        assert told == [f"{NOBODY.pw_uid} {NOBODY.pw_uid} {NOBODY.pw_gid} False nobody"]
        found = path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (NOBODY.pw_uid, 0o600)
        assert log.stat().st_uid == NOBODY.pw_uid
        assert "as root" not in log.read_text()
        # The folder is root's, so the workers could not make the file themselves.
        log.rename(folder / "log.1")
        process.process.send_signal(signal.SIGUSR1)
        until(lambda: log.exists() and [daemon.scan(MAIL) for _ in range(4)] and "filterd.message" in log.read_text())
        os.kill(before[0], signal.SIGKILL)
        all_serving(daemon, 2, without=before[:1])
        assert order(daemon, "reload")["problems"] == []
        assert not set(pids(daemon)) & set(before)
    assert not pid_file.exists()
    assert not path.exists()
    assert json.loads((folder / "log").read_text().splitlines()[-1])["text"] == "ended"


def test_workers_as_root_are_warned_about(folder: Path) -> None:
    conf, command, environment, port = started(folder, "")
    with running(command, ready=port, env=environment, cwd=ROOT, patience=40.0) as process:
        gevent.sleep(0.1)
        assert "workers run as root, and so does every rule: name a user in supervisor.user" in process.output()
        assert conf.exists()


def test_a_user_that_does_not_exist_is_told(folder: Path) -> None:
    _, command, environment, port = started(folder, '[supervisor]\nuser = "nobody-of-that-name"\n')
    expected = r"ended with 2 .*\n.*there is no user 'nobody-of-that-name'"
    with pytest.raises(AssertionError, match=expected), running(command, ready=port, env=environment, cwd=ROOT):
        pass
