"""As `names.py`, with callbacks: a rule asks for its five names at once."""

from itertools import count
from typing import Any

from filterd import Task, config, dns, register_symbol

LOOKUPS = 5
numbers = count()


def looking_up(symbol: str) -> None:
    def look_up(task: Task) -> None:
        first = next(numbers)
        left = LOOKUPS

        def found(resolver: Any, name: str, records: list[str] | None) -> None:
            nonlocal left
            if records == ["127.0.0.2"]:
                left -= 1
                if not left:
                    task.insert_result(symbol, 1.0)

        for place in range(LOOKUPS):
            dns.request(f"n{first}-{place}.bench.test", "a", callback=found)

    register_symbol(name=symbol, callback=look_up, score=0.1)


for number in range(config.module("bench")["names"]):
    looking_up(f"NAMES_{number}")
