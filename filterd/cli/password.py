"""`filterd password`: the hash of a password, for the password files of control listeners.

Promises: the password is never an argument, so that no list of processes shows it; nothing but the hash is printed on the
standard output stream.
"""

import os
import sys

import click

from filterd.cli.exits import USAGE

__all__ = ["password"]


@click.command()
def password() -> None:
    """Print the hash of a password.

    It is asked for twice on a terminal, and else read from the first line of the standard input stream. Write what is printed
    into a file of its own, mode 0600 or 0640, and name that as password_file or enable_password_file of the control listener.
    """
    from filterd.proto.passwords import SALT_BYTES, hash_password

    if sys.stdin.isatty():
        written = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True, default="", show_default=False)
    else:
        written = _first_line(sys.stdin.fileno()).decode("utf-8", "surrogateescape")
    try:
        if written != written.strip():
            raise ValueError("a password that begins or ends with a blank cannot be sent: HTTP takes blanks away there")
        line = hash_password(written.encode("utf-8", "surrogateescape"), os.urandom(SALT_BYTES))
    except ValueError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    click.echo(line)


def _first_line(descriptor: int) -> bytes:
    """The first line and nothing after it: the next command of a script may have the rest."""
    read = b""
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        read += byte
    return read.removesuffix(b"\r")
