"""What `filterd status` is told of the workers, as JSON takes it, and in one line for systemd and the log."""

from typing import Any

from filterd.daemon.child import Child, resident
from filterd.daemon.sockets import Sockets
from filterd.daemon.workset import WorkerSet

__all__ = ["of_generation", "of_worker", "summary"]


def summary(workers: WorkerSet | None) -> str:
    """How many serve."""
    if workers is None:
        return "nobody serves yet"
    serving = sum(child.state == "serving" for child in workers.children)
    return f"{serving} of {workers.plan.count} workers, generation {workers.number}"


def of_generation(workers: WorkerSet | None, sockets: Sockets | None) -> dict[str, Any]:
    """The generation in service; without sockets it listens nowhere any more."""
    doors = [] if workers is None or sockets is None else workers.plan.doors
    return {
        "generation": 0 if workers is None else workers.number,
        "count": 0 if workers is None else workers.plan.count,
        "restarts": 0 if workers is None else workers.restarts,
        "listeners": [
            {"name": door.name, "protocol": door.protocol, "address": sockets.told(door)} for door in doors if sockets
        ],
    }


def of_worker(workers: WorkerSet, child: Child, elected: Child | None) -> dict[str, Any]:
    """One process. `rss` is in bytes, `age` in seconds."""
    return {
        "number": child.number,
        "pid": child.pid,
        "generation": workers.number,
        "state": child.state,
        "age": round(child.age, 3),
        "rss": resident(child.pid),
        "messages": child.messages,
        "under_way": child.under_way,
        "runs_once": child is elected,
    }
