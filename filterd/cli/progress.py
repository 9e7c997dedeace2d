"""The bar that shows a person how many messages of `filterd scan` are done.

Promises: it is drawn on the standard error stream, only where that is a terminal, and is out of the way of every line printed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Bar"]


class Bar:
    """How far `total` messages are. Draws nothing where there is but one."""

    def __init__(self, total: int) -> None:
        self._progress: Progress | None = None
        screen = Console(stderr=True)
        if total > 1 and screen.is_terminal:
            # No refreshing by itself: that would be a thread, and it would draw into what is being printed.
            columns = (TextColumn("scanning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=screen, transient=True, auto_refresh=False, redirect_stdout=False)
            self._task = self._progress.add_task("", total=total)
            self._total = total
            self._progress.start()
            self._progress.refresh()

    def grow(self, more: int) -> None:
        """There are more messages than was known: a mailbox was opened."""
        if self._progress is not None and more:
            self._total += more
            self._progress.update(self._task, total=self._total)

    def step(self) -> None:
        """One is done."""
        if self._progress is not None:
            self._progress.advance(self._task)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Off the screen while something is printed."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()
        self._progress.refresh()

    def close(self) -> None:
        """Take it off the screen for good."""
        if self._progress is not None:
            self._progress.stop()
