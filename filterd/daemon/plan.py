"""What the supervisor needs to know of a configuration: numbers and addresses, no more.

It does not read the configuration itself: that is done by a process it starts for this (`daemon/scout.py`), which may hang or
break, and sends this as JSON.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from filterd.net.plain import Address, peer_name

__all__ = ["Door", "Plan"]


@dataclass(frozen=True, slots=True)
class Door:
    """One address of one listener. `path` is a unix socket with mode, owner and group; else there are host and port."""

    name: str
    protocol: str
    number: int
    """Which of the listener's addresses it is."""
    host: str
    port: int
    path: str
    mode: int | None
    owner: str | None
    group: str | None

    @property
    def address(self) -> Address:
        return self.path or (self.host, self.port)

    @property
    def key(self) -> str:
        """By which an open socket is found again after a reload. Ports that the kernel chose go by the listener's name."""
        if self.path or self.port:
            return peer_name(self.address)
        return f"{self.name}/{self.number} {peer_name(self.address)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The sections [listen], [workers], [supervisor] and [log], as far as they are the supervisor's business."""

    doors: tuple[Door, ...]
    count: int
    max_rss: int | None
    max_messages: int | None
    start_timeout: float
    stuck_timeout: float
    trial_time: float
    task_timeout: float
    socket: str | None
    pid_file: str | None
    user: str | None
    group: str | None
    log_format: str
    log_level: str
    log_file: str | None

    def told(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Plan":
        """What `told` gave, after its way through JSON."""
        return cls(**{**told, "doors": tuple(Door(**door) for door in told["doors"])})
