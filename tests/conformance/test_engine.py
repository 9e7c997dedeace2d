"""Rspamd's functional cases for the engine, told as behaviour: the rules ported to Python, the daemon real.

From its suite: 101_lua (both: dependencies, flags, pre- and postfilters, limits, recipients, options, conditions, maps, results
taken back) and 121_json as far as a scanner answers it. Where rules are chosen, they are by `Settings: {symbols_enabled =
[NAME]}` in UCL; the cases that Rspamd runs without settings run without them here.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.support.daemon import Daemon, running_daemon
from tests.support.dns_server import Asked, answer, dns_serving
from tests.support.engine import MAIL
from tests.support.pages import serving_paths
from tests.support.partners import require

RULES = Path(__file__).parent / "rules"

POWERS = (1, 2, 4, 8, 16)
# One group holds both signs: what is cut depends on what the group has come to, not on the sign alone.
LIMITS = "[groups.limited]\nmax_score = 10.0\nmin_score = -10.0\n[symbols]\n" + "".join(
    f'GR_{sign}{number} = {{ score = {factor * number}, group = "limited" }}\n'
    for sign, factor in (("POSITIVE", 1), ("NEGATIVE", -1))
    for number in POWERS
)


@contextmanager
def daemon_with(folder: Path, *rules: str, toml: str = "") -> Iterator[Daemon]:
    with running_daemon(folder, {name: (RULES / f"{name}.py").read_text() for name in rules}, toml) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Many rule files in one daemon, of which each test chooses its rules."""
    names = ("limits", "recipients", "option_order", "remove_result", "conditions", "flags")
    with daemon_with(tmp_path_factory.mktemp("merged"), *names, toml=LIMITS) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One symbol, and a decision at the end."""
    with daemon_with(tmp_path_factory.mktemp("decided"), "simple", "preresult") as daemon:
        yield daemon


def chosen(daemon: Daemon, *names: str, **headers: str) -> dict[str, Any]:
    """The reply for a message on which only the named rules run."""
    reply = daemon.scan(MAIL, Settings=f"{{symbols_enabled = [{', '.join(names)}]}}", **headers)
    assert "rule_failures" not in reply["messages"], reply["messages"]
    return reply


def options(reply: dict[str, Any]) -> dict[str, list[str]]:
    return {name: symbol.get("options", []) for name, symbol in reply["symbols"].items()}


def scores(reply: dict[str, Any]) -> dict[str, float]:
    return {name: symbol["score"] for name, symbol in reply["symbols"].items()}


# -- order


def test_101_lua_a_chain_of_ten_rules_from_a_virtual_symbol(tmp_path: Path) -> None:
    with daemon_with(tmp_path, "deps") as daemon:
        reply = daemon.scan(MAIL)
    assert scores(reply) == {"TOP": 1.0, **{f"DEP{number}": 1.0 for number in range(1, 11)}}
    assert list(reply["symbols"]) == ["TOP", *(f"DEP{number}" for number in range(1, 11))]


def test_101_lua_pre_and_postfilters_around_a_chain_that_waits_for_dns(tmp_path: Path) -> None:
    def respond(asked: Asked) -> bytes:
        gevent.sleep(0.01)
        return answer(asked, "A 192.0.2.1")

    with dns_serving(respond) as peer:
        toml = f'[dns]\nnameservers = ["{peer.host}:{peer.port}"]\n'
        with daemon_with(tmp_path, "prepostfilters", toml=toml) as daemon:
            reply = daemon.scan(MAIL)
    chain = [f"DEP_TEST{number}" for number in range(1, 11)]
    assert list(reply["symbols"]) == ["TEST_PRE", *chain, "TEST_POST"]
    assert set(scores(reply).values()) == {1.0}
    # One question after the other, in the order of the chain.
    assert peer.names == [f"dep-test{number}.example.com" for number in range(1, 11)]


def test_101_lua_without_the_prefilter_nothing_follows(tmp_path: Path) -> None:
    with daemon_with(tmp_path, "prepostfilters") as daemon:
        reply = daemon.scan(MAIL, Settings="{symbols_disabled = [TEST_PRE]}")
    assert reply["symbols"] == {}


# -- limits of a group


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        (POWERS, (), {1: 1, 2: 2, 4: 4, 8: 3, 16: 0}),
        ((), (1, 2, 4, 8), {-1: -1, -2: -2, -4: -4, -8: -3}),
        (POWERS, (1, 2, 4, 8), {1: 1, 2: 2, 4: 4, 8: 3, 16: 0, -1: -1, -2: -2, -4: -4, -8: -8}),
        (POWERS, POWERS, {1: 1, 2: 2, 4: 4, 8: 3, 16: 0, -1: -1, -2: -2, -4: -4, -8: -8, -16: -5}),
        ((), (16,), {-16: -10}),
        ((16,), (), {16: 10}),
        # What lies between these two is not enabled, so nothing but their place in the file puts the negative one last.
        ((1,), (8,), {1: 1, -8: -8}),
        ((8,), (16,), {8: 8, -16: -16}),
        ((1,), (16,), {1: 1, -16: -11}),
        ((16,), (16,), {16: 10, -16: -16}),
    ],
)
def test_101_lua_limits_a_hit_that_crosses_is_cut_and_the_other_sign_makes_room(
    merged: Daemon, positive: Sequence[int], negative: Sequence[int], expected: dict[int, int]
) -> None:
    names = [*(f"GR_POSITIVE{number}" for number in positive), *(f"GR_NEGATIVE{number}" for number in negative)]
    reply = chosen(merged, *names)
    assert scores(reply) == {
        f"GR_{'POSITIVE' if number > 0 else 'NEGATIVE'}{abs(number)}": score for number, score in expected.items()
    }
    assert {name: symbol["metric_score"] for name, symbol in reply["symbols"].items()} == {
        name: int(name.removeprefix("GR_POSITIVE")) if "POS" in name else -int(name.removeprefix("GR_NEGATIVE"))
        for name in names
    }
    assert reply["score"] == sum(expected.values())


# -- results


def test_101_lua_recipients_by_commas_in_one_header(merged: Daemon) -> None:
    listed = "rcpt1@foobar,rcpt2@foobar,rcpt3@foobar,rcpt4@foobar"
    assert options(chosen(merged, "TEST_RCPT", Rcpt=listed)) == {"TEST_RCPT": [listed]}


def test_101_lua_options_keep_their_order_one_by_one_and_as_a_list(merged: Daemon) -> None:
    ordered = ["one", "two", "three", "4", "5", "a"]
    assert options(chosen(merged, "OPTION_ORDER", "TBL_OPTION_ORDER")) == {"OPTION_ORDER": ordered, "TBL_OPTION_ORDER": ordered}


def test_101_lua_a_result_taken_back_is_gone_with_its_score(merged: Daemon) -> None:
    reply = chosen(merged, "REMOVE_RESULT_EXPECTED", "REMOVE_RESULT_UNEXPECTED")
    assert scores(reply) == {"REMOVE_RESULT_EXPECTED": 0.1}
    assert reply["score"] == 0.1


def test_101_lua_a_result_that_is_not_there_cannot_be_taken_back(merged: Daemon) -> None:
    assert chosen(merged, "REMOVE_RESULT_EXPECTED")["symbols"] == {}


def test_101_lua_conditions_may_insert_results_themselves(merged: Daemon) -> None:
    reply = chosen(merged, "ANY_A")
    assert options(reply) == {"ANY_A": ["hello1", "hello2", "hello3"]}
    assert scores(reply) == {"ANY_A": -3.0}


def test_101_lua_a_condition_that_says_no_keeps_the_rule_from_running(merged: Daemon) -> None:
    assert options(chosen(merged, "NEVER_A")) == {"ANY_A": ["hello1"]}


# -- maps


def test_101_lua_maps_give_the_value_of_a_key(tmp_path: Path) -> None:
    lines = {
        ("radix", "ip"): "198.51.100.0/24 one net\n::1 another\n203.0.113.1\n",
        ("map", "map"): "first value\nsecond.example.com one more\nthird\n",
        ("regexp", "regexp"): r"/^fi.st$/ value" "\n" r"/\.example\.com$/ one more" "\n/^third$/\n",
    }
    toml = ""
    for (name, kind), text in lines.items():
        (tmp_path / f"{name}.list").write_text(text)
        toml += f'[maps.{name}]\nsource = "file:{tmp_path / name}.list"\ntype = "{kind}"\n'
    with daemon_with(tmp_path, "maps_kv", toml=toml) as daemon:
        reply = chosen(daemon, "RADIX_KV", "REGEXP_KV", "MAP_KV")
    assert options(reply) == {"RADIX_KV": ["no worry"], "REGEXP_KV": ["no worry"], "MAP_KV": ["no worry"]}


# -- flags


def test_101_lua_flags_of_the_request_reach_a_late_rule(merged: Daemon) -> None:
    reply = chosen(merged, "FLAGS_SYM", Flags="no_stat, no_log,groups", Pass="all")
    assert options(reply) == {"FLAGS_SYM": ["groups", "no_log", "no_stat", "pass_all"]}


@pytest.mark.parametrize("headers", [{"Flags": "no_stat,skip"}, {"Settings": "{whitelist = true}"}])
def test_101_lua_a_message_to_be_skipped_runs_no_rule(decided: Daemon, headers: dict[str, str]) -> None:
    reply = decided.scan(MAIL, **headers)
    assert (reply["is_skipped"], reply["action"], reply["score"]) == (True, "no action", 0.0)
    assert (reply["symbols"], reply["messages"]) == ({}, {})
    assert decided.scan(MAIL)["is_skipped"] is False


def test_101_lua_a_message_flagged_no_log_is_not_logged(merged: Daemon) -> None:
    chosen(merged, "FLAGS_SYM", Queue_Id="flagged-silent", Flags="no_log")
    chosen(merged, "FLAGS_SYM", Queue_Id="flagged-loud")
    give_up = time.monotonic() + 10
    while "flagged-loud" not in (printed := merged.process.output()) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert "flagged-loud" in printed
    assert "flagged-silent" not in printed


# -- JSON, and rspamc


def strict(body: bytes) -> dict[str, Any]:
    """JSON as RFC 8259 has it: no NaN, no key twice, nothing behind it."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), names
        return dict(pairs)

    def refused(name: str) -> Any:
        raise AssertionError(f"{name} is no number")

    reply: dict[str, Any] = json.loads(body.decode(), object_pairs_hook=once, parse_constant=refused)
    return reply


def rspamc(daemon: Daemon, *words: str) -> str:
    program = require("rspamc", package="rspamd")
    argv = [str(program), "-h", f"127.0.0.1:{daemon.port}", *words]
    ended = subprocess.run(argv, input=MAIL, capture_output=True, timeout=15, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.decode()


def test_121_json_the_reply_of_a_scan_is_strict_json(decided: Daemon) -> None:
    status, body = decided.ask(MAIL)
    reply = strict(body)
    assert (status, reply["action"], reply["score"]) == (200, "soft reject", 1.0)
    assert reply["messages"] == {"smtp_message": "Pre Result Set"}
    assert options(reply) == {"SIMPLE_TEST": ["Fires always"]}
    assert reply["symbols"]["SIMPLE_TEST"]["description"] == "Fires always"


def test_121_json_rspamc_shows_the_soft_reject_and_the_symbol(decided: Daemon) -> None:
    lines = rspamc(decided).splitlines()
    assert "Action: soft reject" in lines
    assert "Symbol: SIMPLE_TEST (1.00)[Fires always]" in lines
    assert "Message - smtp_message: Pre Result Set" in lines


def test_121_json_what_rspamc_passes_on_is_strict_json(decided: Daemon) -> None:
    reply = strict(rspamc(decided, "--json").encode())
    assert (reply["action"], list(reply["symbols"])) == ("soft reject", ["SIMPLE_TEST"])


def test_121_json_rspamc_can_choose_the_rules(decided: Daemon) -> None:
    lines = rspamc(decided, "--header", "Settings={symbols_enabled = [SIMPLE_TEST]}").splitlines()
    assert "Action: no action" in lines
    assert "Symbol: SIMPLE_TEST (1.00)[Fires always]" in lines


# -- texts and links


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with daemon_with(tmp_path_factory.mktemp("texts"), "texts") as daemon:
        yield daemon


@pytest.mark.parametrize("name", ["TEST_TLD", "TEST_HASHES"])
def test_101_lua_registrable_domains_and_digests(texts: Daemon, name: str) -> None:
    assert options(chosen(texts, name)) == {name: ["no worry"]}


def test_101_lua_an_external_map_is_asked(texts: Daemon) -> None:
    with serving_paths() as address:
        reply = chosen(texts, "EXTERNAL_MAP", Port=address.rpartition(":")[2])
    assert options(reply) == {"EXTERNAL_MAP": ["+hello map"]}


def test_101_lua_a_link_that_a_rule_injects_is_there_for_the_next(texts: Daemon) -> None:
    reply = chosen(texts, "TEST_INJECT_URL", "INJECTED_IS_SEEN")
    assert options(reply) == {"TEST_INJECT_URL": [], "INJECTED_IS_SEEN": ["http://injected.example.com/a"]}
    assert reply["urls"] == ["injected.example.com"]


def test_121_json_the_old_command_too(decided: Daemon) -> None:
    status, body = decided.ask(MAIL, "/check")
    assert (status, strict(body)["default"]["action"]) == (200, "soft reject")
