"""The sections of the configuration that are about processes: see `schema`."""

from pydantic import model_validator

from filterd.daemon.fields import Count, Duration, FilePath, Size, SocketPath, Timeout, WorkerCount
from filterd.daemon.section import Section

__all__ = ["Supervisor", "Workers"]


class Workers(Section):
    """`[workers]`: how many processes, "auto" being as many as there are usable CPUs; when one is replaced, and how
    long a new one may take. No `max_rss` and no `max_messages` mean that none is replaced for that.
    """

    count: WorkerCount = "auto"
    max_rss: Size | None = None
    max_messages: Count | None = None
    start_timeout: Timeout = 30.0
    stuck_timeout: Timeout = 30.0
    trial_time: Duration = 2.0
    trial_mail: FilePath | None = None


class Supervisor(Section):
    """`[supervisor]`: the process that starts the workers. No `socket` is one whose path follows from that of the
    configuration; `user` and `group` are what the workers run as if it is started as root.
    """

    socket: SocketPath | None = None
    pid_file: FilePath | None = None
    user: str | None = None
    group: str | None = None

    @model_validator(mode="after")
    def _user_first(self) -> "Supervisor":
        if self.group is not None and self.user is None:
            raise ValueError("group is of no use without user")
        return self
