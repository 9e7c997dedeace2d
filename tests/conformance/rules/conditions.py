"""A rule with two conditions that insert its symbol themselves, and one whose second condition says no."""

from filterd import Task, rule


def first(task: Task) -> bool:
    task.insert_result("ANY_A", 1.0, "hello1")
    return True


def second(task: Task) -> bool:
    task.insert_result("ANY_A", 1.0, "hello2")
    return True


@rule("ANY_A", score=-1.0, group="any", condition=lambda task: first(task) and second(task))
def any_a(task: Task) -> tuple[bool, str]:
    return True, "hello3"


@rule("NEVER_A", score=-1.0, group="any", condition=lambda task: first(task) and False)
def never_a(task: Task) -> bool:
    return True
