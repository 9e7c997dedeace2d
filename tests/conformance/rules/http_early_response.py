"""HTTP answered early: the backend replies before it has the whole request. Its port comes as a request header."""

from typing import Any

from filterd import Task, http, rule, virtual

SHORT = "of a body"
LINES = "".join(f"line {number} of a body that does not go out in one piece\n" for number in range(1000))
LARGE = "X" * (8 * 2**20)
"""More than the buffers of both sides hold: who sends it without being read has to wait."""

for prefix in (
    *("HTTP_EARLY_REPLY", "HTTP_EARLY_413", "HTTP_KEEPALIVE_EARLY", "HTTP_EARLY_CORO", "HTTP_NORMAL", "HTTP_INSTANT_REPLY"),
    *("HTTP_IMMEDIATE_CLOSE", "HTTP_SLOW_RESPONSE", "HTTP_BLOCK_REPLY", "HTTP_BLOCK_REPLY_CORO", "HTTP_BLOCK_SLOW"),
):
    for result in ("200", "413", "503", "ERROR"):
        virtual(f"{prefix}_{result}", parent="HTTP_EARLY_RESPONSE_TEST", score=1.0)


def backend(task: Task, path: str) -> str:
    return f"http://127.0.0.1:{task.get_request_header('Port')}{path}"


def by_callback(task: Task, prefix: str, path: str, body: str, **options: Any) -> None:
    def done(err: Any, code: int, content: bytes) -> None:
        if err:
            task.insert_result(f"{prefix}_ERROR", 1.0, err)
        else:
            task.insert_result(f"{prefix}_{code}", 1.0, content.decode())

    http.request(backend(task, path), task=task, method="post", body=body, callback=done, **options)


def straight(task: Task, prefix: str, path: str, body: str, **options: Any) -> None:
    err, response = http.request(backend(task, path), task=task, method="post", body=body, **options)
    if err:
        task.insert_result(f"{prefix}_ERROR", 1.0, err)
    else:
        task.insert_result(f"{prefix}_{response.code}", 1.0, response.text)


@rule("HTTP_EARLY_RESPONSE_TEST", score=1.0, flags="coro")
def early_response(task: Task) -> None:
    wanted = task.get_request_header("test-type") or "all"
    if wanted in ("early-reply", "all"):
        by_callback(task, "HTTP_EARLY_REPLY", "/early-reply", LINES)
    if wanted in ("early-413", "all"):
        by_callback(task, "HTTP_EARLY_413", "/early-error-413", LINES)
    if wanted in ("keepalive-early", "all"):
        by_callback(task, "HTTP_KEEPALIVE_EARLY", "/keepalive-early", SHORT, keepalive=True)
    if wanted in ("early-coro", "all"):
        straight(task, "HTTP_EARLY_CORO", "/early-reply", LINES)
    if wanted in ("normal", "all"):
        by_callback(task, "HTTP_NORMAL", "/request", SHORT)


@rule("HTTP_KEEPALIVE_SEQUENTIAL_TEST", score=1.0, flags="coro")
def keepalive_sequential(task: Task) -> None:
    outcomes = [
        http.request(backend(task, "/keepalive-normal"), method="post", body=f"request {number}", keepalive=True)
        for number in range(3)
    ]
    errors = [err for err, _ in outcomes if err]
    if errors:
        task.insert_result("HTTP_KEEPALIVE_SEQ_ERRORS", 1.0, *errors)
    task.insert_result("HTTP_KEEPALIVE_SEQ_SUCCESS", 1.0, len(outcomes) - len(errors))


def in_short(task: Task, *paths: str, **options: Any) -> str:
    """What became of requests sent one after the other."""
    told = []
    for path in paths:
        err, response = http.request(backend(task, path), method="post", **options)
        told.append(f"{path}:err:{err}" if err else f"{path}:ok:{response.code}")
    return "|".join(told)


@rule("HTTP_EARLY_KEEPALIVE_STRESS_TEST", score=1.0, flags="coro")
def early_keepalive_stress(task: Task) -> None:
    paths = ("/request", "/early-reply", "/request", "/keepalive-early", "/request")
    task.insert_result("HTTP_EARLY_KEEPALIVE_STRESS", 1.0, in_short(task, *paths, body=LINES[:5000], keepalive=True))


@rule("HTTP_RAPID_CLOSE_TEST", score=1.0, flags="coro")
def rapid_close(task: Task) -> None:
    task.insert_result("HTTP_RAPID_CLOSE_RESULTS", 1.0, in_short(task, *["/immediate-close-413"] * 5, body="x" * 10_000))


@rule("HTTP_IMMEDIATE_CLOSE_TEST", score=1.0, flags="coro")
def immediate_close(task: Task) -> None:
    by_callback(task, "HTTP_IMMEDIATE_CLOSE", "/immediate-close-413", LARGE)


@rule("HTTP_SLOW_RESPONSE_TEST", score=1.0, flags="coro")
def slow_response(task: Task) -> None:
    straight(task, "HTTP_SLOW_RESPONSE", "/slow-response-no-drain", LARGE)


@rule("HTTP_BLOCK_REPLY_TEST", score=1.0, flags="coro")
def block_reply(task: Task) -> None:
    by_callback(task, "HTTP_BLOCK_REPLY", "/block-and-reply", LARGE)


@rule("HTTP_BLOCK_REPLY_CORO_TEST", score=1.0, flags="coro")
def block_reply_straight(task: Task) -> None:
    straight(task, "HTTP_BLOCK_REPLY_CORO", "/block-and-reply", LARGE)


@rule("HTTP_BLOCK_SLOW_TEST", score=1.0, flags="coro")
def block_slow(task: Task) -> None:
    straight(task, "HTTP_BLOCK_SLOW", "/block-slow-503", LARGE)


@rule("HTTP_INSTANT_REPLY_TEST", score=1.0, flags="coro")
def instant_reply(task: Task) -> None:
    straight(task, "HTTP_INSTANT_REPLY", "/anything", LARGE)
