"""The `[maps.*]` sections as maps, their sources and the rules made of them.

Promises: what is wrong in a map's file is told like what is wrong in a rule file, and nothing starts; a file that is not there
yet, and whatever a web address answers, is only a warning.
"""

from collections.abc import Callable, Mapping
from functools import partial

from filterd.daemon.config import Config
from filterd.engine.expressions import Compiler
from filterd.engine.loader import Problem
from filterd.engine.map_rules import BadExpression, MapRule, rules_of, value_fault
from filterd.engine.registry import RegistrationError, Registry
from filterd.mail.live_map import LiveMap
from filterd.mail.map_lines import MapBroken, new_map
from filterd.net.http import HttpClient
from filterd.net.map_sources import FileSource, HttpSource, MapFeed, MapFeeds

__all__ = ["add_map_rules", "file_maps", "follow_addresses", "persist_problems", "read_files"]

FILE_INTERVAL, HTTP_INTERVAL = 5.0, 300.0


def file_maps(config: Config) -> MapFeeds:
    """Every map, empty, with a feed for each that comes from a file."""
    maps = {
        name: LiveMap(name, new_map(section.type), has_source=section.source is not None)
        for name, section in config.maps.items()
    }
    feeds = MapFeeds(maps, ())
    for name, section in config.maps.items():
        maps[name].check = _check_of(config, name)
        if section.path is not None:
            source = FileSource(section.path, interval=section.interval or FILE_INTERVAL, max_size=section.max_size)
            _add(feeds, config, name, source)
    return feeds


def follow_addresses(feeds: MapFeeds, config: Config, client: HttpClient) -> None:
    """Add the feeds of the maps that come from a web address."""
    for name, section in config.maps.items():
        if section.path is None and section.source is not None:
            interval = section.interval or HTTP_INTERVAL
            _add(feeds, config, name, HttpSource(section.source, client, interval=interval, max_size=section.max_size))


def _add(feeds: MapFeeds, config: Config, name: str, source: FileSource | HttpSource) -> None:
    feeds.feeds.append(MapFeed(feeds.maps[name], source, check=_check_of(config, name)))


def _check_of(config: Config, name: str) -> Callable[[str], str | None] | None:
    rule = _rule(config, name)
    return None if rule is None else partial(value_fault, rule)


def persist_problems(config: Config) -> list[Problem]:
    """Maps whose changes are to be kept where nothing is."""
    return [
        Problem(config.origin(f"maps.{name}.persist"), f"maps.{name}.persist: there is no store.path to keep the changes in")
        for name, section in config.maps.items()
        if section.persist and config.store.path is None
    ]


def read_files(feeds: MapFeeds) -> list[Problem]:
    """Read the files for the first time; what is broken in them."""
    problems = []
    for feed in feeds.feeds:
        try:
            feed.refresh(strict=True)
        except MapBroken as error:
            place = feed.source.place
            problems += [Problem(f"{place}:{one.line}" if one.line else place, one.text) for one in error.problems]
    return problems


def add_map_rules(
    config: Config, maps: Mapping[str, LiveMap], registry: Registry, compiler: Compiler | None = None
) -> list[Problem]:
    """Register a rule for each map with a symbol; what is wrong with them. Several maps may give the same further symbol.

    The `compiler` has the words and symbols of rule files, where there are any.
    """
    compiler = Compiler(maps=maps) if compiler is None else compiler
    problems = []
    for name, live in maps.items():
        rule = _rule(config, name)
        if rule is None:
            continue
        try:
            own, *others = rules_of(rule, live, compiler, config.composites)
            registry.add(own)
            for other in others:
                if other.name not in registry.rules:
                    registry.add(other)
        except RegistrationError as error:
            problems.append(Problem(f"{rule.file}: maps.{name}", str(error)))
        except BadExpression as error:
            problems.append(Problem(f"{rule.file}: maps.{name}.{error.field}", str(error)))
    return problems


def _rule(config: Config, name: str) -> MapRule | None:
    section = config.maps[name]
    if section.symbol is None or section.key is None:
        return None
    return MapRule(
        name,
        section.key,
        section.symbol,
        section.symbols,
        section.when,
        score=section.score,
        group=section.group,
        description=section.description,
        file=config.origin(f"maps.{name}.symbol"),
    )
