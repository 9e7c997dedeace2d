"""The process that serves: it joins the front doors to the engine, and ends in good order.

It is started by the supervisor, which gives it the open sockets and the texts of configuration and rules, and tells it by the
link when to accept and when to end.

Promises:

* It accepts nothing before everything is loaded and has been tried, and it was told to.
* A message that was accepted is answered: at the end accepting stops, what is under way is finished within twice the task
  timeout, then the process ends. It also ends, in the same way, when the supervisor is gone.
* Above `limits.tasks` messages at once a further one is refused clearly, so that its MTA tries again.
"""

import gc
import os
import signal
from collections.abc import Callable, Mapping
from logging import getLogger
from time import monotonic
from traceback import format_stack
from typing import Any

import gevent
from gevent.event import Event

from filterd.daemon.assembly import Assembly, assemble
from filterd.daemon.books import Books
from filterd.daemon.config import Config
from filterd.daemon.doors import Serve, control_for, server_for
from filterd.daemon.link import Link
from filterd.daemon.logs import FailureLog, MessageLog, reopen_log, set_up_logging
from filterd.daemon.map_edits import SCHEMA, LineBus
from filterd.daemon.store import Store
from filterd.daemon.trial import try_out
from filterd.engine.hooks import WorkerInfo
from filterd.engine.texts import Texts
from filterd.mail.hosts import load_suffixes
from filterd.mail.request import Overloaded, ScanRequest
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import close_forgotten_timeouts
from filterd.net.listen import Listener
from filterd.net.plain import adopt
from filterd.net.proxies import Proxies

__all__ = ["TrialFailed", "Worker"]

log = getLogger("filterd.worker")

MOST_WORDS = 16_384
"""Bytes of a stack that is written down: the end of it is what matters."""


class TrialFailed(Exception):
    """A rule failed on the message that each worker judges first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Worker:
    """One process. `load` makes everything ready or raises (LoadError, TrialFailed, OSError); `run` serves until the end.

    `begin` is what the supervisor has told: the place among the workers, and the descriptors of the doors.
    """

    def __init__(self, config: Config, link: Link, begin: Mapping[str, Any], texts: Texts | None = None) -> None:
        self.config = config
        self.link = link
        self.listeners: list[Listener] = []
        self.under_way = 0
        self.messages = 0
        self.books: Books | None = None
        self._begin = begin
        self._texts = texts
        self._accepting = Event()
        self._ending = Event()
        self._seconds = 2 * config.limits.task_timeout
        self._closing: list[list[Any]] = []
        self._doors: dict[tuple[str, int], Listener] = {}
        self._assembly: Assembly | None = None
        self._tell: Any = None
        self._count: Any = None
        self._map_bus = LineBus(lambda edit: link.tell("map edit", edit=edit))
        self._is_serving = False

    def load(self) -> None:
        """Load the rules, make the doors ready, and try it all."""
        config = self.config
        write = set_up_logging(config.log.format, config.log.level, config.log.file)
        self._tell = MessageLog(write, config.log.format, config.log.level)
        close_forgotten_timeouts()
        self._listen_to_the_supervisor()
        info = WorkerInfo(self._begin["number"], self._begin["count"])
        path = config.store.path
        self._assembly = assemble(
            config,
            on_failure=FailureLog(),
            texts=self._texts,
            worker=info,
            bus=self._map_bus,
            store=None if path is None else Store(path, SCHEMA),
        )
        self._keep_books(self._assembly)
        try:
            self._assembly.maps.fetch()
            self._assembly.hooks.load()
            self._make_doors()
            problems = try_out(self._assembly, config.workers.trial_mail)
            if problems:
                raise TrialFailed(problems)
        except BaseException:
            self._close()
            raise
        self._texts = None
        load_suffixes()  # 50 ms that no message should wait for
        # What is loaded stays for good: the collector need not look at it again. Wider thresholds spare it half of its work.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 10, 50)

    def _listen_to_the_supervisor(self) -> None:
        link = self.link
        main = gevent.getcurrent()
        hooks: Callable[[], Any] = lambda: self._assembly and self._assembly.hooks  # noqa: E731 - it is there by then
        link.orders = {
            "accept": lambda order: self._accepting.set(),
            "drain": self._drain,
            "map edit": lambda order: self._map_bus.hear(order["edit"]),
            "elect": lambda order: None if self._ending.is_set() else hooks().elect(),
            "reopen": self._reopen,
            "reset": self._reset,
            "where": lambda order: self._where(main),
        }
        link.ended = self._orphaned
        link.count = lambda: (self.under_way, self.messages)
        link.start()
        gevent.signal_handler(signal.SIGTERM, self._told_to_leave)

    def _keep_books(self, assembly: Assembly) -> None:
        books = self.books = Books(self.config, assembly, self.listeners, self._state)
        self._count = books.count
        # What is asked of this worker's control listeners is told of all workers.
        books.collect, books.reset = self.link.collect, self.link.reset
        self.link.snapshot = books.statistics.snapshot

    def _make_doors(self) -> None:
        assembly, books = self._assembly, self.books
        assert assembly is not None
        assert books is not None
        servers: dict[str, Serve] = {}
        for name, section in self.config.listen.items():
            if section.protocol == "control":
                servers[name] = control_for(section, self.config, self.scan, books, assembly.maps)
            elif section.protocol == "tcp":
                servers[name] = assembly.streams.serve(name, section)
            else:
                servers[name] = server_for(section, self.config, self.scan)
        for door in self._begin["doors"]:
            name = door["name"]
            section = self.config.listen[name]
            listener = Listener(
                adopt(door["descriptor"]),
                servers[name],
                crew=assembly.environment.crew,
                name=f"listen.{name}",
                max_connections=section.max_connections,
                proxies=Proxies(section.accept_proxy) if section.accept_proxy else None,
            )
            self.listeners.append(listener)
            self._doors[name, door["number"]] = listener

    def _state(self) -> dict[str, Any]:
        return {"ready": self._is_serving, "under_way": self.under_way, "limit": self.config.limits.tasks}

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
            self.messages += 1
        self._count(request, verdict)
        self._tell(request, verdict)
        return verdict

    def run(self) -> None:
        """Accept when told to, serve until told to end."""
        assembly = self._assembly
        assert assembly is not None
        self.link.tell("loaded")
        self._accepting.wait()
        if not self._ending.is_set():
            assert self.books is not None
            self.books.open()
            for listener in self.listeners:
                listener.start()
            self._is_serving = True
            assembly.maps.start()
            assembly.hooks.start()
            log.info("ready: %d rules from %d files", len(assembly.engine.rules), len(assembly.rules.files))
            self.link.tell("serving")
        self._ending.wait()
        self.stop()

    # -- what the supervisor says, and others

    def _end(self) -> None:
        self._ending.set()
        self._accepting.set()

    def _drain(self, order: Mapping[str, Any]) -> None:
        self._closing = order["closing"]
        if self._ending.is_set():
            # Told before, and now to hurry.
            for listener in self.listeners:
                listener.cut(float(order["seconds"]))
            return
        self._seconds = float(order["seconds"])
        self._end()

    def _told_to_leave(self) -> None:
        self.link.tell("leaving")
        self._end()

    def _orphaned(self) -> None:
        if not self._ending.is_set():
            log.error("the supervisor is gone, so this worker ends too")
            self._closing = [list(door) for door in self._doors]
        self._end()

    def _reset(self, order: Mapping[str, Any]) -> None:
        if self.books is not None:
            self.books.statistics.reset()

    def _where(self, main: Any) -> None:
        """Write down at what the loading waits: the supervisor has lost its patience."""
        if "last_words" in self._begin and not self._accepting.is_set():
            text = "".join(["It waits for something:\n", *format_stack(main.gr_frame)]).encode()
            os.ftruncate(self._begin["last_words"], 0)
            os.pwrite(self._begin["last_words"], text[-MOST_WORDS:], 0)

    @staticmethod
    def _reopen(order: Mapping[str, Any]) -> None:
        try:
            reopen_log()
        except OSError as error:
            log.error("the log goes on in the old file: %s", error)

    # -- the end

    def stop(self) -> None:
        """Finish what is under way and close everything."""
        assembly = self._assembly
        assert assembly is not None
        end = monotonic() + self._seconds
        self._is_serving = False
        for name, number in self._closing:
            self._doors[name, number].take_in()
        log.info("ending: %d messages under way, at most %g s", self.under_way, self._seconds)
        jobs = [gevent.spawn(listener.drain, self._seconds) for listener in self.listeners]
        # First of all, so that another worker can be elected while this one still answers.
        assembly.hooks.resign(self._seconds)
        self.link.tell("resigned")
        cut = sum(job.get() for job in jobs)
        if cut:
            log.error("ending: %d connections were cut; their messages were not answered", cut)
        assembly.hooks.finish(end - monotonic())
        self._close()
        log.info("ended")
        self.link.report()
        self.link.close()

    def _close(self) -> None:
        for listener in self.listeners:
            listener.stop_accepting()
        if self.books is not None:
            self.books.close()
        if self._assembly is not None:
            self._assembly.close()
