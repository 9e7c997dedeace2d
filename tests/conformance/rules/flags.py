"""What the client asked for, as a late rule sees it."""

from filterd import Task, rule


@rule("FLAGS_SYM", type="postfilter")
def flags(task: Task) -> tuple[object, ...]:
    return True, *sorted(task.flags)
