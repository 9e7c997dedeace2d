"""The options of `filterd scan` that say what an MTA would: the client, the envelope, and any other header of a request.

Promises: what cannot be a header of a request, or is no address where one is asked for, is a usage error; a nonsensical request
can still be made for a test, by `--header`.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from filterd.mail.envelope import Envelope

__all__ = ["envelope", "requested"]

Command = TypeVar("Command", bound=Callable[..., Any])

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_OF_THE_CONNECTION = ("connection", "content-length", "expect", "host", "transfer-encoding")


def _one_line(context: click.Context, option: click.Parameter, value: Any) -> Any:
    for text in [value] if isinstance(value, str) else value or ():
        if any(character in text for character in "\r\n\0"):
            raise click.BadParameter("has a line break in it")
    return value


def _pairs(context: click.Context, option: click.Parameter, values: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in _one_line(context, option, values):
        name, colon, value = text.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise click.BadParameter(f"{text!r} is not 'Name: value'")
        if name.lower() in _OF_THE_CONNECTION:
            raise click.BadParameter(f"{name} belongs to the connection")
        pairs.append((name, value.strip()))
    return pairs


# From the last to the first, as decorators are applied.
_OPTIONS = (
    click.option(
        "--header", "headers", multiple=True, callback=_pairs, metavar="'Name: value'", help="A request header. Repeatable."
    ),
    click.option("--queue-id", callback=_one_line, metavar="ID", help="The MTA's name for the message."),
    click.option("-u", "--user", callback=_one_line, metavar="USER", help="The authenticated user."),
    click.option("--hostname", callback=_one_line, metavar="H", help="The client's name in DNS."),
    click.option("--helo", callback=_one_line, metavar="H", help="What the client called itself."),
    click.option("-r", "--rcpt", "rcpts", multiple=True, callback=_one_line, metavar="RCPT", help="A recipient. Repeatable."),
    click.option(
        "-F", "--from", "mail_from", callback=_one_line, metavar="FROM", help="The sender; '' or <> for the null sender."
    ),
    click.option("-i", "--ip", callback=_one_line, metavar="IP", help="The client's address."),
)
_NAMES = ("ip", "mail_from", "rcpts", "helo", "hostname", "user", "queue_id")


def requested(command: Command) -> Command:
    """Give a command these options; `envelope` makes an envelope of their values."""
    for option in _OPTIONS:
        command = option(command)
    return command


def envelope(*, headers: Sequence[tuple[str, str]], **options: Any) -> "Envelope":
    """The envelope of all messages of one command. Raises UsageError."""
    from filterd.mail.envelope import Envelope

    for name in sorted(Envelope.of(**options).broken):
        option = {"ip": "-i", "from": "-F", "rcpt": "-r"}[name]
        raise click.UsageError(f"{option} is not an address (for a test of nonsense: --header '{name.title()}: …')")
    return Envelope.of(**options, headers=headers)
