"""What the daemon knows about itself, kept beside the mail and shown by control listeners: counts, history, errors.

Promises: nothing here can fail or delay a message; what is shown is the sum over all workers that `collect` knows.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from importlib import import_module
from typing import Any

from gevent import get_hub

from filterd import __version__
from filterd.daemon.assembly import Assembly
from filterd.daemon.config import Config
from filterd.daemon.history import SCHEMA, History
from filterd.daemon.lateness import LatenessClock
from filterd.daemon.recent_errors import RecentErrors
from filterd.daemon.selectors import Selectors
from filterd.daemon.statistics import Statistics, merged
from filterd.daemon.store import Store
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.listen import Listener
from filterd.proto.control_shapes import SymbolFacts

__all__ = ["Books", "config_id"]


class Books:
    """One worker's books. `state` tells of the worker: whether it is `ready`, messages `under_way`, their `limit`.

    `collect` gives the snapshots of all workers and `reset` resets all of them: of this one alone until the supervisor, who
    knows the others, puts its own in their place.
    """

    version = __version__

    def __init__(
        self, config: Config, assembly: Assembly, listeners: Sequence[Listener], state: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.config_id = config_id(config)
        self.control_listeners = frozenset(name for name, door in config.listen.items() if door.protocol == "control")
        self.errors = RecentErrors()
        guard, network = assembly.guard, assembly.environment.network
        self.statistics = Statistics(
            assembly.rules.registry.rules.values(),
            lambda: network.stats,
            listeners,
            errors=self.errors.latest,
            worker=state,
            cuts=lambda: 0 if guard is None else guard.cuts,
            streams=assembly.streams.snapshot,
            cpu=lambda: {} if guard is None else dict(guard.cpu),
        )
        path = config.store.path
        # Without a control listener nobody can read it, unless it is kept for a later one.
        rows = config.history.rows if path is not None or self.control_listeners else 0
        self.history = History(rows, None if path is None else Store(path, SCHEMA))
        self.collect: Callable[[], Sequence[Mapping[str, Any]]] = lambda: [self.statistics.snapshot()]
        self.reset: Callable[[], None] = self.statistics.reset
        selectors = Selectors(assembly.engine)
        self.words, self.fault, self.values = selectors.words, selectors.fault, selectors.values
        self._scoring = assembly.environment.scoring
        self._rules = assembly.rules.registry.rules
        self._clock: LatenessClock | None = None
        if self.control_listeners:
            # 40 ms that no message should wait for when /metrics is first asked, and nobody else needs.
            import_module("filterd.daemon.metrics")

    def open(self) -> None:
        """Begin to look at the loop and to write batches."""
        self.errors.listen()
        self.history.start()
        self._clock = LatenessClock(get_hub().loop, self.statistics.was_late)

    def close(self) -> None:
        """Write what is left."""
        if self._clock is not None:
            self._clock.close()
            self.history.finish()
        self.errors.close()

    def count(self, request: ScanRequest, verdict: Verdict) -> None:
        """One message has its verdict."""
        self.statistics.count(verdict)
        self.history.add(request, verdict)

    # ------------------------------------------------------------------------------------------ what control listeners show

    def totals(self) -> dict[str, Any]:
        """The counts of all workers."""
        return merged(self.collect())

    def facts(self) -> list[SymbolFacts]:
        """Every symbol that is declared, by a rule, a composite or the configuration."""
        return [
            SymbolFacts(name, one.score, one.groups, one.description) for name, one in sorted(self._scoring.symbols.items())
        ]

    def thresholds(self) -> Mapping[str, float]:
        """The score from which on each action is taken."""
        return self._scoring.thresholds

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """The text for Prometheus, and its content type."""
        from filterd.daemon.metrics import render_metrics

        return render_metrics(
            self.totals(), accept=accept, version=self.version, config_id=self.config_id, control=self.control_listeners
        )

    def rows(self, first: int, last: int) -> list[bytes]:
        """Rendered rows of the history, the newest is row 0; `last` is included."""
        return self.history.rows(first, last)

    def clear_history(self) -> None:
        """Forget the history."""
        self.history.clear()


def config_id(config: Config) -> str:
    """The same for the same configuration, in every worker. Passwords are not in it: `repr` leaves them out."""
    return blake2b(repr(config).encode("utf-8", "replace"), digest_size=16).hexdigest()
