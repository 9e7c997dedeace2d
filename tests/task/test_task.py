"""The message as a rule sees it: what came with it, what was found, what is asked of the MTA."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.results import Scoring, SymbolScore
from filterd.net.greenlets import Crew
from filterd.net.network import Network
from filterd.task import Child, Environment, Task
from tests.support.engine import MAIL, scan_with

SCORING = Scoring(
    {"A": SymbolScore(2.0), "B": SymbolScore(5.0)}, thresholds={"reject": 15.0, "add header": 6.0, "greylist": 4.0}
)


def task_with(**headers: str) -> Task:
    """A task of a message that came with these request headers (with _ for -)."""
    envelope = Envelope({name.lower().replace("_", "-").rstrip("-"): [value] for name, value in headers.items()})
    return Task(ScanRequest(Message(MAIL), envelope), Environment(Network(), Crew(), SCORING, {}))


# -- the request


def test_what_came_with_the_message() -> None:
    task = task_with(
        ip="192.0.2.7",
        from_="a@example.org",
        rcpt="b@example.net",
        helo="mx.example.org",
        hostname="mail.example.org",
        user="ann",
        queue_id="4F1",
        deliver_to="b",
        mta_name="mx",
        tls_cipher="AES",
        pass_="all",
    )
    assert task.ip == "192.0.2.7"
    assert task.mail_from == "a@example.org"
    assert list(task.rcpts) == ["b@example.net"]
    assert (task.helo, task.hostname, task.user, task.queue_id) == ("mx.example.org", "mail.example.org", "ann", "4F1")
    assert (task.deliver_to, task.mta_name, task.tls) == ("b", "mx", True)
    assert task.flags == {"ssl", "pass_all"}


def test_the_sender_is_an_address_the_null_sender_an_empty_one_and_nothing_is_none() -> None:
    sender = task_with(from_="a@Example.org").mail_from
    assert sender is not None
    assert (sender.user, sender.domain) == ("a", "example.org")
    assert task_with(from_="<>").mail_from == ""
    assert task_with().mail_from is None


def test_what_did_not_come_is_none() -> None:
    task = task_with()
    values = (task.ip, task.helo, task.hostname, task.user, task.queue_id, task.deliver_to, task.mta_name)
    assert values == (None,) * 7
    assert (len(task.rcpts), task.tls, task.flags) == (0, False, frozenset())


def test_any_header_of_the_request_can_be_read() -> None:
    task = task_with(x_my_header="value", empty="")
    assert task.get_request_header("X-My-Header") == "value"
    assert task.get_request_header("EMPTY") == ""
    assert task.get_request_header("absent") is None


def test_the_message_is_there() -> None:
    task = task_with()
    assert task.message.subject == "hello"
    assert task.message.raw == MAIL


# -- results


def test_a_hit_is_its_score_times_its_weight() -> None:
    task = task_with()
    task.insert_result("A", 1.5, "one", ["two", 3], ("four",))
    hit = task.symbols["A"]
    assert (hit.score, hit.weight, hit.options) == (3.0, 1.5, ("one", "two", "3", "four"))
    assert task.has_symbol("A")
    assert not task.has_symbol("B")
    assert task.score == 3.0


def test_symbols_cannot_be_changed_behind_the_tasks_back() -> None:
    task = task_with()
    with pytest.raises(TypeError):
        task.symbols["A"] = None  # type: ignore[index]


def test_a_result_can_be_adjusted_and_taken_back() -> None:
    task = task_with()
    task.insert_result("A")
    task.adjust_result("A", 5.0, "more")
    assert (task.symbols["A"].score, task.symbols["A"].options, task.score) == (5.0, ("more",), 5.0)
    with pytest.raises(KeyError):
        task.adjust_result("B", 1.0)
    assert (task.remove_result("A"), task.remove_result("A"), task.score) == (True, False, 0.0)


def test_the_action_follows_the_score_and_a_decision_goes_before_it() -> None:
    task = task_with()
    assert task.action == "no action"
    task.insert_result("B")
    assert task.action == "greylist"
    task.set_pre_result("ADD_HEADER", least=True)
    assert (task.action, task.score) == ("add header", 6.0)
    task.set_pre_result("soft reject", "come later", "module", 7.0)
    assert (task.action, task.score) == ("soft reject", 7.0)
    task.set_pre_result("reject", priority=0)
    assert task.action == "soft reject"


@pytest.mark.parametrize(
    ("action", "score"),
    [("reject", 15.0), ("add header", 6.0), ("ADD_HEADER", 6.0), ("rewrite subject", None), ("nonsense", None)],
)
def test_the_threshold_of_an_action(action: str, score: float | None) -> None:
    assert task_with().threshold(action) == score


def test_the_resolver_of_a_task_comes_from_outside() -> None:
    task = task_with()
    task.environment = replace(task.environment, resolver_of=lambda scope: ("resolver of", scope))
    assert task.get_resolver() == ("resolver of", task)


def test_a_task_outside_of_filterd_has_no_resolver_and_says_so() -> None:
    with pytest.raises(RuntimeError, match="it was made outside of filterd"):
        task_with().get_resolver()


# -- the reply


@pytest.mark.parametrize(
    ("replies", "merged"),
    [
        ([], {}),
        ([{"change_from": "<a@x>"}, {"change_from": "<b@x>"}], {"change_from": "<b@x>"}),
        ([{"add_rcpt": ["a", "b"]}, {"add_rcpt": ["b", "c"]}], {"add_rcpt": ["a", "b", "c"]}),
        ([{"remove_headers": {"X": 1}}, {"remove_headers": {"X": 0, "Y": 2}}], {"remove_headers": {"X": 0, "Y": 2}}),
        ([{"add_headers": {"X": "1"}}, {"add_headers": {"Y": "2"}}], {"add_headers": {"X": "1", "Y": "2"}}),
        ([{"add_headers": {"X": "1"}}, {"add_headers": {"X": "2"}}], {"add_headers": {"X": ["1", "2"]}}),
        (
            [{"add_headers": {"X": ["1", "2"]}}, {"add_headers": {"X": [{"value": "3", "order": 0}]}}],
            {"add_headers": {"X": ["1", "2", {"value": "3", "order": 0}]}},
        ),
        ([{"spam_header": "X-Spam"}, {"spam_header": {"X-Spam": "yes"}}], {"spam_header": {"X-Spam": "yes"}}),
    ],
)
def test_what_is_asked_of_the_mta_is_merged(replies: list[dict[str, Any]], merged: dict[str, Any]) -> None:
    task = task_with()
    for reply in replies:
        task.set_milter_reply(reply)
    assert task.milter_reply == merged


def test_merging_leaves_what_a_rule_handed_over_alone() -> None:
    """It may be a table at the top of the rule file, and serve the next message too."""
    mine: dict[str, Any] = {"add_headers": {"X": "1"}, "add_rcpt": ["a"]}
    task = task_with()
    task.set_milter_reply(mine)
    task.set_milter_reply({"add_headers": {"X": "2", "Y": "3"}, "add_rcpt": ["b"]})
    assert mine == {"add_headers": {"X": "1"}, "add_rcpt": ["a"]}


def test_headers_are_added_and_removed() -> None:
    task = task_with()
    task.add_header("X-A", "1")
    task.add_header("X-A", "2", order=0)
    task.remove_header("X-B")
    task.remove_header("X-C", -1)
    assert task.milter_reply == {
        "add_headers": {"X-A": [{"value": "1", "order": -1}, {"value": "2", "order": 0}]},
        "remove_headers": {"X-B": 0, "X-C": -1},
    }


def test_messages_to_the_client_are_collected_by_category() -> None:
    task = task_with()
    task.append_message("go away")
    task.append_message("really")
    task.append_message("other", "info")
    assert task.messages == {"smtp_message": "go away; really", "info": "other"}


# -- variables, children, log


def test_variables_and_cache_are_the_messages_own() -> None:
    one, other = task_with(), task_with()
    one.vars["x"] = 1
    one.cache["x"] = 2
    assert (one.vars, one.cache) == ({"x": 1}, {"x": 2})
    assert (other.vars, other.cache) == ({}, {})


def test_rules_of_one_message_share_them() -> None:
    def writes(task: Task) -> None:
        task.vars["seen"] = "yes"

    def reads(task: Task) -> tuple[bool, str]:
        task.sleep(0.01)
        return True, task.vars["seen"]

    assert scan_with(writes, reads).symbols["READS"].options == ("yes",)


def test_a_spawned_function_gets_its_arguments_and_gives_its_value() -> None:
    def rule(task: Task) -> tuple[bool, str]:
        child: Child[str] = task.spawn(str.join, "-", ["a", "b"])
        return True, child.get()

    assert scan_with(rule).symbols["RULE"].options == ("a-b",)


def test_log_lines_carry_the_ids_and_the_rule(caplog: pytest.LogCaptureFixture) -> None:
    def rule(task: Task) -> None:
        task.log.warning("%d of %d", 1, 2)
        task.spawn(lambda: task.log.error("from a child"))

    with caplog.at_level(logging.DEBUG, "filterd.rule"):
        scan_with(rule, envelope=Envelope({"queue-id": ["4F1"]}))
        outside = task_with()
        outside.log.info("from nowhere")
    told = [(one.name, one.message, vars(one)["rule"], vars(one)["queue_id"]) for one in caplog.records]
    assert told == [
        ("filterd.rule", "1 of 2", "RULE", "4F1"),
        ("filterd.rule", "from a child", "RULE", "4F1"),
        ("filterd.rule", "from nowhere", None, None),
    ]
    assert vars(caplog.records[2])["task_id"] == outside.id


def test_ids_are_short_and_never_the_same() -> None:
    ids = {task_with().id for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(one) for one in ids} == {14}
