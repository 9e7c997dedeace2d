"""Every public name, parameter and member of the rule API stands in an example of the documentation; tests run the examples.

The examples are the code blocks of the pages, which tests/test_docs.py runs as rule files, and the code in the rows of
docs/migrating.md and docs/porting.md, which tests/test_migrating.py and tests/test_porting.py run.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import filterd
from filterd.engine.registry import Registry
from filterd.mail.message import Message
from filterd.mail.mime import Part
from filterd.mail.text import TextPart
from filterd.mail.verdict import Hit
from filterd.task import Task
from tests.support.migrating import read_rows
from tests.test_docs import ROOT, blocks

PAGES = [ROOT / "docs" / "migrating.md", ROOT / "docs" / "porting.md"]

MACHINERY = frozenset(
    "adopt began close envelope environment expect failures job_failed job_word jobs log_fields log_text messages "
    "milter_reply more_flags new_body new_subject release request results start start_later timed_out timings title "
    "beginning content_type disposition raw_size part add orphans "
    "allow dns_requests network session".split()
)
"""What the engine and the parser have on a task, a part and the registry, and no rule needs."""

INNER = frozenset({"tcp_sync.Budget", "tcp_sync.documented", "tcp_sync.open_conversation"})
"""What modules of the API take from each other."""

NOWHERE = {"tcp_sync.connect(upstream)", "tcp.connect_sync(upstream)"}
"""A group of servers is made by filterd itself until now: see the rows for `upstream` in docs/migrating.md."""


def examples() -> Iterator[ast.Module]:
    for block in blocks("python"):
        yield ast.parse(block.values[0])
    for page in PAGES:
        for row in read_rows(page):
            if row.code:
                yield ast.parse(row.code)


def walked() -> list[ast.AST]:
    return [node for tree in examples() for node in ast.walk(tree)]


NODES = walked()
ATTRIBUTES = {node.attr for node in NODES if isinstance(node, ast.Attribute)}
USED = ATTRIBUTES | {node.id for node in NODES if isinstance(node, ast.Name)}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def calls() -> dict[str, set[str]]:
    """The keywords that each function is called with somewhere, and the number of places: `http.request` → {url, task, …}."""
    found: dict[str, set[str]] = {}
    for node in NODES:
        if isinstance(node, ast.Call):
            keywords = found.setdefault(dotted(node.func), set())
            keywords.update(one.arg for one in node.keywords if one.arg)
            keywords.update(f"#{place}" for place in range(len(node.args)))
    return found


CALLS = calls()
DOTTED = {dotted(node) for node in NODES if isinstance(node, ast.Attribute)}
MODULES = {name: getattr(filterd, name) for name in filterd.__all__ if isinstance(getattr(filterd, name), ModuleType)}


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in filterd.__all__:
        value = getattr(filterd, name)
        if name in MODULES:
            for inner in value.__all__:
                function = getattr(value, inner)
                if f"{name}.{inner}" not in INNER and (inspect.isroutine(function) or inner == "Socket"):
                    yield f"{name}.{inner}", function
        elif inspect.isroutine(value):
            yield name, value


def parameters(function: Callable[..., Any]) -> Iterator[tuple[int, str]]:
    for place, (name, one) in enumerate(inspect.signature(function).parameters.items()):
        # A decorator without arguments is no call.
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and name != "function":
            yield place, name


def test_every_public_name_is_in_an_example() -> None:
    # No rule gets a Verdict: it is what tests and front doors have.
    names = [name for name in filterd.__all__ if name not in ("__version__", "Verdict")]
    assert [name for name in names if name not in USED] == []
    inner = [f"{module}.{name}" for module in MODULES for name in MODULES[module].__all__]
    assert [name for name in inner if name not in INNER and name not in DOTTED] == []


def test_every_parameter_is_in_an_example() -> None:
    missing = []
    for name, function in public_functions():
        given = CALLS.get(name, set())
        missing += [
            f"{name}({parameter})"
            for place, parameter in parameters(function)
            if parameter not in given and f"#{place}" not in given
        ]
    assert set(missing) == NOWHERE


def members(cls: type) -> list[str]:
    annotated = [name for base in cls.__mro__ for name in getattr(base, "__annotations__", {})]
    return sorted({name for name in [*dir(cls), *annotated] if not name.startswith("_")})


def test_every_member_of_the_task_and_the_message_is_in_an_example() -> None:
    results = (
        filterd.http.Elapsed,
        filterd.http.Handle,
        filterd.http.Reply,
        filterd.http.Response,
        filterd.dns.CaaRecord,
        filterd.dns.MxRecord,
        filterd.dns.Records,
        filterd.dns.SoaRecord,
        filterd.dns.SrvRecord,
        filterd.dns.TlsaRecord,
        filterd.redis.Connection,
        filterd.tcp.Dialogue,
        filterd.tcp.Socket,
        filterd.tcp_sync.Connection,
        filterd.Channel,
        filterd.Txn,
    )
    for cls in (Task, Message, Part, TextPart, filterd.Url, filterd.Address, Hit, filterd.Failure, Registry, *results):
        inherited = [name for name in (str, tuple, list) if issubclass(cls, name)]
        own = [name for name in members(cls) if name not in MACHINERY and not any(hasattr(one, name) for one in inherited)]
        assert (cls.__name__, [name for name in own if name not in ATTRIBUTES]) == (cls.__name__, [])
