"""All targets by name. A new parser gets one entry in the table of its file."""

from tests.fuzz import engine, mail, proto
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {target.name: target for target in (*proto.TARGETS, *mail.TARGETS, *engine.TARGETS)}
