"""Hostile messages, each read completely: CPU, the longest single step that holds the loop, and memory.

A step is one look at one lazy property, as a rule takes it; the steps are those of tests/support/reading.py. CPU is that of
the process. Memory is tracemalloc's peak in a second reading, beside the message itself, as a multiple of its size; what C
libraries take is not in it. Steps over 50 ms are marked. `python -m bench.hostile WORD` measures those with the word in them.
"""

import gc
import sys
import time
import tracemalloc

from filterd.mail.hosts import load_suffixes
from filterd.mail.message import Message
from tests.support.hostile import HOSTILE
from tests.support.reading import flags_of, read_all, steps

HOLDS = 0.050
"""Seconds a step may take."""
ROUNDS = 3


def main() -> None:
    wanted = sys.argv[1:] if __name__ == "__main__" else []
    load_suffixes()
    print(f"{'MB':>6} {'CPU ms':>8} {'longest ms':>10}   {'memory':>7}  {'step':<28} message")
    for name, hostile in HOSTILE.items():
        if wanted and not any(word in name for word in wanted):
            continue
        raw = hostile.make()
        rounds = [_timed(raw) for _ in range(ROUNDS)]
        total = min(total for total, _, _ in rounds)
        longest, step = min((longest, step) for _, longest, step in rounds)
        mark = "!" if longest > HOLDS else " "
        lacking = sorted(hostile.flags - flags_of(Message(raw)))
        told = f"{name} (not flagged: {' '.join(lacking)})" if lacking else name
        times = _memory(raw) / len(raw)
        figures = f"{len(raw) / 1e6:6.2f} {total * 1e3:8.1f} {longest * 1e3:10.1f} {mark} {times:6.1f}x"
        print(f"{figures}  {step:<28} {told}", flush=True)


def _timed(raw: bytes) -> tuple[float, float, str]:
    """CPU seconds of all steps, and of the longest, with its name."""
    gc.collect()
    total, longest, slowest = 0.0, 0.0, ""
    for name, step in steps(Message(raw)):
        began = time.process_time()
        step()
        spent = time.process_time() - began
        total += spent
        if spent > longest:
            longest, slowest = spent, name
    return total, longest, slowest


def _memory(raw: bytes) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        read_all(Message(raw))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
