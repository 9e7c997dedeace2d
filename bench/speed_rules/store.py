"""Rules that have Redis evaluate a script."""

from filterd import Task, config, redis, register_symbol

SERVER = redis.parse_server("bench")
SCRIPT = "return redis.call('INCR', KEYS[1]) > 0 and ARGV[1]"


def evaluate(task: Task) -> bool:
    is_ok, value = redis.request(SERVER, ["EVAL", SCRIPT, 1, "bench", "fine"], is_write=True)
    return is_ok and value == "fine"


for number in range(config.module("bench")["store"]):
    register_symbol(name=f"STORE_{number}", callback=evaluate, score=0.1)
