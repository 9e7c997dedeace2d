"""Exceptions as a rule's author reads them: one line, a place, and a story that begins in their own file."""

import json
from collections.abc import Callable
from pathlib import Path
from traceback import format_tb

import pytest

from filterd.engine import registry
from filterd.engine.tracebacks import innermost_line, story, summary

HERE = frozenset({__file__})


def caught(function: Callable[[], object], *, frames: int = 1) -> BaseException:
    """The exception without its first frames: that of this function, and more."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - any kind is a case
        traceback = error.__traceback__
        for _ in range(frames):
            assert traceback is not None
            traceback = traceback.tb_next
        return error.with_traceback(traceback)
    raise AssertionError("nothing was raised")


def raising(error: BaseException) -> BaseException:
    def raises() -> None:
        raise error

    return caught(raises)


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("wrong"), "ValueError: wrong"),
        (ValueError(), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError("two\r\n   lines\tof text"), "ValueError: two lines of text"),
        (ValueError("a" * 10_000), f"ValueError: {'a' * 488}…"),
        (Hostile(), "Hostile: (its text cannot be shown)"),
    ],
)
def test_the_summary_is_one_short_line(error: BaseException, line: str) -> None:
    assert summary(error) == line


def test_the_place_is_the_innermost_line_of_the_users_files() -> None:
    def outer() -> None:
        inner()

    def inner() -> None:
        # A library that is called from here is not where the mistake is.
        json.loads("{")

    error = caught(outer)
    assert innermost_line(error, HERE) == f"{__file__}:{inner.__code__.co_firstlineno + 2}"
    assert innermost_line(error, frozenset()) is None
    assert innermost_line(ValueError("never raised"), HERE) is None


def test_the_story_begins_in_the_users_file_and_goes_on_to_the_end() -> None:
    def rule(_: object) -> None:
        registry.make_rule("", None, "", 1)

    # As when filterd calls a rule: there are frames before the user's, and behind it.
    error = caught(lambda: json.dumps(object(), default=rule), frames=2)
    assert "json/__init__.py" in "".join(format_tb(error.__traceback__))
    told = story(error, HERE).splitlines()
    assert told[0] == "Traceback (most recent call last):"
    files = [line.split('"')[1] for line in told if line.startswith("  File")]
    assert files == [__file__, registry.__file__]
    assert told[-1].startswith("filterd.engine.registry.RegistrationError: rule '': a name is one word")


def test_without_a_line_of_the_user_it_begins_outside_of_filterd() -> None:
    error = caught(lambda: registry.make_rule("", None, "", 1))
    assert story(error, frozenset()).splitlines()[1].startswith(f'  File "{__file__}"')


def test_filterds_own_lines_alone_are_not_shown() -> None:
    error = caught(lambda: registry.make_rule("", None, "", 1), frames=2)
    assert story(error, frozenset()).startswith("filterd.engine.registry.RegistrationError: rule ''")


def test_shipped_rules_are_a_users_files_too() -> None:
    """Installed from a wheel they lie inside the package, and code they share need not be among the files named."""
    shipped = str(Path(registry.__file__).parents[1] / "_data" / "rules" / "_shared.py")
    namespace: dict[str, Callable[[], object]] = {}
    exec(compile("def rule():\n    raise ValueError\n", shipped, "exec"), namespace)
    assert story(caught(namespace["rule"]), frozenset()).splitlines()[1] == f'  File "{shipped}", line 2, in rule'


def test_causes_and_notes_are_told() -> None:
    def rule() -> None:
        try:
            dict[str, str]()["missing"]
        except KeyError as error:
            failed = ValueError("no such thing")
            failed.add_note("look into the table")
            raise failed from error

    told = story(caught(rule), HERE)
    assert "KeyError: 'missing'" in told
    assert "The above exception was the direct cause" in told
    assert told.endswith("ValueError: no such thing\nlook into the table")


def test_a_group_is_told_with_its_members() -> None:
    told = story(raising(ExceptionGroup("several", [ValueError("one"), TypeError("two")])), HERE)
    assert "ValueError: one" in told
    assert "TypeError: two" in told


def test_two_functions_that_call_each_other_for_ever_do_not_fill_the_disk() -> None:
    def ping(number: int) -> int:
        return pong(number + 1)

    def pong(number: int) -> int:
        return ping(number + 1)

    told = story(caught(lambda: ping(0)), HERE)
    assert len(told) < 17_000
    assert told.startswith("Traceback")
    assert "characters left out" in told
    assert told.splitlines()[-1].startswith("RecursionError")


def test_an_exception_class_that_is_a_bug_itself_is_told() -> None:
    assert story(raising(Hostile()), HERE).splitlines()[-1].endswith("Hostile: <exception str() failed>")
