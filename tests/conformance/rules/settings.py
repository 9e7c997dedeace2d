"""Rules of every stage, virtual symbols and reserved ones, for settings to choose from."""

from filterd import Task, register_symbol, rule, virtual


def always(task: Task) -> tuple[bool, str]:
    return True, "always"


register_symbol(name="SIMPLE_PRE", callback=always, score=1.0, type="prefilter", priority=9, group="a")
register_symbol(name="SIMPLE_POST", callback=always, score=1.0, type="postfilter", group="c")


@rule("SIMPLE_TEST", score=1.0, group="b")
def simple(task: Task) -> tuple[bool, str]:
    task.insert_result("SIMPLE_VIRTUAL")
    task.insert_result("SIMPLE_VIRTUAL1")
    return True, "always"


virtual("SIMPLE_VIRTUAL", parent="SIMPLE_TEST", score=1.0, group="vg")
virtual(
    "SIMPLE_VIRTUAL1",
    parent="SIMPLE_TEST",
    score=1.0,
    group="vg",
    settings_allow="id_virtual1",
    settings_forbid="id_virtual, id_virtual_group",
)


@rule("DEP_REAL", score=1.0)
def real(task: Task) -> bool:
    task.insert_result("DEP_VIRTUAL")
    return True


virtual("DEP_VIRTUAL", parent="DEP_REAL", score=1.0, settings_allow="id_virtual1")

for name in ("EXPLICIT_ENABLE_TEST", "EXPLICIT_ENABLE_OTHER"):
    register_symbol(name=name, callback=always, score=1.0, flags="explicit_enable")


@rule("ENABLE_EXPLICIT_PRE", type="prefilter", priority=5)
def enables(task: Task) -> None:
    if task.get_request_header("Enable-Explicit"):
        task.enable_symbol("EXPLICIT_ENABLE_TEST")
