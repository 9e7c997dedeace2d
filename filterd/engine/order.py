"""Who has ended and who waits for whom, while the rules of one level run over one message.

Promises:

* A rule has ended when its function has and everything it started, callbacks included.
* `wait` ends when that rule has ended, and refuses to wait where the two would wait for each other, naming the chain.
"""

from collections.abc import Callable, Mapping

from filterd.engine.plan import Level
from filterd.engine.registry import Rule
from filterd.net.event import Event

__all__ = ["Order", "WaitCycle"]

NOBODY: Mapping[Rule, tuple[Rule, ...]] = {}


class WaitCycle(RuntimeError):
    """A rule asked for the result of one that waits for it."""


def _nothing(rule: Rule) -> None:
    pass


class Order:
    """The state of one message's rules. `start` is called for a rule that nothing holds back any more."""

    __slots__ = ("_awaited", "_children", "_dependents", "_start", "_waits", "blocked", "over")

    def __init__(self, start: Callable[[Rule], None]) -> None:
        self.over: set[Rule] = set()
        self.blocked: dict[Rule, int] = {}
        self._start = start
        self._children: dict[Rule, int] = {}
        self._dependents = NOBODY
        self._awaited: dict[Rule, Event] = {}
        self._waits: dict[Rule, list[Rule]] = {}

    def end(self) -> None:
        """Nothing will be started any more."""
        self._start = _nothing

    def enter(self, level: Level) -> None:
        """The rules of this level begin."""
        if level.blocked:
            self.blocked = dict(level.blocked)
            self._dependents = level.dependents
        else:
            self._dependents = NOBODY

    def rule_ended(self, rule: Rule) -> None:
        """Its function is over, or was skipped."""
        self.over.add(rule)
        if self._dependents or self._awaited:
            self._settle(rule)

    def child_begun(self, rule: Rule) -> None:
        """Something runs beside the rule."""
        self._children[rule] = self._children.get(rule, 0) + 1

    def child_ended(self, rule: Rule) -> None:
        """One of these is over."""
        left = self._children[rule] - 1
        if left:
            self._children[rule] = left
        else:
            del self._children[rule]
            self._settle(rule)

    def has_ended(self, rule: Rule) -> bool:
        """The rule and everything it started is over."""
        return rule in self.over and rule not in self._children

    def _settle(self, rule: Rule) -> None:
        if not self.has_ended(rule):
            return
        for dependent in self._dependents.get(rule, ()):
            left = self.blocked[dependent] - 1
            if left:
                self.blocked[dependent] = left
            else:
                del self.blocked[dependent]
                self._start(dependent)
        event = self._awaited.pop(rule, None)
        if event is not None:
            event.set()

    def wait(self, waiter: Rule, rule: Rule) -> None:
        """Wait, as `waiter`, until the rule has ended. Raises WaitCycle."""
        if self.has_ended(rule):
            return
        chain = self._way(rule, waiter)
        if chain is not None:
            names = " which waits for ".join(one.name for one in chain)
            raise WaitCycle(f"{waiter.name} asks for the result of {names}")
        event = self._awaited.get(rule)
        if event is None:
            event = self._awaited[rule] = Event()
        self._waits.setdefault(waiter, []).append(rule)
        try:
            event.wait(phase="result of", peer=rule.name)
        finally:
            self._waits[waiter].remove(rule)

    def _way(self, start: Rule, goal: Rule) -> list[Rule] | None:
        """The chain of waiting from one rule to another, None where there is none."""
        stack = [[start]]
        seen = {start}
        while stack:
            path = stack.pop()
            if path[-1] is goal:
                return path
            ahead = [*self._waits.get(path[-1], ()), *self._held_by(path[-1])]
            stack += [[*path, one] for one in ahead if one not in seen]
            seen.update(ahead)
        return None

    def _held_by(self, rule: Rule) -> list[Rule]:
        if rule not in self.blocked:
            return []
        return [need for need, dependents in self._dependents.items() if rule in dependents and not self.has_ended(need)]
