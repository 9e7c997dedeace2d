"""The sections [maps.*] at work: loaded, refused, reloaded while messages come, for rules and as rules."""

import json
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from filterd.daemon.config import ConfigError, load_config
from filterd.engine.loader import LoadError
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from tests.support.daemon import Daemon, running_daemon
from tests.support.engine import MAIL
from tests.support.pages import serving_paths
from tests.support.rules import assembled

RELOADED = """
[maps.list]
source = "file:list.txt"
interval = "50ms"
"""

RULE = """
from filterd import Task, maps, rule

LIST = maps["list"]


@rule("MAP_SET_HIT_AND_MISS")
def hit_and_miss(task: Task) -> tuple[bool, str] | None:
    for name in ("example.com", "rspamd.com"):
        if name in LIST:
            return True, name
    return None
"""

LOOKED_UP = """
[maps.senders]
source = "file:senders.txt"
type = "map"
key = "from('smtp')"
symbol = "RCPT_MAP"
symbols = ["SYM1"]
score = 1.0
interval = "50ms"
description = "The sender is known"
"""


def replaced(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        gevent.sleep(0.05)


def options(daemon: Daemon) -> list[str]:
    found: list[str] = daemon.scan(MAIL)["symbols"]["MAP_SET_HIT_AND_MISS"]["options"]
    return found


def test_a_file_replaced_by_rename_is_used_without_a_restart(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("example.com\n")
    with running_daemon(tmp_path, {"reload": RULE}, RELOADED) as daemon:
        assert options(daemon) == ["example.com"]
        replaced(tmp_path / "list.txt", "rspamd.com\n")
        until(lambda: options(daemon) == ["rspamd.com"])
        replaced(tmp_path / "list.txt", "example.com too much\n")
        until(lambda: "a set has one key a line" in daemon.process.output())
        assert options(daemon) == ["rspamd.com"]
        lines = [json.loads(line) for line in daemon.process.output().splitlines() if '"filterd.maps"' in line]
    assert f"map list: {tmp_path}/list.txt:1: a set has one key a line" in lines[-2]["text"]
    assert lines[-1]["text"] == f"map list: {tmp_path}/list.txt is broken in 1 places; the 1 keys there are remain"


def test_a_line_of_a_map_gives_a_symbol_with_score_and_options(tmp_path: Path) -> None:
    path = tmp_path / "senders.txt"
    path.write_text("ann@example.org 10.0\nbob@example.org SYM1:-10.1:opt1,opt2\n")
    with running_daemon(tmp_path, {}, LOOKED_UP) as daemon:
        ann = daemon.scan(MAIL, From="ann@example.org")["symbols"]
        assert [(name, hit["score"], hit["options"]) for name, hit in ann.items()] == [("RCPT_MAP", 10.0, ["ann@example.org"])]
        assert ann["RCPT_MAP"]["description"] == "The sender is known"
        bob = daemon.scan(MAIL, From="bob@example.org")["symbols"]
        assert [(name, hit["score"], hit["options"]) for name, hit in bob.items()] == [("SYM1", -10.1, ["opt1", "opt2"])]
        assert daemon.scan(MAIL, From="carl@example.org")["symbols"] == {}
        replaced(path, "carl@example.org\n")
        until(lambda: set(daemon.scan(MAIL, From="carl@example.org")["symbols"]) == {"RCPT_MAP"})
        assert daemon.scan(MAIL, From="ann@example.org")["symbols"] == {}


def test_a_map_from_the_web_is_there_before_the_first_message(tmp_path: Path) -> None:
    with serving_paths() as address:
        toml = RELOADED.replace("file:list.txt", f"{address}/example.com")
        with running_daemon(tmp_path, {"reload": RULE}, toml) as daemon:
            assert options(daemon) == ["example.com"]


def test_everything_that_is_wrong_with_maps_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "senders.txt").write_text("ann@example.org ten\nbob@example.org\n\ncarl@example.org SYM2\n")
    more = (
        '[maps.b]\nsource="file:none"\nkey="form"\nsymbol="B"\n'
        '[maps.c]\nsource="file:none"\nkey="ip"\nsymbol="TWO WORDS"\n'
        '[maps.d]\nsource="file:none"\nkey="ip"\nsymbol="RCPT_MAP"\n'
    )
    with pytest.raises(LoadError) as raised, assembled(tmp_path, [], LOOKED_UP + more):
        pass  # pragma: no cover - it is refused
    conf = tmp_path / "filterd.toml"
    assert [problem.where for problem in raised.value.problems] == [
        f"{tmp_path}/senders.txt:1",
        f"{tmp_path}/senders.txt:4",
        f"{conf}: maps.b.key",
        f"{conf}: maps.c",
        f"{conf}: maps.d",
    ]
    assert "rule 'RCPT_MAP' is already registered" in raised.value.problems[-1].text


def test_several_maps_may_give_the_same_further_symbol(tmp_path: Path) -> None:
    (tmp_path / "senders.txt").write_text("ann@example.org SYM1\n")
    (tmp_path / "ips.txt").write_text("192.0.2.1 SYM1:2\n")
    more = '[maps.b]\nsource="file:ips.txt"\ntype="ip"\nkey="ip"\nsymbol="IP_MAP"\nsymbols=["SYM1", "IP_MAP"]\n'
    with assembled(tmp_path, [], LOOKED_UP + more) as assembly:
        envelope = Envelope.of(ip="192.0.2.1", mail_from="ann@example.org")
        verdict = assembly.engine.scan(ScanRequest(Message(MAIL), envelope))
    assert {name: (hit.score, hit.options) for name, hit in verdict.symbols.items()} == {
        "SYM1": (3.0, ("ann@example.org", "192.0.2.1"))
    }


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("file:lists/a.txt", "{folder}/lists/a.txt"),
        ("file:/etc/a.txt", "/etc/a.txt"),
        ("file:" + "///etc/a.txt", "/etc/a.txt"),
        ("http://127.0.0.1/a", None),
        ("https://lists.example.org/a", None),
    ],
)
def test_a_source_is_a_file_or_a_web_address(tmp_path: Path, source: str, path: str | None) -> None:
    conf = tmp_path / "filterd.toml"
    conf.write_text(f'[maps.m]\nsource = "{source}"\n')
    section = load_config(conf).maps["m"]
    assert section.path == (path and path.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('source = "lists/a.txt"', "is not the source of a map"),
        ("source = 5", "is not the source of a map"),
        ('source = "http://"', "is no web address"),
        ("", "source is missing: a file or a web address; or say the type"),
        ('type = "glob"', "a glob map is what its source has"),
        ('source = "file:a"\ntype = "regexp"\npersist = true', "a regexp map is what its source has"),
        ('type = "ip"\ninterval = "1s"', "interval is of no use without a source"),
        ('source = "file:a"\ntype = "bag"', "is not"),
        ('source = "file:a"\nkey = "ip"', "key and symbol go together"),
        ('source = "file:a"\nsymbol = "A"', "key and symbol go together"),
        ('source = "file:a"\nsymbols = ["A"]', "symbols and when are of no use without key and symbol"),
        ('source = "file:a"\nwhen = "A"', "symbols and when are of no use without key and symbol"),
        ('source = "file:a"\ninterval = 0', "should be greater than 0"),
    ],
)
def test_what_cannot_be_a_map_is_refused(tmp_path: Path, keys: str, told: str) -> None:
    conf = tmp_path / "filterd.toml"
    conf.write_text(f"[maps.m]\n{keys}\n")
    with pytest.raises(ConfigError, match=told):
        load_config(conf)
