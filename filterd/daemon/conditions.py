"""The `[composites.*]` and `[force_actions.*]` sections, compiled with the words and symbols of the loaded rules.

Promises: everything that is wrong in them is told at once, each with its key, and the column in the expression.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from filterd.daemon.config import Config
from filterd.daemon.origins import dotted
from filterd.daemon.schema import ForcedAction as ForcedActionSection
from filterd.engine.composites import Composite, CompositeError, Composites
from filterd.engine.expressions import Compiler, Expression, ExpressionError, Vocabulary
from filterd.engine.expressions.compiler import Table
from filterd.engine.expressions.expression import ExpressionKind
from filterd.engine.force_actions import ForcedAction, is_late, rule_of_force
from filterd.engine.loader import Problem
from filterd.engine.registry import RegistrationError, Registry
from filterd.mail.results import ACTIONS, action_name

__all__ = ["Conditions", "compiler_for", "conditions_of"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What was made of the sections: the composites, and what is wrong. The rules of forced actions are in the registry."""

    composites: Composites
    problems: list[Problem] = field(default_factory=list)


def compiler_for(config: Config, registry: Registry, vocabulary: Vocabulary, maps: Mapping[str, Table]) -> Compiler:
    """A compiler that knows the symbols of rules, composites, maps and forced actions."""
    symbols = {*registry.rules, *config.composites, *(f"FORCE_ACTION_{name}" for name in config.force_actions)}
    for section in config.maps.values():
        symbols.update(section.symbols, [section.symbol] if section.symbol is not None else [])
    return Compiler(vocabulary, maps=maps, symbols=symbols, conditions=config.conditions)


def conditions_of(config: Config, registry: Registry, compiler: Compiler) -> Conditions:
    """Compile both sections and register the rules of the forced actions."""
    problems: list[Problem] = []

    def compiled(key: tuple[str, ...], text: str, kind: ExpressionKind) -> Expression | None:
        try:
            return compiler.compile(text, kind)
        except ExpressionError as error:
            problems.append(Problem(_where(config, key), error.sentence, error.picture))
            return None

    for name in config.conditions:
        try:
            compiler.named(name)
        except ExpressionError as error:
            problems.append(Problem(_where(config, ("conditions", name)), error.sentence, error.picture))
        if name in compiler.vocabulary.extractors:
            problems.append(Problem(_where(config, ("conditions", name)), f"there is a value {name!r} already"))
    for name, section in config.force_actions.items():
        problems += _add_forced(config, name, section, registry, compiled)
    composites = []
    for name, written in config.composites.items():
        if (have := registry.rules.get(name)) is not None:
            problems.append(Problem(_where(config, ("composites", name)), f"there is a rule {name} already, at {have.place}"))
        expression = compiled(("composites", name, "expression"), written.expression, "composite")
        if expression is not None and written.enabled:
            groups = (written.group, *written.groups) if written.group else written.groups
            composites.append(Composite(name, expression, written.policy, groups))
    try:
        return Conditions(Composites(composites, late=_late(registry)), problems)
    except CompositeError as error:
        problems.append(Problem(_where(config, ("composites", error.name)), str(error)))
        return Conditions(Composites(), problems)


def _add_forced(
    config: Config,
    name: str,
    section: ForcedActionSection,
    registry: Registry,
    compiled: Callable[[tuple[str, ...], str, ExpressionKind], Expression | None],
) -> list[Problem]:
    path = ("force_actions", name)
    problems = []
    known = [*ACTIONS, *map(action_name, config.custom_actions)]
    for key, actions in (
        ("action", (section.action,)),
        ("require_action", section.require_action),
        ("honor_action", section.honor_action),
    ):
        for action in actions:
            if action_name(action) not in known:
                text = f"there is no action {action!r}; there are {', '.join(known)}"
                problems.append(Problem(_where(config, (*path, key)), text))
    expression = compiled((*path, "expression"), section.expression, "condition")
    message = None if section.message is None else compiled((*path, "message"), section.message, "template")
    if expression is None or problems:
        return problems
    force = ForcedAction(
        name,
        action_name(section.action),
        expression,
        message,
        section.subject,
        frozenset(map(action_name, section.require_action)),
        frozenset(map(action_name, section.honor_action)),
        section.least,
        section.priority,
    )
    try:
        late = is_late(force, registry, config.composites)
        registry.add(rule_of_force(force, late=late, file=config.origin(dotted(path))))
    except RegistrationError as error:
        problems.append(Problem(_where(config, path), str(error)))
    return problems


def _late(registry: Registry) -> Iterable[str]:
    """The symbols of postfilters."""
    rules = registry.rules
    for one in rules.values():
        maker = rules.get(one.parent or one.name)
        if maker is not None and maker.type in ("postfilter", "idempotent"):
            yield one.name


def _where(config: Config, path: tuple[str, ...]) -> str:
    key = dotted(path)
    return f"{config.origin(key)}: {key}"
