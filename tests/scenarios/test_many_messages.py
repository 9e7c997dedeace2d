"""Many messages at once, one worker: they wait side by side."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent.pywsgi import WSGIServer

from tests.support.daemon import running_daemon
from tests.support.engine import MAIL
from tests.support.many import at_once

RULE = """\
from filterd import Task, http, rule


@rule("ASKED", score=1.0)
def ask(task: Task) -> tuple[bool, str]:
    return True, http.request("http://127.0.0.1:PORT/" + (task.queue_id or "")).unwrap().text
"""


@pytest.fixture
def slow_backend() -> Iterator[int]:
    """Answers each request with its path, half a second later."""

    def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gevent.sleep(0.5)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    server = WSGIServer(("127.0.0.1", 0), answer, log=None)
    server.start()
    yield int(server.address[1])
    server.stop()


def test_200_messages_with_a_slow_backend_take_little_more_than_one(tmp_path: Path, slow_backend: int) -> None:
    with running_daemon(tmp_path, {"ask": RULE.replace("PORT", str(slow_backend))}) as daemon:
        began = monotonic()
        replies = at_once(partial(daemon.scan, MAIL, Queue_Id=str(number)) for number in range(200))
        took = monotonic() - began
    assert [reply["symbols"]["ASKED"]["options"] for reply in replies] == [[f"/{number}"] for number in range(200)]
    # One after the other they would take 100 s; the bound is generous, for a machine that does other things.
    assert took < 10
