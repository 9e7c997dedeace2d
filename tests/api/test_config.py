"""`config.module`: the administrator's table, while a rule file is loaded and while its rules run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filterd import config
from filterd.daemon.config import load_config
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.task import Task, loading_modules
from tests.support.engine import MAIL, engine_of
from tests.support.rules import assembled

TABLES: Mapping[str, Mapping[str, Any]] = {"mine": {"limit": 3}}


def test_a_rule_its_children_and_its_callbacks_find_the_table() -> None:
    found: list[Any] = []

    def rule(task: Task) -> None:
        found.append(config.module("mine")["limit"])
        task.spawn(lambda: found.append(config.module("mine")["limit"]))

    engine = engine_of(rule)
    engine.environment = replace(engine.environment, modules=TABLES)
    engine.scan(ScanRequest(Message(MAIL), Envelope({})))
    assert found == [3, 3]


def test_it_is_there_while_a_rule_file_is_loaded() -> None:
    token = loading_modules.set(TABLES)
    try:
        assert config.module("mine") == {"limit": 3}
        assert config.module("nobodys") == {}
    finally:
        loading_modules.reset(token)


def test_outside_of_filterd_it_says_so_in_words() -> None:
    with pytest.raises(RuntimeError, match=r"config\.module\('mine'\) was called outside of filterd"):
        config.module("mine")


def test_a_table_that_is_not_there_is_empty_and_nobody_can_fill_it() -> None:
    token = loading_modules.set({})
    try:
        with pytest.raises(TypeError):
            config.module("nobodys")["x"] = 1  # type: ignore[index]
    finally:
        loading_modules.reset(token)


def test_the_administrators_table_cannot_be_changed_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "filterd.toml").write_text("[modules.mine]\nlist = [1, [2]]\n[modules.mine.inner]\nkey = 1\n")
    table: Any = load_config(tmp_path / "filterd.toml").modules["mine"]
    assert (table["list"], dict(table["inner"])) == ((1, (2,)), {"key": 1})
    for change in (table, table["inner"]):
        with pytest.raises(TypeError):
            change["key"] = 2


def test_a_rule_file_sees_the_same_table_when_it_is_loaded_and_when_its_rules_run(tmp_path: Path) -> None:
    source = """\
from filterd import config, rule

AT_LOAD = config.module("mine")

@rule("SAME")
def same(task):
    now = config.module("mine")
    return (True, now["word"]) if now == AT_LOAD else None
"""
    (tmp_path / "a.py").write_text(source)
    with assembled(tmp_path, [tmp_path / "a.py"], '[modules.mine]\nword = "yes"\n') as assembly:
        verdict = assembly.engine.scan(ScanRequest(Message(MAIL), Envelope({})))
    assert verdict.symbols["SAME"].options == ("yes",)
