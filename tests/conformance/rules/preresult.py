"""A decision at the end."""

from filterd import Task, rule


@rule("PRE_RESULT", type="postfilter")
def decide(task: Task) -> None:
    task.set_pre_result("soft reject", "Pre Result Set")
