"""Settings of the configuration, and those that are kept elsewhere: `[settings.*]` and what `[settings_map]` names.

Promises:

* Both have the same form. Everything that is wrong in them is told at once, with key and column.
* A new version from elsewhere takes the place of the old one as a whole, between two messages; a broken one does not, and the
  log says what is wrong with it. A large one is parsed beside the loop.
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from time import monotonic
from typing import Any, Literal

from gevent import get_hub

from filterd.daemon.config import Config
from filterd.daemon.origins import dotted
from filterd.engine.expressions import Compiler
from filterd.engine.loader import Problem
from filterd.engine.matching import Element, element_of
from filterd.engine.settings import SettingsError
from filterd.mail.map_lines import LineProblem, MapBroken
from filterd.net.event import Event
from filterd.net.http import HttpClient
from filterd.net.map_sources import FileSource, HttpSource, MapFeed
from filterd.proto.ucl import UclError, parse

__all__ = ["LiveSettings", "SettingsReader", "follow_settings", "settings_of"]

FILE_INTERVAL, HTTP_INTERVAL = 5.0, 300.0
BESIDE = 16 * 1024
"""Bytes from which on a text is parsed by another thread: TOML takes half a microsecond for each."""
MAX_PROBLEMS = 20


def settings_of(
    config: Config, compiler: Compiler, registered: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[list[Element], list[Problem]]:
    """The elements of `[settings.*]` and those that rule files have `registered`, and what is wrong with the others."""
    elements, problems = [], []
    for name, table in {**(registered or {}), **config.settings}.items():
        faults: list[SettingsError] = []
        made = element_of(name, table, compiler, faults)
        if made is not None:
            elements.append(made)
        for fault in faults:
            key = dotted(("settings", name))
            field, _, text = str(fault).partition(": ")
            problems.append(Problem(f"{config.origin(key)}: {key}.{field}", text, fault.picture))
    named: dict[str, Element] = {}
    for one in elements:
        if one.id in named:
            problems.append(Problem(dotted(("settings", one.id)), "two settings have this name"))
        named[one.id] = one
    return elements, problems


class LiveSettings:
    """The elements from elsewhere, whatever version of them is there now; `follow` is told of each."""

    name = "settings"

    def __init__(self) -> None:
        self.elements: tuple[Element, ...] = ()
        self.version = 0
        self._follow: Callable[[Iterable[Element]], object] | None = None

    def __len__(self) -> int:
        return len(self.elements)

    def attach(self, follow: Callable[[Iterable[Element]], object]) -> None:
        """Tell of the elements there are, and from now on of each new version."""
        self._follow = follow
        follow(self.elements)

    def replace(self, elements: tuple[Element, ...]) -> None:
        """From now on these are the elements."""
        self.elements = elements
        self.version += 1
        if self._follow is not None:
            self._follow(elements)


class SettingsReader:
    """Takes the bytes of settings as they come; `close` gives the elements or raises MapBroken.

    The text has a table for each element by its name, or one table `settings` with all of them. `taken` are names that are not
    free.
    """

    def __init__(self, compiler: Compiler, format: Literal["toml", "ucl"] = "toml", taken: Collection[str] = ()) -> None:
        self._compiler = compiler
        self._parse = tomllib.loads if format == "toml" else parse
        self._taken = taken
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data

    def close(self) -> tuple[Element, ...]:
        table = self._table()
        if len(table) == 1 and isinstance(only := table.get("settings"), Mapping):
            table = only
        elements: list[Element] = []
        problems: list[LineProblem] = []
        seen = set(self._taken)
        for name, written in table.items():
            if not isinstance(written, Mapping):
                problems.append(LineProblem(0, f"{name}: it is no table of conditions and `apply`"))
                continue
            faults: list[SettingsError] = []
            made = element_of(name, written, self._compiler, faults)
            problems += [LineProblem(0, _in_one_line(name, fault)) for fault in faults]
            if made is not None and made.id in seen:
                problems.append(LineProblem(0, f"{name}: there are settings called {made.id!r} already"))
            elif made is not None:
                seen.add(made.id)
                elements.append(made)
            _breathe()
        if problems:
            raise MapBroken(tuple(problems[:MAX_PROBLEMS]))
        return tuple(elements)

    def _table(self) -> Mapping[str, Any]:
        try:
            text = self._data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise MapBroken((LineProblem(self._data.count(b"\n", 0, error.start) + 1, "is not UTF-8"),)) from None
        found = self._parsed(text) if len(text) < BESIDE else get_hub().threadpool.apply(self._parsed, (text,))
        if isinstance(found, str):
            raise MapBroken((LineProblem(0, found),))
        return found

    def _parsed(self, text: str) -> Mapping[str, Any] | str:
        """The table, or what is wrong: an exception is a poor traveller between threads."""
        try:
            return self._parse(text)
        except (UclError, ValueError) as error:  # a number of thousands of digits is no TOMLDecodeError
            return str(error)
        except RecursionError:
            return "lists or tables are nested too deeply"


def follow_settings(
    config: Config, compiler: Compiler, live: LiveSettings, taken: Collection[str], client: HttpClient | None = None
) -> MapFeed[LiveSettings] | None:
    """The feed of `[settings_map]`, None where there is none; for a web address only with a `client`."""
    section = config.settings_map
    if section is None or (section.path is None) != (client is not None):
        return None
    source: FileSource | HttpSource
    if client is None:
        source = FileSource(str(section.path), interval=section.interval or FILE_INTERVAL, max_size=section.max_size)
    else:
        source = HttpSource(section.source, client, interval=section.interval or HTTP_INTERVAL, max_size=section.max_size)
    return MapFeed(live, source, reader=lambda: SettingsReader(compiler, section.format, taken), title="settings")


def _in_one_line(name: str, fault: SettingsError) -> str:
    where = f" in {fault.picture.partition(chr(10))[0].strip()!r}" if fault.picture else ""
    return f"{name}.{fault}{where}"


def _breathe() -> None:
    # One real turn of the loop, in which mail is read and written.
    Event().wait(until=monotonic() + 0.000001)
