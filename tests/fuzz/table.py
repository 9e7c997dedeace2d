"""All targets by name. A new parser gets one entry in the table of its file."""

from tests.fuzz import archives, daemon, engine, mail, maps, milter, proto, replies
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

_TABLES = (
    proto.TARGETS,
    mail.TARGETS,
    archives.TARGETS,
    maps.TARGETS,
    engine.TARGETS,
    milter.TARGETS,
    replies.TARGETS,
    daemon.TARGETS,
)

TARGETS: dict[str, Target] = {target.name: target for table in _TABLES for target in table}
