"""Redis, with a queued script and with one request, straight and with a callback."""

from typing import Any

from filterd import Task, redis, rule

PARAMS = redis.parse_server("redis_test")
SCRIPT = 'return "hello from lua on redis"'


@rule("REDIS_TEST", score=1.0, flags="coro")
def redis_test(task: Task) -> None:
    is_ok, connection = redis.connect(PARAMS, task=task)
    if not is_ok:
        task.insert_result("REDIS_ERROR", 1.0, connection)
        return
    is_ok, err = connection.add_cmd("EVAL", [SCRIPT, 0])
    if not is_ok:
        task.insert_result("REDIS_ERROR_2", 1.0, err)
        return
    is_ok, data = connection.exec()
    task.insert_result("REDIS" if is_ok else "REDIS_ERROR_3", 1.0, data)


def ask(task: Task, symbol: str) -> None:
    def done(err: Any, data: Any) -> None:
        if err:
            task.insert_result(f"{symbol}_ERROR", 1.0, err)
        else:
            task.insert_result(symbol, 1.0, data)

    redis.request(PARAMS, ["GET", "test_key"], task=task, callback=done)


@rule("SIMPLE_REDIS_ASYNC_TEST", score=1.0)
def redis_async(task: Task) -> None:
    ask(task, "REDIS_ASYNC")


@rule("SIMPLE_REDIS_ASYNC201809_TEST", score=1.0)
def redis_async_2018(task: Task) -> None:
    ask(task, "REDIS_ASYNC201809")
