"""What every front door hands to the engine: one message and what came with it."""

from dataclasses import dataclass

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message

__all__ = ["Overloaded", "ScanRequest"]


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """One message to be judged.

    `door` is the dialect it came in (`http`, `rspamc`, `spamc`, `milter`, `cli`) and `peer` who brought it, as
    `address:port` or a path: both for logs and metrics only.
    """

    message: Message
    envelope: Envelope
    door: str = ""
    peer: str = ""


class Overloaded(Exception):
    """The message is not scanned because too many others are; its bringer should try again later."""
