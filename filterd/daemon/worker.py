"""The process that serves: it opens the front doors, joins them to the engine, and ends in good order.

Promises:

* A message that was accepted is answered: at the end accepting stops, what is under way is finished within twice the task
  timeout, then the process ends.
* Above `limits.tasks` messages at once a further one is refused clearly, so that its MTA tries again.
"""

import gc
import shutil
import signal
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from filterd.daemon.assembly import Assembly, assemble
from filterd.daemon.books import Books
from filterd.daemon.config import Config
from filterd.daemon.doors import control_for, server_for
from filterd.daemon.logs import FailureLog, MessageLog, set_up_logging
from filterd.daemon.map_edits import SCHEMA
from filterd.daemon.store import Store
from filterd.daemon.units import Address
from filterd.mail.hosts import load_suffixes
from filterd.mail.request import Overloaded, ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import close_forgotten_timeouts
from filterd.net.listen import BindError, Listener, open_socket
from filterd.net.proxies import Proxies
from filterd.net.stream import peer_name

__all__ = ["Worker"]

log = getLogger("filterd.worker")


class Worker:
    """One process. `start` opens everything or raises (LoadError, BindError); `run` returns after a TERM or INT signal."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.listeners: list[Listener] = []
        self.under_way = 0
        self._ending = Event()
        self._assembly: Assembly | None = None
        self._tell: Any = None
        self.books: Books | None = None
        self._count: Any = None
        self._is_ready = False

    def start(self) -> None:
        """Load the rules, open the doors, and say where they are."""
        config = self.config
        write = set_up_logging(config.log.format, config.log.level, config.log.file)
        self._tell = MessageLog(write, config.log.format, config.log.level)
        close_forgotten_timeouts()
        path = config.store.path
        store = None if path is None else Store(path, SCHEMA)
        self._assembly = assemble(config, on_failure=FailureLog(), store=store)
        self.books = Books(config, self._assembly, self.listeners, self._state)
        self._count = self.books.count
        try:
            self._assembly.maps.fetch()
            self._assembly.hooks.load()
            self._open_doors()
        except BaseException:
            self._close()
            raise
        load_suffixes()  # 50 ms that no message should wait for
        # What is loaded stays for good: the collector need not look at it again. Wider thresholds spare it half of its work.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 10, 50)
        self.books.open()
        for listener in self.listeners:
            listener.start()
        self._is_ready = True
        self._assembly.maps.start()
        self._assembly.hooks.start()
        log.info("ready: %d rules from %d files", len(self._assembly.engine.rules), len(self._assembly.rules.files))

    def _open_doors(self) -> None:
        assembly, books = self._assembly, self.books
        assert assembly is not None
        assert books is not None
        refused: list[str] = []
        for name, door in self.config.listen.items():
            if door.protocol == "control":
                serve = control_for(door, self.config, self.scan, books, assembly.maps)
            else:
                serve = server_for(door, self.config, self.scan)
            for bind in door.bind:
                try:
                    sock = _socket(bind)
                except BindError as error:
                    refused.append(str(error.strerror))
                    continue
                listener = Listener(
                    sock,
                    serve,
                    crew=assembly.environment.crew,
                    name=f"listen.{name}",
                    max_connections=door.max_connections,
                    proxies=Proxies(door.accept_proxy) if door.accept_proxy else None,
                )
                self.listeners.append(listener)
                log.info("listen.%s: %s on %s", name, door.protocol, bind if bind.path else peer_name(listener.address))
        if refused:
            raise BindError(0, "\n".join(refused))

    def scan(self, request: ScanRequest) -> Verdict:
        """The joint between the doors and the engine. Raises Overloaded."""
        assert self._assembly is not None
        assert self.books is not None
        if self.under_way >= self.config.limits.tasks:
            why = f"{self.under_way} messages are being scanned (limits.tasks), try again later"
            self.books.statistics.refused += 1
            self._tell.unscanned(request, why)
            raise Overloaded(why)
        self.under_way += 1
        try:
            verdict = self._assembly.engine.scan(request)
        except Exception as error:
            self.books.statistics.failed += 1
            self._tell.unscanned(request, f"internal error: {type(error).__name__}")
            raise
        finally:
            self.under_way -= 1
        self._count(request, verdict)
        self._tell(request, verdict)
        return verdict

    def run(self) -> None:
        """Serve until told to end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._ending.set)
        self._ending.wait()
        self.stop()

    def stop(self) -> None:
        """Finish what is under way and close everything."""
        seconds = 2 * self.config.limits.task_timeout
        end = monotonic() + seconds
        self._is_ready = False
        log.info("ending: %d messages under way, at most %g s", self.under_way, seconds)
        cut = sum(job.get() for job in [gevent.spawn(listener.drain, seconds) for listener in self.listeners])
        if cut:
            log.error("ending: %d connections were cut; their messages were not answered", cut)
        assert self._assembly is not None
        self._assembly.hooks.finish(end - monotonic())
        self._close()
        log.info("ended")

    def _state(self) -> dict[str, Any]:
        return {"ready": self._is_ready, "under_way": self.under_way, "limit": self.config.limits.tasks}

    def _close(self) -> None:
        for listener in self.listeners:
            listener.stop_accepting()
            if isinstance(listener.address, str):
                Path(listener.address).unlink(missing_ok=True)
        if self.books is not None:
            self.books.close()
        if self._assembly is not None:
            self._assembly.close()


def _socket(bind: Address) -> Any:
    sock = open_socket(bind.path or (bind.host, bind.port), mode=bind.mode)
    if bind.path and (bind.owner or bind.group):
        try:
            shutil.chown(bind.path, bind.owner or -1, bind.group or -1)
        except (OSError, LookupError) as error:
            sock.close()
            raise BindError(0, f"cannot give {bind.path} to {bind.owner or ''}:{bind.group or ''}: {error}") from None
    return sock
