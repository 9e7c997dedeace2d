"""Which worker runs the hooks that run once.

Promises: one at a time. Another one is elected when the elected has ended its hooks, or has ended itself.
"""

from collections.abc import Iterable

from filterd.daemon.child import Child

__all__ = ["Election"]


class Election:
    """`elected` is the worker that runs them, None while nobody does."""

    def __init__(self) -> None:
        self.elected: Child | None = None

    def hold(self, candidates: Iterable[Child]) -> None:
        """If nobody is elected, the first that serves is."""
        if self.elected is None:
            for child in sorted(candidates, key=lambda child: child.number):
                if child.state == "serving":
                    self.elected = child
                    child.send({"do": "elect"})
                    return

    def leave(self, child: Child) -> None:
        """A worker runs none of them any more."""
        if child is self.elected:
            self.elected = None
