"""The supervisor's socket: where it is, whom it answers, whom it hangs up on."""

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from filterd.daemon import console as console_module
from filterd.daemon.console import Console, default_places
from filterd.daemon.loop import Loop
from filterd.proto.json_lines import render
from tests.support.users import as_others


@contextmanager
def consoled(path: Path, **orders: Callable[..., Any]) -> Iterator[tuple[Console, Loop]]:
    loop = Loop()
    console = Console(loop, {"hello": lambda answer: answer({"hello": "you"}), **orders})
    assert console.open(str(path), "f.toml") == ""
    try:
        yield console, loop
    finally:
        console.close()
        loop.close()


def asked(loop: Loop, path: Path, line: bytes) -> bytes:
    """What one caller is answered, b"" if it is hung up on."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(0.0)
        caller.connect(str(path))
        caller.send(line)
        while True:
            loop.turn()
            try:
                return caller.recv(9999)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return b""  # hung up on before it was heard


def test_an_order_is_answered_and_the_path_is_only_ours(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with consoled(path) as (_, loop):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert asked(loop, path, b'{"do":"hello"}\n') == b'{"hello":"you"}\n'
        assert asked(loop, path, b'{"do":"dance"}\n') == b'{"problems":["there is no order \'dance\'"]}\n'
        assert asked(loop, path, b"nonsense\n") == b""
        assert asked(loop, path, b"x" * 70_000) == b""
    assert not path.exists()


def test_somebody_elses_user_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.sock"
    with consoled(path) as (_, loop):
        monkeypatch.setattr(console_module, "peer_uid", lambda sock: 4711)
        assert asked(loop, path, b'{"do":"hello"}\n') == b""
    assert "user 4711 may not give orders to filterd" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
def test_a_real_other_user_is_not_answered(tmp_path: Path) -> None:
    path = Path("/tmp") / f"filterd-test-{os.getpid()}.sock"
    python, environment = as_others(65534)
    with consoled(path) as (_, loop):
        path.chmod(0o666)
        program = f"import socket; s = socket.socket(1); s.connect({str(path)!r}); s.send(b'x'); print(s.recv(99))"
        with subprocess.Popen([python, "-c", program], user=65534, env=environment, stdout=subprocess.PIPE) as caller:
            loop.later(20.0, caller.kill)
            while caller.poll() is None:
                loop.later(0.02, lambda: None)
                loop.turn()
            assert caller.stdout is not None
            assert caller.stdout.read() in (b"b''\n", b"")


def test_who_asks_nothing_or_too_often_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "QUESTION_TIME", 0.05)
    monkeypatch.setattr(console_module, "MOST_CONNECTIONS", 1)
    path = tmp_path / "s.sock"
    with consoled(path) as (_, loop), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        loop.turn()
        assert asked(loop, path, b'{"do":"hello"}\n') == b""
        silent.setblocking(False)
        is_over: list[int] = []
        loop.later(0.2, lambda: is_over.append(1))
        while not is_over:
            loop.turn()
        assert silent.recv(9) == b""
        assert asked(loop, path, b'{"do":"hello"}\n') == b'{"hello":"you"}\n'


def test_an_answer_may_take_its_time_and_a_caller_may_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "QUESTION_TIME", 0.01)
    path = tmp_path / "s.sock"
    waiting: list[Callable[..., object]] = []
    with consoled(path, wait=waiting.append) as (_, loop):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.send(b'{"do":"wait"}\n')
            while not waiting:
                loop.turn()
            loop.later(0.05, lambda: waiting[0]({"late": True}))
            loop.turn()
            loop.turn()
            caller.settimeout(5)
            assert caller.recv(99) == b'{"late":true}\n'
            caller.send(b'{"do":"wait"}\n')
            while len(waiting) < 2:
                loop.turn()
        loop.turn()
        waiting[1]({"nobody": "listens"})


def test_a_long_answer_is_sent_as_fast_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "ANSWER_TIME", 0.1)
    path, answer = tmp_path / "s.sock", {"problems": ["x" * 3_000_000]}
    with consoled(path, tell=lambda send: send(answer)) as (console, loop), socket.socket(socket.AF_UNIX) as idle:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.send(b'{"do":"tell"}\n')
            caller.setblocking(False)
            data = b""
            while not data.endswith(b"\n"):
                loop.turn()
                try:
                    data += caller.recv(1_000_000)
                except BlockingIOError:
                    continue
            assert data == render(answer)
        idle.connect(str(path))
        idle.send(b'{"do":"tell"}\n')
        while not any(console._unsent.values()):
            loop.turn()
        while console._unsent:
            # Who does not read is not waited for.
            loop.turn()


def test_a_path_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    loop = Loop()
    (tmp_path / "file").write_text("")
    trouble = Console(loop, {}).open(str(tmp_path / "file"), "f.toml")
    assert trouble.endswith("there is a file at that path, and it is no socket")
    loop.close()


def test_the_default_place_follows_from_the_configurations_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "systemd") + ":/run/other")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    places = default_places("f.toml")
    assert places == default_places(tmp_path / "f.toml")
    assert [str(place.parent) for place in places[:3]] == [
        str(tmp_path / "systemd"),
        "/run/filterd",
        str(tmp_path / "xdg" / "filterd"),
    ]
    assert places[0].name != default_places("g.toml")[0].name
    loop = Loop()
    (tmp_path / "systemd").mkdir(mode=0o777)
    (tmp_path / "systemd").chmod(0o777)
    console = Console(loop, {})
    assert console.open(None, "f.toml") == ""
    # Not where anybody may put things.
    assert console.path != str(places[0])
    console.close()
    (tmp_path / "systemd").chmod(0o755)
    assert console.open(None, "f.toml") == ""
    assert console.path == str(places[0])
    console.close()
    monkeypatch.setattr(console_module, "default_places", lambda conf: [])
    assert "there is no folder" in Console(loop, {}).open(None, "f.toml")
    loop.close()
