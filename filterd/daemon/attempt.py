"""One attempt to bring a configuration into service: at the start, and for each reload.

The steps, each of which may fail, and then nothing has changed: a scout reads the configuration and keeps its texts; new
addresses are taken; all workers load and try themselves; they accept, beside the old ones if there are any; none of them ends
during the trial.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from logging import getLogger
from typing import Any

from filterd.daemon.account import Account, AccountError, account_of
from filterd.daemon.child import Child, memory_file
from filterd.daemon.loop import Timer
from filterd.daemon.plan import Plan
from filterd.daemon.workset import Ties, WorkerSet

__all__ = ["Attempt", "Options"]

log = getLogger("filterd.supervisor")

SCOUT_TIMEOUT = 30.0
"""Seconds for reading the configuration, where no earlier one says `workers.start_timeout`."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `filterd run`: the configuration file or none, `--rules` and `--set` options."""

    conf: str | None
    rules: tuple[str, ...]
    sets: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        return {"conf": self.conf, "rules": list(self.rules), "sets": list(self.sets)}


class Attempt:
    """`done` or `failed` is called once, unless it is given up before with `abort`.

    `planned` is called when the configuration is known, before anything is opened; what it returns is wrong with it.
    """

    def __init__(
        self,
        ties: Ties,
        number: int,
        options: Options,
        *,
        before: Plan | None,
        planned: Callable[[Plan, Account | None], list[str]],
        done: Callable[[WorkerSet], object],
        failed: Callable[[list[str]], object],
    ) -> None:
        self.number = number
        self.workers: WorkerSet | None = None
        self.plan: Plan | None = None
        self._ties = replace(ties, loaded=self._loaded, serving=self._serving, failed=self._fail)
        self._options = options
        self._before = before
        self._planned = planned
        self._done = done
        self._failed = failed
        self._is_over = False
        self._problems: list[str] = []
        self._scout: Child | None = None
        self._trial: Timer | None = None
        self._account: Account | None = None
        self._texts = memory_file("filterd-texts")

    def start(self) -> None:
        seconds = SCOUT_TIMEOUT if self._before is None else self._before.start_timeout
        try:
            self._scout = Child(
                self._ties.loop,
                "reader of the configuration",
                {"do": "scout", "texts": self._texts, **self._options.told()},
                descriptors=[self._texts],
                on_message=self._on_message,
                on_exit=self._on_exit,
            )
        except OSError as error:
            self._fail([f"cannot start a process: {error.strerror or error}"])
            return
        scout = self._scout
        self._ties.started(scout)
        self._ties.loop.later(seconds, lambda: scout.kill(f"the configuration was not read after {seconds:g} s"))

    def abort(self) -> None:
        """Give it up; nothing more is said about it."""
        if not self._is_over:
            self._end()

    def _end(self) -> None:
        self._is_over = True
        if self._trial is not None:
            self._trial.cancel()
        if self._scout is not None:
            self._scout.kill("it is not needed any more")
        if self.workers is None:
            os.close(self._texts)
        elif self.workers.phase != "draining":
            self.workers.drain(())

    def _fail(self, problems: list[str]) -> None:
        if not self._is_over:
            self._end()
            self._failed(problems)

    # -- the scout

    def _on_message(self, child: Child, message: Mapping[str, Any]) -> None:
        if message.get("what") == "plan":
            self.plan = Plan.of(message["plan"])
        elif message.get("what") == "failed":
            self._problems = [str(problem) for problem in message["problems"]]

    def _on_exit(self, child: Child) -> None:
        self._scout = None
        self._ties.gone(child)
        if self._is_over:
            return
        if self._problems or self.plan is None or child.returncode:
            words = child.last_words()
            told = f"reading the configuration ended with {child.end_told()}" + (f"\n{words}" if words else "")
            self._fail(self._problems or [told])
            return
        self._sure(self._open)

    # -- the workers

    def _sure(self, step: Callable[[Plan], object]) -> None:
        """Take a step; if even we make a mistake in it, the attempt has failed, and nobody waits for it for ever."""
        assert self.plan is not None
        try:
            step(self.plan)
        except Exception as error:
            log.exception("a mistake of filterd's own")
            self._fail([f"a mistake of filterd's own, see the log: {error!r}"])

    def _open(self, plan: Plan) -> None:
        try:
            self._account = account_of(plan.user, plan.group)
            problems = self._planned(plan, self._account)
        except AccountError as error:
            problems = [str(error)]
        problems = problems or self._ties.sockets.open(plan.doors, self._account)
        if problems:
            self._fail(problems)
            return
        self.workers = WorkerSet(self._ties, self.number, plan, self._options.told(), texts=self._texts, account=self._account)
        self.workers.start()

    def _loaded(self) -> None:
        self._sure(self._enter)

    def _enter(self, plan: Plan) -> None:
        assert self.workers is not None
        refused = self._ties.sockets.listen(plan.doors, self._account)
        if refused:
            self._fail(refused)
        else:
            self.workers.enter()

    def _serving(self) -> None:
        assert self.plan is not None
        # At the start nobody else could serve meanwhile.
        self._trial = self._ties.loop.later(0.0 if self._before is None else self.plan.trial_time, self._passed)

    def _passed(self) -> None:
        assert self.workers is not None
        if not self._is_over:
            self._is_over = True
            self.workers.settle()
            self._done(self.workers)
