"""The `Settings` header chooses rules."""

import pytest

from filterd.engine.variants import KEPT
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.task import Task
from tests.support.engine import MAIL, engine_of, rule_of, scan_with


def hit(task: Task) -> bool:
    return True


RULES = (
    rule_of(hit, "A", group="letters"),
    rule_of(hit, "B", group="letters"),
    rule_of(hit, "C"),
    rule_of(hit, "ALWAYS", flags="explicit_disable"),
    rule_of(lambda task: task.insert_result("VIRTUAL"), "PARENT"),
    rule_of(None, "VIRTUAL", type="virtual", parent="PARENT"),
)
ALL = {"A", "B", "C", "ALWAYS", "VIRTUAL"}


@pytest.mark.parametrize(
    ("settings", "symbols"),
    [
        ("{symbols_enabled = [A, C]}", {"A", "C", "ALWAYS"}),
        ('{"symbols_enabled": ["A"]}', {"A", "ALWAYS"}),
        ("{symbols_enabled = A}", {"A", "ALWAYS"}),
        ("{symbols_enabled = []}", {"ALWAYS"}),
        ("{symbols_enabled = [VIRTUAL]}", {"VIRTUAL", "ALWAYS"}),
        ("{symbols_disabled = [A, VIRTUAL]}", {"B", "C", "ALWAYS"}),
        ("{symbols_disabled = [ALWAYS]}", ALL - {"ALWAYS"}),
        ("{groups_enabled = [letters]}", {"A", "B", "ALWAYS"}),
        ("{groups_enabled = [letters]; symbols_enabled = [C]}", {"A", "B", "C", "ALWAYS"}),
        ("{groups_disabled = [letters]}", ALL - {"A", "B"}),
        ("{groups_enabled = [letters]; symbols_disabled = [B]}", {"A", "ALWAYS"}),
        ("{symbols_enabled = [NOBODY]}", {"ALWAYS"}),
        ("{}", ALL),
        ("{something_else = 1}", ALL),
    ],
)
def test_which_rules_run(settings: str, symbols: set[str]) -> None:
    assert set(scan_with(*RULES, envelope=Envelope({"settings": [settings]})).symbols) == symbols


@pytest.mark.parametrize(
    "settings", ["{symbols_enabled = [", "nonsense", "{symbols_enabled = 1}", "{symbols_enabled = [{a = b}]}", "\x00"]
)
def test_settings_that_cannot_be_used_are_told_and_all_rules_run(settings: str, caplog: pytest.LogCaptureFixture) -> None:
    assert set(scan_with(*RULES, envelope=Envelope({"settings": [settings]})).symbols) == ALL
    assert "Settings cannot be used, all rules run" in caplog.text


def test_what_clients_sent_is_not_kept_for_ever() -> None:
    engine = engine_of(*RULES)
    for number in range(KEPT + 50):
        engine.scan(ScanRequest(Message(MAIL), Envelope({"settings": [f"{{symbols_enabled = [X{number}]}}"]})))
    assert len(engine.variants._sent) <= KEPT
