"""The arithmetic of a scan: symbols and their scores while rules insert them, and the action they add up to.

Promises:

* score = configured score × weight; hits of one symbol add up (100 at most, or `nshots`), a one-shot symbol keeps the larger.
* A group's cap cuts the hit that crosses it to what still fits; later ones add nothing but stay listed.
* Options are unique, in order, and capped at 4096 characters a symbol, shown by a last `...`.
* A weight that is no finite number counts as 0; unknown symbols are listed with score 0.
* The action is the one with the highest threshold that the score has reached; a pre-result goes before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from filterd.mail.verdict import Hit

__all__ = ["ACTIONS", "GroupCap", "PreResult", "Results", "Scoring", "SymbolScore", "action_name"]

ACTIONS = ("reject", "soft reject", "rewrite subject", "add header", "greylist", "no action")
"""The actions every client knows, strictest first."""

MAX_SHOTS = 100
MAX_OPTIONS_LENGTH = 4096


def action_name(name: str) -> str:
    """The name on the wire of an action as people write it: `ADD_HEADER` is `add header`, `accept` is `no action`.

    An action of one's own is called what it is called.
    """
    plain = " ".join(name.replace("_", " ").lower().split())
    if plain == "accept":
        return "no action"
    return plain if plain in ACTIONS else name


@dataclass(frozen=True, slots=True)
class SymbolScore:
    """What is configured for one symbol; `shots` is how many of its hits add up, 1 for a one-shot symbol."""

    score: float = 0.0
    groups: tuple[str, ...] = ()
    description: str | None = None
    one_shot: bool = False
    nshots: int = MAX_SHOTS

    @property
    def shots(self) -> int:
        return 1 if self.one_shot else self.nshots


@dataclass(frozen=True, slots=True)
class GroupCap:
    """Bounds for the sum of a group's scores; None is no bound."""

    max_score: float | None = None
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores, caps and thresholds of one configuration.

    `thresholds` maps an action to the score that earns it; `custom` the actions that clients do not know to what an MTA is to
    do then ("discard", "quarantine" or None); pre-results of a `disabled` action are ignored, and so are hits of `denied`
    symbols. `subject` is the template for rewritten subjects, `grow_factor` (1 or more) what positive scores grow by in the
    end, `unknown_score` the score of a symbol nobody configured.
    """

    symbols: Mapping[str, SymbolScore] = field(default_factory=dict)
    caps: Mapping[str, GroupCap] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    custom: Mapping[str, str | None] = field(default_factory=dict)
    disabled: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()
    subject: str = "*** SPAM *** %s"
    grow_factor: float = 1.0
    unknown_score: float = 0.0
    ladder: tuple[tuple[float, str], ...] = field(init=False, default=())
    """Thresholds from the highest down, of equal ones the strictest first."""

    def __post_init__(self) -> None:
        strictness = {name: rank for rank, name in enumerate(ACTIONS)}
        ladder = sorted(
            ((limit, name) for name, limit in self.thresholds.items()),
            key=lambda step: (-step[0], strictness.get(step[1], len(ACTIONS))),
        )
        object.__setattr__(self, "ladder", tuple(ladder))

    @property
    def required_score(self) -> float | None:
        """The reject threshold, else the highest there is, else None."""
        if "reject" in self.thresholds:
            return self.thresholds["reject"]
        return self.ladder[0][0] if self.ladder else None

    def action(self, score: float) -> str:
        """The action for a score."""
        for limit, name in self.ladder:
            if score >= limit:
                return name
        return "no action"


@dataclass(frozen=True, slots=True)
class PreResult:
    """A decision that goes before the score. `least` makes the action a floor instead."""

    action: str
    message: str | None = None
    module: str | None = None
    score: float | None = None
    priority: int = 1
    least: bool = False


class Results:
    """What has been found on one message so far."""

    __slots__ = ("_group_totals", "hidden", "is_sealed", "pre_results", "score", "scoring", "symbols")

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.symbols: dict[str, Hit] = {}
        self.hidden: dict[str, Hit] = {}
        """What a composite took out of sight."""
        self.score = 0.0
        self.pre_results: list[PreResult] = []
        self._group_totals: dict[str, float] = {}
        self.is_sealed = False

    def insert(self, name: str, weight: float = 1.0, options: Iterable[str] = ()) -> Hit:
        """Record a hit and return the symbol's standing; that of a denied symbol is kept nowhere."""
        if self.is_sealed:
            self._check_open()
        scoring = self.scoring
        if name in scoring.denied:
            return Hit(name, 0.0)
        setting = scoring.symbols.get(name)
        if setting is None:
            setting = SymbolScore(scoring.unknown_score)
        if not isfinite(weight):
            weight = 0.0
        points = setting.score * weight
        hit = self.symbols.get(name)
        if hit is None:
            added = self._fit(setting, points)
            told = _joined((), options) if options else ()
            hit = self.symbols[name] = Hit(name, added, setting.score, weight, told, setting.description, setting.groups)
        else:
            if hit.shots < setting.shots:
                hit.shots += 1
                hit.weight += weight
                added = self._fit(setting, points)
            elif points * hit.score >= 0 and abs(points) > abs(hit.score):
                hit.weight = weight
                added = self._fit(setting, points - hit.score)
            else:
                added = 0.0
            hit.score += added
            hit.options = _joined(hit.options, options)
        self.score += added
        return hit

    def adjust(self, name: str, score: float, options: Iterable[str] = ()) -> Hit:
        """Set the score of a symbol that is there; raises KeyError where it is not."""
        self._check_open()
        hit = self.symbols[name]
        self._add(hit.groups, score - hit.score)
        self.score += score - hit.score
        hit.score = score
        hit.options = _joined(hit.options, options)
        return hit

    def remove(self, name: str) -> bool:
        """Take a symbol back with its score; False where it was not there."""
        self._check_open()
        hit = self.symbols.pop(name, None)
        if hit is None:
            return False
        self._add(hit.groups, -hit.score)
        self.score -= hit.score
        return True

    def drop(self, name: str, *, symbol: bool, weight: bool) -> None:
        """What a composite does to its members: the symbol goes out of sight, its score out of the total, or both.

        Raises KeyError where it is not there.
        """
        if weight:
            self.adjust(name, 0.0)
        if symbol:
            self._check_open()
            self.hidden[name] = self.symbols.pop(name)

    def seal(self) -> None:
        """The verdict is made: a change from now on raises RuntimeError."""
        self.is_sealed = True

    def _check_open(self) -> None:
        if self.is_sealed:
            raise RuntimeError("the verdict is made, an idempotent rule cannot change it")

    def _fit(self, setting: SymbolScore, points: float) -> float:
        # Most symbols are in no capped group: two look-ups, no arithmetic.
        if not self.scoring.caps or not setting.groups:
            return points
        for group in setting.groups:
            cap = self.scoring.caps.get(group)
            if cap is None:
                continue
            total = self._group_totals.get(group, 0.0)
            if points > 0 and cap.max_score is not None:
                points = min(points, max(0.0, cap.max_score - total))
            elif points < 0 and cap.min_score is not None:
                points = max(points, min(0.0, cap.min_score - total))
        self._add(setting.groups, points)
        return points

    def _add(self, groups: tuple[str, ...], points: float) -> None:
        for group in groups:
            if group in self.scoring.caps:
                self._group_totals[group] = self._group_totals.get(group, 0.0) + points

    def grow(self) -> None:
        """Let positive scores grow by the configured factor; once, when all rules have ended."""
        if self.scoring.grow_factor <= 1.0:
            return
        highest = max(self.scoring.thresholds.values(), default=0.0)
        if highest <= 0.0:
            return
        positive = [hit for hit in self.symbols.values() if hit.score > 0.0]
        factor = self.scoring.grow_factor
        for hit in positive:
            factor *= 1.0 + (self.scoring.grow_factor - 1.0) * hit.score / highest
        for hit in positive:
            self.score += hit.score * (factor - 1.0)
            hit.score *= factor

    def decide(self, pre_result: PreResult) -> None:
        """Add a pre-result; the highest priority decides, among equals the first. ValueError for an action nobody knows."""
        self._check_open()
        if pre_result.action not in ACTIONS and pre_result.action not in self.scoring.custom:
            known = ", ".join([*ACTIONS, *self.scoring.custom])
            raise ValueError(f"there is no action {pre_result.action!r}; there are {known}")
        if pre_result.action in self.scoring.disabled:
            return
        self.pre_results.append(pre_result)
        self.pre_results.sort(key=lambda one: -one.priority)

    @property
    def decided(self) -> PreResult | None:
        """The pre-result that decides, None while the score does."""
        for one in self.pre_results:
            if not one.least:
                return one
        return None

    def judgement(self) -> tuple[str, float, PreResult | None]:
        """`(action, score, the pre-result that won or None)` as of now."""
        decided = self.decided
        if decided is not None:
            score = self.score
            if decided.score is not None:
                score = min(score, decided.score) if decided.action == "no action" else decided.score
            return decided.action, score, decided
        action = self.scoring.action(self.score)
        for floor in self.pre_results:
            if _rank(floor.action) < _rank(action):
                return floor.action, max(self.score, self.scoring.thresholds.get(floor.action, self.score)), floor
        return action, self.score, None


def _rank(action: str) -> int:
    return ACTIONS.index(action) if action in ACTIONS else ACTIONS.index("no action")


def _joined(have: tuple[str, ...], options: Iterable[str]) -> tuple[str, ...]:
    new = [option for option in dict.fromkeys(options) if option not in have]
    if not new or (have and have[-1] == "..."):
        return have
    room = MAX_OPTIONS_LENGTH - sum(map(len, have))
    for place, option in enumerate(new):
        room -= len(option)
        if room < 0:
            return (*have, *new[:place], "...")
    return (*have, *new)
