"""The process that never judges a message: it holds the listening sockets, starts workers, and sees that some serve.

Promises:

* It reads no configuration and loads no rule, nor gevent: whatever these do, somebody is left to start workers again.
* A reload that fails in any way leaves the old workers as they are; one that succeeds drains them once the new ones serve.
* While it runs no listening socket that is still wanted closes, so nobody is refused.
* Hooks that run once run in one worker at a time.
* It ends, with its workers, within twice the task timeout and a few seconds.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from logging import getLogger
from pathlib import Path
from time import monotonic, time
from typing import Any

from filterd import __version__
from filterd.daemon.account import Account
from filterd.daemon.attempt import Attempt, Options
from filterd.daemon.child import Child
from filterd.daemon.console import Console
from filterd.daemon.election import Election
from filterd.daemon.ledger import Ledger
from filterd.daemon.loop import Loop
from filterd.daemon.map_journal import MapJournal
from filterd.daemon.notice import Notice
from filterd.daemon.plan import Door, Plan
from filterd.daemon.preparation import prepare_log, reopen, set_up_log, warn_of_root
from filterd.daemon.sockets import Sockets
from filterd.daemon.statistics import merged, rebased, remains
from filterd.daemon.status import of_generation, of_worker, summary
from filterd.daemon.workset import Ties, WorkerSet

__all__ = ["Supervisor"]

log = getLogger("filterd.supervisor")

LOOK = 1.0
"""Seconds between two looks at the workers."""

Answer = Callable[[Mapping[str, Any]], object]


class Supervisor:
    """`run` serves until told to end, and returns the exit code. `conf` is the path of the configuration file."""

    def __init__(self, options: Options, conf: Path) -> None:
        self.loop = Loop()
        self.sockets = Sockets()
        self.notice = Notice()
        self.console = Console(
            self.loop,
            {
                "status": self._on_status,
                "statistics": self._on_statistics,
                "reload": self.reload,
                "stop": self._on_stop,
            },
        )
        self.ledger = Ledger(self.loop, self._children, merged, remains=remains, rebased=rebased)
        self._journal = MapJournal()
        self._options = options
        self._conf = conf
        self._began = monotonic()
        self._number = 0
        self._current: WorkerSet | None = None
        self._old: list[WorkerSet] = []
        self._attempt: Attempt | None = None
        self._again: list[Answer] = []
        self._processes: dict[int, Child] = {}
        self._election = Election()
        self._last: dict[str, Any] | None = None
        self._pid_file: Path | None = None
        self._account: Account | None = None
        self._looked = monotonic()
        self._is_ending = False
        self._code: int | None = None
        self._ties = Ties(
            loop=self.loop,
            sockets=self.sockets,
            started=self._started,
            heard=self._heard,
            changed=self._changed,
            gone=self._gone,
            empty=self._emptied,
        )

    def run(self) -> int:
        """Start, serve, end."""
        on_signal = self.loop.on_signal
        on_signal(signal.SIGCHLD, self._reap)
        on_signal(signal.SIGTERM, self.stop)
        on_signal(signal.SIGINT, self.stop)
        on_signal(signal.SIGQUIT, self._hurry)
        on_signal(signal.SIGHUP, lambda: self.reload(lambda answer: None))
        on_signal(signal.SIGUSR1, self._reopen)
        try:
            self._try(self._begun, self._not_begun)
            self.loop.later(LOOK, self._look)
            while self._code is None:
                self.loop.turn()
        finally:
            self.sockets.close()
            self.console.close()
            if self._pid_file is not None:
                self._pid_file.unlink(missing_ok=True)
            self.loop.close()
        return self._code

    def _try(self, done: Callable[[WorkerSet], object], failed: Callable[[list[str]], object]) -> None:
        self._number += 1
        before = None if self._current is None else self._current.plan
        planned = self._prepare if before is None else self._prepare_again
        self._attempt = Attempt(
            self._ties, self._number, self._options, before=before, planned=planned, done=done, failed=failed
        )
        self._attempt.start()

    # -- the start

    def _prepare(self, plan: Plan, account: Account | None) -> list[str]:
        try:
            prepare_log(plan, account)
            set_up_log(plan)
            if plan.pid_file is not None:
                Path(plan.pid_file).write_text(f"{os.getpid()}\n")
                self._pid_file = Path(plan.pid_file)
        except OSError as error:
            return [f"cannot start: {error}"]
        trouble = self.console.open(plan.socket, self._conf)
        if trouble and plan.socket is not None:
            return [trouble]
        if trouble:
            log.warning("`filterd reload`, `status` and `stop` will not find this daemon: %s", trouble)
        self._account = account
        warn_of_root(account)
        return []

    def _begun(self, workers: WorkerSet) -> None:
        self._attempt = None
        self._current = workers
        log.info("serving: %s", self._summary())
        self.notice.ready(self._summary())
        self._elect()
        self._next_reload()

    def _not_begun(self, problems: list[str]) -> None:
        for problem in problems:
            sys.stderr.write(f"{problem}\n")
        self._attempt = None
        self._code = 2
        for child in self._processes.values():
            child.kill("it is not needed any more")
            # Nobody will be there to do it later.
            os.kill(child.pid, signal.SIGKILL)

    # -- reloading

    def reload(self, answer: Answer) -> None:
        """Bring the configuration and the rules as they are now into service; the answer comes when that has worked or not."""
        self._again.append(answer)
        self._next_reload()

    def _next_reload(self) -> None:
        # One that is under way may have read the files already: who asks now asks for what is there now.
        if self._attempt is not None or self._is_ending or not self._again or self._current is None:
            return
        asking, self._again = self._again, []
        log.info("reloading")
        self.notice.reloading()
        self._try(lambda workers: self._reloaded(workers, asking), lambda problems: self._not_reloaded(problems, asking))

    def _prepare_again(self, plan: Plan, account: Account | None) -> list[str]:
        before = self._current.plan if self._current is not None else plan
        if (plan.socket, plan.pid_file) != (before.socket, before.pid_file):
            log.warning("supervisor.socket and supervisor.pid_file stay as they are until filterd is started again")
        try:
            prepare_log(plan, account)
        except OSError as error:
            return [f"log.file: {error}"]
        warn_of_root(account)
        return []

    def _reloaded(self, workers: WorkerSet, asking: list[Answer]) -> None:
        self._attempt = None
        old, self._current = self._current, workers
        assert old is not None
        self._old.append(old)
        self._account = workers.account
        try:
            set_up_log(workers.plan)
        except OSError as error:
            log.error("the supervisor goes on with its old log: %s", error)
        closing = self.sockets.unkept(old.plan.doors, workers.plan.doors)
        # Ours first: when the last worker has taken in who waits there, nobody is left to be turned away later.
        self.sockets.keep(workers.plan.doors)
        old.drain(closing)
        self._result(asking, [])
        self._elect()

    def _not_reloaded(self, problems: list[str], asking: list[Answer]) -> None:
        self._attempt = None
        assert self._current is not None
        self.sockets.keep(self._current.plan.doors)
        for problem in problems:
            log.error("not reloaded: %s", problem)
        self._result(asking, problems)

    def _result(self, asking: list[Answer], problems: list[str]) -> None:
        self._last = {"time": time(), "generation": self._number, "problems": problems}
        if problems:
            log.error("the reload has failed, and the workers are those of before")
        else:
            log.info("reloaded: %s", self._summary())
        self.notice.ready(self._summary() + ("; the last reload has failed" if problems else ""))
        for answer in asking:
            answer({"problems": problems, "status": self.status()})
        self._next_reload()

    # -- the workers

    def _sets(self) -> list[WorkerSet]:
        """The oldest first."""
        trying = self._attempt.workers if self._attempt is not None else None
        return [*self._old, *(workers for workers in (self._current, trying) if workers is not None)]

    def _children(self) -> list[Child]:
        return [child for workers in self._sets() for child in workers.children]

    def _started(self, child: Child) -> None:
        self._processes[child.pid] = child
        if child in self._children():
            for edit in self._journal.picture():
                child.send({"do": "map edit", "edit": edit})

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            # As the first process of a container it is given the orphans of others too.
            child = self._processes.pop(pid, None)
            if child is not None:
                child.reaped(os.waitstatus_to_exitcode(status))

    def _heard(self, child: Child, message: Mapping[str, Any]) -> None:
        what = message.get("what")
        if what == "snapshot":
            self.ledger.heard(child, message)
        elif what == "collect":
            self.ledger.collect(lambda found: child.send({"do": "collected", "id": message.get("id"), "found": found}))
        elif what == "reset":
            self.ledger.reset()
        elif what == "map edit":
            edit = self._journal.take(message["edit"])
            for one in self._children():
                one.send({"do": "map edit", "edit": edit})
        elif what == "resigned":
            self._election.leave(child)
            self._elect()
        elif what not in ("loaded", "serving", "leaving"):
            log.error("%s (pid %d) says what nobody understands: %.200r", child.name, child.pid, message)

    def _gone(self, child: Child) -> None:
        self.ledger.gone(child)
        self._election.leave(child)

    def _changed(self) -> None:
        self._elect()
        if self._current is not None and not self._is_ending and self._attempt is None:
            self.notice.status(self._summary())

    def _elect(self) -> None:
        if self._current is not None and not self._is_ending:
            self._election.hold(self._current.children)

    def _look(self) -> None:
        self.loop.later(LOOK, self._look)
        now = monotonic()
        # If we were held up ourselves (a suspended container), the workers were too: that is not held against them.
        passed, self._looked = min(now - self._looked, 2 * LOOK), now
        for workers in self._sets():
            workers.look(passed)
        if self.notice.watchdog and self._is_well():
            self.notice.alive()

    def _is_well(self) -> bool:
        """Somebody serves and shows it, or the beginning or the end is under way, which have limits of their own."""
        if self._current is None or self._is_ending:
            return True
        limit = self._current.plan.stuck_timeout
        return any(child.state == "serving" and child.silent < limit for child in self._current.children)

    def _reopen(self) -> None:
        # Before the workers, who may not be allowed to make it.
        if self._current is not None and reopen(self._current.plan, self._account):
            for child in self._children():
                child.send({"do": "reopen"})

    # -- the end

    def stop(self) -> None:
        """Let the workers finish, then end; a second time, hurry."""
        if self._is_ending:
            self._hurry()
            return
        self._is_ending = True
        self.notice.stopping()
        asking, self._again = self._again, []
        for answer in asking:
            answer({"problems": ["filterd is ending"]})
        if self._attempt is not None:
            self._attempt.abort()
        doors: list[Door] = [] if self._current is None else list(self._current.plan.doors)
        self.sockets.close()
        if self._current is not None:
            self._current.drain(doors)
        self._maybe_end()

    def _hurry(self) -> None:
        if not self._is_ending:
            self.stop()
        for workers in self._sets():
            workers.drain((), seconds=0.0)

    def _emptied(self, workers: WorkerSet) -> None:
        os.close(workers.texts)
        if workers in self._old:
            self._old.remove(workers)
            log.info("the workers of generation %d have ended", workers.number)
        self._maybe_end()

    def _maybe_end(self) -> None:
        if self._is_ending and not self._processes:
            log.info("ended")
            self._code = 0

    # -- orders

    def _on_status(self, answer: Answer) -> None:
        answer(self.status())

    def _on_statistics(self, answer: Answer) -> None:
        self.ledger.collect(lambda found: answer({"statistics": found}))

    def _on_stop(self, answer: Answer) -> None:
        answer({"problems": [], "pid": os.getpid()})
        if not self._is_ending:
            self.stop()

    def _summary(self) -> str:
        return summary(self._current)

    def status(self) -> dict[str, Any]:
        """All that `filterd status` shows."""
        state = "ending" if self._is_ending else "starting" if self._current is None else "serving"
        workers = [of_worker(one, child, self._election.elected) for one in self._sets() for child in one.children]
        return {
            "version": __version__,
            "pid": os.getpid(),
            "age": round(monotonic() - self._began, 3),
            "state": state,
            "reloading": self._attempt is not None and self._current is not None,
            "last_reload": self._last,
            **of_generation(self._current, self.sockets if state == "serving" else None),
            "workers": workers,
        }
