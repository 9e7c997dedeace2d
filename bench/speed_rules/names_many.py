"""As `names.py`, but a rule asks for its five names at once."""

from itertools import count

from filterd import Task, config, dns, register_symbol

LOOKUPS = 5
numbers = count()


def look_up(task: Task) -> bool:
    first = next(numbers)
    found = dns.many([(f"n{first}-{place}.bench.test", "a") for place in range(LOOKUPS)])
    return all(is_ok and records == ["127.0.0.2"] for is_ok, records in found)


for number in range(config.module("bench")["names"]):
    register_symbol(name=f"NAMES_{number}", callback=look_up, score=0.1)
