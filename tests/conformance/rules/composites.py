"""Symbols that are always found, under the groups and scores that the cases of composites need, and one with given options."""

from filterd import Registry, Task

PLAIN = (
    "EXPRESSIONS_B POLICY_REMOVE_WEIGHT_A POLICY_REMOVE_WEIGHT_B POLICY_FORCE_REMOVE_A POLICY_FORCE_REMOVE_B "
    "POLICY_LEAVE_A POLICY_LEAVE_B DEFAULT_POLICY_REMOVE_WEIGHT_A DEFAULT_POLICY_REMOVE_WEIGHT_B "
    "DEFAULT_POLICY_REMOVE_SYMBOL_A DEFAULT_POLICY_REMOVE_SYMBOL_B DEFAULT_POLICY_LEAVE_A DEFAULT_POLICY_LEAVE_B"
).split()
GROUPED = (
    ("POSITIVE_A", -1.0, "positive"),
    ("NEGATIVE_A", -1.0, "negative"),
    ("NEGATIVE_B", 1.0, "negative"),
    ("ANY_A", -1.0, "any"),
)


def found(task: Task) -> bool:
    return True


def options(task: Task) -> tuple[object, ...] | None:
    given = (task.get_request_header("opts") or "").split(",")
    return (True, *given) if given[0] else None


def register(registry: Registry) -> None:
    for name in PLAIN:
        registry.register_symbol(name=name, callback=found, score=1.0)
    for name, score, group in GROUPED:
        registry.register_symbol(name=name, callback=found, score=score, group=group)
    registry.register_symbol(name="OPTS", callback=options, score=-1.0, group="any")
    registry.register_symbol(name="TEST_FILTER_SYM", callback=found, score=1.0)
    registry.register_symbol(name="TEST_POSTFILTER_SYM", callback=found, score=1.0, type="postfilter")
