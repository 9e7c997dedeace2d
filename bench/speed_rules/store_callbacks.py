"""As `store.py`, with callbacks."""

from typing import Any

from filterd import Failure, Task, config, redis, register_symbol

SERVER = redis.parse_server("bench")
SCRIPT = "return redis.call('INCR', KEYS[1]) > 0 and ARGV[1]"


def evaluating(symbol: str) -> None:
    def evaluate(task: Task) -> None:
        def done(err: Failure | None, value: Any) -> None:
            if err is None and value == "fine":
                task.insert_result(symbol, 1.0)

        redis.request(SERVER, ["EVAL", SCRIPT, 1, "bench", "fine"], is_write=True, callback=done)

    register_symbol(name=symbol, callback=evaluate, score=0.1)


for number in range(config.module("bench")["store"]):
    evaluating(f"STORE_{number}")
