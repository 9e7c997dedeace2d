"""The words of expressions: what can be read from a message, and what can be made of it; filterd's own and those of rule files.

`@extractor` and `@transform` mark functions in a rule file; the loader gives them to the registry's `Vocabulary`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from filterd.engine.expressions.kinds import Kind

__all__ = ["STAGES", "Extractor", "Transform", "Vocabulary", "VocabularyError", "did_you_mean"]

STAGES: Final = ("connect", "tls", "helo", "auth", "mail", "rcpt", "data", "message", "results", "score")
"""When there is something to read: from the client's connection over what single rules have found to what it all adds up to."""


class VocabularyError(ValueError):
    """A word that cannot be added; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Extractor:
    """A value of a message: `function(task, *arguments)`, None where there is none.

    `returns` is a type or `list[type]`, or `returns_of(arguments)` says it, raising ValueError. `stage` is the earliest when it
    can be asked, or `stage_of(arguments)`. `place` (`file:line`) is where a rule file defines it, "" for filterd's own:
    those need not be kept from waiting.
    """

    name: str
    function: Callable[..., Any]
    returns: Any = object
    stage: str = "message"
    returns_of: Callable[[tuple[Any, ...]], Any] | None = None
    stage_of: Callable[[tuple[Any, ...]], str] | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Transform:
    """A value made of a value: `function(value, *arguments)`.

    What takes one item is given those of a list one by one. `returns_of(kind)` says what comes out where that depends on what
    goes in. `on_none`: it is asked for absent values too. `prepare(*arguments)` turns written arguments into those of the
    function, once. `wants_map`: the first argument is the name of a map, and the function gets the map.
    """

    name: str
    function: Callable[..., Any]
    takes: Any = object
    returns: Any = object
    returns_of: Callable[[Kind], Kind] | None = None
    on_none: bool = False
    prepare: Callable[..., tuple[Any, ...]] | None = None
    wants_map: bool = False
    place: str = ""


class Vocabulary:
    """Extractors and transforms by name."""

    def __init__(self, extractors: Iterable[Extractor] = (), transforms: Iterable[Transform] = ()) -> None:
        self.extractors: dict[str, Extractor] = {one.name: one for one in extractors}
        self.transforms: dict[str, Transform] = {one.name: one for one in transforms}

    def add(self, new: Extractor | Transform) -> None:
        """Raises VocabularyError where the name is taken or is none, or the stage does not exist."""
        what = "extractor" if isinstance(new, Extractor) else "transform"
        words: Mapping[str, Extractor | Transform] = self.extractors if isinstance(new, Extractor) else self.transforms
        have = words.get(new.name)
        if have is not None:
            raise VocabularyError(f"{what} {new.name!r} is already there" + (f", at {have.place}" if have.place else ""))
        if not new.name.isidentifier():
            raise VocabularyError(f"{what} {new.name!r}: a name consists of letters, digits and _")
        if isinstance(new, Extractor):
            if new.stage not in STAGES:
                raise VocabularyError(f"extractor {new.name!r}: stage {new.stage!r} is not one of {', '.join(STAGES)}")
            self.extractors[new.name] = new
        else:
            self.transforms[new.name] = new


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    near = get_close_matches(name.lower(), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
