"""Rspamd's functional cases for settings, told as behaviour: 108_settings without those for Bayes, and 109_settings_merge.

The daemon is real, rules and configuration are our own. What the merge cases keep in Redis for a user comes with the request
here (`Settings`): the upper of the two layers either way. 108 runs twice: with the settings in the configuration, and with the
same in a file that `[settings_map]` names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, running_daemon
from tests.support.rules import mail

RULES = Path(__file__).parent / "rules"

ELEMENTS = {
    "id_test": 'id = "id_test"\napply = { symbols_enabled = ["SIMPLE_TEST"] }',
    "id_pre": 'apply = { symbols_enabled = ["SIMPLE_PRE"] }',
    "id_virtual": 'apply = { symbols_enabled = ["SIMPLE_VIRTUAL"] }',
    "id_virtual1": 'apply = { symbols = { EXPLICIT_VIRTUAL1 = 10 }, symbols_enabled = ["DEP_REAL"] }',
    "id_virtual_group": """
        user = "test@example.com"
        from = "test2@example.com"
        hostname = "example.com"
        selector = "rcpts:addr.in('user3@example.com')"
        header = { Content-Transfer-Encoding = "7bit", Custom-Header = true, Mime-Version = false }
        request_header = { Test = "passed" }
        expression = "user || from || hostname || selector:1 || header:mime_version || header:custom_header || header:1
            || request_header:test"
        apply = { symbols_enabled = { SIMPLE_VIRTUAL = 10.0 }, symbols = { EXPLICIT_VIRTUAL = 10.0 } }
    """.replace("header:1\n            ||", "header:1 ||"),
    "id_test_priority": """
        priority = "high"
        from = "user@test.com"
        apply = { symbols_enabled = { PRIORITY = 10.0 }, symbols = { PRIORITY_2 = 10.0 } }
    """,
    "empty_symbols_enabled": 'ip = "5.5.5.5"\napply = { symbols_enabled = [] }',
    "empty_groups_enabled": "selector = \"ip.in('5.5.5.6')\"\napply = { groups_enabled = [] }",
    "id_explicit": 'apply = { symbols_enabled = ["EXPLICIT_ENABLE_TEST", "SIMPLE_TEST"] }',
}


def sections(prefix: str) -> str:
    return "".join(f"[{prefix}{name}]\n{text}\n" for name, text in ELEMENTS.items())


LETTER = mail("MIME-Version: 1.0")
SEVEN_BIT = mail("MIME-Version: 1.0", "Content-Transfer-Encoding: 7bit")
CUSTOM_HEADER = mail("MIME-Version: 1.0", "Custom-Header: x")
WITHOUT_VERSION = mail()

SIMPLE = {"SIMPLE_TEST", "SIMPLE_PRE", "SIMPLE_POST"}
USUAL = {*SIMPLE, "SIMPLE_VIRTUAL", "DEP_REAL"}


@pytest.fixture(scope="module", params=["configuration", "map"])
def settled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp(request.param)
    toml = sections("settings.")
    if request.param == "map":
        (folder / "settings.toml").write_text(sections(""))
        toml = '[settings_map]\nsource = "file:settings.toml"\n'
    with running_daemon(folder, {"settings": (RULES / "settings.py").read_text()}, toml) as daemon:
        yield daemon


def symbols(daemon: Daemon, raw: bytes = LETTER, /, **headers: str) -> dict[str, float]:
    reply = daemon.scan(raw, **headers)
    assert "rule_failures" not in reply["messages"], reply["messages"]
    return {name: one["score"] for name, one in reply["symbols"].items()}


def test_108_no_settings(settled: Daemon) -> None:
    assert symbols(settled) == dict.fromkeys(USUAL, 1.0)


@pytest.mark.parametrize(
    "headers",
    [
        {"IP": "5.5.5.5"},
        {"IP": "5.5.5.6"},
        {"Settings_Id": "empty_symbols_enabled"},
        {"Settings_Id": "empty_groups_enabled"},
    ],
)
def test_108_an_empty_list_enables_nothing(settled: Daemon, headers: dict[str, str]) -> None:
    reply = settled.scan(LETTER, **headers)
    assert (reply["symbols"], reply["action"], reply["score"]) == ({}, "no action", 0.0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('{symbols_enabled = ["SIMPLE_TEST"]}', {"SIMPLE_TEST", "SIMPLE_VIRTUAL"}),
        ('{symbols_enabled = ["SIMPLE_TEST", "SIMPLE_POST"]}', {"SIMPLE_TEST", "SIMPLE_POST", "SIMPLE_VIRTUAL"}),
        ('{symbols_enabled = ["SIMPLE_PRE"]}', {"SIMPLE_PRE"}),
        ('{symbols_disabled = ["SIMPLE_TEST"]}', USUAL - {"SIMPLE_TEST", "SIMPLE_VIRTUAL"}),
        ('{groups_disabled = ["b"]}', USUAL - {"SIMPLE_TEST", "SIMPLE_VIRTUAL"}),
        ('{groups_enabled = ["b"]}', {"SIMPLE_TEST", "SIMPLE_VIRTUAL"}),
        ('{groups_enabled = ["vg"]}', {"SIMPLE_VIRTUAL"}),
    ],
)
def test_108_symbols_and_groups(settled: Daemon, settings: str, expected: set[str]) -> None:
    assert set(symbols(settled, Settings=settings)) == expected


def test_108_a_score_is_changed(settled: Daemon) -> None:
    assert symbols(settled, Settings="{SIMPLE_TEST = 3.33}")["SIMPLE_TEST"] == 3.33
    assert symbols(settled, Settings="{scores {SIMPLE_TEST = 3.33}}")["SIMPLE_TEST"] == 3.33


def test_108_symbols_are_injected(settled: Daemon) -> None:
    found = symbols(settled, Settings='{symbols = ["INJECTED_SYMBOL1", "INJECTED_SYMBOL2"]}')
    assert {"INJECTED_SYMBOL1", "INJECTED_SYMBOL2"} < set(found)


def test_108_an_action_is_changed(settled: Daemon) -> None:
    assert settled.scan(LETTER, Settings="{actions { reject = 1234.5; } }")["required_score"] == 1234.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("id_test", {"SIMPLE_TEST": 1.0, "SIMPLE_VIRTUAL": 1.0}),
        ("id_pre", {"SIMPLE_PRE": 1.0}),
        ("id_virtual", {"SIMPLE_VIRTUAL": 1.0}),
        ("id_virtual_group", {"SIMPLE_VIRTUAL": 10.0, "EXPLICIT_VIRTUAL": 10.0}),
        ("id_virtual1", {"EXPLICIT_VIRTUAL1": 10.0, "DEP_VIRTUAL": 1.0, "DEP_REAL": 1.0}),
    ],
)
def test_108_settings_by_their_id(settled: Daemon, name: str, expected: dict[str, float]) -> None:
    assert symbols(settled, Settings_Id=name) == expected


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (LETTER, {"From": "test2@example.com"}),
        (LETTER, {"User": "test@example.com"}),
        (LETTER, {"Hostname": "example.com"}),
        (LETTER, {"Rcpt": "user3@example.com"}),
        (LETTER, {"Rcpt": "<user3@example.com>"}),
        (SEVEN_BIT, {}),
        (CUSTOM_HEADER, {}),
        (WITHOUT_VERSION, {}),
        (LETTER, {"Test": "passed"}),
    ],
)
def test_108_settings_by_an_expression_over_conditions(settled: Daemon, raw: bytes, headers: dict[str, str]) -> None:
    assert symbols(settled, raw, **headers) == {"SIMPLE_VIRTUAL": 10.0, "EXPLICIT_VIRTUAL": 10.0}


def test_108_a_higher_priority_goes_before_the_id_that_was_asked_for(settled: Daemon) -> None:
    assert symbols(settled, Settings_Id="id_virtual_group", From="user@test.com") == {"PRIORITY_2": 10.0}


def test_108_what_is_to_be_enabled_explicitly_runs_only_then(settled: Daemon) -> None:
    explicit = {"EXPLICIT_ENABLE_TEST", "EXPLICIT_ENABLE_OTHER"}
    assert explicit.isdisjoint(symbols(settled))
    assert set(symbols(settled, Settings_Id="id_explicit")) & explicit == {"EXPLICIT_ENABLE_TEST"}
    assert set(symbols(settled, Settings="{symbols_enabled = [EXPLICIT_ENABLE_OTHER]}")) == {"EXPLICIT_ENABLE_OTHER"}
    assert set(symbols(settled, Enable_Explicit="yes")) == {*USUAL, "EXPLICIT_ENABLE_TEST"}


# -- layers

MERGED = """
[actions]
reject = 15
"add header" = false
greylist = 4
[settings.merge_profile]
apply = { symbols_enabled = ["MERGE_TEST_BASIC", "MERGE_HARD_DEP", "MERGE_WEAK_DEP"] }
[settings.merge_group_ctl]
apply = { symbols_enabled = ["MERGE_GROUP_SYM", "MERGE_GROUP_SYM2", "MERGE_TEST_BASIC"] }
[settings.two_layers]
ip = "8.8.8.8"
apply = { tenant = "acme", shared = "from_rule", actions = { greylist = false } }
[settings.one_layer]
ip = "8.8.8.9"
apply = { tenant = "solo", actions = { greylist = false } }
[settings.own_action]
ip = "8.8.8.10"
apply = { tenant = "custom", actions = { my_custom_action = 1.0, greylist = false } }
"""

BASIC = {"MERGE_TEST_BASIC", "MERGE_HARD_DEP", "MERGE_WEAK_DEP"}
EVERY = {*BASIC, "MERGE_GROUP_SYM", "MERGE_GROUP_SYM2", "MERGE_PRE"}


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    sources = {"settings_merge": (RULES / "settings_merge.py").read_text()}
    with running_daemon(tmp_path_factory.mktemp("merged"), sources, MERGED) as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, EVERY),
        ({"Settings_Id": "merge_profile"}, BASIC),
        ({"Settings": '{symbols_enabled = ["MERGE_TEST_BASIC", "MERGE_GROUP_SYM"]}'}, {"MERGE_TEST_BASIC", "MERGE_GROUP_SYM"}),
        # Who only comes after it runs without it; who requires it does not.
        ({"Settings": '{symbols_disabled = ["MERGE_TEST_BASIC"]}'}, EVERY - {"MERGE_TEST_BASIC", "MERGE_HARD_DEP"}),
        ({"Settings": '{symbols_enabled = ["MERGE_PRE"]}'}, {"MERGE_PRE"}),
        # The upper layer chooses anew, and what it asks for is not held back by the lower.
        ({"Settings_Id": "merge_profile", "Settings": "{symbols_enabled = [MERGE_PRE]}"}, {"MERGE_PRE"}),
        ({"Settings_Id": "merge_profile", "Settings": "{symbols_disabled = [MERGE_WEAK_DEP]}"}, BASIC - {"MERGE_WEAK_DEP"}),
    ],
)
def test_109_merge_which_rules_run(merged: Daemon, headers: dict[str, str], expected: set[str]) -> None:
    assert set(symbols(merged, LETTER, **headers)) == expected


@pytest.mark.parametrize(
    ("name", "settings", "expected", "required"),
    [
        ("merge_profile", "{actions {reject = 999.0}}", BASIC, 999.0),
        ("merge_group_ctl", "{actions {reject = 500.0}}", {"MERGE_TEST_BASIC", "MERGE_GROUP_SYM", "MERGE_GROUP_SYM2"}, 500.0),
    ],
)
def test_109_merge_the_id_chooses_rules_and_the_request_actions(
    merged: Daemon, name: str, settings: str, expected: set[str], required: float
) -> None:
    reply = merged.scan(LETTER, Settings_Id=name, Settings=settings)
    assert (set(reply["symbols"]), reply["required_score"]) == (expected, required)


def test_109_merge_the_id_chooses_rules_and_the_request_scores(merged: Daemon) -> None:
    found = symbols(merged, Settings_Id="merge_profile", Settings="{MERGE_TEST_BASIC = 7.77}")
    assert (found["MERGE_TEST_BASIC"], set(found)) == (7.77, BASIC)


def custom(reply: dict[str, Any]) -> list[str]:
    options: list[str] = reply["symbols"]["MERGE_CUSTOM_KEYS"]["options"]
    return options


USERS = '{"mode": "outbound", "shared": "from_user"}'


def test_109_merge_keys_of_ones_own_survive_and_the_upper_layer_wins(merged: Daemon) -> None:
    reply = merged.scan(LETTER, IP="8.8.8.8", Settings=USERS)
    assert custom(reply) == ["tenant=acme", "mode=outbound", "shared=from_user"]
    assert custom(merged.scan(LETTER, IP="8.8.8.8")) == ["tenant=acme", "shared=from_rule"]


def test_109_merge_a_null_action_is_disabled_in_one_layer_and_in_two(merged: Daemon) -> None:
    assert merged.scan(LETTER)["action"] == "greylist"
    assert merged.scan(LETTER, IP="8.8.8.9")["action"] == "no action"
    assert merged.scan(LETTER, IP="8.8.8.8", Settings=USERS)["action"] == "no action"


def test_109_merge_the_upper_layer_enables_an_action_again(merged: Daemon) -> None:
    assert merged.scan(LETTER, IP="8.8.8.8", Settings='{"actions": {"greylist": 2.0}}')["action"] == "greylist"


def test_109_merge_a_new_action_is_made(merged: Daemon) -> None:
    reply = merged.scan(LETTER, IP="8.8.8.10", Settings=USERS)
    assert (custom(reply)[0], reply["action"]) == ("tenant=custom", "my_custom_action")


def test_maxscore_is_the_lowest_layer(merged: Daemon) -> None:
    reply = merged.scan(LETTER, Maxscore="3", Softscore="2")
    assert (reply["required_score"], reply["action"]) == (3.0, "reject")
    assert reply["thresholds"]["add header"] == 2.0
    assert merged.scan(LETTER, Maxscore="3", Settings="{actions {reject = 4}}")["required_score"] == 4.0
    assert merged.scan(LETTER, Maxscore="much")["required_score"] == 15.0
