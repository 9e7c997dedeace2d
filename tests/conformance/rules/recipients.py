"""The recipients of the envelope, as one option."""

from filterd import Task, rule


@rule("TEST_RCPT", score=1.0)
def recipients(task: Task) -> tuple[bool, str]:
    return True, ",".join(rcpt.addr for rcpt in task.rcpts)
