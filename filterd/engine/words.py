"""`@extractor` and `@transform`: words of expressions that rule files define.

They are called wherever an expression is evaluated, between rules and within them, so they never wait: a call that would is
refused. A value they need from elsewhere is fetched by a rule and kept in `task.vars`.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from types import ModuleType
from typing import Any, TypeVar

from filterd.engine.expressions.compiler import standard_vocabulary
from filterd.engine.expressions.vocabulary import STAGES, Extractor, Transform, Vocabulary, VocabularyError
from filterd.engine.registry import RegistrationError
from filterd.task import refuse_late

__all__ = ["WORDS", "collect_words", "extractor", "transform"]

Function = TypeVar("Function", bound=Callable[..., Any])

WORDS = "__filterd_words__"
"""The name under which a rule file's module keeps them."""


def extractor(name: str, *, returns: Any = object, stage: str = "message") -> Callable[[Function], Function]:
    """Mark a function as the extractor `name`: it gets the task, then the arguments written in the expression.

    It gives a value, or None where there is none. `returns` is its type (`str`, `int`, `list[str]`, …), which transforms and
    comparisons are checked against. `stage` is the earliest at which it can be asked: connect tls helo auth mail rcpt data
    message, results for what needs what a rule has found, score for what needs what all of them have. With `tcp` it is one for
    streams and gets the Txn; one with `connect` is for both.
    """
    _needs_a_name("extractor", name)

    def marked(function: Function) -> Function:
        faults = [] if stage in (*STAGES, "tcp") else [f"stage {stage!r} is not one of {', '.join(STAGES)}, tcp"]
        file, line = _checked("extractor", name, function, faults)
        _keep(function, Extractor(name, function, returns, stage, place=f"{file}:{line}"))
        return function

    return marked


def transform(name: str, *, takes: Any = str, returns: Any = str) -> Callable[[Function], Function]:
    """Mark a function as the transform `name`: it gets a value, then the arguments written in the expression.

    `takes` and `returns` are types. One that takes an item is given those of a list one by one, one that takes `list` or
    `list[str]` the list as a whole. It is not asked for absent values, and gives None for "nothing".
    """
    _needs_a_name("transform", name)

    def marked(function: Function) -> Function:
        file, line = _checked("transform", name, function, [])
        _keep(function, Transform(name, function, takes, returns, place=f"{file}:{line}"))
        return function

    return marked


def collect_words(modules: Iterable[ModuleType]) -> tuple[Vocabulary, list[RegistrationError]]:
    """The words of filterd and of all rule files, and those that cannot be added, each error with its place."""
    vocabulary, errors = standard_vocabulary(), []
    for module in modules:
        for word in getattr(module, WORDS, ()):
            if isinstance(word, Extractor) and word.stage == "tcp":
                continue  # see stream_words
            try:
                vocabulary.add(word)
            except VocabularyError as error:
                errors.append(RegistrationError(str(error), word.place))
    return vocabulary, errors


def _needs_a_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise RegistrationError(f'@{what} without a name: write @{what}("name")')


def _checked(what: str, name: str, function: Any, faults: list[str]) -> tuple[str, int]:
    refuse_late(f"@{what}({name!r}) is used", sys._getframe(2))
    faults += _faults_of(function)
    code = getattr(function, "__code__", None)
    frame = sys._getframe(2)
    file, line = (code.co_filename, code.co_firstlineno) if code else (frame.f_code.co_filename, frame.f_lineno)
    if faults:
        raise RegistrationError(f"{what} {name!r}: {'; '.join(faults)}", f"{file}:{line}")
    return file, line


def _faults_of(function: Any) -> Iterator[str]:
    if not callable(function):
        yield f"{function!r} is no function"
    elif iscoroutinefunction(function) or isasyncgenfunction(function) or isgeneratorfunction(function):
        yield "it would never run: write def, and return the value"
    else:
        try:
            wanted = signature(function).parameters.values()
        except ValueError:
            return  # a function in C that does not tell
        if not any(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL) for one in wanted):
            yield "it is called with the task or value first, and takes nothing"


def _keep(function: Any, word: Extractor | Transform) -> None:
    words: list[Extractor | Transform] = sys._getframe(2).f_globals.setdefault(WORDS, [])
    words.append(word)
