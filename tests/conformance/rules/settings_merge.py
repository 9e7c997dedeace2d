"""Rules that need each other, hard and weakly, and one that shows what settings say besides."""

from filterd import Task, register_symbol, rule


def always(task: Task) -> tuple[bool, str]:
    return True, "always"


register_symbol(name="MERGE_TEST_BASIC", callback=always, score=1.0, group="merge_test")
register_symbol(name="MERGE_HARD_DEP", callback=always, score=1.0, group="merge_test", requires="MERGE_TEST_BASIC")
register_symbol(name="MERGE_WEAK_DEP", callback=always, score=1.0, group="merge_test", after="MERGE_TEST_BASIC")
register_symbol(name="MERGE_GROUP_SYM", callback=always, score=2.0, group="merge_group")
register_symbol(name="MERGE_GROUP_SYM2", callback=always, score=3.0, group="merge_group")
register_symbol(name="MERGE_PRE", callback=always, score=0.5, type="prefilter", priority=9, group="merge_test", flags="empty")


@rule("MERGE_CUSTOM_KEYS")
def custom_keys(task: Task) -> tuple[bool, list[str]] | None:
    said = [f"{name}={task.settings[name]}" for name in ("tenant", "mode", "shared") if name in task.settings]
    return (True, said) if said else None
