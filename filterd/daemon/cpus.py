"""How many processes can compute at once: what `workers.count = "auto"` means."""

import os
from math import ceil
from pathlib import Path

__all__ = ["usable_cpus"]

CGROUP = Path("/sys/fs/cgroup/cpu.max")
"""The share of the machine that a container or a systemd unit may use, cgroups(7): "max 100000", or "150000 100000" for 1.5."""


def usable_cpus(quota: Path = CGROUP) -> int:
    """The CPUs this process may run on, or fewer where its control group gives it less time; at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return max(1, min(count, ceil(int(share) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return count
