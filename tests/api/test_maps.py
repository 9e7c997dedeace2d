"""`maps["NAME"]` in rule files, rules and hooks."""

from pathlib import Path

import pytest

from filterd import maps
from filterd.engine.loader import LoadError
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from tests.support.engine import MAIL
from tests.support.rules import assembled

TOML = """
[maps.friends]
source = "file:friends.txt"
type = "map"
[maps.nets]
source = "file:nets.txt"
type = "ip"
"""

RULE = """
from filterd import Task, maps, rule

FRIENDS = maps["friends"]


@rule("AT_THE_TOP")
def at_the_top(task: Task) -> object:
    return task.mail_from in FRIENDS and (True, FRIENDS[task.mail_from])


@rule("IN_THE_RULE")
def in_the_rule(task: Task) -> bool:
    return task.ip in maps["nets"] and "none" not in maps and list(maps) == ["friends", "nets"] and len(maps) == 2
"""


def test_a_map_is_there_at_the_top_of_a_file_and_in_a_rule(tmp_path: Path) -> None:
    (tmp_path / "friends.txt").write_text("ann@example.org since 2001\n")
    (tmp_path / "nets.txt").write_text("192.0.2.0/24\n")
    (tmp_path / "a.py").write_text(RULE)
    with assembled(tmp_path, [tmp_path / "a.py"], TOML) as assembly:
        envelope = Envelope.of(ip="192.0.2.77", mail_from="ann@example.org")
        verdict = assembly.engine.scan(ScanRequest(Message(MAIL), envelope))
    assert verdict.failures == ()
    assert {name: hit.options for name, hit in verdict.symbols.items()} == {"AT_THE_TOP": ("since 2001",), "IN_THE_RULE": ()}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('maps["freinds"]', "there is no [maps.freinds] in the configuration; did you mean 'friends'?"),
        ('maps["x"]', "there is no [maps.x] in the configuration; there are: friends, nets"),
    ],
)
def test_a_map_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, source: str, told: str) -> None:
    (tmp_path / "a.py").write_text(f"from filterd import maps\n{source}\n")
    with pytest.raises(LoadError) as raised, assembled(tmp_path, [tmp_path / "a.py"], TOML):
        pass  # pragma: no cover - it is refused
    (problem,) = raised.value.problems
    assert problem.where == f"{tmp_path / 'a.py'}:2"
    assert told in problem.text


def test_outside_of_filterd_that_is_said() -> None:
    with pytest.raises(RuntimeError, match=r"maps\['x'\] was called outside of filterd"):
        maps["x"]
