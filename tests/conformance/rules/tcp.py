"""TCP, with callbacks and straight, by phases, and against nobody."""

from typing import Any

from filterd import Task, rule, tcp, tcp_sync

GET = "GET /request HTTP/1.1\r\nConnection: keep-alive\r\n\r\n"
POST = "POST /request HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def port_of(task: Task, name: str = "Port") -> int:
    return int(task.get_request_header(name) or 0)


@rule("SIMPLE_TCP_ASYNC_TEST", score=1.0, flags="coro")
def simple_async(task: Task) -> None:
    def first(err: Any, data: bytes, conn: Any) -> None:
        task.insert_result("HTTP_ASYNC_RESPONSE", 1.0, err or data.decode())
        if not err:
            conn.add_write(written, POST)

    def written(err: Any, conn: Any) -> None:
        conn.add_read(second)

    def second(err: Any, data: bytes, conn: Any) -> None:
        task.insert_result("HTTP_ASYNC_RESPONSE_2", 1.0, err or data.decode())

    tcp.request("127.0.0.1", port_of(task), callback=first, data=[GET], read=True)


@rule("SIMPLE_TCP_TEST", score=1.0, flags="coro")
def simple_sync(task: Task) -> None:
    is_ok, connection = tcp_sync.connect("127.0.0.1", port_of(task), task=task, timeout=20)
    if not is_ok:
        task.insert_result("HTTP_SYNC_WRITE_ERROR", 1.0, connection)
        return
    is_ok, err = connection.write(GET)
    if not is_ok:
        task.insert_result("HTTP_SYNC_WRITE_ERROR", 1.0, err)
        return
    _, data = connection.read_once()
    task.insert_result("HTTP_SYNC_RESPONSE", 1.0, data.decode())
    connection.write(POST)
    _, data = connection.read_once()
    task.insert_result("HTTP_SYNC_RESPONSE_2", 1.0, data.decode())


@rule("HTTP_TCP_TEST", score=1.0, flags="coro")
def http_by_hand(task: Task) -> None:
    path, method = (task.get_request_header(name) or "" for name in ("Url", "Method"))
    connection = tcp_sync.connect("127.0.0.1", port_of(task), timeout=20).unwrap()
    connection.write(f"{method.upper()} {path} HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap()
    length = None
    while line := connection.read_until("\r\n").unwrap().decode():
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    content = connection.read_until_eof() if length is None else connection.read_bytes(length)
    task.insert_result(f"HTTP_SYNC_CONTENT_{method}", 1.0, content.unwrap().decode())


@rule("PHASED_TIMEOUT_TEST", score=1.0)
def phased(task: Task) -> None:
    def done(err: Any, data: bytes) -> None:
        if not err and data:
            task.insert_result("PHASED_TCP_OK", 1.0)

    tcp.request(
        "127.0.0.1",
        port_of(task),
        callback=done,
        data=[GET],
        partial=True,
        connect_timeout=1.0,
        write_timeout=1.0,
        read_timeout=2.0,
    )


@rule("ON_ERROR_REFUSED_TEST", score=1.0)
def on_error_refused(task: Task) -> None:
    def regular(err: Any) -> None:
        task.insert_result("ON_ERROR_REGULAR_CB_FIRED", 1.0, err)

    def fired(err: Any) -> None:
        task.insert_result("ON_ERROR_FIRED", 1.0, err)

    tcp.request("127.0.0.1", port_of(task, "Dead-Port"), callback=regular, on_error=fired, data=[GET])


@rule("ON_ERROR_POST_CONNECT_TEST", score=1.0)
def on_error_after_connect(task: Task) -> None:
    def regular(err: Any) -> None:
        if err:
            task.insert_result("POST_CONNECT_READ_TIMEOUT", 1.0, err)

    def fired(err: Any) -> None:
        task.insert_result("POST_CONNECT_ON_ERROR_FIRED", 1.0, err)

    tcp.request("127.0.0.1", port_of(task, "Silent-Port"), callback=regular, on_error=fired, data=["hello"], read_timeout=0.3)
