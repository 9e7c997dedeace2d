"""The hosts file is read when it is needed, and again when it has changed."""

from pathlib import Path

import pytest

from filterd.net import resolver_hosts
from filterd.net.resolver_hosts import CHECK, HostsFile


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(resolver_hosts, "monotonic", clock)
    return clock


def test_names_have_any_case_and_maybe_a_final_dot(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("192.0.2.1 Mail.Example.org\n192.0.2.2 mail.example.org\n")
    hosts = HostsFile(tmp_path / "hosts")
    assert hosts.addresses("mail.example.ORG.") == ["192.0.2.1", "192.0.2.2"]
    assert hosts.addresses("example.org") == []
    hosts.addresses("mail.example.org").clear()
    assert hosts.addresses("mail.example.org") == ["192.0.2.1", "192.0.2.2"], "each caller has a list of its own"


def test_localhost_is_always_this_machine(tmp_path: Path) -> None:
    assert HostsFile(tmp_path / "none").addresses("localhost") == ["127.0.0.1", "::1"]
    (tmp_path / "hosts").write_text("127.0.0.3 localhost")
    assert HostsFile(tmp_path / "hosts").addresses("LocalHost") == ["127.0.0.3"]


def test_a_change_is_noticed_after_some_seconds(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "hosts"
    hosts = HostsFile(file)
    assert hosts.addresses("a.test") == []
    file.write_text("192.0.2.1 a.test")
    assert hosts.addresses("a.test") == []
    clock.now += CHECK
    assert hosts.addresses("a.test") == ["192.0.2.1"]
    file.write_text("192.0.2.1 a.test\n192.0.2.2 a.test")
    clock.now += CHECK - 0.1
    assert hosts.addresses("a.test") == ["192.0.2.1"]
    clock.now += 0.1
    assert hosts.addresses("a.test") == ["192.0.2.1", "192.0.2.2"]
    file.unlink()
    clock.now += CHECK
    assert hosts.addresses("a.test") == []


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hosts"
    file.write_text("192.0.2.1 a.test")
    hosts = HostsFile(file)
    assert hosts.addresses("a.test") == ["192.0.2.1"]
    monkeypatch.setattr(resolver_hosts, "parse_hosts", None)
    clock.now += CHECK
    assert hosts.addresses("a.test") == ["192.0.2.1"]
