"""Options, one by one and as a list."""

from filterd import Task, rule


@rule("OPTION_ORDER", score=1.0)
def one_by_one(task: Task) -> tuple[object, ...]:
    return True, "one", "two", "three", "4", "5", "a"


@rule("TBL_OPTION_ORDER", score=1.0)
def as_a_list(task: Task) -> tuple[object, ...]:
    return True, ["one", "two", "three", "4", "5", "a"]
