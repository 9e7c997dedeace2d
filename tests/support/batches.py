"""A batch of plain functions, for tests of what runs them."""

from collections.abc import Callable

from filterd.net.greenlets import Batch, Crew, Stop

__all__ = ["Job", "Work", "run", "stop_soon"]

Job = Callable[[], object]


class Work(Batch[Job]):
    """A batch of plain functions; `failures` are the exceptions that escaped them, `seconds` is the limit of each."""

    def __init__(self, crew: Crew, seconds: float | None = None) -> None:
        super().__init__(crew)
        self.failures: list[BaseException] = []
        self.seconds = seconds

    def perform(self, job: Job) -> None:
        job()

    def failed(self, job: Job, error: BaseException) -> None:
        self.failures.append(error)

    def limit(self, job: Job) -> float | None:
        return self.seconds


def run(batch: Work, *jobs: Job) -> None:
    for job in jobs:
        batch.add(job)
    batch.join()


def stop_soon(batch: Work, text: str = "enough") -> None:
    """From the hub, once everything that was added before waits."""
    batch.crew.hub.loop.run_callback(lambda: batch.crew.hub.loop.run_callback(batch.stop, Stop(text)))
