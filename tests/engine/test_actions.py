"""Marks of actions and services, and what cannot be one."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from filterd.engine.actions import ACTIONS, collect_actions
from filterd.engine.loader import LoadError, Rules, load_rules


def loaded(folder: Path, source: str, name: str = "a.py") -> Rules:
    (folder / name).write_text(textwrap.dedent(source))
    return load_rules([folder])


def test_an_action_is_marked_and_stays_a_function(tmp_path: Path) -> None:
    rules = loaded(
        tmp_path,
        """
        from filterd import action, service

        @action("one", stages="tcp.request, tcp.response", timeout=2)
        @action("two", stages=["tcp.close"])
        def one(txn):
            return 4711

        @action("by-default.x")
        def three(txn): ...

        action("builtin")(print)

        @service("s")
        def s(txn): ...
        """,
    )
    found, errors = collect_actions(rules.modules)
    assert errors == []
    assert {name: sorted(one.stages) for name, one in found.items()} == {
        "two": ["tcp.close"],
        "one": ["tcp.request", "tcp.response"],
        "by-default.x": ["tcp.request"],
        "builtin": ["tcp.request"],
        "s": ["tcp.service"],
    }
    assert (found["one"].timeout, found["one"].kind, found["s"].kind) == (2, "action", "service")
    assert found["one"].place == f"{tmp_path / 'a.py'}:4"
    assert found["builtin"].place == f"{tmp_path / 'a.py'}:12"
    module: Any = rules.modules[0]
    assert module.one(None) == 4711


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("@action\ndef a(txn): ...", '@action without a name: write @action("name")'),
        ("@service\ndef a(txn): ...", '@service without a name: write @service("name")'),
        ("@action('a', stages='tcp.reqest')\ndef a(txn): ...", "action 'a': stage 'tcp.reqest' is not one of tcp.accept, "),
        ("@action('a', stages='tcp.service')\ndef a(txn): ...", "stage 'tcp.service' is not one of"),
        ("@action('a', stages=[])\ndef a(txn): ...", "action 'a': it has no stage; there are tcp.accept, "),
        ("@action('a', timeout=0)\ndef a(txn): ...", "timeout 0 is not a number of seconds above 0"),
        ("@action('a', timeout=float('nan'))\ndef a(txn): ...", "timeout nan is not a number"),
        ("@action('a', timeout=True)\ndef a(txn): ...", "timeout True is not a number"),
        ("@action('a b')\ndef a(txn): ...", "action 'a b': a name consists of letters, digits, _, - and ."),
        ("@action('')\ndef a(txn): ...", "action '': a name consists of"),
        ("@action('a')\ndef a(): ...", "it is called with one argument, the txn, and that does not fit: too many"),
        ("@action('a')\ndef a(txn, other): ...", "missing a required argument: 'other'"),
        ("@action('a')\nasync def a(txn): ...", "an async function would never run"),
        ("@action('a')\nasync def a(txn):\n    yield", "an async function would never run"),
        ("@service('a')\ndef a(txn):\n    yield", "service 'a': a function with yield would never run"),
        ("action('a')(4)", "4 is no function"),
    ],
)
def test_what_cannot_be_one_is_refused_with_its_line(tmp_path: Path, source: str, told: str) -> None:
    with pytest.raises(LoadError) as raised:
        loaded(tmp_path, "from filterd import action, service\n" + source)
    (problem,) = raised.value.problems
    assert told in problem.text
    assert problem.where == f"{tmp_path / 'a.py'}:2"


def test_a_function_in_c_that_does_not_tell_what_it_takes_is_taken(tmp_path: Path) -> None:
    rules = loaded(tmp_path, "from filterd import action\naction('a')(max)")
    assert list(collect_actions(rules.modules)[0]) == ["a"]


def test_a_name_that_is_there_twice_is_an_error_with_both_places(tmp_path: Path) -> None:
    loaded(tmp_path, 'from filterd import action\n@action("x")\ndef a(txn): ...\n')
    rules = loaded(tmp_path, 'from filterd import service\n\n@service("x")\ndef a(txn): ...\n', "b.py")
    _, (error,) = collect_actions(rules.modules)
    assert (str(error), error.place) == (
        f"service 'x' is already registered at {tmp_path / 'a.py'}:2",
        f"{tmp_path / 'b.py'}:3",
    )


def test_one_in_a_file_that_is_not_loaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "_shared.py").write_text('from filterd import action\n@action("lost")\ndef lost(txn): ...\n')
    with pytest.raises(LoadError, match="lost would never run"):
        loaded(tmp_path, 'import _shared\nfrom filterd import action\n@action("a")\ndef a(txn): ...\n')


def test_a_file_of_actions_only_is_a_rule_file(tmp_path: Path) -> None:
    rules = loaded(tmp_path, 'from filterd import action\n@action("a")\ndef a(txn): ...\n')
    assert [len(getattr(module, ACTIONS)) for module in rules.modules] == [1]
