"""docs/streams.md is true: each example runs with the configuration below it, and does what is said of it."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from filterd.daemon.config import load_config
from filterd.daemon.metrics import render_metrics
from filterd.daemon.statistics import Statistics, merged
from filterd.task import Channel
from filterd.task.txn import STAGES
from tests.support.streams import Gate, backend, gate
from tests.test_docs import BLOCK, ROOT

PAGE = ROOT / "docs" / "streams.md"
TEXT = PAGE.read_text()
BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(TEXT)]


def examples() -> dict[str, tuple[str, str]]:
    """Each rule file with the configuration that follows it, by the name of the listener."""
    found = {}
    for (kind, source), (below, toml) in pairwise(BLOCKS):
        if kind == "python":
            assert below == "toml"
            name = re.search(r"\[listen\.(\w+)\]", toml)
            assert name is not None
            found[name[1]] = source, toml
    return found


EXAMPLES = examples()


def greets(sock: Any) -> None:
    sock.sendall(b"220 hello\n")
    while data := sock.recv(65536):
        sock.sendall(data)


def hello(one: Gate) -> None:
    assert [one.ask(), one.ask(b"x"), one.ask(ends=False)] == [b"hello world\n"] * 3


def limited(one: Gate) -> None:
    assert one.ask(ends=False) == b"421 too busy for strangers\r\n"


def upper(one: Gate) -> None:
    assert one.ask(b"helo\n", b"last") == b"220 hello\nHELO\nLAST"


def greeting(one: Gate) -> None:
    assert one.ask(b"EHLO me\n") == b"554 5.5.1 you speak before I do\r\n"
    with one.client() as client:
        assert client.sock.recv(100) == b"220 hello\n"
        assert client.send(b"x").end().read_all() == b"x"


def policy(one: Gate) -> None:
    asked = [f"request=smtpd_access_policy\nsender={who}@example.org\n\n".encode() for who in ("spam", "ann")]
    assert one.ask(*asked) == b"action=reject\n\naction=dunno\n\n"


DOES: dict[str, Callable[[Gate], None]] = {
    "hello": hello,
    "limited": limited,
    "upper": upper,
    "greeting": greeting,
    "policy": policy,
}


def test_every_example_is_run() -> None:
    assert DOES.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_does_what_is_said_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "friends.txt").touch()
    source, toml = EXAMPLES[name]
    section = re.sub(r'\[listen\.\w+\]\nprotocol = "tcp"\nbind = .*\n', "", toml)
    with backend(greets) as server:
        section = section.replace("127.0.0.1:10025", f"127.0.0.1:{server.port}")
        with gate(tmp_path, source, section) as one:
            DOES[name](one)
            one.wait_idle()
            assert [failure.kind for failure in one.failures if failure.kind != "timeout"] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_configuration_loads_as_it_stands(tmp_path: Path, name: str) -> None:
    conf = tmp_path / "filterd.toml"
    conf.write_text(EXAMPLES[name][1])
    assert load_config(conf).listen[name].protocol == "tcp"


def test_the_page_names_every_stage_verb_and_metric() -> None:
    assert [stage for stage in STAGES if f"`{stage}`" not in TEXT] == []
    verbs = {name for name in vars(Channel) if not name.startswith("_")} - {"is_response", "readable"}
    verbs -= {"get_in_length", "get_out_length"}  # HAProxy's names, in migrating.md
    assert [verb for verb in sorted(verbs) if not re.search(rf"`{verb}[(`]", TEXT)] == []
    counts = {"listeners": {"gate": dict.fromkeys(fates(), 0) | {"received": 0, "sent": 0}}, "actions": {"a": [1, 0.5, 1]}}
    totals = merged([Statistics(streams=lambda: counts).snapshot()])
    text, _ = render_metrics(totals, accept="", version="0", config_id="x", control=frozenset())
    made = set(re.findall(r"^(filterd_(?:stream|action)\w+?)(?:_sum|_count)?\{", text.decode(), re.MULTILINE))
    assert made == set(re.findall(r"filterd_(?:stream|action)\w+", TEXT))


def fates() -> list[str]:
    """The fates in the page's last paragraph."""
    (told,) = re.findall(r"fate\}` with\n(.*?);", TEXT, re.DOTALL)
    return re.findall(r"`(\w+)`", told)
