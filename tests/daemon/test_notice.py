"""What systemd is told, on a real datagram socket; and what "auto" counts."""

import os
import socket
from pathlib import Path

import pytest

from filterd.daemon.cpus import usable_cpus
from filterd.daemon.notice import Notice


@pytest.mark.parametrize("abstract", [False, True])
def test_each_state_is_one_datagram(tmp_path: Path, abstract: bool) -> None:
    name = f"@filterd-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
        notice = Notice(environment)
        assert environment == {"HOME": "/"}
        assert notice.watchdog == 3.0
        notice.ready("4 of 4 workers")
        assert systemd.recv(999) == f"READY=1\nSTATUS=4 of 4 workers\nMAINPID={os.getpid()}".encode()
        notice.reloading()
        first, second, third = systemd.recv(999).decode().split("\n")
        assert (first, third) == ("RELOADING=1", "STATUS=reloading")
        assert second.startswith("MONOTONIC_USEC=")
        assert second.partition("=")[2].isdecimal()
        notice.status("well")
        notice.alive()
        notice.stopping()
        assert [systemd.recv(999) for _ in range(3)] == [b"STATUS=well", b"WATCHDOG=1", b"STOPPING=1\nSTATUS=ending"]


def test_without_systemd_nothing_is_sent() -> None:
    notice = Notice({"WATCHDOG_USEC": "3000000"})
    assert notice.watchdog == 0.0
    notice.ready("well")


def test_a_watchdog_for_somebody_else_is_none_of_ours(tmp_path: Path) -> None:
    assert Notice({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog == 0.0
    assert Notice({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}).watchdog == 0.0
    assert Notice({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "500000"}).watchdog == 0.5


def test_a_systemd_that_is_not_there_is_no_reason_to_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notice({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("well")
    assert "cannot tell systemd READY=1: No such file or directory" in caplog.text


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 99), ("50000 100000", 1), ("250000 100000", 3), ("nonsense", 99), ("1 0", 99), (None, 99)],
)
def test_auto_is_what_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(99)))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cpus(tmp_path / "cpu.max") == expected
