"""A scope without an engine: a function runs in it as a rule would, and its value or exception comes back."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from filterd.mail.results import Scoring
from filterd.net.greenlets import Crew, Stop
from filterd.task import Environment, Jobs, Scope

__all__ = ["FunctionJob", "FunctionScope", "run_in_scope"]

T = TypeVar("T")


class FunctionJob(Generic[T]):
    """What stands in for a rule: its name is in texts that tell whose call it was."""

    name = "TEST"
    timeout: float | None = None

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.value: T | None = None

    def run(self) -> None:
        self.value = self.function()


class FunctionScope(Scope):
    """The least a scope can be; `errors` are those nobody took, in order."""

    def __init__(self, network: Any, budget: float = 8.0) -> None:
        crew: Crew = getattr(network, "crew", None) or Crew()
        super().__init__(Environment(network=network, crew=crew, scoring=Scoring(), modules={}), "test", budget)
        self.jobs = Jobs(crew, self)
        self.errors: list[BaseException] = []

    def job_failed(self, job: Any, error: BaseException) -> None:
        self.errors.append(error)

    def run(self, function: Callable[[], T]) -> T:
        """Run it, wait for all it started, close what it opened. The first error nobody took is raised.

        A budget that is over raises `Stop`, which is a BaseException.
        """
        job = FunctionJob(function)
        timer = self.environment.crew.hub.loop.timer(self.deadline.left)
        timer.start(self.jobs.stop, Stop(f"the message's budget of {self.deadline.budget:g} s is over"), update=True)
        try:
            self.jobs.add(job)
            self.jobs.join()
        finally:
            timer.close()
            self.close()
        if self.errors:
            raise self.errors[0]
        return cast(T, job.value)


def run_in_scope(function: Callable[[], T], *, network: Any, budget: float = 8.0) -> T:
    """Run `function()` as a job of a scope of its own with these clients; its value, or the first error raised in the scope.

    `network` is a `Network` or anything with the attributes that are needed (`crew`, `resolver`, `http`, …); `budget` is in
    seconds.
    """
    return FunctionScope(network, budget).run(function)
