"""The order in which rules run, worked out once for a set of rules: stages of levels, and within a level who waits for whom.

Promises:

* Prefilters run by falling priority, postfilters and idempotent rules by rising priority, filters all at once; a level begins
  when the one before it has ended, what its rules started included.
* A rule with `after=` begins when the rules named there have ended; names of rules that are not there are no hindrance.
* Rules that would wait for each other, or for a later stage, are found here and named, before the first message.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from filterd.engine.registry import Rule
from filterd.mail.message import Message

__all__ = ["Level", "OrderError", "Plan", "Plans"]

STAGES = ("prefilter", "normal", "postfilter", "idempotent")


class OrderError(ValueError):
    """Rules that wait for each other, or for a later stage; `rule` is the one to look at first."""

    def __init__(self, rule: Rule, text: str) -> None:
        super().__init__(text)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Level:
    """Rules that run at the same time.

    `first` begin at once; each of the others when as many rules as `blocked` says have ended, of those that have it among their
    `dependents`.
    """

    first: tuple[Rule, ...]
    blocked: Mapping[Rule, int]
    dependents: Mapping[Rule, tuple[Rule, ...]]


class Plan:
    """The levels of each stage, by its name."""

    __slots__ = ("_rules", "stages")

    def __init__(self, rules: Collection[Rule], parents: Mapping[str, str] | None = None) -> None:
        """`parents` are those of virtual symbols, which stand for the rule that inserts them. Raises OrderError."""
        self._rules = frozenset(rules)
        by_stage: dict[str, list[Rule]] = {stage: [] for stage in STAGES}
        for one in rules:
            by_stage[stage_of(one)].append(one)
        names = {one.name: one for one in rules}
        needs = {one: [names[name] for name in _resolved(one.after, parents or {}) if name in names] for one in rules}
        _check(needs)
        self.stages = {
            stage: tuple(_level(rules_of_level, needs) for rules_of_level in _by_priority(stage, members))
            for stage, members in by_stage.items()
        }

    def __contains__(self, rule: Rule) -> bool:
        return rule in self._rules


class Plans:
    """The plan of a set of rules, that for messages without a byte, and that for those not to be read as MIME (`raw`)."""

    __slots__ = ("empty", "full", "raw")

    def __init__(self, rules: Collection[Rule], parents: Mapping[str, str] | None = None) -> None:
        self.full = self.raw = Plan(rules, parents)
        self.empty = Plan([one for one in rules if "empty" in one.flags], parents)
        if any("mime" in one.flags for one in rules):
            self.raw = Plan([one for one in rules if "mime" not in one.flags], parents)

    def of(self, message: Message) -> Plan:
        """The one for a message."""
        if not message.size:
            return self.empty
        return self.full if message.is_mime else self.raw


def stage_of(rule: Rule) -> str:
    """The stage a rule runs in."""
    return "normal" if rule.type == "callback" else rule.type


def place_of(rule: Rule) -> tuple[int, int]:
    """Where in the order of levels a rule runs; larger is later."""
    stage = stage_of(rule)
    priority = 0 if stage == "normal" else -rule.priority if stage == "prefilter" else rule.priority
    return STAGES.index(stage), priority


def _resolved(names: Iterable[str], parents: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(parents.get(name, name) for name in names))


def _by_priority(stage: str, rules: Iterable[Rule]) -> list[list[Rule]]:
    levels: dict[tuple[int, int], list[Rule]] = {}
    for one in rules:
        levels.setdefault(place_of(one), []).append(one)
    return [levels[place] for place in sorted(levels)]


def _level(rules: list[Rule], needs: Mapping[Rule, list[Rule]]) -> Level:
    blocked = {one: count for one in rules if (count := sum(need in rules for need in needs[one]))}
    dependents: dict[Rule, list[Rule]] = {}
    for one in blocked:
        for need in needs[one]:
            if need in rules:
                dependents.setdefault(need, []).append(one)
    first = tuple(one for one in rules if one not in blocked)
    return Level(first, blocked, {need: tuple(waiting) for need, waiting in dependents.items()})


def _check(needs: Mapping[Rule, list[Rule]]) -> None:
    for one, needed in needs.items():
        for need in needed:
            if place_of(need) > place_of(one):
                raise OrderError(
                    one, f"rule {one.name!r} is to run after {need.name!r}, which runs later: it is a {need.type} rule"
                )
    done: set[Rule] = set()
    for one in needs:
        _follow(one, needs, done)


def _follow(start: Rule, needs: Mapping[Rule, list[Rule]], done: set[Rule]) -> None:
    # Depth first without recursion: a chain may be as long as there are rules.
    path: list[Rule] = []
    stack: list[tuple[Rule, bool]] = [(start, False)]
    while stack:
        rule, is_left = stack.pop()
        if is_left:
            done.add(path.pop())
        elif rule in path:
            chain = [*path[path.index(rule) :], rule]
            raise OrderError(rule, "rules wait for each other: " + " after ".join(one.name for one in chain))
        elif rule not in done:
            path.append(rule)
            stack.append((rule, True))
            stack += [(need, False) for need in needs[rule]]
