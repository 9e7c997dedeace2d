"""Rule files as a user writes and breaks them: what is loaded, what is left alone, and how every mistake is told."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from filterd.engine.loader import LoadError, Problem, Rules, load_rules

GOOD = """\
from filterd import rule

@rule("{name}", score=1)
def check(task):
    return True
"""


@pytest.fixture(autouse=True)
def imports_as_before() -> Iterator[None]:
    """What a rule file imports must not be there for the next test; nor may the loader leave the path changed."""
    path, modules = sys.path[:], dict(sys.modules)
    yield
    assert sys.path == path
    for name in sys.modules.keys() - modules:
        if name.startswith("filterd_rules"):
            del sys.modules[name]


def write(folder: Path, **files: str) -> Path:
    """Rule files by their names without .py; the folder is made, and its real path returned."""
    folder.mkdir(exist_ok=True)
    for name, source in files.items():
        (folder / f"{name}.py").write_text(dedent(source))
    return folder.resolve()


def names(rules: Rules) -> list[str]:
    return list(rules.registry.rules)


def problems_of(*folders: Path, **keywords: Any) -> tuple[Problem, ...]:
    with pytest.raises(LoadError) as raised:
        load_rules(folders, **keywords)
    assert str(raised.value) == "\n".join(map(str, raised.value.problems))
    return raised.value.problems


def problem_of(folder: Path, source: str, **keywords: Any) -> Problem:
    """The one problem with a rule file bad.py of this source; its first line is line 1."""
    (problem,) = problems_of(write(folder, bad=source), **keywords)
    return problem


# -- what is loaded


def test_every_file_of_a_folder_is_loaded_by_name_and_nothing_else(tmp_path: Path) -> None:
    left_alone = "raise SystemExit('must not be imported')"
    folder = write(
        tmp_path / "rules",
        b=GOOD.format(name="B"),
        a=GOOD.format(name="A"),
        _shared=left_alone,
        test_a=left_alone,
    )
    (folder / ".hidden.py").write_text(left_alone)
    (folder / "readme.txt").write_text("no Python")
    (folder / "folder.py").mkdir()
    write(folder / "more", c=left_alone)
    rules = load_rules([folder])
    assert names(rules) == ["A", "B"]
    assert rules.files == {f"{folder}/a.py", f"{folder}/b.py"}
    assert [module.__name__ for module in rules.modules] == ["filterd_rules.a", "filterd_rules.b"]


def test_a_single_file_may_be_named_whatever_its_name(tmp_path: Path) -> None:
    folder = write(tmp_path, _draft=GOOD.format(name="DRAFT"), other=GOOD.format(name="OTHER"))
    assert names(load_rules([folder / "_draft.py"])) == ["DRAFT"]


def test_a_folder_named_twice_is_loaded_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "rules", a=GOOD.format(name="A"))
    (tmp_path / "link").symlink_to(folder)
    assert names(load_rules([folder, folder / "a.py", str(tmp_path / "link")])) == ["A"]


def test_an_empty_folder_has_no_rules(tmp_path: Path) -> None:
    assert names(load_rules([tmp_path])) == []


def test_the_three_forms_of_registration(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        a="""\
            from filterd import register_symbol, rule, virtual

            @rule("DECORATED")
            def check(task): ...

            register_symbol(name="CALLED", callback=check, score=2)
            virtual("VIRTUAL", parent="CALLED", score=3)

            def register(registry):
                for number in 1, 2:
                    registry.rule(f"COMPUTED_{number}")(check)
            """,
    )
    rules = load_rules([folder]).registry.rules
    assert {name: (one.type, one.score, one.line) for name, one in rules.items()} == {
        "DECORATED": ("normal", 0.0, 3),
        "CALLED": ("normal", 2.0, 6),
        "VIRTUAL": ("virtual", 3.0, 7),
        "COMPUTED_1": ("normal", 0.0, 11),
        "COMPUTED_2": ("normal", 0.0, 11),
    }
    assert {one.file for one in rules.values()} == {f"{folder}/a.py"}


def test_marks_made_inside_register_count_too(tmp_path: Path) -> None:
    source = """\
        from filterd import register_symbol

        def register(registry):
            register_symbol(name="A", callback=lambda task: None)
        """
    assert names(load_rules([write(tmp_path, a=source)])) == ["A"]


def test_register_may_decide_that_there_is_nothing_to_register(tmp_path: Path) -> None:
    assert names(load_rules([write(tmp_path, a="def register(registry): ...")])) == []


def test_a_rule_file_reads_its_table_while_it_is_loaded(tmp_path: Path) -> None:
    source = """\
        from filterd import config, rule

        @rule("A", score=config.module("limits")["score"], description=str(dict(config.module("none"))))
        def check(task): ...
        """
    (one,) = load_rules([write(tmp_path, a=source)], modules={"limits": {"score": 7}}).registry.rules.values()
    assert (one.score, one.description) == (7.0, "{}")


def test_values_of_a_rule_file_that_need_its_module_work(tmp_path: Path) -> None:
    """A dataclass and a pickle look their module up in sys.modules."""
    source = """\
        from __future__ import annotations
        import pickle
        from dataclasses import dataclass
        from filterd import rule

        @dataclass
        class Row:
            name: str

        assert pickle.loads(pickle.dumps(Row("x"))) == Row("x")

        @rule("A")
        def check(task): ...
        """
    assert names(load_rules([write(tmp_path, **{"with-dash": source})])) == ["A"]


# -- files of one name in two folders


TELLS_ITS_FOLDER = """\
from filterd import rule
from _shared import WHERE

@rule(WHERE)
def check(task):
    return WHERE
"""


def test_files_of_the_same_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    one = write(tmp_path / "one", a=GOOD.format(name="ONE"))
    two = write(tmp_path / "two", a=GOOD.format(name="TWO"))
    rules = load_rules([one, two])
    assert names(rules) == ["ONE", "TWO"]
    assert [module.__name__ for module in rules.modules] == ["filterd_rules.a", "filterd_rules.a_2"]
    assert [sys.modules[module.__name__] for module in rules.modules] == list(rules.modules)


def test_a_name_made_for_the_second_file_is_not_taken_from_a_third(tmp_path: Path) -> None:
    one = write(tmp_path / "one", a=GOOD.format(name="ONE"), a_2=GOOD.format(name="THREE"))
    two = write(tmp_path / "two", a=GOOD.format(name="TWO"))
    assert len({module.__name__ for module in load_rules([one, two]).modules}) == 3


def test_each_folder_has_its_own_shared_code(tmp_path: Path) -> None:
    one = write(tmp_path / "one", a=TELLS_ITS_FOLDER, _shared="WHERE = 'ONE'")
    two = write(tmp_path / "two", a=TELLS_ITS_FOLDER, _shared="WHERE = 'TWO'")
    rules = load_rules([one, two]).registry.rules
    functions: dict[str, Any] = {name: one.function for name, one in rules.items()}
    assert {name: function(None) for name, function in functions.items()} == {"ONE": "ONE", "TWO": "TWO"}


def test_files_of_one_folder_share_one_copy(tmp_path: Path) -> None:
    source = """\
        import _shared
        from filterd import rule

        _shared.SEEN.append(__name__)

        @rule(f"SEEN_{len(_shared.SEEN)}")
        def check(task): ...
        """
    assert names(load_rules([write(tmp_path, a=source, b=source, _shared="SEEN = []")])) == ["SEEN_1", "SEEN_2"]


def test_a_package_may_lie_beside_the_rules(tmp_path: Path) -> None:
    folder = write(tmp_path, a="from filterd import rule\nfrom lists.names import NAME\nrule(NAME)(lambda task: None)")
    write(folder / "lists", __init__="", names="NAME = 'A'")
    rules = load_rules([folder])
    assert names(rules) == ["A"]
    assert rules.shared == {f"{folder}/lists/__init__.py", f"{folder}/lists/names.py"}
    assert rules.code == rules.files | rules.shared
    assert not {"lists", "lists.names"} & sys.modules.keys()


def test_shared_code_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    folder = write(tmp_path, a=TELLS_ITS_FOLDER, _shared="WHERE = 'BEFORE'")
    assert names(load_rules([folder])) == ["BEFORE"]
    write(folder, _shared="WHERE = 'AFTERWARDS'")
    assert names(load_rules([folder])) == ["AFTERWARDS"]


def test_a_file_that_is_changed_twice_in_a_second_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same length and, as file systems and Python's cache of compiled code count, of the same age."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    folder = write(tmp_path, a=TELLS_ITS_FOLDER, _shared="WHERE = 'ONE'")
    age = (folder / "a.py").stat().st_mtime
    for name in ("ONE", "TWO"):
        write(folder, _shared=f"WHERE = '{name}'")
        os.utime(folder / "_shared.py", (age, age))
        assert names(load_rules([folder])) == [name]
        write(folder, b=f"from filterd import rule\nrule('B_{name}')(lambda task: None)")
        os.utime(folder / "b.py", (age, age))
        assert names(load_rules([folder / "b.py"])) == [f"B_{name}"]
        (folder / "b.py").unlink()
    assert not (folder / "__pycache__").exists()


def test_a_rule_file_may_have_the_name_of_a_module_others_need(tmp_path: Path) -> None:
    """`import wsgiref` in somebody's library does not get the rule file."""
    folder = write(
        tmp_path,
        wsgiref=GOOD.format(name="A"),
        other="from filterd import rule\nimport wsgiref.headers\nrule('B')(lambda task: None)",
    )
    assert names(load_rules([folder])) == ["B", "A"]


def test_the_import_path_is_as_before_whatever_a_rule_file_does(tmp_path: Path) -> None:
    path = sys.path[:]
    folder = write(tmp_path, a=GOOD.format(name="A") + "import sys; sys.path[:] = ['/nowhere']")
    load_rules([folder])
    assert sys.path == path
    with pytest.raises(ImportError):
        importlib.import_module("_shared")


def test_other_modules_a_rule_file_imports_stay(tmp_path: Path) -> None:
    sys.modules.pop("this_is_no_rule", None)
    library = write(tmp_path / "library", this_is_no_rule="")
    source = f"import sys; sys.path.append({str(library)!r})\nimport this_is_no_rule\n" + GOOD.format(name="A")
    load_rules([write(tmp_path / "rules", a=source)])
    assert sys.modules.pop("this_is_no_rule").__file__ == f"{library}/this_is_no_rule.py"


# -- which of them are wanted

SEVERAL = """\
from filterd import register_symbol, virtual

for name in "RBL_CHECK", "URL_CHECK":
    register_symbol(name=name, callback=lambda task: None)
virtual("RBL_ONE", parent="RBL_CHECK")
virtual("RBL_TWO", parent="RBL_CHECK")
"""


@pytest.mark.parametrize(
    ("enable", "disable", "left"),
    [
        (["*"], [], "RBL_CHECK URL_CHECK RBL_ONE RBL_TWO OTHER"),
        ([], [], ""),
        (["several"], [], "RBL_CHECK URL_CHECK RBL_ONE RBL_TWO"),
        (["other", "URL_CHECK"], [], "URL_CHECK OTHER"),
        (["*_CHECK"], [], "RBL_CHECK URL_CHECK RBL_ONE RBL_TWO"),
        # A virtual symbol comes with its rule, and goes with it.
        (["RBL_CHECK"], [], "RBL_CHECK RBL_ONE RBL_TWO"),
        (["RBL_TWO"], [], "RBL_CHECK RBL_ONE RBL_TWO"),
        (["*"], ["RBL_CHECK"], "URL_CHECK OTHER"),
        (["*"], ["RBL_TWO"], "RBL_CHECK URL_CHECK RBL_ONE OTHER"),
        (["*"], ["several"], "OTHER"),
        (["*"], ["*"], ""),
        (["RBL_*"], ["RBL_CHECK"], ""),
    ],
)
def test_enable_and_disable_name_rules_and_files(tmp_path: Path, enable: list[str], disable: list[str], left: str) -> None:
    folder = write(tmp_path, several=SEVERAL, other=GOOD.format(name="OTHER"))
    rules = load_rules([folder], enable=enable, disable=disable)
    assert sorted(names(rules)) == sorted(left.split())


def test_a_disabled_file_is_not_even_imported(tmp_path: Path) -> None:
    folder = write(tmp_path, broken="syntax error", good=GOOD.format(name="GOOD"))
    rules = load_rules([folder], disable=["broken"])
    assert names(rules) == ["GOOD"]
    assert rules.files == {f"{folder}/good.py"}


def test_a_rule_of_a_disabled_file_may_be_named(tmp_path: Path) -> None:
    folder = write(tmp_path, a=GOOD.format(name="A"), b="from filterd import virtual\nvirtual('V', parent='A')")
    assert names(load_rules([folder], disable=["a", "A"])) == []


@pytest.mark.parametrize("key", ["enable", "disable"])
def test_a_name_nobody_has_is_told_with_the_nearest(tmp_path: Path, key: str) -> None:
    folder = write(tmp_path, several=SEVERAL)
    (problem,) = problems_of(folder, **{key: ["URL_CHEK"]})
    assert str(problem) == f"rules.{key}: no rule or rule file is called 'URL_CHEK'; did you mean 'URL_CHECK'?"
    (problem,) = problems_of(folder, **{key: ["zzz"]})
    assert str(problem) == f"rules.{key}: no rule or rule file is called 'zzz'"


# -- what is wrong with them


def test_a_syntax_error_is_shown_where_it_is(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "x = 1\nif x\n    y = 2\n")
    assert problem.where == f"{tmp_path}/bad.py:2"
    assert problem.text == "SyntaxError: expected ':'"
    assert problem.traceback.splitlines() == [
        f'  File "{tmp_path}/bad.py", line 2',
        "    if x",
        "        ^",
        "SyntaxError: expected ':'",
    ]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"# coding: nonsense\n", "encoding"),
        (b"x = '\xff'\n", "can't decode byte 0xff"),
        (b"x = 1\0", "null bytes"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path: Path, raw: bytes, text: str) -> None:
    (tmp_path / "bad.py").write_bytes(raw)
    (problem,) = problems_of(tmp_path)
    assert problem.where.startswith(f"{tmp_path}/bad.py")
    assert text in problem.text
    assert "filterd/engine" not in problem.traceback


def test_an_exception_is_told_from_the_users_own_line_on(tmp_path: Path) -> None:
    problem = problem_of(
        tmp_path,
        """\
        import json

        def table():
            return json.loads("{")

        TABLE = table()
        """,
    )
    assert problem.where == f"{tmp_path}/bad.py:4"
    assert problem.text.startswith("JSONDecodeError: Expecting property name")
    told = problem.traceback.splitlines()
    assert told[:2] == ["Traceback (most recent call last):", f'  File "{tmp_path}/bad.py", line 6, in <module>']
    assert "/json/__init__.py" in problem.traceback
    assert "filterd/engine" not in problem.traceback
    assert "importlib" not in problem.traceback


def test_an_exception_in_shared_code_begins_at_the_import(tmp_path: Path) -> None:
    write(tmp_path, _shared="\nraise ValueError('shared')")
    problem = problem_of(tmp_path, "\n\nimport _shared\n")
    assert (problem.where, problem.text) == (f"{tmp_path}/bad.py:3", "ValueError: shared")
    frames = [line for line in problem.traceback.splitlines() if line.startswith("  File")]
    assert frames == [
        f'  File "{tmp_path}/bad.py", line 3, in <module>',
        f'  File "{tmp_path}/_shared.py", line 2, in <module>',
    ]


def test_a_syntax_error_in_shared_code_shows_both_files(tmp_path: Path) -> None:
    write(tmp_path, _shared="\nif x\n")
    problem = problem_of(tmp_path, "\n\nimport _shared\n")
    assert (problem.where, problem.text.split(" (")[0]) == (f"{tmp_path}/bad.py:3", "SyntaxError: expected ':'")
    assert f'File "{tmp_path}/_shared.py", line 2' in problem.traceback


def test_a_missing_module_is_named(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "import no_such_module\n")
    assert (problem.where, problem.text) == (f"{tmp_path}/bad.py:1", "ModuleNotFoundError: No module named 'no_such_module'")


def test_system_exit_does_not_end_the_daemon(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "import sys\n\nsys.exit('no licence')\n")
    assert (problem.where, problem.text) == (f"{tmp_path}/bad.py:3", "SystemExit: no licence")


def test_an_interrupt_does(tmp_path: Path) -> None:
    """Ctrl-C while rules are loaded is no mistake of a rule file."""
    path = sys.path[:]
    with pytest.raises(KeyboardInterrupt):
        load_rules([write(tmp_path, bad="raise KeyboardInterrupt")])
    assert sys.path == path


def test_an_exception_inside_register_is_told_like_any_other(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "def register(registry):\n    1 / 0\n")
    assert (problem.where, problem.text) == (f"{tmp_path}/bad.py:2", "ZeroDivisionError: division by zero")
    assert problem.traceback.splitlines()[1] == f'  File "{tmp_path}/bad.py", line 2, in register'


def test_a_register_that_takes_nothing_is_told_without_a_line_of_filterd(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "def register():\n    pass\n")
    assert problem.where == f"{tmp_path}/bad.py"
    assert problem.text == "TypeError: register() takes 0 positional arguments but 1 was given"
    assert "File" not in problem.traceback


def test_every_mark_that_cannot_be_right_is_told_with_its_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        bad="""\
        from filterd import register_symbol, rule

        @rule("A", flags="nicer")
        def a(task): ...

        @rule("B")
        def b(task): ...

        register_symbol(name="C", callback=b, timeout=0)
        """,
    )
    first, second = problems_of(tmp_path)
    assert (first.where, first.traceback) == (f"{tmp_path}/bad.py:3", "")
    assert first.text.startswith("rule 'A': unknown flag 'nicer'; there are coro")
    assert str(second) == f"{tmp_path}/bad.py:9: rule 'C': timeout 0 is not a number of seconds above 0"


def test_a_registration_refused_inside_register_names_the_line(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "def register(registry):\n    registry.rule('A', score='x')(lambda task: None)\n")
    assert str(problem) == f"{tmp_path}/bad.py:2: rule 'A': score 'x' is not a number"


def test_a_decorator_without_a_name_is_told_with_its_line(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "from filterd import rule\n\n@rule\ndef a(task): ...\n")
    assert str(problem) == f'{tmp_path}/bad.py:3: @rule without a name: write @rule("NAME")'


def test_a_name_used_twice_is_told_with_both_places(tmp_path: Path) -> None:
    folder = write(tmp_path, a=GOOD.format(name="SAME"), b="\n" + GOOD.format(name="SAME"))
    (problem,) = problems_of(folder)
    assert str(problem) == f"{folder}/b.py:4: rule 'SAME' is already registered at {folder}/a.py:3"


def test_a_virtual_symbol_without_its_rule_is_told(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "from filterd import virtual\n\nvirtual('V', parent='NOBODY')\n")
    assert str(problem) == f"{tmp_path}/bad.py:3: virtual symbol 'V' has the parent 'NOBODY', which is no rule"


def test_the_parent_may_be_in_another_file(tmp_path: Path) -> None:
    folder = write(tmp_path, a="from filterd import virtual\nvirtual('V', parent='P')", b=GOOD.format(name="P"))
    assert names(load_rules([folder])) == ["V", "P"]


def test_a_file_without_a_rule_is_told(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "x = 1\n")
    assert problem.where == f"{tmp_path}/bad.py"
    assert problem.text.startswith("no rule in it: no @rule, register_symbol()")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "nowhere")
    assert str(problem) == f"{tmp_path}/nowhere: this rules folder does not exist"


def test_a_path_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    first, second = problems_of(tmp_path / "file", tmp_path / "file" / "folder")
    assert str(first) == f"{tmp_path}/file: the name of a rule file ends with .py"
    assert str(second) == f"{tmp_path}/file/folder: this rules folder cannot be read: Not a directory"


def test_a_file_that_vanished_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.py").symlink_to(tmp_path / "gone.py")
    (problem,) = problems_of(tmp_path, disable=["NAME"])[:1]
    assert problem.where == f"{tmp_path}/gone.py"
    assert problem.text.startswith("FileNotFoundError")


def test_a_rule_in_a_file_that_is_never_loaded_as_one_is_told(tmp_path: Path) -> None:
    """It would be lost without a word."""
    folder = write(tmp_path, a="import _shared\n" + GOOD.format(name="A"), _shared=GOOD.format(name="LOST"))
    (problem,) = problems_of(folder)
    assert str(problem) == (
        f"{folder}/_shared.py:3: LOST would never run: files whose names begin with _ or test_ are not loaded as rule files"
    )


def test_a_rule_file_may_be_imported_by_another(tmp_path: Path) -> None:
    folder = write(tmp_path, a="import b\nassert b.check\n" + GOOD.format(name="A"), b=GOOD.format(name="B"))
    assert names(load_rules([folder])) == ["A", "B"]


@pytest.mark.parametrize(
    "call",
    [
        "http.request('http://127.0.0.1:1/')",
        "dns.request('example.org')",
        "tcp_sync.connect('127.0.0.1', 1)",
        "redis.request(redis.parse_server('x'), ['PING'])",
    ],
)
def test_a_call_that_waits_at_the_top_level_says_so_in_words(tmp_path: Path, call: str) -> None:
    problem = problem_of(tmp_path, f"from filterd import dns, http, redis, tcp_sync\n\n{call}\n")
    assert problem.where == f"{tmp_path}/bad.py:3"
    assert "was called outside of any rule: a rule file may only register at its top level" in problem.text


def test_everything_is_told_at_once_and_nothing_that_only_follows_from_it(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "rules",
        a_syntax="if x\n# FROM_A",
        b_raises="1 / 0",
        c_flag="from filterd import rule\nrule('C', flags='nicer')(lambda task: None)",
        d_good=GOOD.format(name="SAME"),
        e_twice=GOOD.format(name="SAME"),
        f_orphan="from filterd import virtual\nvirtual('V', parent='NOBODY')\nvirtual('W', parent='FROM_A')",
        g_nothing="",
    )
    problems = problems_of(folder, tmp_path / "nowhere", enable=["*", "TYPO", "FROM_A"], disable=["d_god"])
    assert [problem.where.replace(str(tmp_path), "") for problem in problems] == [
        "/nowhere",
        "/rules/a_syntax.py:1",
        "/rules/b_raises.py:1",
        "/rules/c_flag.py:2",
        "/rules/e_twice.py:3",
        "/rules/g_nothing.py",
        "/rules/f_orphan.py:2",
        "rules.enable",
        "rules.disable",
    ]
    assert "'TYPO'" in problems[-2].text
    assert "did you mean 'd_good'?" in problems[-1].text
