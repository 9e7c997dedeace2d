"""Rules as people write them, in the words of the documentation. Never run: mypy --strict and pyright read it.

Each ignore comment is an assertion as well: both checkers are told to complain about one that hides nothing.
"""

from collections.abc import Mapping
from typing import Any, assert_type

import filterd
from filterd import (
    Address,
    Failure,
    Hit,
    Registry,
    RequestFailed,
    Task,
    config,
    dns,
    http,
    log,
    redis,
    register_symbol,
    rule,
    sleep,
    tcp_sync,
    virtual,
)

SERVERS = redis.parse_server("seen")
LIMITS: Mapping[str, Any] = config.module("limits")


# -- what a rule may return


def a_misspelt_name_is_found() -> None:
    filterd.tpc_sync  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


@rule("NOTHING")
def returns_nothing(task: Task) -> None: ...


@rule("BOOL", score=2.0, group="headers", description="Is shouting")
def returns_bool(task: Task) -> bool:
    return (task.message.subject or "").isupper()


@rule("NUMBER", flags="fine, nice", priority=3, type="prefilter")
def returns_number(task: Task) -> float:
    return task.message.size / 1_000_000


@rule("TUPLE", timeout=3.0, on_error="symbol", condition=lambda task: task.ip is not None)
def returns_options(task: Task) -> tuple[bool, str] | None:
    return (True, task.ip) if task.ip else None


@rule("MISSPELT", on_eror="skip")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
def with_a_misspelt_keyword(task: Task) -> None: ...


@rule("WRONG", on_error="ignore")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
def with_a_wrong_choice(task: Task) -> None: ...


@rule("TOO_MANY")  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
def with_two_arguments(task: Task, other: str) -> None: ...


def a_decorated_function_keeps_its_type(task: Task) -> None:
    assert_type(returns_options(task), tuple[bool, str] | None)


# -- asking others


@rule("HTTP", score=4.0)
def asks_a_web_service(task: Task) -> tuple[bool, str] | None:
    err, response = http.request("http://127.0.0.1:8080/check", body=task.message.raw, timeout=2.0)
    if err:
        log.warning("the service does not answer: %s", err.detail)
        return None
    if response.code == 200 and response.content == b"bad":
        return True, response.text
    if response.contents:  # type: ignore[union-attr] # pyright: ignore[reportAttributeAccessIssue]
        return None
    return None


@rule("HTTP_UNWRAPPED")
def asks_with_exceptions(task: Task) -> tuple[bool, str]:
    response = http.request(f"http://127.0.0.1:8080/ip/{task.ip}", headers={"X-Id": task.id}, method="post").unwrap()
    assert_type(response.code, int)
    assert_type(response.content, bytes)
    return True, response.headers["content-type"]


@rule("HTTP_CALLBACK")
def asks_by_callback(task: Task) -> None:
    def done(err: Failure | None, code: int, body: bytes) -> None:
        if not err and code == 200:
            task.insert_result("SERVICE_HIT", 1.0, body.decode())

    assert_type(http.request("http://127.0.0.1:8080/", task=task, callback=done), bool)


@rule("DNS")
def asks_dns(task: Task) -> tuple[bool, str] | None:
    if task.mail_from is None:
        return None
    is_ok, records = dns.request(task.mail_from.domain, "mx")
    if not is_ok:
        return (True, str(records)) if records == "no records with this name" else None
    return True, ", ".join(str(record) for record in records)


@rule("DNS_MANY")
def asks_dns_at_once(task: Task) -> int:
    names = [dns.reverse(task.ip, zone) for zone in ("one.example", "two.example")] if task.ip else []
    return sum(is_ok for is_ok, _ in dns.many([(name, "a") for name in names]))


@rule("TCP")
def talks_tcp(task: Task) -> bool:
    is_ok, connection = tcp_sync.connect("127.0.0.1", 10031, timeout=2.0)
    if not is_ok:
        task.log.error("no policy server: %s", connection)
        return False
    is_ok, err = connection.write(["request=policy\n", b"\n"])
    if not is_ok:
        log.error("cannot write: %s", err)
        return False
    is_ok, answer = connection.read_until(b"\n\n")
    connection.close()
    return is_ok and answer.startswith(b"action=reject")


@rule("TCP_UNWRAPPED")
def talks_tcp_with_exceptions(task: Task) -> bool:
    connection = tcp_sync.connect("unix:/run/policy").unwrap()
    connection.write(b"x").unwrap()
    assert_type(connection.read_bytes(4).unwrap(), bytes)
    return connection.eof()


@rule("REDIS")
def asks_redis(task: Task) -> tuple[bool, str] | None:
    is_ok, connection = redis.connect(SERVERS, is_write=True)
    if not is_ok:
        return None
    connection.add_cmd("INCR", [f"seen:{task.message.digest}"])
    is_ok, count = connection.exec()
    return (True, f"{count} times") if is_ok else None


@rule("REDIS_REQUEST")
def asks_redis_once(task: Task) -> bool:
    is_ok, value = redis.request(SERVERS, ["GET", "key"])
    return bool(is_ok and value == "1")


@rule("CATCHES")
def catches_a_failure(task: Task) -> None:
    try:
        http.request("http://127.0.0.1/").unwrap()
    except RequestFailed as error:
        assert_type(error.failure, Failure)
        if error.failure.kind == "timeout":
            task.log.info("after %.1f s", error.failure.elapsed)


# -- the task


@rule("TASK")
def looks_at_everything(task: Task) -> None:
    assert_type(task.ip, str | None)
    assert_type(task.mail_from, Address | None)
    assert_type(task.get_request_header("X"), str | None)
    assert_type(task.message.subject, str | None)
    assert_type(task.message.raw, bytes)
    for part in task.message.text_parts:
        assert_type(part.content, str)
    for recipient in task.rcpts:
        assert_type(recipient.domain, str)
    assert_type(task.symbols["A"], Hit)
    task.insert_result("A", 0.5, "option", 3, ["more"])
    task.set_pre_result("soft reject", "come later", priority=2)
    task.add_header("X-Filterd", "yes", order=0)
    task.set_milter_reply({"remove_headers": {"X-Spam": 0}})
    task.vars["seen"] = True
    task.ipp  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


@rule("CONCURRENT")
def works_beside(task: Task) -> None:
    def length(text: str) -> int:
        sleep(0)
        return len(text)

    assert_type(task.spawn(length, "x").get(), int)
    assert_type(task.map(length, ["a", "b"], limit=10), list[int])
    task.sleep(0.1)


# -- other ways to register


virtual("SERVICE_HIT", parent="HTTP_CALLBACK", score=1.0)
register_symbol(name="CALLED", callback=returns_bool, score=0.5, flags="coro")
register_symbol(name="COMPUTED", type="virtual", parent="CALLED")


def register(registry: Registry) -> None:
    for name in LIMITS:
        registry.rule(f"LIMIT_{name}", score=1.0)(returns_bool)
        registry.register_symbol(name=f"OVER_{name}", callback=returns_number)
        registry.virtual(f"EXTRA_{name}", parent=f"LIMIT_{name}")
