"""What the exit code of `filterd` says to a script, and the one way to end with a list of mistakes.

Promises: a code never means two things, and whoever asks for the verdict by `scan --exit-code` never takes a message that could
not be scanned for a clean one.
"""

import sys
from collections.abc import Iterable
from typing import NoReturn

import click

__all__ = ["CLEAN", "INTERRUPTED", "LATER", "MARK", "REJECT", "UNSCANNED", "USAGE", "of_action", "refuse"]

CLEAN = 0
"""Done; every message was scanned."""
UNSCANNED = 1
"""Some message could not be scanned. Goes before the verdict on the others."""
USAGE = 2
"""The command line, the configuration or the rules cannot be used."""
MARK = 10
"""`scan --exit-code`: the strongest action is add header or rewrite subject."""
LATER = 11
"""`scan --exit-code`: the strongest action is soft reject or greylist."""
REJECT = 12
"""`scan --exit-code`: the strongest action is reject."""
INTERRUPTED = 130
"""Ended by Ctrl-C: what shells report for SIGINT."""

_OF_ACTION = {
    "add header": MARK,
    "rewrite subject": MARK,
    "soft reject": LATER,
    "greylist": LATER,
    "reject": REJECT,
    # Declared by some installations: like a rejected message, it does not reach the mailbox.
    "discard": REJECT,
    "quarantine": REJECT,
}


def of_action(action: str) -> int:
    """The code of `scan --exit-code` for one message; the largest stands for several."""
    return _OF_ACTION.get(action, CLEAN)


def refuse(problems: Iterable[object]) -> NoReturn:
    """Print each problem on the standard error stream and end with USAGE."""
    for problem in problems:
        click.echo(str(problem), err=True)
    sys.exit(USAGE)
