"""Expressions tried out by hand: which words there are, whether a text is an expression, what it gives for a message.

Promises: no rule runs and nothing is counted; what is wrong with an expression is told, not raised.
"""

from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

from filterd.engine.expressions import ExpressionError
from filterd.engine.expressions.vocabulary import Extractor, Transform
from filterd.engine.scan import Scan
from filterd.engine.scheduler import Engine
from filterd.mail.request import ScanRequest

__all__ = ["Selectors"]


class Selectors:
    """The expressions of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def words(self, kind: str) -> dict[str, str]:
        """Each word with a sentence about it; `kind` is "extractors" or "transforms"."""
        vocabulary = self._engine.compiler.vocabulary
        words: Mapping[str, Extractor | Transform] = vocabulary.extractors if kind == "extractors" else vocabulary.transforms
        return {name: _sentence(one) for name, one in sorted(words.items())}

    def fault(self, text: str) -> str | None:
        """What is wrong with an expression."""
        try:
            self._engine.compiler.compile(text)
        except ExpressionError as error:
            return str(error)
        return None

    def values(self, text: str, request: ScanRequest) -> list[str]:
        """What an expression gives for a message, as text; [] for nothing. Raises ExpressionError."""
        engine = self._engine
        expression = engine.compiler.compile(text)
        task = Scan(request, engine.environment, engine, engine.variants.of(request))
        try:
            value: Any = expression(task)
        finally:
            task.close()
        return [] if value is None else [str(one) for one in (value if isinstance(value, list | tuple) else [value])]


def _sentence(word: Extractor | Transform) -> str:
    # What a lambda or a partial says of itself is about Python.
    described = cleandoc(getattr(word.function, "__doc__", None) or "") if hasattr(word.function, "__name__") else ""
    first = described.partition("\n")[0]
    return first or (word.place or f"{word.name}: see docs/expressions.md")
