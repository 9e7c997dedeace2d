"""The least there is."""

from filterd import Task, rule


@rule("SIMPLE_TEST", score=1.0, description="Fires always")
def simple(task: Task) -> tuple[bool, str]:
    return True, "Fires always"
