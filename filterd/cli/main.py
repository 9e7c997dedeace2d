"""The command `filterd` and its commands.

Promises: a command imports what it needs when it runs, so that `filterd --help` is quick.
"""

import sys
from io import TextIOWrapper

import click

from filterd import __version__
from filterd.cli.check import check
from filterd.cli.orders import reload, status, stop
from filterd.cli.password import password
from filterd.cli.rules import rules
from filterd.cli.run import run
from filterd.cli.scan import scan
from filterd.cli.worker import worker

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="filterd")
def main() -> None:
    """The mail filter you program in Python."""
    # A file's name may be any bytes, and a terminal may know few characters: neither is a reason to fail.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


for command in (run, scan, check, rules, password, reload, status, stop, worker):
    main.add_command(command)
