"""UDP: a question with an answer, one that is only sent, and one nobody answers."""

from typing import Any

from filterd import Task, rule, udp


def port_of(task: Task, name: str) -> int:
    return int(task.get_request_header(name) or 0)


@rule("UDP_SUCCESS_TEST", score=1.0)
def answered(task: Task) -> None:
    def done(is_ok: bool, data: Any) -> None:
        if is_ok:
            task.insert_result("UDP_SUCCESS", 1.0, data.decode())

    udp.sendto("127.0.0.1", port_of(task, "Port"), ["hello", "world"], callback=done)


@rule("UDP_SENDTO_TEST", score=1.0)
def sent(task: Task) -> None:
    is_ok, _ = udp.sendto("127.0.0.1", port_of(task, "Port"), "hello", read=False)
    if is_ok:
        task.insert_result("UDP_SENDTO", 1.0)


@rule("UDP_FAIL_TEST", score=1.0)
def unanswered(task: Task) -> None:
    is_ok, err = udp.sendto("127.0.0.1", port_of(task, "Silent-Port"), "hello", timeout=0.1, retransmits=2)
    if not is_ok:
        task.insert_result("UDP_FAIL", 1.0, err)
