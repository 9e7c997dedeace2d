"""`filterd scan`: messages through the engine in this process, or through a running daemon, and what came of each.

Promises:

* Several messages are scanned at the same time, and shown in the order in which they were named.
* A message that cannot be scanned is told on the standard error stream; the others are scanned all the same.
* No socket is opened for listening: the `[listen]` sections are not looked at.
"""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from filterd.cli.exits import INTERRUPTED, UNSCANNED, of_action, refuse
from filterd.cli.options import configuration, configured

if TYPE_CHECKING:
    from filterd.cli.sources import Source
    from filterd.daemon.assembly import Assembly
    from filterd.daemon.config import Config
    from filterd.mail.envelope import Envelope
    from filterd.mail.verdict import Verdict

__all__ = ["scan"]

JOBS = 16
"""Messages at a time: enough to keep the processor busy while rules wait for others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one message: an error, or its verdict and the same as a /checkv2 object (each made when it is asked for)."""

    name: str
    error: str = ""
    verdict: "Callable[[], Verdict] | None" = None
    reply: Callable[[], bytes] | None = None
