"""What processes use, as the kernel counts it."""

import time
from pathlib import Path

import psutil

__all__ = ["Tree"]


class Tree:
    """A process and all that descend from it."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    @property
    def pids(self) -> list[int]:
        return [self._process.pid, *(child.pid for child in self._process.children(recursive=True))]

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of all of them."""
        # The processes' own clocks, clock_getcpuclockid(3): the ticks in /proc are too coarse for short runs.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids)

    def waited(self) -> float:
        """Seconds that their threads were ready while the core had others to run; 0 where the kernel keeps no count."""
        counts = (file for pid in self.pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[1]) for file in counts) / 1e9

    def memory(self) -> int:
        """Bytes resident, of the largest of them."""
        return max(_status(pid, "VmRSS") for pid in self.pids)

    def peak(self) -> int:
        """The most bytes that its largest child has had resident, or itself where it has none: the peak of one worker."""
        first, *children = self.pids
        return max(_status(pid, "VmHWM") for pid in children or [first])


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), 0)
