"""Ten rules that always hit, in a fixed order: what they count and where their group is cut, the configuration says."""

from filterd import Task, register_symbol


def always(task: Task) -> bool:
    return True


for sign, first in (("POSITIVE", ()), ("NEGATIVE", ("GR_POSITIVE16",))):
    for number in (1, 2, 4, 8, 16):
        after = first if number == 1 else (f"GR_{sign}{number // 2}",)
        register_symbol(name=f"GR_{sign}{number}", callback=always, after=after)
