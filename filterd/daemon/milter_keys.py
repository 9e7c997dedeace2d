"""The keys of a `[listen.NAME]` section that only a milter door has.

Promises: one of them in a section with another protocol is an error that names it; it would look as if it did something.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import model_validator

from filterd.daemon.door_keys import DoorKeys

__all__ = ["MilterKeys"]


IDLE = 7210.0
"""The `keepalive_timeout` of a milter, as in libmilter: longer than any MTA waits for its client."""


class MilterKeys(DoorKeys):
    """What an MTA is told, and what becomes of what is rejected."""

    reject_message: str = "Spam message rejected"
    tempfail_message: str = "Try again later"
    quarantine_message: str = "Spam message quarantined"
    spam_header: str = "X-Spam"
    discard_on_reject: bool = False
    quarantine_on_reject: bool = False
    oversize: Literal["tempfail", "reject"] = "tempfail"

    @model_validator(mode="before")
    @classmethod
    def _at_the_pace_of_clients(cls, section: Any) -> Any:
        if isinstance(section, Mapping) and section.get("protocol") == "milter":
            return {"keepalive_timeout": IDLE, **section}
        return section

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if getattr(self, "protocol", None) != "milter":
            for name in MilterKeys.model_fields:
                if name in self.model_fields_set:
                    yield f'{name} is of no use without protocol = "milter"'
            return
        if self.discard_on_reject and self.quarantine_on_reject:
            yield "discard_on_reject and quarantine_on_reject exclude each other"
        if not getattr(self, "keepalive_timeout", IDLE):
            yield "keepalive_timeout = 0 would end every connection before a message has come"
        name = self.spam_header
        if not name or not name.isascii() or not name.isprintable() or set(": ") & set(name):
            yield f'"{self.spam_header}" is no name of a header (spam_header)'
