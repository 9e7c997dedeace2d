"""A configuration made into things that work: the network, the rules and the engine, for the daemon and the command line alike.

Promises: everything wrong with the rules is told at once (`LoadError`), and nothing has been opened by then.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from filterd.api.dns import Resolver
from filterd.api.http_routes import collect_routes
from filterd.daemon.clients import client_problems, client_settings
from filterd.daemon.conditions import compiler_for, conditions_of
from filterd.daemon.config import Config
from filterd.daemon.map_edits import LocalBus, MapBus, MapEdits
from filterd.daemon.maps import add_map_rules, file_maps, follow_addresses, persist_problems, read_files
from filterd.daemon.outgoing import add_outgoing
from filterd.daemon.password_files import password_problems
from filterd.daemon.schema import Composite, Symbol
from filterd.daemon.settings import LiveSettings, follow_settings, settings_of
from filterd.daemon.store import Store
from filterd.daemon.streams import LoadedStreams, Streams, streams_of
from filterd.engine.composites import Composites
from filterd.engine.expressions import Compiler
from filterd.engine.hook_runs import Hooks
from filterd.engine.hooks import WorkerInfo, collect_hooks
from filterd.engine.loader import LoadError, Problem, Rules, load_rules
from filterd.engine.matching import Element
from filterd.engine.plan import OrderError, Plan
from filterd.engine.registry import Rule
from filterd.engine.scheduler import Engine
from filterd.engine.texts import Texts
from filterd.engine.words import collect_words
from filterd.mail.results import GroupCap, Scoring, SymbolScore, action_name
from filterd.mail.verdict import RuleFailure
from filterd.net.greenlets import Crew
from filterd.net.guard import CpuGuard
from filterd.net.map_sources import MapFeeds
from filterd.net.network import Network
from filterd.task import Environment, loading_maps

__all__ = ["Assembly", "Loaded", "assemble", "load", "load_all", "scoring"]


@dataclass(frozen=True, slots=True)
class Assembly:
    """One worker's engine and what it stands on. `close` ends the connections to other services.

    What maps and hooks do beside messages is begun and ended by who has them: see `daemon.worker`.
    """

    config: Config
    rules: Rules
    engine: Engine
    environment: Environment
    guard: CpuGuard | None
    maps: MapFeeds
    hooks: Hooks
    streams: Streams
    edits: MapEdits

    def close(self) -> None:
        self.maps.close()
        self.edits.finish()
        if self.guard is not None:
            self.guard.stop()
        self.environment.network.close()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rules, and what expressions were made of: composites, settings, and the compiler, which knows the words of rule files."""

    rules: Rules
    composites: Composites
    compiler: Compiler
    settings: list[Element]
    live_settings: LiveSettings
    streams: LoadedStreams


def load(config: Config) -> Rules:
    """The rules the configuration names; see `load_all`."""
    return load_all(config, file_maps(config)).rules


def load_all(config: Config, feeds: MapFeeds, texts: Texts | None = None) -> Loaded:
    """What the configuration names: rules in an order that works and with routes that exist, conditions over them.

    `feeds` are the maps that the rules get (`file_maps`), and are filled from their files. Raises LoadError with all that is
    wrong, in those files and in the sections of the clients too. With `texts` the rule files are those that were kept.
    """
    problems = client_problems(config) + password_problems(config) + persist_problems(config) + read_files(feeds)
    token = loading_maps.set(feeds.maps)
    try:
        rules = load_rules(
            config.rules.paths,
            enable=config.rules.enable,
            disable=config.rules.disable,
            modules=config.modules,
            texts=texts,
        )
    except LoadError as error:
        raise LoadError([*problems, *error.problems]) from None
    finally:
        loading_maps.reset(token)
    vocabulary, errors = collect_words(rules.modules)
    problems += [Problem(one.place, str(one)) for one in errors]
    compiler = compiler_for(config, rules.registry, vocabulary, feeds.maps)
    problems += add_map_rules(config, feeds.maps, rules.registry, compiler)
    conditions = conditions_of(config, rules.registry, compiler)
    problems += conditions.problems
    problems += add_outgoing(config, rules.registry, compiler)
    problems += [Problem(f"{one.file}:{one.line}", one.text) for one in collect_routes(rules.modules)[1]]
    streams, wrong = streams_of(config, rules, feeds.maps)
    problems += wrong
    elements, faults = settings_of(config, compiler, rules.registry.settings)
    problems += faults
    live = LiveSettings()
    if (feed := follow_settings(config, compiler, live, _ids(elements))) is not None:
        problems += read_files(MapFeeds({}, [feed]))
        feeds.feeds.append(feed)
    registered = rules.registry.rules.values()
    try:
        Plan([one for one in registered if one.parent is None], {one.name: one.parent for one in registered if one.parent})
    except OrderError as error:
        problems.append(Problem(error.rule.place, str(error)))
    if problems:
        raise LoadError(problems)
    return Loaded(rules, conditions.composites, compiler, elements, live, streams)


def _ids(elements: Iterable[Element]) -> frozenset[str]:
    return frozenset(one.id for one in elements)


def scoring(config: Config, rules: Collection[Rule]) -> Scoring:
    """Scores of rules and configuration together; what the configuration says goes before what a rule says of itself."""
    symbols: dict[str, SymbolScore] = {rule.name: rule.symbol_score for rule in rules}
    for name, composite in config.composites.items():
        symbols[name] = SymbolScore(composite.score, _groups(composite), composite.description)
    for name, written in config.symbols.items():
        have = symbols.get(name, SymbolScore())
        groups = _groups(written) or have.groups
        symbols[name] = SymbolScore(
            have.score if written.score is None else written.score,
            groups,
            have.description if written.description is None else written.description,
            have.one_shot if written.one_shot is None else written.one_shot,
            have.nshots if written.nshots is None else written.nshots,
        )
    once = {name for name, group in config.groups.items() if group.one_shot}
    for name, one in symbols.items():
        if not once.isdisjoint(one.groups):
            symbols[name] = replace(one, one_shot=True)
    caps = {
        name: GroupCap(group.max_score, group.min_score)
        for name, group in config.groups.items()
        if group.max_score is not None or group.min_score is not None
    }
    actions = config.actions
    custom = {action_name(name): one for name, one in config.custom_actions.items()}
    earned = {name: one.threshold for name, one in custom.items() if one.threshold is not None}
    return Scoring(
        symbols,
        caps,
        actions.thresholds | earned,
        custom={name: one.milter for name, one in custom.items()},
        subject=config.results.subject,
        grow_factor=config.results.grow_factor,
        unknown_score=config.results.unknown_score,
    )


def _groups(section: Composite | Symbol) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*([section.group] if section.group else ()), *section.groups]))


def assemble(
    config: Config,
    *,
    only: Collection[str] = (),
    on_failure: Callable[[Any, RuleFailure], object] = lambda task, failure: None,
    texts: Texts | None = None,
    worker: WorkerInfo | None = None,
    bus: MapBus | None = None,
    store: Store | None = None,
) -> Assembly:
    """Load the rules and put the engine together; `only` keeps the rules that make these symbols. Raises LoadError.

    `bus` carries changes of maps to and from other workers, the `store` keeps those of maps with `persist`.

    In the main thread: the CPU guard uses its signals.
    """
    maps = file_maps(config)
    loaded = load_all(config, maps, texts)
    rules = loaded.rules
    registered = rules.registry.rules.values()
    limits = config.limits
    crew = Crew()
    network = Network(client_settings(config), crew=crew)
    network.http.routes = collect_routes(rules.modules)[0]
    follow_addresses(maps, config, network.http)
    feed = follow_settings(config, loaded.compiler, loaded.live_settings, _ids(loaded.settings), network.http)
    if feed is not None:
        maps.feeds.append(feed)
    environment = Environment(
        network,
        crew,
        scoring(config, registered),
        config.modules,
        task_timeout=limits.task_timeout,
        burst_timeout=limits.burst_timeout or inf,
        resolver_of=Resolver,
        maps=maps.maps,
        soft_reject_on_timeout=limits.soft_reject_on_timeout,
    )
    # A virtual symbol comes with the rule that inserts it.
    wanted = {rule.parent or rule.name for rule in registered if rule.name in only}
    chosen = [rule for rule in registered if not only or (rule.parent or rule.name) in wanted]
    engine = Engine(
        chosen,
        environment,
        files=rules.code,
        on_failure=on_failure,
        settings=loaded.settings,
        composites=None if only else loaded.composites,
        compiler=loaded.compiler,
    )
    loaded.live_settings.attach(engine.variants.follow)
    guard = None
    if limits.burst_timeout or any(rule.burst_timeout for rule in chosen):
        guard = CpuGuard(limits.burst_timeout or inf, rules.code)
        guard.start()
    hooks = Hooks(collect_hooks(rules.modules), environment, files=rules.code, worker=worker)
    streams = Streams(loaded.streams, environment, on_failure)
    kept = [name for name, section in config.maps.items() if section.persist]
    edits = MapEdits(maps.maps, bus or LocalBus(), store, kept)
    return Assembly(config, rules, engine, environment, guard, maps, hooks, streams, edits)
