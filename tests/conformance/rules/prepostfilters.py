"""A prefilter, ten rules after each other that each wait for a DNS answer, and a postfilter that looks for all of them."""

from collections.abc import Callable

from filterd import Task, register_symbol, rule

CHAIN = [f"DEP_TEST{number}" for number in range(1, 11)]


def link(name: str, needed: str | None) -> Callable[[Task], None]:
    def asked(task: Task) -> None:
        def answered() -> None:
            if needed is None or task.has_symbol(needed):
                task.insert_result(name, 1.0)

        if task.has_symbol("TEST_PRE"):
            # A name of its own: an answer from the cache would be no wait.
            task.get_resolver().resolve_a(task=task, name=f"{name.lower()}.example.com".replace("_", "-"), callback=answered)

    return asked


for name, needed in zip(CHAIN, [None, *CHAIN], strict=False):
    register_symbol(name=name, callback=link(name, needed), score=1.0, after=needed or ())


@rule("TEST_POST", score=1.0, type="postfilter")
def post(task: Task) -> bool:
    return all(map(task.has_symbol, [*CHAIN, "TEST_PRE"]))


@rule("TEST_PRE", score=1.0, type="prefilter")
def pre(task: Task) -> bool:
    return True
