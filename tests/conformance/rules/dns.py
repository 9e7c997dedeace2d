"""DNS, by the older resolver object with a callback, and straight."""

from typing import Any

from filterd import Task, dns, rule


@rule("SIMPLE_DNS", score=1.0)
def simple_dns(task: Task) -> None:
    def done(resolver: Any, name: str, results: Any, err: Any) -> None:
        if err:
            task.insert_result("DNS_ERROR", 1.0, err)
        else:
            task.insert_result("DNS", 1.0, str(results[0]))

    task.get_resolver().resolve_a(task=task, name=task.get_request_header("To-Resolve"), callback=done)


@rule("SIMPLE_DNS_SYNC", score=1.0, flags="coro")
def simple_dns_sync(task: Task) -> None:
    is_ok, results = dns.request(task.get_request_header("To-Resolve") or "", "a", task=task)
    if is_ok:
        task.insert_result("DNS_SYNC", 1.0, str(results[0]))
    else:
        task.insert_result("DNS_SYNC_ERROR", 1.0, results)
