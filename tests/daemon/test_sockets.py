"""The sockets that outlive every worker: opened before, closed after, with the right owner in between."""

import os
import socket
import stat
from pathlib import Path

import pytest

from filterd.daemon.account import Account, AccountError, account_of
from filterd.daemon.plan import Door, Plan
from filterd.daemon.sockets import Sockets

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def door(where: str | int, *, name: str = "scan", number: int = 0, mode: int | None = None, owner: str | None = None) -> Door:
    path = where if isinstance(where, str) else ""
    port = where if isinstance(where, int) else 0
    return Door(name, "http", number, "" if path else "127.0.0.1", port, path, mode, owner, None)


def connects(address: tuple[str, int] | str) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        return client.connect_ex(address) == 0


def test_an_address_is_taken_before_anybody_is_served_there() -> None:
    sockets, one = Sockets(), door(0)
    assert sockets.open([one]) == []
    host, port = sockets.told(one).split(":")
    assert not connects((host, int(port)))
    sockets.listen([one])
    assert connects((host, int(port)))
    assert len(Sockets().open([door(int(port))])) == 1
    sockets.close()
    assert not connects((host, int(port)))


def test_whoever_listens_first_has_the_address() -> None:
    """Until then the kernel lets two of those that may use an address again take it."""
    one, two = Sockets(), Sockets()
    assert one.open([door(0)]) == []
    same = door(int(one.told(door(0)).rpartition(":")[2]))
    assert two.open([same]) == []
    assert one.listen([door(0)]) == []
    assert two.listen([same]) == [f"cannot listen on {same.key}: Address already in use"]
    one.close()
    two.close()


def test_a_port_that_the_kernel_chose_stays_with_its_listener() -> None:
    sockets = Sockets()
    doors = [door(0, number=0), door(0, number=1), door(0, name="other")]
    assert sockets.open(doors) == []
    before = [sockets.told(one) for one in doors]
    assert len(set(before)) == 3
    assert sockets.open(doors) == []
    assert [sockets.told(one) for one in doors] == before
    sockets.close()


def test_what_cannot_be_had_is_told_whole_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    sockets = Sockets()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        good = tmp_path / "good.sock"
        refused = sockets.open([door(str(good)), door(port), door("/nowhere/x.sock")])
    assert refused == [
        f"cannot listen on 127.0.0.1:{port}: Address already in use",
        "cannot listen on unix:/nowhere/x.sock: No such file or directory",
    ]
    assert not good.exists()
    assert sockets.unkept([door(port)], [door(port), door(0)]) == []


def test_a_unix_socket_is_removed_unless_it_is_somebody_elses_by_now(tmp_path: Path) -> None:
    sockets = Sockets()
    mine, theirs = door(str(tmp_path / "mine.sock")), door(str(tmp_path / "theirs.sock"))
    assert sockets.open([mine, theirs]) == []
    sockets.listen([mine, theirs])
    Path(theirs.path).unlink()
    other = Sockets()
    assert other.open([theirs]) == []
    sockets.keep([])
    assert (Path(mine.path).exists(), Path(theirs.path).exists()) == (False, True)
    Path(theirs.path).unlink()
    other.close()


def test_permissions_follow_the_configuration(tmp_path: Path) -> None:
    sockets, path = Sockets(), tmp_path / "s.sock"
    one = door(str(path), mode=0o660)
    assert sockets.open([one]) == []
    sockets.listen([one])
    assert sockets.told(one) == f"unix:{path} mode=0660"
    for mode, expected in ((0o666, 0o666), (None, 0o600)):
        again = door(str(path), mode=mode)
        assert sockets.open([again]) == []
        sockets.listen([again])
        assert stat.S_IMODE(path.stat().st_mode) == expected
    sockets.close()


@ROOT_ONLY
def test_a_unix_socket_belongs_to_whom_it_says_else_to_the_account(tmp_path: Path) -> None:
    sockets, account = Sockets(), Account(65534, 65534, (65534,))
    own, named = door(str(tmp_path / "own.sock")), door(str(tmp_path / "named.sock"), owner="daemon")
    assert sockets.open([own, named], account) == []
    found = [Path(one.path).stat() for one in (own, named)]
    assert [(one.st_uid, one.st_gid) for one in found] == [(65534, 65534), (1, 65534)]
    wrong = door(str(tmp_path / "wrong.sock"), owner="nobody-of-that-name")
    assert sockets.open([wrong]) == [f"cannot give {wrong.path} to nobody-of-that-name:: no such user: 'nobody-of-that-name'"]
    assert not Path(wrong.path).exists()
    changed = door(own.path, owner="nobody-of-that-name")
    assert sockets.listen([own, named]) == []
    assert sockets.listen([changed]) == []
    assert Path(own.path).stat().st_uid == 65534
    sockets.close()


def test_a_plan_survives_its_way_through_json() -> None:
    import json

    one = door(25)
    plan = Plan((one, door("/run/x.sock")), 2, None, 5, 30.0, 30.0, 2.0, 8.0, None, None, None, None, "json", "info", None)
    assert Plan.of(json.loads(json.dumps(plan.told()))) == plan
    assert (one.key, one.address) == ("127.0.0.1:25", ("127.0.0.1", 25))


def test_an_account_is_found_by_its_names() -> None:
    assert account_of(None, None) is None
    for user, group, text in (
        ("nobody-of-that-name", None, "supervisor.user: there is no user 'nobody-of-that-name'"),
        ("daemon", "no-group-of-that-name", "supervisor.group: there is no group 'no-group-of-that-name'"),
    ):
        with pytest.raises(AccountError, match=text):
            account_of(user, group)
    if os.geteuid() == 0:
        account = account_of("daemon", "nogroup")
        assert account is not None
        assert (account.uid, account.gid) == (1, 65534)
        assert 65534 in account.groups


def test_only_root_becomes_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert account_of("daemon", None) is None
    with pytest.raises(AccountError, match="only root can run workers as 'nobody'"):
        account_of("nobody", None)
