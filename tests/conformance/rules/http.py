"""HTTP, four ways: by address and by name, with a callback and straight. The backend's port comes as a request header."""

from typing import Any

from filterd import Task, http, rule, virtual

SSL_BODY = "x" * 600_000

for name in ("HTTP", "HTTP_DNS", "HTTP_CORO", "HTTP_CORO_DNS"):
    for result in ("200", "403", "ERROR"):
        virtual(f"{name}_{result}", parent="SIMPLE_HTTP_TEST", score=1.0)


@rule("SIMPLE_HTTP_TEST", score=1.0, flags="coro")
def simple_http(task: Task) -> None:
    path, method, port = (task.get_request_header(name) or "" for name in ("Url", "Method", "Port"))

    def reporter(prefix: str) -> Any:
        def done(err: Any, code: int, body: bytes) -> None:
            if err:
                task.insert_result(f"{prefix}_ERROR", 1.0, err.kind)
            else:
                task.insert_result(f"{prefix}_{code}", 1.0, body.decode())

        return done

    by_address, by_name = (f"http://{host}:{port}{path}" for host in ("127.0.0.1", "site.resolveme"))
    http.request(by_address, task=task, method=method, callback=reporter("HTTP"), timeout=1)
    http.request(by_name, task=task, method=method, callback=reporter("HTTP_DNS"), timeout=1)
    for url, prefix in ((by_name, "HTTP_CORO_DNS"), (by_address, "HTTP_CORO")):
        err, response = http.request(url, task=task, method=method, timeout=1)
        if err:
            task.insert_result(f"{prefix}_ERROR", 1.0, err.kind)
        else:
            task.insert_result(f"{prefix}_{response.code}", 1.0, response.text)
    task.insert_result(f"method_{method}", 1.0)


@rule("LARGE_HTTP_TEST", score=1.0, flags="coro")
def large_http(task: Task) -> None:
    if task.queue_id != "SSL Large HTTP request":
        return
    err, response = http.request(
        f"https://127.0.0.1:{task.get_request_header('Port')}/", method="post", body=SSL_BODY, timeout=5, tls_verify_peer=False
    )
    if err:
        task.insert_result("HTTP_SSL_LARGE_ERROR", 1.0, err)
    else:
        task.insert_result("HTTP_SSL_LARGE", 1.0, response.content == SSL_BODY.encode())


@rule("FORBID_LOCAL_TEST", score=1.0, flags="coro")
def forbid_local(task: Task) -> None:
    port = task.get_request_header("Port")
    called: list[Any] = []

    def never(*args: Any) -> None:
        called.append(args)

    if not http.request(f"http://127.0.0.1:{port}/request", callback=never, forbid_local=True) and not called:
        task.insert_result("HTTP_FORBID_NUMERIC_DENIED", 1.0)

    def refused(err: Any) -> None:
        if err:
            task.insert_result("HTTP_FORBID_DNS_ERROR", 1.0, err.kind)

    http.request(f"http://site.resolveme:{port}/request", callback=refused, forbid_local=True)
