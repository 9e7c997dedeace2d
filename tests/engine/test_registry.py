"""Marks in a rule file and what they may say; a registration that cannot be right names its line."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from filterd.engine.registry import MARKS, RegistrationError, Registry, Rule, make_rule, register_symbol, rule, virtual
from filterd.mail.results import SymbolScore
from filterd.task import Task


def hit(task: Task) -> bool:
    """The first line is the description.

    The rest is for those who read the code.
    """
    return True


@pytest.fixture(autouse=True)
def marks() -> Iterator[list[Any]]:
    """This module as the loader prepares the module of a rule file."""
    found: list[Any] = []
    setattr(sys.modules[__name__], MARKS, found)
    yield found
    delattr(sys.modules[__name__], MARKS)


def line() -> int:
    """Of the caller."""
    return sys._getframe(1).f_lineno


# -- marking


def test_a_decorator_leaves_the_function_alone_and_a_mark_with_its_line(marks: list[Rule]) -> None:
    begins = line() + 1
    marked = rule("HIT", score=2.5, group="g", timeout=3, on_error="tempfail", priority=4, inline=True)(hit)
    assert marked is hit
    (one,) = marks
    assert (one.name, one.function, one.score, one.groups, one.timeout, one.on_error) == (
        "HIT",
        hit,
        2.5,
        ("g",),
        3,
        "tempfail",
    )
    assert (one.type, one.priority, one.inline, one.place) == ("normal", 4, True, f"{__file__}:{begins}")


def test_several_marks_on_one_function_make_several_rules(marks: list[Rule]) -> None:
    @rule("OUTER", score=2)
    @rule("INNER", score=1)
    def both(task: Task) -> bool:
        return True

    assert [(one.name, one.function, one.score) for one in marks] == [("INNER", both, 1.0), ("OUTER", both, 2.0)]


def test_register_symbol_means_the_same(marks: list[Rule]) -> None:
    begins = line() + 1
    register_symbol(name="HIT", callback=hit, type="callback", score=1.5, flags="fine,nice", one_shot=True)
    (one,) = marks
    assert (one.name, one.function, one.type, one.score, one.one_shot) == ("HIT", hit, "callback", 1.5, True)
    assert one.flags == {"fine", "nice"}
    assert one.place == f"{__file__}:{begins}"


def test_a_virtual_symbol_has_a_parent_and_a_score(marks: list[Rule]) -> None:
    virtual("CHILD", parent="HIT", score=3, groups=["a", "b"])
    register_symbol(name="OTHER", type="virtual", parent="HIT")
    assert [(one.name, one.type, one.parent, one.function) for one in marks] == [
        ("CHILD", "virtual", "HIT", None),
        ("OTHER", "virtual", "HIT", None),
    ]
    assert marks[0].symbol_score == SymbolScore(3.0, ("a", "b"), None, False)


def test_shared_code_may_register_for_a_rule_file(marks: list[Rule]) -> None:
    """The place is the line of the rule file that called the shared code."""
    shared: dict[str, Any] = {"rule": rule, "__name__": "_shared"}
    source = (
        "def scored(name):\n    def decorator(function):\n        return rule(name, score=7)(function)\n    return decorator\n"
    )
    exec(compile(source, "_shared.py", "exec"), shared)
    begins = line() + 1
    shared["scored"]("HIT")(hit)
    assert [(one.name, one.score, one.place) for one in marks] == [("HIT", 7.0, f"{__file__}:{begins}")]


def test_a_file_that_nobody_loads_as_a_rule_file_keeps_its_marks() -> None:
    delattr(sys.modules[__name__], MARKS)
    rule("HIT")(hit)
    assert [one.name for one in getattr(sys.modules[__name__], MARKS)] == ["HIT"]


@pytest.mark.parametrize(
    ("keywords", "groups"),
    [
        ({}, ()),
        ({"group": "a"}, ("a",)),
        ({"groups": ["a", "b"]}, ("a", "b")),
        ({"group": "a", "groups": ["b", "a"]}, ("a", "b")),
        ({"groups": "a, b c"}, ("a", "b", "c")),
    ],
)
def test_groups_are_one_or_many(keywords: dict[str, Any], groups: tuple[str, ...]) -> None:
    assert make_rule("HIT", hit, "f", 1, **keywords).groups == groups


@pytest.mark.parametrize("flags", ["coro nice", "coro,nice", "coro, nice", ["coro", "nice"]])
def test_flags_are_words_in_a_string_or_a_list(flags: Any) -> None:
    assert make_rule("HIT", hit, "f", 1, flags=flags).flags == {"coro", "nice"}


class Documented:
    """Of the class, not of a rule."""

    def __call__(self, task: Task) -> None: ...

    def method(self, task: Task) -> None:
        """Of the method."""


def undocumented(task: Task) -> None: ...


def blank(task: Task) -> None:
    """ """  # noqa: D419 - that is the point


@pytest.mark.parametrize(
    ("function", "given", "description"),
    [
        (hit, None, "The first line is the description."),
        (hit, "given", "given"),
        (hit, "", ""),
        (undocumented, None, None),
        (blank, None, None),
        (Documented().method, None, "Of the method."),
        (Documented(), None, None),
        (partial(hit), None, None),
    ],
)
def test_the_description_is_given_or_the_first_line_of_the_docstring(
    function: Callable[[Task], Any], given: str | None, description: str | None
) -> None:
    assert make_rule("HIT", function, "f", 1, description=given).description == description


# -- what cannot be right


def no_arguments() -> None: ...


def two_arguments(task: Task, other: Any) -> None: ...


async def asynchronous(task: Task) -> None: ...


async def asynchronous_generator(task: Task) -> AsyncIterator[int]:
    yield 1


def generator(task: Task) -> Iterator[int]:
    yield 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "a name is one word"),
    ({"name": "TWO WORDS"}, "a name is one word"),
    ({"name": "LINE\n"}, "a name is one word"),
    ({"name": "A(B)"}, "a name is one word"),
    ({"name": "A,B"}, "a name is one word"),
    ({"name": 5}, "rule 5: a name is one word"),
    ({"type": "filter"}, "type 'filter' is not one of normal, callback, virtual, prefilter, postfilter, idempotent"),
    ({"on_error": "ignore"}, "on_error 'ignore' is not one of skip, symbol, tempfail"),
    ({"flags": "nice nicer"}, "unknown flag 'nicer'; there are coro, empty, explicit_disable, explicit_enable, fine"),
    ({"score": "high"}, "score 'high' is not a number"),
    ({"score": None}, "score None is not a number"),
    ({"score": float("nan")}, "score nan is not a number"),
    ({"score": float("inf")}, "score inf is not a number"),
    ({"score": True}, "score True is not a number"),
    ({"priority": 1.5}, "priority 1.5 is not a whole number"),
    ({"priority": "top"}, "priority 'top' is not a whole number"),
    ({"timeout": 0}, "timeout 0 is not a number of seconds above 0"),
    ({"burst_timeout": -1}, "burst_timeout -1 is not a number of seconds above 0"),
    ({"burst_timeout": "1s"}, "burst_timeout '1s' is not a number of seconds above 0"),
    ({"timeout": -1.0}, "timeout -1.0 is not"),
    ({"timeout": "5s"}, "timeout '5s' is not"),
    ({"type": "virtual"}, "a virtual symbol needs parent="),
    ({"parent": "OTHER"}, "parent='OTHER' is for virtual symbols, and the type is 'normal'"),
    ({"function": None}, "None is no function"),
    ({"function": "hit"}, "'hit' is no function"),
    ({"function": no_arguments}, "called with one argument, the task, and that does not fit: too many positional arguments"),
    ({"function": two_arguments}, "does not fit: missing a required argument: 'other'"),
    ({"function": asynchronous}, "an async function would never run"),
    ({"function": asynchronous_generator}, "an async function would never run"),
    ({"function": generator}, "a function with yield would never run"),
    ({"condition": "yes"}, "condition: 'yes' is no function"),
    ({"condition": no_arguments}, "condition: it is called with one argument"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "text"), REFUSED)
def test_what_cannot_be_right_is_refused_in_words(wrong: dict[str, Any], text: str) -> None:
    keywords = {"name": "HIT", "function": hit, **wrong}
    with pytest.raises(RegistrationError) as raised:
        make_rule(keywords.pop("name"), keywords.pop("function"), "rules/a.py", 7, **keywords)
    assert text in str(raised.value)
    assert raised.value.place == "rules/a.py:7"


def test_all_that_is_wrong_with_a_rule_is_told_at_once() -> None:
    with pytest.raises(RegistrationError) as raised:
        make_rule("HIT", hit, "f", 1, flags="x y", timeout=0)
    assert str(raised.value).count("unknown flag") == 2
    assert "timeout 0" in str(raised.value)


@pytest.mark.parametrize("function", [print, dict, partial(two_arguments, other=1), Documented(), lambda *args: None])
def test_whatever_can_be_called_with_a_task_may_be_a_rule(function: Callable[[Task], Any]) -> None:
    assert make_rule("HIT", function, "f", 1).function is function


def test_a_mark_that_cannot_be_right_does_not_hide_the_next(marks: list[Any]) -> None:
    begins = line() + 1
    rule("BAD", flags="nicer")(hit)
    rule("GOOD")(hit)
    assert isinstance(marks[0], RegistrationError)
    assert marks[0].place == f"{__file__}:{begins}"
    assert marks[1].name == "GOOD"


def test_a_decorator_without_a_name_is_refused_on_the_spot() -> None:
    with pytest.raises(RegistrationError, match='write @rule\\("NAME"\\)'):
        rule(hit)  # type: ignore[arg-type]


def test_a_keyword_there_is_not_is_python_s_own_error() -> None:
    with pytest.raises(TypeError, match="scroe"):
        rule("HIT", scroe=1)  # type: ignore[call-arg]


# -- the registry


def test_computed_rules_register_at_once_and_in_order() -> None:
    registry = Registry()
    begins = line() + 1
    registry.rule("A", score=1)(hit)
    registry.register_symbol(name="B", callback=hit, score=2)
    registry.virtual("C", parent="A", score=3)
    assert [(one.name, one.type, one.score, one.place) for one in registry.rules.values()] == [
        ("A", "normal", 1.0, f"{__file__}:{begins}"),
        ("B", "normal", 2.0, f"{__file__}:{begins + 1}"),
        ("C", "virtual", 3.0, f"{__file__}:{begins + 2}"),
    ]


def test_a_name_that_is_taken_is_refused_and_the_first_place_told() -> None:
    registry = Registry()
    registry.add(make_rule("A", hit, "rules/a.py", 7))
    with pytest.raises(RegistrationError, match=r"rule 'A' is already registered at rules/a\.py:7"):
        registry.register_symbol(name="A", callback=hit)


def test_orphans_are_virtual_symbols_without_a_rule_behind_them() -> None:
    registry = Registry()
    registry.rule("A")(hit)
    registry.virtual("GOOD", parent="A")
    registry.virtual("NOBODYS", parent="B")
    registry.virtual("GRANDCHILD", parent="GOOD")
    assert [one.name for one in registry.orphans()] == ["NOBODYS", "GRANDCHILD"]
