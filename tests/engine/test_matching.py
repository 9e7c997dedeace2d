"""Which messages settings are for, and what they change."""

from typing import Any

import pytest

from filterd.engine.matching import Element, element
from filterd.engine.settings import Settings, SettingsError
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.verdict import Verdict
from filterd.task import Task
from tests.support.engine import MAIL, engine_of, rule_of

HEADERS = {
    "ip": ["192.0.2.77"],
    "from": ["<Ann.Smith@Example.org>"],
    "rcpt": ["bob@example.net", "carol@Sub.example.net"],
    "user": ["ann"],
    "hostname": ["mx.example.org"],
    "helo": ["mx"],
    "test": ["yes"],
}


def request(**changes: Any) -> ScanRequest:
    headers = {name.replace("_", "-"): value for name, value in {**HEADERS, **changes}.items() if value is not None}
    return ScanRequest(Message(MAIL), Envelope(headers))


@pytest.mark.parametrize(
    ("table", "matches"),
    [
        ({"ip": "192.0.2.77"}, True),
        ({"ip": ["10.0.0.0/8", "192.0.2.0/24"]}, True),
        ({"client_ip": "2001:db8::/32"}, False),
        ({"from": "ann.smith@example.org"}, True),
        ({"from": "@example.org"}, True),
        ({"from": "example.org"}, True),
        ({"from": "ann.smith@"}, True),
        ({"from": "ann@"}, False),
        ({"from": "/^ann\\./i"}, True),
        ({"from": "/^ann\\./"}, False),
        ({"from": "*@example.???"}, True),
        ({"from": "@example.com"}, False),
        ({"rcpt": "@sub.example.net"}, True),
        ({"rcpt": ["nobody@example.net", "bob@example.net"]}, True),
        ({"from_mime": "a@example.org"}, True),
        ({"rcpt_mime": "@example.net"}, True),
        ({"rcpt_mime": "@example.com"}, False),
        ({"user": "ANN"}, True),
        ({"hostname": "*.example.org"}, True),
        ({"helo": "/x$/"}, True),
        ({"authenticated": True}, True),
        ({"authenticated": False}, False),
        ({"local": False}, True),
        ({"header": {"Subject": "hello"}}, True),
        ({"header": {"Subject": "/hell/", "X-None": True}}, False),
        ({"header": {"Subject": True}}, True),
        ({"request_header": {"Test": "yes"}}, True),
        ({"request_header": {"Test": "no"}}, False),
        ({"ip": "192.0.2.77", "user": "ann"}, True),
        ({"ip": "192.0.2.77", "user": "bob"}, False),
        ({"ip": "192.0.2.77", "user": "bob", "inverse": True}, True),
        ({"inverse": True}, False),
        ({}, False),
    ],
)
def test_conditions(table: dict[str, Any], matches: bool) -> None:
    assert element("x", table).matches(request()) is matches


@pytest.mark.parametrize("key", ["ip", "from", "user", "hostname"])
def test_what_the_client_did_not_send_matches_nothing(key: str) -> None:
    value = "0.0.0.0/0" if key == "ip" else "*"
    assert not element("x", {key: value}).matches(request(**{key: None}))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"form": "x"}, "form: there is no such condition; there are ip, client_ip"),
        ({"ip": "300.1.1.1"}, "ip: "),
        ({"from": "/(/"}, "from: "),
        ({"user": 3}, "user: 3 is not a text"),
        ({"authenticated": "yes"}, "authenticated: it is true or false"),
        ({"header": "Subject"}, "header: it is a table"),
        ({"priority": "urgent"}, "priority: it is"),
        ({"apply": {"scores": {"A": "much"}}}, "scores.A is not a number"),
        ({"apply": {"actions": []}}, "actions is not a table"),
    ],
)
def test_a_condition_that_cannot_be_right_is_named(table: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        element("x", table)
    assert str(caught.value).startswith(told)


# -- what they change


def hit(task: Task) -> bool:
    return True


def verdict(*elements: Element, one: ScanRequest | None = None, score: float = 2.0, **keywords: Any) -> Verdict:
    engine = engine_of(rule_of(hit, "A", score=score), rule_of(hit, "B", score=1.0), settings=elements, **keywords)
    return engine.scan(one or request())


def test_the_element_of_highest_priority_applies() -> None:
    made = [
        element("low", {"priority": "low", "ip": "192.0.2.77", "apply": {"symbols_enabled": ["A"]}}),
        element("high", {"priority": "high", "ip": "192.0.2.77", "apply": {"symbols_enabled": ["B"]}}),
        element("other", {"priority": 9, "ip": "10.0.0.1", "apply": {"whitelist": True}}),
    ]
    assert set(verdict(*made).symbols) == {"B"}


def test_settings_id_names_an_element_whatever_its_conditions() -> None:
    mine = element("mine", {"ip": "10.0.0.1", "apply": {"symbols_enabled": ["A"]}})
    made = [mine, element("bare", {"apply": {"symbols_enabled": []}})]
    assert set(verdict(*made, one=request(settings_id=["mine"])).symbols) == {"A"}
    assert set(verdict(*made, one=request(settings_id=["bare"])).symbols) == set()


def test_an_unknown_settings_id_is_told_and_the_conditions_count(caplog: pytest.LogCaptureFixture) -> None:
    made = [element("matching", {"ip": "192.0.2.77", "apply": {"symbols_enabled": ["A"]}})]
    assert set(verdict(*made, one=request(settings_id=["nobody"])).symbols) == {"A"}
    assert "there are no settings called 'nobody'" in caplog.text


def test_the_settings_header_goes_before_all() -> None:
    made = [element("matching", {"ip": "192.0.2.77", "apply": {"symbols_enabled": ["A"]}})]
    one = request(settings=["{symbols_enabled = [B]}"], settings_id=["matching"])
    assert set(verdict(*made, one=one).symbols) == {"B"}


def applied(text: str, **keywords: Any) -> Verdict:
    return verdict(one=request(settings=[text]), **keywords)


def test_scores_and_actions_go_before_the_configuration() -> None:
    found = applied("{scores {A = 7.0}, actions {reject = 7, add_header = null}}")
    assert (found.symbols["A"].score, found.symbols["A"].metric_score, found.symbols["B"].score) == (7.0, 7.0, 1.0)
    assert (found.action, found.required_score) == ("reject", 7.0)
    assert "add header" not in found.thresholds


def test_without_any_action_there_is_no_required_score() -> None:
    found = applied('{actions {reject = null, "add header" = null, greylist = null}}', score=50.0)
    assert (found.action, found.required_score) == ("no action", None)


def test_a_pre_result_of_a_disabled_action_is_ignored() -> None:
    def decides(task: Task) -> None:
        task.set_pre_result("soft reject")

    engine = engine_of(decides)
    assert engine.scan(request(settings=['{actions {"soft reject" = null}}'])).action == "no action"
    assert engine.scan(request()).action == "soft reject"


def test_symbols_are_inserted() -> None:
    found = applied("{symbols = [FOUR, A], scores {FOUR = 4}}")
    assert (found.symbols["FOUR"].score, found.symbols["A"].score, found.symbols["A"].shots) == (4.0, 4.0, 2)
    assert applied("{symbols {FOUR = 0.5}, scores {FOUR = 4}}").symbols["FOUR"].score == 2.0


def test_a_whitelisted_message_runs_no_rule() -> None:
    found = applied("{whitelist = true}", score=99.0)
    assert (found.action, found.is_skipped, found.symbols) == ("no action", True, {})


def test_flags_may_come_from_settings() -> None:
    assert applied("{flags = [skip]}").is_skipped
    assert set(applied("{flags = [pass_all]}", score=99.0).symbols) == {"A", "B"}


def test_headers_messages_and_the_subject_are_the_clients() -> None:
    text = """{
        add_headers {X-A = v}, remove_headers {X-B = 0}, messages {smtp_message = "go away"},
        subject = "[%s]", actions {"rewrite subject" = 1}
    }"""
    found = applied(text)
    assert found.milter == {"add_headers": {"X-A": "v"}, "remove_headers": {"X-B": 0}}
    assert found.messages == {"smtp_message": "go away"}
    assert (found.action, found.subject) == ("rewrite subject", "[hello]")


def test_apply_may_be_written_out() -> None:
    assert set(applied("{apply {symbols_enabled = [A]}}").symbols) == {"A"}


def test_rules_can_read_what_applies() -> None:
    seen: list[Any] = []

    def looks(task: Task) -> None:
        seen.append((dict(task.settings), task.settings_id))

    engine = engine_of(looks, settings=[element("mine", {"ip": "192.0.2.77", "apply": {"scores": {"A": 1}}})])
    engine.scan(request())
    engine.scan(request(ip=["10.0.0.1"]))
    assert seen == [({"scores": {"A": 1.0}}, "mine"), ({}, None)]


def test_settings_as_a_table_say_what_they_say() -> None:
    assert Settings.of({"symbols_enabled": ["A"]}).as_table() == {"symbols_enabled": frozenset({"A"})}


# -- rules that switch others


def test_a_rule_may_disable_another() -> None:
    def disables(task: Task) -> None:
        assert task.disable_symbol("A")

    engine = engine_of(rule_of(disables, type="prefilter"), rule_of(hit, "A"), rule_of(hit, "B", after="A"))
    assert set(engine.scan(request()).symbols) == {"B"}


def test_a_rule_may_enable_what_settings_left_out() -> None:
    def enables(task: Task) -> bool:
        return task.enable_symbol("A") and task.enable_symbol("LATE") and not task.enable_symbol("A")

    late = rule_of(hit, "LATE", type="postfilter")
    engine = engine_of(rule_of(enables, type="prefilter"), rule_of(hit, "A"), rule_of(hit, "B"), late)
    found = engine.scan(request(settings=["{symbols_enabled = [ENABLES]}"]))
    assert found.failures == ()
    assert set(found.symbols) == {"ENABLES", "A", "LATE"}


def test_what_comes_too_late_says_so() -> None:
    def late(task: Task) -> bool:
        return not task.disable_symbol("A") and not task.enable_symbol("A")

    def unknown(task: Task) -> None:
        task.disable_symbol("NOBODY")

    engine = engine_of(rule_of(hit, "A"), rule_of(late, type="postfilter"), rule_of(unknown, type="postfilter"))
    found = engine.scan(request())
    assert set(found.symbols) == {"A", "LATE"}
    assert [failure.text for failure in found.failures] == ["LookupError: there is no rule or virtual symbol 'NOBODY'"]
