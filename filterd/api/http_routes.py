"""Routes: functions of rule files that answers are handed to by name.

Promises: a name that is taken, and one that no file has, are found when the files are loaded, not when a mail needs them.
"""

import ast
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from filterd.net.http_reply import Response
from filterd.outcome import Failure
from filterd.task import refuse_late

__all__ = ["ROUTES", "Reply", "Route", "RouteProblem", "collect_routes", "route"]

ROUTES = "__filterd_routes__"
"""The name under which a rule file's module keeps its routes."""

Route = Callable[[Any, "Reply"], Any]
Function = TypeVar("Function", bound=Route)


class Reply:
    """What a route gets. `ok` says that a response came, whatever its status; without one all but `err` is None."""

    __slots__ = ("err", "response")

    def __init__(self, err: Failure | None, response: Response | None) -> None:
        self.err = err
        self.response = response

    @property
    def ok(self) -> bool:
        return self.response is not None

    @property
    def status(self) -> int | None:
        return None if self.response is None else self.response.code

    @property
    def reason(self) -> str | None:
        return None if self.response is None else self.response.reason

    def header(self, name: str, index: int = 0) -> str | None:
        """The header's value number `index`, negative from the last; None where there is none."""
        values = [] if self.response is None else self.response.headers.get_all(name)
        return values[index] if -len(values) <= index < len(values) else None

    @property
    def message(self) -> bytes | None:
        """The response with its headers, rendered anew: names in lower case."""
        response = self.response
        if response is None:
            return None
        lines = [f"HTTP/1.1 {response.code} {response.reason}".encode("latin-1")]
        lines += [b"%b: %b" % pair for pair in response.headers.pairs]
        return b"\r\n".join([*lines, b"", response.content])

    @property
    def length(self) -> int | None:
        """Bytes of `message`."""
        message = self.message
        return None if message is None else len(message)

    @property
    def body(self) -> bytes | None:
        return None if self.response is None else self.response.content

    @property
    def size(self) -> int | None:
        """Bytes of `body`."""
        return None if self.response is None else len(self.response.content)

    def __repr__(self) -> str:
        return f"Reply({self.response!r})" if self.err is None else f"Reply({self.err!r})"


def route(name: str) -> Callable[[Function], Function]:
    """Mark a function of a rule file as the route `name`: `fn(task, reply)`. ValueError where the file has it already."""
    refuse_late(f"@route({name!r}) is used", sys._getframe(1))
    routes: dict[str, Route] = sys._getframe(1).f_globals.setdefault(ROUTES, {})

    def marked(function: Function) -> Function:
        if name in routes:
            raise ValueError(f"route {name!r} is there already")
        routes[name] = function
        return function

    return marked


@dataclass(frozen=True, slots=True)
class RouteProblem:
    """A line of a rule file that asks for a route nobody has, or marks one that somebody has already."""

    file: str
    line: int
    text: str


def collect_routes(modules: Iterable[ModuleType]) -> tuple[dict[str, Route], list[RouteProblem]]:
    """The routes of all rule files by name, and what is wrong with them: for `HttpClient.routes`, and for who loads the files.

    A name in `http.query(…, route="NAME")` is looked for as it stands in the file; one that is worked out is looked for at the
    call.
    """
    routes: dict[str, Route] = {}
    problems: list[RouteProblem] = []
    modules = list(modules)
    for module in modules:
        for name, function in getattr(module, ROUTES, {}).items():
            if routes.setdefault(name, function) is not function:
                code = function.__code__
                problems.append(
                    RouteProblem(code.co_filename, code.co_firstlineno, f"route {name!r} is in another file already")
                )
    for module in modules:
        file = str(module.__file__)
        # The text it was made of, which may not be what the file holds by now.
        source = getattr(module.__loader__, "get_data", lambda path: Path(path).read_bytes())(file)
        tree = ast.parse(source, file)
        problems += [
            RouteProblem(file, line, f"there is no route {name!r}") for name, line in _asked_for(tree) if name not in routes
        ]
    return routes, problems


def _asked_for(tree: ast.AST) -> Iterable[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "query":
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg == "route" and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value, value.lineno
