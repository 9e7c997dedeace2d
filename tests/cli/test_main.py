"""The command as a whole: what it says of itself, and that saying it is cheap."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

import filterd


def test_help_names_every_command(run: Callable[..., Result]) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.partition("Commands:\n")[2].splitlines()] == [
        "check",
        "password",
        "reload",
        "rules",
        "run",
        "scan",
        "status",
        "stop",
    ]


def test_version(real: Callable[..., Any]) -> None:
    assert real("--version").stdout == f"filterd, version {filterd.__version__}\n"


def test_an_unknown_command_and_an_unknown_option_are_usage_errors(run: Callable[..., Result]) -> None:
    assert run("scam").exit_code == 2
    assert run("scan", "--fast").exit_code == 2


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'pydantic', 'rich', 'gevent', 'dns', 'redis', 'filterd.task', 'filterd.engine', 'filterd.daemon.config'}"
    program = f"import sys, filterd.cli.main; print(sorted({heavy} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, check=True).stdout == b"[]\n"


def test_a_file_name_that_is_no_text_is_no_reason_to_fail(folder: Path, real: Callable[..., Any]) -> None:
    name = b"caf\xe9.eml".decode("utf-8", "surrogateescape")
    (folder / name).write_text("Subject: x\n\n")
    result = real("scan", "--rules", "rules", name, name + "2")
    assert result.returncode == 1
    assert result.stdout.startswith("caf?.eml\n")
    assert "caf\\udce9.eml2: No such file or directory" in result.stderr
