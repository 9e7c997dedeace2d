"""The paths of a control listener over real connections, with books of the tests' own."""

import json
from typing import Any

import pytest

from filterd.daemon.statistics import Statistics
from filterd.proto import control
from filterd.proto.control_shapes import SymbolFacts
from filterd.servers.control import endpoints
from tests.support.client import Client
from tests.support.control import READ, TestBooks, ask, scanned, serving_control
from tests.support.engine import MAIL

STRANGER = "127.0.0.2"


def worker(**facts: Any) -> dict[str, Any]:
    told = {"pid": 1, "ready": True, "under_way": 0, "limit": 10, **facts}
    return Statistics(worker=lambda: told).snapshot()


def test_liveness_is_open_to_everybody() -> None:
    with serving_control(TestBooks(snapshots=[worker()]), trusted=[]) as listener:
        assert ask(listener, "/ping").body == b"pong\r\n"
        assert (ask(listener, "/healthy").json, ask(listener, "/ready").json) == ({"success": True}, {"success": True})
        assert (ask(listener, "/").status, ask(listener, "/", method="HEAD").body) == (200, b"")


def test_what_is_open_tells_nothing() -> None:
    with serving_control(TestBooks(snapshots=[worker()]), trusted=[]) as listener:
        for path in ("/", "/ping", "/healthy", "/ready"):
            assert b"9.9" not in ask(listener, path).body


@pytest.mark.parametrize(
    ("workers", "healthy", "ready"),
    [
        ([{}], 200, 200),
        ([{}, {"ready": False}], 200, 200),
        ([{"ready": False}], 200, 503),
        ([{"under_way": 10}], 200, 503),
        ([{"under_way": 10}, {"under_way": 9}], 200, 200),
        ([{"responding": False}, {}], 503, 200),
        ([{"responding": False}], 503, 503),
        ([], 200, 503),
    ],
)
def test_healthy_is_that_all_respond_ready_that_one_can_take_a_message(
    workers: list[dict[str, Any]], healthy: int, ready: int
) -> None:
    with serving_control(TestBooks(snapshots=[worker(**facts) for facts in workers])) as listener:
        assert (ask(listener, "/healthy").status, ask(listener, "/ready").status) == (healthy, ready)
        if healthy != 200:
            assert ask(listener, "/healthy").json == {"error": "1 workers are not responding"}


def test_everything_else_is_behind_the_gate() -> None:
    with serving_control(passwords=(READ, None)) as listener:
        for path in (*control.ENDPOINTS, *control.SCANS, "plugins", "plugins/selectors/list_extractors"):
            expected = 200 if path in ("ping", "healthy") else 503 if path == "ready" else 401
            assert ask(listener, f"/{path}", body=b"x", source=STRANGER).status == expected, path
        assert scanned == []


def test_every_path_that_is_known_is_answered() -> None:
    with serving_control() as listener:
        answers = {path: ask(listener, f"/{path}", body=b"").status for path in control.ENDPOINTS}
    assert {path for path, status in answers.items() if status == 500} == set()
    # Nothing says "success" that did nothing.
    for path in ("learnspam", "learnham", "learnclass", "fuzzyadd", "fuzzydel", "fuzzydelhash", "saveactions", "savesymbols"):
        assert answers[path] == 501


def test_what_is_not_there_is_refused_in_words() -> None:
    with serving_control() as listener:
        for path, text in (
            ("learnspam", endpoints.NO_CLASSIFIER),
            ("learnham", endpoints.NO_CLASSIFIER),
            ("fuzzyadd", endpoints.NO_FUZZY),
            ("saveactions", endpoints.IN_FILES),
            ("graph?type=day", endpoints.NO_GRAPH),
            ("plugins/nothing", "plugins/nothing: there is no such plugin"),
        ):
            answer = ask(listener, f"/{path}", body=MAIL)
            assert (answer.json, answer.reason) == ({"error": text}, text)


def test_an_unknown_path_is_not_found() -> None:
    with serving_control(trusted=[]) as listener:
        answer = ask(listener, "/nothing")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (404, b"Not found", "text/plain")


def test_what_a_browser_asks_beforehand_is_answered_and_invites_nobody() -> None:
    with serving_control(trusted=[]) as listener:
        answer = ask(listener, "/stat", method="OPTIONS")
    assert (answer.status, answer.headers["access-control-allow-methods"]) == (200, "POST, GET, OPTIONS")
    assert "access-control-allow-origin" not in answer.headers


def test_counts_are_shown_and_reset() -> None:
    books = TestBooks(snapshots=[worker() | {"messages": 3, "actions": {"reject": 3}}], known=[SymbolFacts("A", 1.5)])
    with serving_control(books) as listener:
        assert ask(listener, "/stat").json["scanned"] == 3
        assert ask(listener, "/auth").json["reject"] == 3
        assert ask(listener, "/counters").json[0]["symbol"] == "A"
        assert ask(listener, "/symbols").json[0]["rules"][0]["weight"] == 1.5
        assert {"action": "reject", "value": 15.0} in ask(listener, "/actions").json
        assert ask(listener, "/pie").json[-1]["value"] == 3.0
        assert books.resets == 0
        assert ask(listener, "/statreset").json["scanned"] == 3
        assert books.resets == 1


def test_metrics_are_in_the_form_that_is_asked_for() -> None:
    with serving_control() as listener:
        answer = ask(listener, "/metrics", {"Accept": "application/openmetrics-text"})
    assert (answer.body, answer.headers["content-type"]) == (b"accepts application/openmetrics-text\n", "text/x-metrics")


def test_history_has_a_range_and_an_end() -> None:
    books = TestBooks(history=[b'{"n":%d}' % number for number in range(5)])
    with serving_control(books) as listener:
        assert [row["n"] for row in ask(listener, "/history").json["rows"]] == [0, 1, 2, 3, 4]
        assert [row["n"] for row in ask(listener, "/history?from=1&to=2").json["rows"]] == [1, 2]
        for odd in ("from=9", "from=x&to=-1", "from=99999999999999999999", "from=3&to=1"):
            assert ask(listener, f"/history?{odd}").status == 200
        assert ask(listener, "/historyreset").json == {"success": True}
        assert ask(listener, "/history").json == {"version": 2, "rows": []}


def test_errors_are_the_newest_first() -> None:
    errors = [{"ts": 1.0, "message": "a"}, {"ts": 3.0, "message": "c"}]
    books = TestBooks(snapshots=[worker() | {"errors": errors}, worker() | {"errors": [{"ts": 2.0, "message": "b"}]}])
    with serving_control(books) as listener:
        assert [one["message"] for one in ask(listener, "/errors").json] == ["c", "b", "a"]


def test_expressions_can_be_tried_out() -> None:
    with serving_control(passwords=(READ, None)) as listener:
        plugins = "/plugins/selectors"
        assert ask(listener, "/plugins").json["selectors"]["paths"] == endpoints.SELECTORS
        for kind in ("extractors", "transforms"):
            assert ask(listener, f"{plugins}/list_{kind}").json == {kind: {"description": f"All {kind}"}}
        assert ask(listener, f"{plugins}/check_selector?selector=subject").json == {"success": True}
        assert ask(listener, f"{plugins}/check_selector?selector=sub%20ject").json == {
            "success": False,
            "error": "no expression: sub ject",
        }
        asked = f"{plugins}/check_message?selector=subject"
        answer = ask(listener, asked, {"Helo": "h", "Password": "read me"}, body=MAIL, source=STRANGER)
        assert answer.json == {"success": True, "data": ["hello", "h", "None"]}
        assert ask(listener, f"{plugins}/check_message", body=MAIL).status == 400


def test_who_changes_something_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="filterd.control")
    with serving_control() as listener:
        ask(listener, "/statreset")
        ask(listener, "/historyreset")
    told = [record.getMessage() for record in caplog.records if record.name == "filterd.control"]
    assert [line.rpartition(" by ")[0] for line in told] == [
        "the counts of /stat begin anew (statreset",
        "the history is forgotten (historyreset",
    ]
    assert all("127.0.0.1:" in line for line in told)


@pytest.mark.parametrize("path", ["/checkv2", "/CheckV2", "/check", "/scan"])
def test_a_message_is_scanned_for_who_may_read(path: str) -> None:
    with serving_control(passwords=(READ, None)) as listener:
        assert ask(listener, path, {"From": "a@example.org"}, body=MAIL).status == 200
        assert ask(listener, path, {"Password": "read me"}, body=MAIL, source=STRANGER).status == 200
        assert ask(listener, f"{path}?password=read%20me&helo=h", body=MAIL, source=STRANGER).status == 200
    assert [one.message.raw for one in scanned] == [MAIL] * 3
    assert scanned[0].envelope.mail_from == "a@example.org"
    # Rules read every header of the request; this one they do not.
    assert [one.envelope.get("password") for one in scanned] == [None] * 3
    assert scanned[2].envelope.helo == "h"


@pytest.mark.parametrize(
    "hello", [b"CHECK RSPAMC/1.3\r\nContent-length: 4\r\n\r\na: b", b"CHECK SPAMC/1.5\r\nContent-length: 4\r\n\r\na: b"]
)
def test_no_older_protocol_goes_round_the_gate(hello: bytes) -> None:
    """They know no passwords: on a control listener they are not spoken, whatever other doors speak."""
    with serving_control() as listener, Client(listener.address) as client:
        answer = client.send(hello).end().read_all()
    assert scanned == []
    assert b"error" in answer


def test_a_fault_of_ours_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(TestBooks):
        def thresholds(self) -> dict[str, float]:
            raise RuntimeError("broken books")

    with serving_control(Broken()) as listener:
        answer = ask(listener, "/actions", {"Connection": "keep-alive"})
        assert (answer.status, answer.json["error"]) == (500, "internal error, see the log")
        assert ask(listener, "/ping").status == 200
    assert "broken books" in caplog.text


def test_a_kept_connection_is_judged_request_by_request() -> None:
    keep = b"GET /%b HTTP/1.1\r\nConnection: keep-alive\r\n%b\r\n"
    with serving_control(passwords=(READ, None), trusted=[]) as listener, Client(listener.address) as client:
        assert client.send(keep % (b"stat", b"Password: read me\r\n")).read_reply()[0] == 200
        assert client.send(keep % (b"stat", b"")).read_reply()[0] == 401
        status, _, body = client.send(keep % (b"nothing", b"")).read_reply()
        assert (status, body) == (404, b"Not found")
        assert json.loads(client.send(keep % (b"auth", b"Password: read me\r\n")).read_reply()[2])["auth"] == "ok"
