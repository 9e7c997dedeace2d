"""A rule that looks up many names at once. No name is asked for twice, so that no cache knows it."""

from itertools import count

from filterd import Task, config, dns, rule

LOOKUPS = int(config.module("bench")["lookups"])
numbers = count()


@rule("LOOKUPS", score=0.1)
def look_up(task: Task) -> bool:
    first = next(numbers)
    found = dns.many([(f"n{first}-{place}.bench.test", "a") for place in range(LOOKUPS)])
    return all(is_ok and records == ["127.0.0.2"] for is_ok, records in found)
