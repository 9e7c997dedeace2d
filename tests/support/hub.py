"""A watch on gevent's hub: how late a greenlet that wants to run every few milliseconds gets to run.

A test that waits the right way lets every other greenlet go on meanwhile; one that computes or blocks for long does not, and
in the daemon every other message would stand still with it.
"""

import faulthandler
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import gevent

__all__ = ["watched"]

PERIOD = 0.005
_THREADS = Path("/proc/self/task")


def _waited_for_cpu() -> float:
    """Seconds this process was ready to run while the machine ran others: a busy machine's lateness, not ours.

    Of all its threads: one may wait for the processor while it has the interpreter's lock, which we then wait for.
    """
    waited = 0
    with suppress(OSError):  # not every system tells
        for thread in _THREADS.iterdir():
            with suppress(OSError, IndexError):  # it has just ended
                waited += int((thread / "schedstat").read_text().split()[1])
    return waited / 1e9


class _Ticker:
    def __init__(self, limit: float, trace: IO[str]) -> None:
        self.worst = 0.0
        self._limit = limit
        self._trace = trace
        self._mark()

    def _mark(self) -> None:
        # Not cancelled within the limit, this writes down where the thread is: the line that holds the hub.
        faulthandler.dump_traceback_later(PERIOD + self._limit, file=self._trace)
        self._last = time.perf_counter() - _waited_for_cpu()

    def tick(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        late = time.perf_counter() - _waited_for_cpu() - self._last - PERIOD
        if late > self.worst:
            self.worst = late
        self._mark()

    def run(self) -> None:
        while True:
            gevent.sleep(PERIOD)
            self.tick()


@contextmanager
def watched(trace: Path, *, limit: float = 0.050) -> Iterator[None]:
    """AssertionError in the end if the hub was held for more than `limit` seconds, with the line that held it.

    `trace` is a file to write that down in. The block's own first and last steps count as well. Where coverage is measured all
    code takes three to four times as long, and so may this.
    """
    if sys.gettrace() is not None:
        limit *= 4
    # What thousands of earlier tests have left is not for the collector to look through in this one.
    gc.freeze()
    with trace.open("w+") as file:
        ticker = _Ticker(limit, file)
        greenlet = gevent.spawn(ticker.run)
        try:
            yield
            ticker.tick()
        finally:
            faulthandler.cancel_dump_traceback_later()
            greenlet.kill()
            gc.unfreeze()
        file.seek(0)
        where = file.read()
    assert ticker.worst <= limit, f"the hub was held for {ticker.worst * 1000:.0f} ms, here:\n{where}"
