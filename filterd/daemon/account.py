"""The user that workers run as when filterd is started as root.

Promises: a name that does not exist is told; the groups are those that the user has after a login.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Account", "AccountError", "account_of"]


class AccountError(Exception):
    """There is no such user or group, or only root could become it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Numbers of a user, of its group, and of its further groups; its name and its home."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str = ""
    home: str = "/"

    @property
    def environment(self) -> dict[str, str]:
        """What a program looks up to find its user's files."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}

    def own(self, path: str | Path) -> None:
        """Give a file to the account. Raises OSError."""
        os.chown(path, self.uid, self.gid)


def account_of(user: str | None, group: str | None) -> Account | None:
    """The account to change to; None where nothing is to be changed. Raises AccountError."""
    if user is None:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise AccountError(f"supervisor.user: there is no user {user!r}") from None
    try:
        gid = entry.pw_gid if group is None else grp.getgrnam(group).gr_gid
    except KeyError:
        raise AccountError(f"supervisor.group: there is no group {group!r}") from None
    if os.geteuid() != 0:
        if entry.pw_uid == os.geteuid():
            return None
        raise AccountError(f"supervisor.user: only root can run workers as {user!r}")
    return Account(entry.pw_uid, gid, tuple(os.getgrouplist(user, gid)), user, entry.pw_dir)
