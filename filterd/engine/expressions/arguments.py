"""Written arguments as a function takes them: their number, their names, their types."""

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any, Literal, get_args, get_origin

from filterd.engine.expressions.nodes import Arguments, PatternLiteral
from filterd.engine.expressions.patterns import Pattern

__all__ = ["ArgumentError", "fitted"]


class ArgumentError(ValueError):
    """An argument that does not fit; `place` is its place in the text, None for the call as a whole."""

    def __init__(self, text: str, place: int | None = None) -> None:
        super().__init__(text)
        self.place = place


def fitted(function: Callable[..., Any], arguments: Arguments, *, given: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments for `function`, which gets `given` others before them. Raises ArgumentError.

    Digits are fine where a whole number is wanted, and a number where a text is. `Literal[…]` is checked.
    """
    values = [_value(value, place) for value, place in zip(arguments.values, arguments.places, strict=True)]
    named: dict[str, Any] = dict(arguments.named)
    parameters = _signature(function)
    if parameters is None:
        return tuple(values), named
    try:
        bound = parameters.bind(*[None] * given, *values, **named)
    except TypeError as error:
        raise ArgumentError(str(error)) from None
    found: list[Any] = []
    for number, (name, parameter) in enumerate(parameters.parameters.items()):
        if name not in bound.arguments:
            continue
        value = bound.arguments[name]
        place = arguments.places[len(found)] if len(found) < len(arguments.places) else None
        if parameter.kind is Parameter.VAR_POSITIONAL:
            rest = value[max(given - number, 0) :]
            found += [_converted(one, parameter.annotation, name, place) for one in rest]
        elif number >= given and name in named:
            named[name] = _converted(value, parameter.annotation, name, None)
        elif number >= given:
            found.append(_converted(value, parameter.annotation, name, place))
    return tuple(found), named


def _signature(function: Callable[..., Any]) -> Signature | None:
    try:
        return signature(function, eval_str=True)
    except (ValueError, NameError, TypeError, AttributeError, SyntaxError):
        pass  # a function in C that does not tell, or an annotation that only a type checker understands
    try:
        return signature(function)
    except ValueError:
        return None


def _value(value: Any, place: int) -> Any:
    if not isinstance(value, PatternLiteral):
        return value
    try:
        return Pattern(value.text, value.flags)
    except ValueError as error:
        raise ArgumentError(str(error), place) from None


def _converted(value: Any, annotation: Any, name: str, place: int | None) -> Any:
    if get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            words = ", ".join(repr(word) for word in get_args(annotation) if word != "")
            raise ArgumentError(f"{_shown(value)} is not one of {words}", place)
        return value
    if get_origin(annotation) is tuple:
        return value if isinstance(value, tuple) else (value,)
    if annotation in (int, float) and not isinstance(value, bool):
        try:
            return annotation(value)
        except (ValueError, TypeError):
            pass
        raise ArgumentError(f"{name}: {_shown(value)} is no {'whole ' if annotation is int else ''}number", place)
    if annotation is str and not isinstance(value, str):
        if isinstance(value, int | float):
            return str(value).lower() if isinstance(value, bool) else str(value)
        raise ArgumentError(f"{name}: {_shown(value)} is no text", place)
    return value


def _shown(value: Any) -> str:
    return f"/{value.text}/" if isinstance(value, Pattern) else repr(value)
