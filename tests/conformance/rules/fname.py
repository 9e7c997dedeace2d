"""The file names of all parts that have one."""

from filterd import Task, rule


@rule("TEST_FNAME")
def names(task: Task) -> tuple[object, ...]:
    return True, [part.filename for part in task.message.parts if part.filename]
