"""Marking hooks: what a rule file may write, and what is refused with its line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filterd.engine.hooks import Hook, WorkerInfo, background, collect_hooks, on_finish, on_load, periodic
from filterd.engine.loader import LoadError, load_rules

HEAD = "from filterd import background, on_finish, on_load, periodic, rule\n"


def hooks_of(folder: Path, source: str, name: str = "a.py") -> list[Hook]:
    (folder / name).write_text(HEAD + source)
    return collect_hooks(load_rules([folder]).modules)


def test_hooks_are_found_in_the_order_they_stand_in(tmp_path: Path) -> None:
    source = """
@on_load
def first(worker): pass
@periodic(60, jitter=5, scope="once")
def second(): pass
@background
def third(worker=None): pass
@background(restart="always")
def fourth(*args): pass
@on_finish
def fifth(): pass
"""
    found = hooks_of(tmp_path, source)
    assert [hook.title for hook in found] == [
        "on_load first",
        "periodic second",
        "background third",
        "background fourth",
        "on_finish fifth",
    ]
    assert [hook.takes_worker for hook in found] == [True, False, True, True, False]
    assert (found[1].seconds, found[1].jitter, found[1].scope) == (60, 5, "once")
    assert [hook.restart for hook in found[2:4]] == ["on-error", "always"]
    assert found[0].place == f"{tmp_path}/a.py:3"


def test_a_function_stays_what_it_was(tmp_path: Path) -> None:
    """So that a function can be two hooks, and be called."""
    assert len(hooks_of(tmp_path, "@on_load\n@periodic(1)\n@on_finish\ndef all() -> int: return 5\nassert all() == 5\n")) == 3


def test_a_hook_is_called_with_the_worker_or_with_nothing() -> None:
    worker = WorkerInfo(1, 4)
    assert Hook("on_load", lambda one: one, takes_worker=True, file="", line=1).call(worker) is worker
    assert Hook("on_load", lambda: 7, takes_worker=False, file="", line=1).call(worker) == 7


def test_what_is_callable_may_be_a_hook_without_being_a_function(tmp_path: Path) -> None:
    hook, of_c = hooks_of(tmp_path, "class Thing:\n    def __call__(self): pass\non_load(Thing())\non_load(max)\n")
    assert (hook.takes_worker, of_c.takes_worker) == (False, True)
    assert (hook.place, hook.title.split(" <")[0]) == (f"{tmp_path}/a.py:4", "on_load")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("@on_load\ndef hook(a, b): pass", "on_load hook: it is called with the worker or with nothing, and takes neither"),
        ("@on_finish\nasync def hook(): pass", "an async function would never run"),
        ("@background\ndef hook():\n    yield", "a function with yield would never run"),
        ("on_load(5)", "5 is no function"),
        ("@periodic\ndef hook(): pass", r"write @periodic\(60\)"),
        ("@periodic(0)\ndef hook(): pass", "0 is not a number of seconds above 0"),
        ("@periodic('60')\ndef hook(): pass", "'60' is not a number of seconds above 0"),
        ("@periodic(float('inf'))\ndef hook(): pass", "inf is not a number of seconds above 0"),
        ("@periodic(1, jitter=-1)\ndef hook(): pass", "jitter -1 is not a number of seconds"),
        ("@periodic(1, scope='all')\ndef hook(): pass", "scope 'all' is not one of worker, once"),
        ("@background(restart=True)\ndef hook(): pass", "restart True is not one of on-error, always, never"),
    ],
)
def test_what_cannot_be_a_hook_is_refused_with_its_line(tmp_path: Path, source: str, told: str) -> None:
    with pytest.raises(LoadError, match=told) as raised:
        hooks_of(tmp_path, source)
    assert raised.value.problems[0].where.startswith(f"{tmp_path}/a.py:2")


def test_a_hook_in_a_file_that_is_no_rule_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "_shared.py").write_text(HEAD + "@on_load\ndef lost(): pass\n")
    with pytest.raises(LoadError, match=r"_shared.py:2: on_load lost would never run"):
        hooks_of(tmp_path, "import _shared\n@on_load\ndef kept(): pass\n")


@pytest.mark.parametrize("mark", [on_load, on_finish, background, periodic(5)])
def test_outside_of_rule_files_a_mark_is_only_a_mark(mark: Callable[[Any], Any]) -> None:
    def hook() -> None: ...

    assert mark(hook) is hook
