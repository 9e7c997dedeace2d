"""`@extractor` and `@transform` in rule files: what they add, what is refused, and that they never wait."""

from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import gevent
import pytest

import filterd
from filterd.engine.expressions import Compiler, WouldWait, standard_vocabulary
from filterd.engine.loader import LoadError, load_rules
from filterd.engine.registry import RegistrationError
from filterd.engine.words import WORDS, collect_words, extractor, transform
from tests.support.engine import rule_of, scan_with
from tests.support.expressions import task_of

FILE = """
from filterd import extractor, rule, transform

@extractor("hops", returns=int)
def hops(task):
    return len(task.message.received)

@extractor("tagged", returns=list[str], stage="message")
def tagged(task, name):
    return [header.decoded for header in task.message.headers(name)] or None

@transform("shout", takes=str, returns=str)
def shout(value, mark="!"):
    return value.upper() + mark

@transform("longest", takes=list[str], returns=str)
def longest(values):
    return max(values, key=len)

@rule("R")
def r(task):
    return True, task.get("tagged('X-Tag').shout")
"""


def module_of(source: str, name: str = "words") -> ModuleType:
    module = ModuleType(name)
    exec(compile(dedent(source), f"{name}.py", "exec"), module.__dict__)
    return module


def compiler_of(*sources: str) -> Compiler:
    vocabulary, errors = collect_words(module_of(source) for source in sources)
    assert errors == []
    return Compiler(vocabulary)


def test_they_are_words_like_any_others() -> None:
    compiler = compiler_of(FILE)
    task = task_of()
    assert compiler.compile("hops")(task) == 2
    assert compiler.compile("hops > 1 and tagged('X-Tag') == 'two'", "condition")(task) is True
    assert compiler.compile("tagged(X-Tag).shout('?').join(',')")(task) == "ONE?,TWO?"
    assert compiler.compile("tagged(X-Tag).longest.shout")(task) == "ONE!"
    assert compiler.compile("tagged(X-None).shout")(task) is None
    assert str(compiler.compile("tagged(X-Tag).shout").returns) == "a list of texts"


def test_their_declared_types_are_checked() -> None:
    with pytest.raises(ValueError, match="shout takes text, and there is a whole number"):
        compiler_of(FILE).compile("hops.shout")
    with pytest.raises(ValueError, match="missing a required argument: 'name'"):
        compiler_of(FILE).compile("tagged")


def test_a_rule_file_with_words_alone_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(FILE.partition("@rule")[0])
    rules = load_rules([tmp_path])
    vocabulary, errors = collect_words(rules.modules)
    assert (vocabulary.extractors["hops"].place, errors) == (f"{tmp_path / 'a.py'}:4", [])


def test_words_where_nothing_is_loaded_from_are_told(tmp_path: Path) -> None:
    (tmp_path / "_shared.py").write_text(FILE)
    (tmp_path / "a.py").write_text("import _shared\nfrom filterd import rule\n@rule('A')\ndef a(task): ...")
    with pytest.raises(LoadError, match="hops would never run: files whose names begin with _"):
        load_rules([tmp_path])


def test_two_of_a_name_are_told_with_both_places() -> None:
    one = module_of("from filterd import extractor\n@extractor('x')\ndef x(task): ...", "one")
    two = module_of("from filterd import extractor\n@extractor('x')\ndef x(task): ...", "two")
    (error,) = collect_words([one, two])[1]
    assert (str(error), error.place) == ("extractor 'x' is already there, at one.py:2", "two.py:2")


def test_what_cannot_be_right_is_refused_with_its_place() -> None:
    async def later(task: Any) -> None: ...
    def generates(task: Any) -> Any:
        yield

    for make, function, problem in (
        (extractor("x"), later, "extractor 'x': it would never run"),
        (transform("x"), generates, "transform 'x': it would never run"),
        (extractor("x"), lambda: None, "extractor 'x': it is called with the task or value first, and takes nothing"),
        (extractor("x"), 3, "extractor 'x': 3 is no function"),
        (extractor("x", stage="soon"), len, "extractor 'x': stage 'soon' is not one of connect"),
    ):
        with pytest.raises(RegistrationError) as caught:
            make(function)  # type: ignore[type-var]
        assert str(caught.value).startswith(problem)
        assert caught.value.place.startswith(f"{__file__}:")
    for mark in (extractor, transform):
        with pytest.raises(RegistrationError, match="without a name: write @"):
            mark(len)  # type: ignore[arg-type]


def test_a_function_in_c_can_be_one() -> None:
    module = module_of(
        "from filterd import transform\ntransform('size_of', takes=list, returns=int)(len)\ntransform('m', takes=int)(max)"
    )
    assert [word.name for word in getattr(module, WORDS)] == ["size_of", "m"]
    compiler = Compiler(collect_words([module])[0])
    assert compiler.compile("rcpts.size_of")(task_of()) == 2
    assert compiler.compile("size.m(9000)")(task_of()) == 9000


def test_annotations_that_only_a_type_checker_understands_are_no_trouble() -> None:
    compiler = compiler_of(
        """
        from __future__ import annotations
        from filterd import extractor

        @extractor("pair")
        def pair(task: Nowhere, both: Unknown) -> Nothing:
            return list(both)
        """
    )
    assert compiler.compile("pair({a, 2})")(task_of()) == ["a", 2]
    with pytest.raises(ValueError, match="too many positional arguments"):
        compiler.compile("pair(a, b)")


WAITS = """
from filterd import extractor, sleep, transform

@extractor("slow")
def slow(task):
    sleep(0.001)
    return 1

@transform("slowly")
def slowly(value):
    sleep(0.001)
    return value
"""


@pytest.mark.parametrize("text", ["slow", "uid.slowly"])
def test_one_that_would_wait_is_refused_within_a_rule_and_without(text: str) -> None:
    compiler = compiler_of(WAITS)

    def asks(task: filterd.Task) -> None:
        task.get(text)

    def before_and_after(task: filterd.Task) -> bool:
        filterd.sleep(0)
        with pytest.raises(WouldWait):
            task.get("slow")
        filterd.sleep(0)
        return True

    verdict = scan_with(asks, before_and_after, rule_of(asks, "INLINE", inline=True), compiler=compiler)
    assert {failure.rule for failure in verdict.failures if f"WouldWait: '{text}'" in failure.text} == {"ASKS", "INLINE"}
    assert set(verdict.symbols) == {"BEFORE_AND_AFTER"}

    expression, task = compiler.compile(text), task_of()
    with pytest.raises(WouldWait, match="must not wait"):
        expression(task)
    other = gevent.spawn(expression, task)
    other.join()
    assert isinstance(other.exception, WouldWait)
    gevent.sleep(0)  # afterwards everybody waits as before


def test_within_each_other_they_still_do_not_wait() -> None:
    compiler = compiler_of(WAITS + '\n@extractor("outer")\ndef outer(task):\n    task.get("inner")\n    sleep(0)\n'
                           '\n@extractor("inner")\ndef inner(task):\n    return 1\n')  # fmt: skip
    task = task_of(compiler=compiler)
    with pytest.raises(WouldWait, match="'outer'"):
        compiler.get("outer", task)
    gevent.sleep(0)


def test_task_get_compiles_once_and_has_a_default() -> None:
    calls = []

    def asks(task: filterd.Task) -> None:
        calls.append((task.get("ip"), task.get("user", default="nobody"), task.get("header('Subject').lower")))

    scan_with(asks)
    assert calls == [(None, "nobody", "hello")]
    compiler = Compiler()
    for number in range(1200):
        assert compiler.get(f"id({number})", task_of()) == str(number) if number % 400 == 0 else True
        compiler.get(f"id({number})", None)
    assert len(compiler._kept) == 1000


def test_a_broken_expression_of_a_rule_is_its_failure() -> None:
    def asks(task: filterd.Task) -> None:
        task.get("ipp")

    (failure,) = scan_with(asks).failures
    assert "there is no extractor 'ipp'; did you mean 'ip'? (column 1)" in failure.text


def test_every_word_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text()
    vocabulary = standard_vocabulary()
    words = [*vocabulary.extractors, *vocabulary.transforms]
    assert [word for word in words if f"`{word}" not in text] == []
