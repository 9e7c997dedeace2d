"""A result that one rule inserts and another takes back."""

from filterd import Task, rule, virtual

virtual("REMOVE_RESULT_UNEXPECTED", parent="REMOVE_RESULT_CB", score=0.1, group="remove_result_test")


@rule("REMOVE_RESULT_EXPECTED", score=0.1, after="REMOVE_RESULT_UNEXPECTED")
def remove(task: Task) -> bool:
    return task.remove_result("REMOVE_RESULT_UNEXPECTED")


@rule("REMOVE_RESULT_CB", type="callback")
def insert(task: Task) -> None:
    task.insert_result("REMOVE_RESULT_UNEXPECTED", 1.0, "oh no")
