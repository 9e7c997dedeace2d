"""Rspamd's scan protocol: commands, headers and query as its clients send them, replies as they read them."""

from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.urls import Url
from filterd.mail.verdict import Hit, RuleFailure, Verdict
from filterd.proto.http1 import Request, RequestParser
from filterd.proto.rspamd import Command, command, render_error, render_old_verdict, render_verdict, scan_headers


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/checkv2", "scan"),
        ("/checkV2", "scan"),  # Apache James
        ("/CHECKV2?from=a%40b", "scan"),
        ("checkv2", None),
        ("http://127.0.0.1:11333/checkv2?x", "scan"),
        ("/ping", "ping"),
        ("/Ping?", "ping"),
        ("/", None),
        ("*", None),
        ("http://127.0.0.1", None),
        ("/checkv2/", None),
        ("//checkv2", None),
        ("/checkv22", None),
        ("/?checkv2", None),
    ],
)
def test_a_command_is_a_whole_path_in_any_case(target: str, expected: Command | None) -> None:
    assert command(target) == expected


def request(target: str, *headers: tuple[bytes, bytes]) -> Request:
    return Request("POST", target, "1.1", list(headers), b"", keep_alive=True)


def test_headers_keep_their_order_and_empty_values() -> None:
    headers = scan_headers(request("/checkv2", (b"rcpt", b"b@x"), (b"user", b""), (b"rcpt", b"c@x,d@x")))
    assert headers == {"rcpt": ["b@x", "c@x,d@x"], "user": [""]}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b"plain", "plain"), ("Jürgen".encode(), "Jürgen"), (b"J\xfcrgen", "Jürgen"), (b"[object Object]", "[object Object]")],
)
def test_values_are_utf8_else_latin1(raw: bytes, expected: str) -> None:
    assert scan_headers(request("/checkv2", (b"subject", raw))) == {"subject": [expected]}
    query = "".join(f"%{octet:02x}" for octet in raw)
    assert scan_headers(request(f"/checkv2?subject={query}")) == {"subject": [expected]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("from=a%40b&Flags=groups", {"from": ["a@b"], "flags": ["groups"]}),
        ("Rcpt=b&rcpt=c", {"rcpt": ["0", "b", "c"]}),
        ("helo=a+b%2Bc", {"helo": ["a b+c"]}),
        ("log-tag", {"log-tag": [""]}),
        ("ip=&=x&&%49p=::1", {"ip": ["", "::1"]}),
        ("a=b=c#d=e", {"a": ["b=c"]}),
        ("a=%zz%4", {"a": ["%zz%4"]}),
        ("", {}),
    ],
)
def test_the_query_counts_as_headers_after_the_real_ones(query: str, expected: dict[str, list[str]]) -> None:
    assert scan_headers(request(f"/checkv2?{query}", (b"rcpt", b"0"))) == {"rcpt": ["0"], **expected}


@given(st.binary(max_size=60))
def test_whatever_the_parser_lets_through_becomes_headers(garbage: bytes) -> None:
    head = b"GET /checkv2?" + garbage.replace(b" ", b"+") + b" HTTP/1.1\r\nX: " + garbage + b"\r\n\r\n"
    parser = RequestParser(max_body=0)
    try:
        requests = parser.feed(head)
    except Exception:  # noqa: BLE001 - the parser's own tests are about this
        return
    for each in requests:
        assert all(name == name.lower() and name for name in scan_headers(each))


MYTEST = Hit("MYTEST", 1.5, 1.5, options=("opt1", "opt2"), description="my desc", groups=("mine", "all"))


def test_a_verdict_reads_as_rspamd_writes_it() -> None:
    verdict = Verdict(
        action="no action",
        score=1.5,
        required_score=15.0,
        symbols={"MYTEST": MYTEST},
        message_id="abc@example.org",
        seconds=0.000288,
        milter={"remove_headers": {"X-Spam": 0}},
    )
    # Rspamd 3.4's own reply, but for urls and emails, which a Verdict does not have, and the zeros at the end of numbers.
    assert render_verdict(verdict) == (
        b'{"is_skipped":false,"score":1.5,"required_score":15.0,"action":"no action","symbols":{"MYTEST":{"name":"MYTEST",'
        b'"score":1.5,"metric_score":1.5,"description":"my desc","options":["opt1","opt2"]}},"messages":{},'
        b'"message-id":"abc@example.org","time_real":0.000288,"milter":{"remove_headers":{"X-Spam":0}}}'
    )


def test_an_empty_message_has_the_fields_that_are_always_there() -> None:
    assert render_verdict(Verdict("no action", 0.0, None)) == (
        b'{"is_skipped":false,"score":0.0,"required_score":null,"action":"no action","symbols":{},"messages":{},'
        b'"time_real":0.0}'
    )


FULL = Verdict(
    action="rewrite subject",
    score=7.0,
    required_score=15.0,
    thresholds=MappingProxyType({"reject": 15.0, "rewrite subject": 6.5}),
    symbols=MappingProxyType({"MYTEST": MYTEST, "OTHER": Hit("OTHER", -0.5, 1.0, groups=("all",))}),
    failures=(
        RuleFailure("SLOW", "timeout", "timeout: read from 127.0.0.1:6379", elapsed=1.0),
        RuleFailure("BROKEN", "bug", "KeyError: 'x'", where="rules/broken.py:7", elapsed=0.25),
    ),
    messages=MappingProxyType({"smtp_message": "go away"}),
    milter=MappingProxyType({"add_headers": {"X-A": {"value": "v", "order": 1}}}),
    message_id="abc@example.org",
    subject="*** SPAM *** hi",
    passthrough_module="gtube",
    is_skipped=True,
    seconds=0.0123456789,
    timings={"MYTEST": 0.0015, "SLOW": 1.0},
)


def test_everything_a_verdict_knows_is_told_in_rspamds_order() -> None:
    reply = orjson.loads(render_verdict(FULL, flags=frozenset({"groups", "profile"})))
    assert list(reply) == [
        *(
            "is_skipped",
            "score",
            "required_score",
            "action",
            "passthrough_module",
            "subject",
            "thresholds",
            "symbols",
            "groups",
        ),
        *("messages", "profile", "message-id", "time_real", "milter"),
    ]
    assert reply["is_skipped"] is True
    assert (reply["passthrough_module"], reply["subject"]) == ("gtube", "*** SPAM *** hi")
    assert reply["thresholds"] == {"reject": 15.0, "rewrite subject": 6.5}
    assert reply["symbols"]["OTHER"] == {"name": "OTHER", "score": -0.5, "metric_score": 1.0}
    assert reply["groups"] == {"mine": {"score": 1.5}, "all": {"score": 1.0}}
    assert reply["profile"] == {"MYTEST": 1.5, "SLOW": 1000.0}
    assert reply["time_real"] == 0.012346
    assert reply["milter"] == {"add_headers": {"X-A": {"value": "v", "order": 1}}}


def test_groups_and_profile_are_told_only_when_asked_for() -> None:
    assert not {"groups", "profile"} & orjson.loads(render_verdict(FULL, flags={"milter"})).keys()


def test_failures_of_rules_are_one_string_among_the_messages() -> None:
    reply = orjson.loads(render_verdict(FULL))
    assert reply["messages"] == {
        "smtp_message": "go away",
        "rule_failures": "SLOW: timeout: read from 127.0.0.1:6379 after 1.00 s; "
        "BROKEN: KeyError: 'x' at rules/broken.py:7 after 0.25 s",
    }


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("odd", [NAN, INFINITY, -INFINITY])
def test_no_number_is_not_finite(odd: float) -> None:
    verdict = Verdict(
        "no action",
        odd,
        odd,
        thresholds={"reject": odd},
        symbols={"A": Hit("A", odd, odd), "B": Hit("B", odd, 1.0, groups=("g",))},
        seconds=odd,
        timings={"A": odd},
        message_id="x",
    )
    reply = render_verdict(verdict, flags=("groups", "profile"))
    assert reply.count(b":0.0") == 9
    assert b"null" not in reply


def test_numbers_have_six_decimals_at_most() -> None:
    reply = orjson.loads(render_verdict(Verdict("no action", 0.1 + 0.2, 1 / 3, symbols={"A": Hit("A", 4.1 * 0.7, 4.1)})))
    assert (reply["score"], reply["required_score"], reply["symbols"]["A"]["score"]) == (0.3, 0.333333, 2.87)


class Odd:
    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("put", "told"),
    [
        ("half a \ud800 pair", "half a ? pair"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (Odd(), "odd"),
        ({1: "a", "\udcff": True, None: None}, {"1": "a", "?": True, "None": None}),
        ([{"a"}, frozenset({2}), (2.5, NAN)], [["a"], [2], [2.5, 0.0]]),
        (MappingProxyType({"a": MappingProxyType({"b": -1})}), {"a": {"b": -1}}),
        (2**63, 2**63),
        (2**64, str(2**64)),
    ],
)
def test_what_a_rule_put_into_the_milter_reply_never_spoils_the_verdict(put: Any, told: Any) -> None:
    reply = orjson.loads(render_verdict(Verdict("no action", 1.0, None, symbols={"A": MYTEST}, milter={"X": put})))
    assert reply["milter"] == {"X": told}
    assert reply["symbols"]["A"]["options"] == ["opt1", "opt2"]


def test_a_reply_that_contains_itself_is_cut() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    reply = orjson.loads(render_verdict(Verdict("no action", 1.0, None, milter=circle)))
    assert reply["milter"]["again"]["again"]
    assert reply["score"] == 1.0


@given(st.text(), st.lists(st.text()), st.floats(), st.dictionaries(st.text(), st.text()))
def test_any_verdict_renders_and_reads_back(text: str, options: list[str], score: float, messages: dict[str, str]) -> None:
    hit = Hit(text, score, score, options=tuple(options), description=text)
    reply = orjson.loads(render_verdict(Verdict(text, score, score, symbols={text: hit}, messages=messages, subject=text)))
    (symbol,) = reply["symbols"].values()
    assert symbol["options" if options else "name"] == ([fit(option) for option in options] or fit(text))
    assert (reply["action"], reply["subject"], symbol["description"]) == (fit(text),) * 3
    assert reply["messages"].keys() == {fit(category) for category in messages}


def fit(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def test_an_error_is_an_object_that_says_so() -> None:
    assert render_error("invalid command") == b'{"error":"invalid command"}'
    assert render_error("\udcff") == b'{"error":"?"}'


# -- the old shape


def test_an_old_reply_has_what_was_found_below_default() -> None:
    verdict = Verdict(
        "rewrite subject",
        2.4,
        15.0,
        thresholds={"reject": 15.0},
        symbols={"A": Hit("A", 2.4, 1.2, 2.0, ("o",), "An A"), "score": Hit("score", 0.0)},
        messages={"smtp_message": "no"},
        milter={"add_headers": {"X": "v"}},
        message_id="1@x",
        subject="SPAM",
        seconds=0.5,
    )
    assert render_old_verdict(verdict) == (
        b'{"default":{"is_spam":true,"is_skipped":false,"score":2.4,"required_score":15.0,"action":"rewrite subject",'
        b'"subject":"SPAM","A":{"name":"A","score":2.4,"description":"An A","options":["o"]}},"messages":{"smtp_message":"no"},'
        b'"message-id":"1@x","time_real":0.5,"rmilter":{"add_headers":{"X":"v"}}}'
    )


@pytest.mark.parametrize(
    ("action", "is_spam"),
    [("reject", True), ("soft reject", True), ("add header", True), ("greylist", False), ("no action", False)],
)
def test_an_old_reply_says_whether_it_is_spam(action: str, is_spam: bool) -> None:
    reply = orjson.loads(render_old_verdict(Verdict(action, 0.0, None)))
    assert (reply["default"]["is_spam"], reply["default"]["required_score"]) == (is_spam, None)
    assert "rmilter" not in reply


@pytest.mark.parametrize("path", ["check", "scan", "symbols", "process", "report", "REPORT_IFSPAM"])
def test_the_old_commands_are_known(path: str) -> None:
    assert command(f"/{path}") == "old scan"


# -- links


def test_links_are_hosts_or_objects() -> None:
    urls = [
        Url("http://A.example.org/x", "http", "a.example.org", "example.org", 80, path="/x"),
        Url("http://a.example.org/y", "http", "a.example.org", "example.org", 80, path="/y", flags=frozenset({"phished"})),
    ]
    verdict = Verdict("no action", 0.0, None, urls=urls, emails=["ann@example.org"])
    plain = orjson.loads(render_verdict(verdict))
    assert (plain["urls"], plain["emails"]) == (["a.example.org"], ["ann@example.org"])
    extended = orjson.loads(render_verdict(verdict, flags={"ext_urls"}))["urls"]
    assert extended == [
        {"url": "http://a.example.org/x", "tld": "example.org", "host": "a.example.org", "flags": []},
        {"url": "http://a.example.org/y", "tld": "example.org", "host": "a.example.org", "flags": ["phished"]},
    ]


def test_what_an_mta_is_to_do_for_an_action_of_ones_own_stands_at_the_top() -> None:
    assert orjson.loads(render_verdict(Verdict("review", 0.0, None, milter_action="quarantine")))["reject"] == "quarantine"
    assert "reject" not in orjson.loads(render_verdict(Verdict("review", 0.0, None)))


def test_an_extended_link_tells_what_is_shown_instead() -> None:
    link = Url("x", "http", "evil.example.net", "example.net", 80, shown="www.bank.example.org", phished="www.bank.example.org")
    (told,) = orjson.loads(render_verdict(Verdict("no action", 0.0, None, urls=[link]), flags={"ext_urls"}))["urls"]
    assert told["host"] == "evil.example.net"
    assert told["linked_url"] == {
        "url": "www.bank.example.org",
        "tld": "example.org",
        "host": "www.bank.example.org",
        "flags": [],
    }
