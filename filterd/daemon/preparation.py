"""What the supervisor does with a plan before workers start: the log, and a warning."""

import os
from logging import getLogger
from pathlib import Path

from filterd.daemon.account import Account
from filterd.daemon.logs import reopen_log, set_up_logging
from filterd.daemon.plan import Plan

__all__ = ["prepare_log", "reopen", "set_up_log", "warn_of_root"]

log = getLogger("filterd.supervisor")


def prepare_log(plan: Plan, account: Account | None) -> None:
    """See that the log file is there, and belongs to those who write it. Raises OSError."""
    if plan.log_file is not None:
        with Path(plan.log_file).open("ab"):
            pass
        if account is not None:
            account.own(plan.log_file)


def set_up_log(plan: Plan) -> None:
    """Let the supervisor log as its workers do. Raises OSError."""
    set_up_logging(plan.log_format, plan.log_level, None if plan.log_file is None else Path(plan.log_file))


def reopen(plan: Plan, account: Account | None) -> bool:
    """Go on in a new log file, which is made for the account; False where that cannot be, and the old one goes on."""
    try:
        prepare_log(plan, account)
        reopen_log()
    except OSError as error:
        log.error("the log goes on in the old file: %s", error)
        return False
    return True


def warn_of_root(account: Account | None) -> None:
    """Say so if rules will run as root."""
    if os.geteuid() == 0 and account is None:
        log.warning("workers run as root, and so does every rule: name a user in supervisor.user")
