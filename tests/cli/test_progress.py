"""The progress bar: on a terminal only, and never in the way."""

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FROM = "From a@example.com Fri Nov 21 03:00:00 2025\n"


@pytest.fixture
def on_terminal(argv: Callable[..., list[str]], real: object, folder: Path) -> Callable[..., tuple[str, str]]:
    """Runs the command with a terminal for its standard error; gives what went to the pipe and what to the terminal."""

    def invoke(*words: str) -> tuple[str, str]:
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
        with subprocess.Popen(argv(*words), cwd=folder, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
            os.close(theirs)
            shown = bytearray()
            try:
                while piece := os.read(ours, 65536):
                    shown += piece
            except OSError:  # the other side is closed
                pass
            os.close(ours)
            assert process.stdout is not None
            return process.stdout.read().decode(), shown.decode()

    return invoke


def test_several_files_have_a_bar(on_terminal: Callable[..., tuple[str, str]], mail: Callable[..., str]) -> None:
    printed, shown = on_terminal("scan", "--rules", "rules", *(mail(f"m/{number}", "Subject: x") for number in range(3)))
    assert printed.count("no action") + printed.count("greylist") == 3
    assert "\x1b" not in printed
    assert "0/3" in shown
    assert "3/3" in shown
    assert shown.endswith("\x1b[2K")  # erased


def test_an_error_is_not_drawn_over(on_terminal: Callable[..., tuple[str, str]], mail: Callable[..., str]) -> None:
    shown = on_terminal("scan", "--rules", "rules", mail("a"), "nowhere")[1]
    assert "\x1b[2Knowhere: No such file or directory\r\n" in shown


def test_a_mailbox_makes_it_longer(on_terminal: Callable[..., tuple[str, str]], mail: Callable[..., str], folder: Path) -> None:
    (folder / "box").write_text(f"{FROM}Subject: x\n\n\n" * 3)
    shown = on_terminal("scan", "--rules", "rules", mail("a"), "box")[1]
    assert "0/2" in shown
    assert "4/4" in shown


def test_one_file_has_no_bar(on_terminal: Callable[..., tuple[str, str]], mail: Callable[..., str]) -> None:
    assert on_terminal("scan", "--rules", "rules", mail("a"))[1] == ""


def test_no_terminal_no_bar(real: Callable[..., "subprocess.CompletedProcess[str]"], mail: Callable[..., str]) -> None:
    assert real("scan", "--rules", "rules", mail("a"), mail("b")).stderr == ""
