"""Which messages settings are for, and what they change."""

from typing import Any

import pytest

from filterd.engine.candidate import Candidate
from filterd.engine.expressions import Compiler
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


def candidate(**changes: Any) -> Candidate:
    return Candidate(request(**changes), engine_of().environment, Compiler())


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
        ({"from": "ann.smith"}, True),
        ({"from": "ann"}, False),
        ({"user": "ANN"}, True),
        ({"user": "@example.org"}, False),
        ({"header": {"X-None": False}}, True),
        ({"header": {"Subject": False}}, False),
        ({"request_header": {"Test": False}}, False),
        ({"request_header": {"Test": ["no", "yes"]}}, True),
        ({"selector": "from('smtp').domain.in('example.org', 'example.net')"}, True),
        ({"selector": "from('smtp').domain.in('example.com')"}, False),
        ({"selector": ["user.equal('bob')", "helo"]}, True),
        ({"selector": "tls"}, False),
        ({"expression": "size > 10 and user == 'ann'"}, True),
        ({"expression": "size > 1m"}, False),
        ({"user": "bob", "from": "@example.org", "expression": "user or from"}, True),
        ({"user": "bob", "from": "@example.org", "expression": "user & from"}, False),
        ({"user": "bob", "expression": "not user and helo.lower == 'mx'"}, True),
        ({"selector": ["user.equal('bob')", "helo"], "expression": "selector"}, True),
        ({"header": {"Subject": "x", "X-A": True}, "expression": "header:subject | header:x_a | !header:2"}, True),
        ({"expression": "true", "inverse": True}, False),
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
        ({"ip": "192.0.2.77", "user": "bob", "inverse": True}, False),
        ({"ip": "192.0.2.78", "user": "bob", "inverse": True}, True),
        ({"ip": "192.0.2.77", "user": "bob", "expression": "ip and user", "inverse": True}, True),
        ({"inverse": True}, False),
        ({}, False),
    ],
)
def test_conditions(table: dict[str, Any], matches: bool) -> None:
    assert element("x", table).matches(candidate()) is matches


@pytest.mark.parametrize("key", ["ip", "from", "user", "hostname"])
def test_what_the_client_did_not_send_matches_nothing(key: str) -> None:
    value = "0.0.0.0/0" if key == "ip" else "*"
    assert not element("x", {key: value}).matches(candidate(**{key: None}))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"form": "x"}, "form: there is no such condition; there are ip, client_ip"),
        ({"ip": "300.1.1.1"}, "ip: "),
        ({"from": "/(/"}, "from: no pattern: missing )"),
        ({"from": "/a/x"}, "from: unknown flag 'x' of a pattern"),
        ({"from": "map:nobody"}, "from: there is no map 'nobody'; there are none"),
        ({"header": {"X": 3}}, "header: 3 is not a text"),
        ({"selector": 3}, "selector: 3 is not a text"),
        (
            {"selector": "score"},
            "selector: score is known from stage score on, and this is evaluated at stage message (column 1)",
        ),
        (
            {"expression": "A"},
            "expression: A is known from stage results on, and this is evaluated at stage message (column 1)",
        ),
        ({"expression": "from: x"}, "expression: there is no transform 'x'"),
        ({"apply": []}, "apply is not a table"),
        ({"apply": {"policy": "maybe"}}, "policy is not one of default, implicit_allow, implicit_deny"),
        ({"apply": {"grops_enabled": []}}, "apply.grops_enabled: there is no such key; did you mean 'groups_enabled'?"),
        ({"user": 3}, "user: 3 is not a text"),
        ({"authenticated": "yes"}, "authenticated: it is true or false"),
        ({"header": "Subject"}, "header: it is a table"),
        ({"priority": "urgent"}, "priority: it is"),
        ({"priority": ["high"]}, "priority: it is"),
        ({"priority": True}, "priority: it is"),
        ({"apply": {"scores": {"A": "much"}}}, "scores.A is not a number"),
        ({"apply": {"scores": {"A": 10**400}}}, "scores.A is not a number"),
        ({"apply": {"scores": {"A": float("nan")}}}, "scores.A is not a number"),
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


def test_a_user_with_a_domain_is_an_address() -> None:
    for table, is_so in (({"user": "@example.org"}, True), ({"user": "ann@"}, True), ({"user": "@example.net"}, False)):
        assert element("x", table).matches(candidate(user=["ann@example.org"])) is is_so


def test_an_element_may_say_whitelist_beside_its_conditions() -> None:
    made = [element("local", {"ip": "192.0.2.77", "whitelist": True, "apply": {"subject": "x"}})]
    assert verdict(*made, score=99.0).is_skipped
    assert made[0].settings.subject == "x"


def test_any_field_of_a_name_counts() -> None:
    raw = MAIL.replace(b"Subject: hello", b"X-A: one\r\nX-A: two")
    asked = Candidate(ScanRequest(Message(raw), Envelope({})), engine_of().environment, Compiler())
    assert element("x", {"header": {"X-A": "two"}}).matches(asked)


def test_patterns_take_no_longer_for_what_is_made_to_be_slow() -> None:
    slow = element("x", {"helo": "/^(a|aa)+$/"})
    assert not slow.matches(candidate(helo=["a" * 5000 + "!"]))


def test_what_settings_enable_runs_besides_the_usual_where_they_say_so() -> None:
    reserved = rule_of(hit, "RESERVED", flags="explicit_enable")
    engine = engine_of(rule_of(hit, "A"), reserved)
    text = '{symbols_enabled = [RESERVED], policy = "%s"}'
    assert set(engine.scan(request(settings=[text % "implicit_allow"])).symbols) == {"A", "RESERVED"}
    assert set(engine.scan(request(settings=[text % "implicit_deny"])).symbols) == {"RESERVED"}


def test_a_rule_may_be_for_some_settings_only_or_for_all_but_some() -> None:
    rules = [
        rule_of(hit, "ONLY", settings_allow="mine, other"),
        rule_of(hit, "NOT", settings_forbid=["mine"]),
        rule_of(hit, "A"),
    ]
    elements = [element("mine", {}), element("other", {"apply": {"symbols_enabled": ["A"]}}), element("third", {})]
    engine = engine_of(*rules, settings=elements)

    def found(**headers: Any) -> set[str]:
        return set(engine.scan(request(**headers)).symbols)

    assert found() == {"NOT", "A"}
    assert found(settings_id=["mine"]) == {"ONLY", "A"}
    assert found(settings_id=["other"]) == {"ONLY", "A"}
    assert found(settings_id=["third"]) == {"NOT", "A"}
    assert found(settings=["{symbols_enabled = [ONLY]}"]) == {"ONLY"}


def test_a_rule_that_requires_others_runs_only_with_all_of_them() -> None:
    rules = [
        rule_of(hit, "LAST", requires="MIDDLE"),
        rule_of(hit, "MIDDLE", requires="VIRTUAL"),
        rule_of(lambda task: task.insert_result("VIRTUAL"), "FIRST"),
        rule_of(None, "VIRTUAL", type="virtual", parent="FIRST"),
        rule_of(hit, "ORPHAN", requires=["FIRST", "NOBODY"]),
    ]
    engine = engine_of(*rules)
    assert list(engine.scan(request()).symbols) == ["VIRTUAL", "MIDDLE", "LAST"]
    assert set(engine.scan(request(settings=["{symbols_disabled = [FIRST]}"])).symbols) == set()
    assert set(engine.scan(request(settings=["{symbols_enabled = [LAST, MIDDLE, FIRST]}"])).symbols) == {
        "VIRTUAL",
        "MIDDLE",
        "LAST",
    }


def test_injected_symbols_may_have_options_and_count_their_weight_where_nobody_gave_a_score() -> None:
    found = applied("{symbols {NEW {score = 2, options = [a, b]}, A = 3, LONE {options = x}}}").symbols
    assert (found["NEW"].score, found["NEW"].options) == (2.0, ("a", "b"))
    assert (found["LONE"].score, found["LONE"].options) == (1.0, ("x",))
    assert found["A"].score == 2.0 * 3 + 2.0


def test_layers_say_what_both_say() -> None:
    lower = Settings.of(
        {
            "symbols_enabled": ["A"],
            "symbols_disabled": ["B", "C"],
            "groups_disabled": ["g", "h"],
            "scores": {"A": 1, "B": 2},
            "flags": ["x"],
            "subject": "low",
            "whitelist": True,
            "own": {"a": 1},
            "policy": "implicit_allow",
        }
    )
    upper = Settings.of(
        {"symbols_enabled": ["B"], "groups_enabled": ["g"], "scores": {"B": 3}, "flags": "y", "whitelist": False, "own": 2}
    )
    assert upper.over(lower).as_table() == {
        "symbols_enabled": {"B"},
        "symbols_disabled": {"C"},
        "groups_enabled": {"g"},
        "groups_disabled": {"h"},
        "scores": {"A": 1.0, "B": 3.0},
        "flags": {"x", "y"},
        "subject": "low",
        "whitelist": False,
        "policy": "implicit_allow",
        "own": 2,
    }
    assert Settings().over(lower).as_table() == lower.as_table()


def test_settings_that_cannot_be_read_leave_the_element_that_matches(caplog: pytest.LogCaptureFixture) -> None:
    made = [element("matching", {"ip": "192.0.2.77", "apply": {"symbols_enabled": ["A"]}})]
    assert set(verdict(*made, one=request(settings=["{x = ["], maxscore=["1"])).symbols) == {"A"}
    assert "the request's Settings cannot be used, matching counts alone" in caplog.text


def test_what_was_layered_is_layered_anew_when_the_elements_are_others() -> None:
    engine = engine_of(rule_of(hit, "A"), rule_of(hit, "B"))
    one = request(settings=["{x = 1}"])
    assert set(engine.scan(one).symbols) == {"A", "B"}
    engine.variants.follow([element("new", {"ip": "192.0.2.77", "apply": {"symbols_enabled": ["B"]}})])
    assert set(engine.scan(one).symbols) == set(engine.scan(request()).symbols) == {"B"}
    engine.variants.follow([])
    assert set(engine.scan(one).symbols) == {"A", "B"}


def test_a_rule_may_ask_an_expression_of_a_candidate() -> None:
    asked = candidate(settings_id=["mine"]).task
    assert (asked.get("user"), asked.settings_id, asked.settings, asked.task) == ("ann", "mine", {}, asked)


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
