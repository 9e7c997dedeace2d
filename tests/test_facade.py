"""`filterd` as rule files import from it: every name is there, and nothing is loaded before somebody asks for it."""

import subprocess
import sys
from pathlib import Path

import pytest

import filterd

ROOT = Path(__file__).parents[1]


def fresh(source: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=15, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", filterd.__all__)
def test_every_name_there_is_can_be_had(name: str) -> None:
    value = getattr(filterd, name)
    assert value is getattr(filterd, name)
    assert getattr(value, "__name__", name).rpartition(".")[2] == name


def test_all_of_them_can_be_imported_at_once_and_are_listed() -> None:
    assert fresh("from filterd import *; print(rule.__module__, http.__name__)") == "filterd.engine.registry filterd.api.http"
    assert set(filterd.__all__) <= set(dir(filterd))


def test_a_name_there_is_not_is_told() -> None:
    with pytest.raises(AttributeError, match="module 'filterd' has no attribute 'htpp'"):
        filterd.htpp  # type: ignore[attr-defined]  # noqa: B018 - that is the point
    assert not hasattr(filterd, "engine_of")


PURE = [
    "filterd",
    "filterd.outcome",
    "filterd.mail.message",
    "filterd.mail.results",
    "filterd.proto.http1",
    "filterd.proto.dns",
    "filterd.proto.rspamd",
]


@pytest.mark.parametrize("module", PURE)
def test_protocols_and_mail_load_no_gevent(module: str) -> None:
    # Not greenlet: measuring the coverage of a child process loads that by itself.
    assert fresh(f"import sys, {module}; print('gevent' in sys.modules)") == "False"


def test_importing_filterd_changes_nothing_in_the_process() -> None:
    """Only the command line patches."""
    assert fresh("import socket; before = socket.socket; from filterd import *; print(socket.socket is before)") == "True"


def test_the_types_are_shipped() -> None:
    assert (Path(filterd.__file__).parent / "py.typed").exists()
