"""One mail through every door gives the same action, score and symbols.

A door of the table is a function that sends a message and reads what its dialect says of it. To add one: an entry in `DOORS`,
and the names of messages that its protocol cannot carry as they are, if there are any.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from filterd.proto.milter_replies import AddHeader, ChangeHeader, InsertHeader, ReplyCode
from tests.support.client import Client
from tests.support.daemon import Daemon, running_daemon
from tests.support.mta import Mta, message
from tests.support.partners import free_port
from tests.support.thirty import ENVELOPE, MESSAGES, RULES, TOML

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True)
class Seen:
    """What a client learns, of a message by any of the doors."""

    action: str
    score: float
    symbols: frozenset[str]


@dataclass(frozen=True)
class House:
    """The daemon and where its doors are."""

    daemon: Daemon
    spamc_port: int
    milter_port: int


@dataclass(frozen=True)
class Door:
    """How to ask of all messages, by name, and which of them the protocol cannot carry."""

    ask: Callable[[House, dict[str, bytes], Path], dict[str, Seen]]
    unable: frozenset[str] = field(default_factory=frozenset)


def one_by_one(ask: Callable[[House, bytes], Seen]) -> Door:
    return Door(lambda house, messages, folder: {name: ask(house, raw) for name, raw in messages.items()})


def envelope_lines() -> list[str]:
    return [
        f"{name}: {value}" for name, values in ENVELOPE.items() for value in (values if isinstance(values, list) else [values])
    ]


def conversation(port: int, first: str, raw: bytes) -> bytes:
    with Client(("127.0.0.1", port)) as client:
        head = "\r\n".join((first, *envelope_lines(), f"Content-Length: {len(raw)}", "", ""))
        return client.send(head.encode() + raw).read_all()


def http(house: House, raw: bytes, path: str = "/checkv2") -> Any:
    reply = conversation(house.daemon.port, f"POST {path} HTTP/1.1", raw)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), reply
    return json.loads(body)


def by_http(house: House, raw: bytes) -> Seen:
    reply = http(house, raw)
    return Seen(reply["action"], reply["score"], frozenset(reply["symbols"]))


def by_old_http(house: House, raw: bytes) -> Seen:
    found = http(house, raw, "/symbols")["default"]
    symbols = frozenset(name for name, value in found.items() if isinstance(value, dict))
    return Seen(found["action"], found["score"], symbols)


def by_rspamc(house: House, raw: bytes) -> Seen:
    reply = conversation(house.daemon.port, "CHECK RSPAMC/1.3", raw).decode()
    metric = re.match(r"RSPAMD/1.3 0 EX_OK\r\nMetric: default; (True|False); (\S+) / 11.00 / 0.0\r\nAction: (.*)\r\n", reply)
    assert metric is not None, reply
    assert (metric[1] == "True") == (metric[3] in ("reject", "rewrite subject", "add header"))
    return Seen(metric[3], float(metric[2]), frozenset(re.findall(r"^Symbol: (\w+)\(", reply, re.MULTILINE)))


def spamc_door(port: Callable[[House], int]) -> Callable[[House, bytes], Seen]:
    def ask(house: House, raw: bytes) -> Seen:
        reply = conversation(port(house), "PROCESS SPAMC/1.5", raw)
        head, _, message = reply.partition(b"\r\n\r\n")
        told = re.fullmatch(rb"SPAMD/1.1 0 EX_OK\r\nContent-length: (\d+)\r\nSpam: (True|False) ; (\S+) / (\S+)", head)
        assert told is not None, reply[:200]
        assert int(told[1]) == len(message)
        action = re.search(rb"^X-Spam-Action: ([\w ]+)\r?$", message, re.MULTILINE)
        tests = re.search(rb"^ tests=([\w,\s]+?)\r?\nX-Spam-Action", message, re.MULTILINE)
        assert action is not None
        assert tests is not None
        is_marked = b"X-Spam-Flag: YES" in message[: action.start()]
        assert (told[2] == b"True") == (float(told[3]) >= float(told[4])) == is_marked
        names = frozenset(name for name in re.split(r"[,\s]+", tests[1].decode()) if name != "none")
        return Seen(action[1].decode(), float(told[3]), names)

    return ask


def by_command_line(house: House, messages: dict[str, bytes], folder: Path) -> dict[str, Seen]:
    files = []
    for number, raw in enumerate(messages.values()):
        files.append(folder / f"{number}.eml")
        files[-1].write_bytes(raw)
    argv = [sys.executable, "-m", "filterd", "scan", "--json", "-c", str(house.daemon.conf), "-i", "192.0.2.77"]
    argv += ["-F", "sender@example.org", "-r", "one@example.net", "-r", "two@example.net", "--helo", "client.example.com"]
    ended = subprocess.run([*argv, *map(str, files)], cwd=ROOT, capture_output=True, timeout=50, check=False)
    assert ended.returncode == 0, ended.stderr
    replies = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(replies) == len(messages)
    seen = [Seen(reply["action"], reply["score"], frozenset(reply["symbols"])) for reply in replies]
    return dict(zip(messages, seen, strict=True))


def by_milter(house: House, messages: dict[str, bytes], folder: Path) -> dict[str, Seen]:
    """An MTA sees headers and reply codes only: score and symbols are read from the log, which has the MTA's id."""
    seen = {}
    sender, recipients = f"<{ENVELOPE['From']}>".encode(), tuple(f"<{one}>".encode() for one in ENVELOPE["Rcpt"])
    address = ("127.0.0.1", house.milter_port)
    with Mta(address, ip=str(ENVELOPE["IP"]).encode(), helo=str(ENVELOPE["Helo"]).encode()) as mta:
        for number, (name, raw) in enumerate(messages.items()):
            queue_id = f"MILTER{number}"
            *changes, last = mta.say(*message(raw, queue_id=queue_id, sender=sender, recipients=recipients))
            lines = [json.loads(line) for line in house.daemon.process.output().split("\n") if f'"{queue_id}"' in line]
            assert lines, (name, changes, last, house.daemon.process.output()[-600:])
            (told,) = (line for line in lines if line["queue_id"] == queue_id)
            action = told["action"]
            assert isinstance(last, ReplyCode) == (action == "reject"), (name, last)
            changed = {change.name for change in changes if isinstance(change, AddHeader | InsertHeader | ChangeHeader)}
            assert changed == {"add header": {b"X-Spam"}, "rewrite subject": {b"Subject"}}.get(action, set()), (name, changes)
            seen[name] = Seen(action, told["score"], frozenset(told["symbols"]))
    return seen


# SMTP has neither bare newlines nor a message without a header; an MTA passes on what is no header as part of the body, and
# tells the end of a header that has none.
NOT_BY_SMTP = {"LF", "an mbox line", "no header", "header only", "lines that are no header", "one byte", "empty"}

DOORS: dict[str, Door] = {
    "milter": Door(by_milter, frozenset(NOT_BY_SMTP)),
    "HTTP, old shape": one_by_one(by_old_http),
    "RSPAMC": one_by_one(by_rspamc),
    "SPAMC on the scan port": one_by_one(spamc_door(lambda house: house.daemon.port)),
    "SPAMC on a port of its own": one_by_one(spamc_door(lambda house: house.spamc_port)),
    "filterd scan": Door(by_command_line),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    port = free_port()
    milter_port = free_port()
    listener = f'[listen.spamd]\nprotocol = "spamc"\nbind = "127.0.0.1:{port}"\n'
    listener += f'[listen.milter]\nprotocol = "milter"\nbind = "127.0.0.1:{milter_port}"\n'
    gtube = (ROOT / "rules" / "gtube.py").read_text()
    with running_daemon(tmp_path_factory.mktemp("house"), {"thirty": RULES, "gtube": gtube}, listener + TOML) as daemon:
        yield House(daemon, port, milter_port)


@pytest.fixture(scope="module")
def by_checkv2(house: House) -> dict[str, Seen]:
    return {name: by_http(house, raw) for name, raw in MESSAGES.items()}


def test_the_messages_are_of_all_kinds(by_checkv2: dict[str, Seen]) -> None:
    assert len(MESSAGES) >= 30
    assert len({seen.score for seen in by_checkv2.values()}) > 30
    actions = {seen.action for seen in by_checkv2.values()}
    assert actions == {"no action", "greylist", "add header", "rewrite subject", "reject"}
    assert by_checkv2["GTUBE"].action == "reject"
    assert by_checkv2["empty"] == Seen("no action", 0.1, frozenset({"EMPTY"}))
    assert {symbol for seen in by_checkv2.values() for symbol in seen.symbols} >= {"HAS_ATTACHMENT", "HAS_LINK", "BROKEN"}


@pytest.mark.parametrize("name", DOORS)
def test_one_mail_has_one_verdict_through_every_door(
    name: str, house: House, by_checkv2: dict[str, Seen], tmp_path: Path
) -> None:
    door = DOORS[name]
    messages = {message: raw for message, raw in MESSAGES.items() if message not in door.unable}
    seen = door.ask(house, messages, tmp_path)
    expected = {message: by_checkv2[message] for message in messages}
    rounded = {message: Seen(each.action, round(each.score, 2), each.symbols) for message, each in seen.items()}
    assert rounded == {message: Seen(each.action, round(each.score, 2), each.symbols) for message, each in expected.items()}
