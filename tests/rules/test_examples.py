"""The examples of streams, each with the configuration that stands in it."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.partners import free_port
from tests.support.rules import ROOT
from tests.support.streams import backend, gate

EXAMPLES = ROOT / "rules" / "examples"


def example(name: str, *changes: tuple[str, str]) -> tuple[str, str]:
    """The source, and the configuration in its docstring as one of `listen.gate`: what stands behind the first `request`."""
    source = (EXAMPLES / f"{name}.py").read_text()
    found = re.search(r"^    \[listen.*(?:\n(?:    .*)?)*", source, re.MULTILINE)
    assert found is not None
    written = textwrap.dedent(found[0])
    section = re.sub(r'\[listen\.\w+\]\nprotocol = "tcp"\nbind = .*\n', "", written)
    for old, new in changes:
        assert old in section
        section = section.replace(old, new)
    return source, section


def test_examples_are_not_loaded_by_default() -> None:
    assert sorted(file.name for file in EXAMPLES.glob("*.py")) == [
        "health_check.py",
        "hello_world.py",
        "line_rewriter.py",
        "smtp_gate.py",
    ]
    assert not list((ROOT / "rules").glob("*examples*.py"))


def test_hello_world(tmp_path: Path) -> None:
    with gate(tmp_path, *example("hello_world")) as one:
        assert [one.ask(), one.ask(b"hi\n"), one.ask(ends=False)] == [b"hello world\n"] * 3


def smtp(sock: Any) -> None:
    sock.sendall(b"220 mx\r\n")
    assert sock.recv(100) == b"QUIT\r\n"
    sock.sendall(b"221 bye\r\n")


@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        ('replies = ["127.0.0.2"]', b"554 5.7.1 127.0.0.1 is listed by zen.spamhaus.org\r\n"),
        ('replies = ["127.255.255.254"]', b"220 mx\r\n221 bye\r\n"),
        ('rcode = "nxdomain"', b"220 mx\r\n221 bye\r\n"),
        ('rcode = "servfail"', b"220 mx\r\n221 bye\r\n"),
    ],
)
def test_the_smtp_gate_refuses_who_is_listed(tmp_path: Path, replies: str, answer: bytes) -> None:
    (tmp_path / "friends.map").touch()
    fake = f'[[dns.fake_records]]\nname = "1.0.0.127.zen.spamhaus.org"\n{replies}\n'
    with backend(smtp) as server:
        source, toml = example("smtp_gate", ("127.0.0.1:10025", f"127.0.0.1:{server.port}"), ('send_proxy = "v2"', ""))
        with gate(tmp_path, source, toml + fake) as one:
            assert one.ask(b"QUIT\r\n", ends=False) == answer
            assert server.seen == (0 if answer.startswith(b"554") else 1)
            assert one.failures == []


def test_the_smtp_gate_does_not_ask_about_friends_and_answers_for_a_dead_server(tmp_path: Path) -> None:
    (tmp_path / "friends.map").write_text("127.0.0.1\n")
    fake = '[[dns.fake_records]]\nname = "1.0.0.127.zen.spamhaus.org"\nreplies = ["127.0.0.2"]\n'
    with backend(smtp) as server:
        source, toml = example("smtp_gate", ("127.0.0.1:10025", f"127.0.0.1:{server.port}"), ('send_proxy = "v2"', ""))
        with gate(tmp_path, source, toml + fake) as one:
            assert one.ask(b"QUIT\r\n", ends=False) == b"220 mx\r\n221 bye\r\n"
    (tmp_path / "friends.map").write_text("")
    source, toml = example("smtp_gate", ("127.0.0.1:10025", f"127.0.0.1:{free_port()}"))
    with gate(tmp_path, source, toml + fake.replace('replies = ["127.0.0.2"]', 'rcode = "nxdomain"')) as one:
        assert one.ask() == b"421 4.3.2 The mail server is not available, try again later\r\n"


def test_the_line_rewriter_changes_both_directions(tmp_path: Path) -> None:
    def pop(sock: Any) -> None:
        sock.sendall(b"+OK Dovecot ready.\r\n")
        while data := sock.recv(1000):
            sock.sendall(b"got " + data)

    with backend(pop) as server:
        source, toml = example("line_rewriter", ("127.0.0.1:110", f"127.0.0.1:{server.port}"))
        with gate(tmp_path, source, toml) as one, one.client() as client:
            for said, heard in ((b"", b"+OK ready\r\n"), (b"XYZZY a b\r\n", b"got NOOP a b\r\n"), (b"XYZZY\n", b"got NOOP\n")):
                client.send(said)
                assert client.sock.recv(1000) == heard
            assert client.send(b"\xff last").end().read_all() == b"got \xff last"
