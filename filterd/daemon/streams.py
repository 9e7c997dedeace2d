"""The actions that `[listen.NAME]` sections name, looked up, their conditions compiled, and put behind a stream listener.

Promises: everything that is wrong is told at once, with its key, and an action of the wrong stage with its file and line too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from filterd.daemon.config import Config
from filterd.daemon.origins import dotted
from filterd.daemon.schema import Listener
from filterd.engine.actions import Action, collect_actions
from filterd.engine.chains import Chains, House, Step
from filterd.engine.expressions import Compiler, ExpressionError
from filterd.engine.expressions.compiler import Table
from filterd.engine.expressions.vocabulary import did_you_mean
from filterd.engine.loader import Problem, Rules
from filterd.engine.stream_words import collect_stream_words
from filterd.mail.verdict import RuleFailure
from filterd.net.backend import Backend
from filterd.net.listen import Connection
from filterd.net.stream import Address
from filterd.servers.stream import StreamCounts, StreamLimits, StreamServer
from filterd.task import Environment
from filterd.task.txn import Stage

__all__ = ["LoadedStreams", "Streams", "streams_of"]

_STEP = re.compile(r"\s*(?P<name>\S+)(?:\s+if\s+(?P<condition>.*\S))?\s*", re.DOTALL)
_STAGES: Final[Mapping[str, Stage]] = {
    "accept": "tcp.accept",
    "request": "tcp.request",
    "response": "tcp.response",
    "close": "tcp.close",
}

Steps = Mapping[Stage, tuple[Step, ...]]


@dataclass(frozen=True, slots=True)
class LoadedStreams:
    """All actions by name, and those of each stream listener."""

    actions: Mapping[str, Action]
    steps: Mapping[str, Steps]
    compiler: Compiler
    files: frozenset[str] = frozenset()


def streams_of(config: Config, rules: Rules, maps: Mapping[str, Table]) -> tuple[LoadedStreams, list[Problem]]:
    """What the stream listeners of the configuration name, and what is wrong."""
    actions, twice = collect_actions(rules.modules)
    vocabulary, errors = collect_stream_words(rules.modules)
    problems = [Problem(one.place, str(one)) for one in (*twice, *errors)]
    compiler = Compiler(vocabulary, maps=maps)
    steps: dict[str, Steps] = {}
    for name, door in config.listen.items():
        if door.protocol == "tcp":
            steps[name], wrong = _steps_of(config, name, door, actions, compiler)
            problems += wrong
    return LoadedStreams(actions, MappingProxyType(steps), compiler, rules.code), problems


def _steps_of(
    config: Config, name: str, door: Listener, actions: Mapping[str, Action], compiler: Compiler
) -> tuple[Steps, list[Problem]]:
    problems: list[Problem] = []
    steps: dict[Stage, tuple[Step, ...]] = {}

    def wrong(key: str, text: str, picture: str = "") -> None:
        where = dotted(("listen", name, key))
        problems.append(Problem(f"{config.origin(where)}: {where}", text, picture))

    def step_of(key: str, written: str, stage: Stage) -> Step | None:
        match = _STEP.fullmatch(written)
        if match is None:
            wrong(key, f'{written!r} is not an action, or "NAME if CONDITION"')
            return None
        action = actions.get(match["name"])
        if action is None:
            wrong(key, f"there is no {_word(stage)} {match['name']!r}{did_you_mean(match['name'], _of(stage, actions))}")
            return None
        if stage not in action.stages:
            stages = ", ".join(sorted(action.stages))
            wrong(key, f"{action.kind} {action.name!r} is for {stages} ({action.place}), and this is {stage}")
            return None
        if match["condition"] is None:
            return Step(action)
        try:
            return Step(action, compiler.compile(match["condition"], "condition", stage="connect"))
        except ExpressionError as error:
            wrong(key, error.sentence, error.picture)
            return None

    for key, stage in _STAGES.items():
        made = [step_of(key, written, stage) for written in getattr(door, key)]
        steps[stage] = tuple(one for one in made if one is not None)
    if door.service is not None:
        only = step_of("service", door.service, "tcp.service")
        steps["tcp.service"] = () if only is None else (only,)
    return MappingProxyType(steps), problems


def _word(stage: Stage) -> str:
    return "service" if stage == "tcp.service" else "action"


def _of(stage: Stage, actions: Mapping[str, Action]) -> Iterable[str]:
    return [one.name for one in actions.values() if stage in one.stages]


@dataclass(frozen=True, slots=True)
class Streams:
    """The stream listeners of one worker, and what they have counted."""

    loaded: LoadedStreams
    environment: Environment
    on_failure: Callable[[Any, RuleFailure], object]
    counts: dict[str, StreamCounts] = field(default_factory=dict)

    def serve(self, name: str, door: Listener) -> Callable[[Connection], None]:
        """What serves one connection of the listener."""
        house = House(self.environment, self.loaded.compiler, self.loaded.files, self.on_failure)
        chains = Chains(house, self.loaded.steps[name], inspect_delay=door.inspect_delay, drops=door.on_error == "drop")
        backend = None
        if door.server:
            backend = Backend(
                self.environment.network.tcp,
                [_address(one) for one in door.server],
                timeout=door.connect_timeout,
                send_proxy=1 if door.send_proxy == "v1" else 2 if door.send_proxy == "v2" else 0,
            )
        limits = StreamLimits(min(door.idle_timeout, door.timeout), door.timeout, door.max_per_address, door.buffer)
        server = StreamServer(name, chains, crew=self.environment.crew, backend=backend, limits=limits)
        self.counts[name] = server.counts
        return server.serve

    def snapshot(self) -> dict[str, Any]:
        """What listeners and actions have done until now, as JSON holds it."""
        return {
            "actions": {one.name: [one.runs, one.seconds, one.errors] for one in self.loaded.actions.values()},
            "listeners": {name: one.as_dict() for name, one in self.counts.items()},
        }


def _address(written: Any) -> Address:
    return written.path or (written.host, written.port)
