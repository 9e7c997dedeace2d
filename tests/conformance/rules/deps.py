"""A chain: DEP10 after DEP9 and so on, DEP1 after a virtual symbol whose rule takes its time."""

from collections.abc import Callable

from filterd import Task, register_symbol, rule, virtual

virtual("TOP", parent="TOP_CHECK", score=1.0)


def found(needed: str) -> Callable[[Task], bool]:
    return lambda task: task.has_symbol(needed)


# The last first: the order comes from `after`, not from where they stand.
for number in range(10, 1, -1):
    register_symbol(name=f"DEP{number}", callback=found(f"DEP{number - 1}"), score=1.0, after=f"DEP{number - 1}")
register_symbol(name="DEP1", callback=found("TOP"), score=1.0, after="TOP")


@rule("TOP_CHECK", type="callback")
def top(task: Task) -> None:
    task.sleep(0.02)
    task.insert_result("TOP", 1.0)
