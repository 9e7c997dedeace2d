"""The first author, taken apart."""

from filterd import Task, rule


@rule("GET_FROM", score=1.0)
def author(task: Task) -> tuple[bool, str] | None:
    for sender in task.message.from_:
        return True, f"{sender.name},{sender.addr},{sender.user},{sender.domain}"
    return None
