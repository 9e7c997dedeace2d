"""The keys of a `[listen.NAME]` section that only a stream listener has.

Promises: one of them in a section with another protocol is an error that names it; what excludes each other is one too.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from filterd.daemon import units
from filterd.daemon.door_keys import DoorKeys
from filterd.daemon.fields import Listed, Natural, Timeout
from filterd.daemon.units import Address

__all__ = ["StreamKeys"]

TOTAL = 3600.0
"""The `timeout` of a stream, which is for all of it."""

Server: TypeAlias = Annotated[Address, BeforeValidator(units.address)]


class StreamKeys(DoorKeys):
    """What is done with a stream, by whom it is answered, and how long it may take."""

    server: Listed[Server] = ()
    accept: Listed[str] = ()
    request: Listed[str] = ()
    response: Listed[str] = ()
    close: Listed[str] = ()
    service: str | None = None
    inspect_delay: Timeout = 5.0
    idle_timeout: Timeout = 600.0
    connect_timeout: Timeout = 5.0
    max_per_address: Natural = 0
    send_proxy: Literal["v1", "v2"] | None = None
    on_error: Literal["skip", "drop"] = "skip"
    buffer: Annotated[int, Field(ge=1024, le=16 * 2**20), BeforeValidator(units.size)] = 65536

    @model_validator(mode="before")
    @classmethod
    def _at_the_pace_of_streams(cls, section: Any) -> Any:
        if isinstance(section, Mapping) and section.get("protocol") == "tcp":
            return {"timeout": TOTAL, **section}
        return section

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        written = self.model_fields_set
        if getattr(self, "protocol", None) != "tcp":
            for name in StreamKeys.model_fields:
                if name in written:
                    yield f'{name} is of no use without protocol = "tcp"'
            return
        if "keepalive_timeout" in written:
            yield "keepalive_timeout is of no use in a stream, which has idle_timeout"
        if self.service is not None:
            for name in ("server", "request", "response", "send_proxy"):
                if getattr(self, name):
                    yield f"service has the connection for itself: {name} would never be used"
        else:
            if not (self.server or self.accept or self.request):
                yield "it does nothing: it needs a server, actions (accept, request), or a service"
            for name in ("response", "send_proxy"):
                if getattr(self, name) and not self.server:
                    yield f"{name} is of no use without a server"
        if self.idle_timeout > getattr(self, "timeout", TOTAL) and "idle_timeout" in written:
            yield "idle_timeout is longer than timeout, which is for the whole connection"
