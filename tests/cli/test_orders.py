"""`filterd reload`, `status` and `stop` without a daemon, or with something else in its place; with one: tests/daemon."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from filterd.cli.orders import _duration
from filterd.daemon.console import default_places


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """A supervisor that takes one line on each connection and says what it is told to; gives what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    asked.append(connection.recv(9999))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(10)


@pytest.mark.parametrize("word", ["reload", "status", "stop"])
def test_without_a_daemon_it_is_said_where_it_was_looked_for(
    config: Callable[..., str], run: Callable[..., Result], word: str
) -> None:
    result = run(word, "-c", config())
    assert result.exit_code == 2
    places = " or ".join(map(str, default_places("f.toml")))
    assert result.stderr == f"no filterd runs with f.toml: there is no {places}\n"


def test_the_socket_is_found_in_a_broken_configuration(
    config: Callable[..., str], folder: Path, run: Callable[..., Result]
) -> None:
    (folder / "local.d").mkdir()
    (folder / "local.d" / "broken.toml").write_text("half = ")
    more = '[supervisor]\nsocket = "s.sock"\n[limits]\ntask_timeout = "soon"\n'
    with answering(folder / "s.sock", b'{"problems":["a.py:1: broken","b.py:2: too"]}\n') as asked:
        result = run("reload", "-c", config(more=more))
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "a.py:1: broken\nb.py:2: too\n")
    assert asked == [b'{"do":"reload"}\n']


def test_a_socket_can_be_named(config: Callable[..., str], folder: Path, run: Callable[..., Result]) -> None:
    with answering(folder / "x.sock", b'{"problems":[],"pid":1}\n', b"", b"nonsense\n") as asked:
        assert run("stop", "--socket", "x.sock").stdout == "stopped\n"
        nobody = run("stop", "--socket", "x.sock")
        assert (nobody.exit_code, nobody.stderr) == (
            1,
            f"filterd did not answer (it answers root and the user it runs as; you are {os.geteuid()})\n",
        )
        nonsense = run("status", "--socket", "x.sock")
        assert nonsense.exit_code == 1
        assert nonsense.stderr.startswith("filterd did not answer: a line is no JSON object")
    assert len(asked) == 3
    gone = run("stop", "--socket", "x.sock")
    assert (gone.exit_code, gone.stderr) == (2, "x.sock: Connection refused\n")


def test_set_finds_it_as_it_was_started(config: Callable[..., str], folder: Path, run: Callable[..., Result]) -> None:
    with answering(folder / "set.sock", b'{"problems":[]}\n'):
        result = run("stop", "-c", config(), "--set", "supervisor.socket=set.sock")
    assert (result.exit_code, result.stdout) == (0, "stopped\n")


def test_what_a_failed_reload_was_is_shown(folder: Path, run: Callable[..., Result]) -> None:
    answer = (
        b'{"version":"1","pid":7,"age":100000,"state":"serving","generation":2,"count":1,"restarts":3,"listeners":[],'
        b'"last_reload":{"time":0,"generation":3,"problems":["a.py:1: broken"]},"workers":[{"number":0,"pid":8,"generation":2,'
        b'"state":"serving","age":5,"rss":null,"messages":9,"under_way":1,"runs_once":false}]}\n'
    )
    with answering(folder / "s.sock", answer):
        result = run("status", "--socket", "s.sock")
    lines = result.stdout.splitlines()
    assert lines[0] == "filterd 1, pid 7, serving for 28 h"
    assert lines[1] == "generation 2: 1 of 1 workers serve, 3 started again"
    assert lines[2].startswith("last reload: 19")
    assert lines[2].endswith(", failed")
    assert lines[3] == "  a.py:1: broken"
    assert lines[5].split() == ["0", "8", "2", "serving", "5", "s", "-", "9", "1"]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d"), (864000, "10 d")]
)
def test_ages_are_for_people(seconds: float, told: str) -> None:
    assert _duration(seconds) == told
