"""The ways in which one set of rules can run: as usual, and under each of the settings that messages ask for or match.

Three layers, each over those before it: the limits of `Maxscore`; the element that `Settings-ID` names or, of a higher priority
than that one, the first that matches; the request's own `Settings`.

Promises: what settings change (which rules, in which order, with what scores) is worked out once for each of them, not for each
message; a message without settings pays for a look at three headers. Elements from elsewhere are replaced as a whole, between
two messages.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from logging import getLogger

from filterd.engine.candidate import Candidate
from filterd.engine.choice import choose
from filterd.engine.expressions import Compiler
from filterd.engine.matching import Element, MatchFailed, first_match
from filterd.engine.plan import Plans
from filterd.engine.registry import Rule
from filterd.engine.settings import USUAL, Settings, SettingsError
from filterd.mail.request import ScanRequest
from filterd.mail.results import Scoring
from filterd.task import Environment

__all__ = ["KEPT", "Variant", "Variants"]

log = getLogger("filterd.engine")

KEPT = 256
"""Variants kept for settings that clients sent as text: one client sends the same few again and again."""


class Variant:
    """Rules in their order, the scoring, and the settings they follow from; `id` is the name of the settings."""

    __slots__ = ("id", "plans", "scoring", "settings")

    def __init__(self, plans: Plans, scoring: Scoring, settings: Settings = USUAL, id: str | None = None) -> None:
        self.plans = plans
        self.scoring = scoring
        self.settings = settings
        self.id = id


class Variants:
    """Gives the variant for a request. `rules` are all, virtual symbols too; `elements` the configured settings."""

    def __init__(
        self,
        rules: Collection[Rule],
        environment: Environment,
        compiler: Compiler,
        elements: Iterable[Element] = (),
    ) -> None:
        """Raises OrderError where the rules cannot be ordered."""
        self._rules = rules
        self._environment = environment
        self._compiler = compiler
        self._parents = {rule.name: rule.parent for rule in rules if rule.parent is not None}
        self._scoring = environment.scoring
        self._groups: Mapping[str, Collection[str]] = {
            rule.name: self._scoring.symbols[rule.name].groups for rule in rules if rule.name in self._scoring.symbols
        }
        self.always = tuple(rule for rule in rules if "always" in rule.flags)
        """Rules that run even where no rule does: they keep the log."""
        self.usual = self._made(USUAL, None)
        self._fixed = tuple(elements)
        self.troubles: list[tuple[Element, BaseException]] = []
        """Elements whose conditions have raised since somebody looked, and what they raised."""
        self.follow(())

    def follow(self, elements: Iterable[Element]) -> None:
        """From now on these elements from elsewhere count besides the configured ones, which go first among equals."""
        # Sorting is stable: those of one priority stay in their order.
        self._elements: Sequence[Element] = sorted([*self._fixed, *elements], key=lambda one: -one.priority)
        self._named = {one.id: one for one in reversed(self._elements)}
        self._known: dict[str, Variant] = {}
        self._sent: dict[tuple[str | None, ...], Variant] = {}

    def of(self, request: ScanRequest) -> Variant:
        """The variant for a request. What goes wrong in a condition is in `troubles`, and that element does not match."""
        envelope = request.envelope
        text, maxscore, name = envelope.settings, envelope.headers.get("maxscore"), envelope.settings_id
        element = self._element(request, name) if self._elements or name else None
        if text is None and maxscore is None:
            return self.usual if element is None else self._of_element(element)
        limits = maxscore[0] if maxscore else None, envelope.get("softscore")
        key = (None if element is None else element.id, text, *limits)
        variant = self._sent.get(key)
        if variant is not None:
            return variant
        try:
            variant = self._sent[key] = self._layered(element, text, *limits)
        except SettingsError as error:
            log.warning("the request's Settings cannot be used, %s: %s", _instead(element), error)
            return self._layered(element, None, *limits)
        if len(self._sent) > KEPT:
            self._sent.pop(next(iter(self._sent)))
        return variant

    def _element(self, request: ScanRequest, id: str | None) -> Element | None:
        named = self._named.get(id) if id else None
        if id and named is None:
            log.warning("there are no settings called %r", id)
        candidate = Candidate(request, self._environment, self._compiler)
        above = float("-inf") if named is None else named.priority
        elements = self._elements
        while True:
            try:
                return first_match(elements, candidate, above=above) or named
            except MatchFailed as failed:
                # The one that raised is told of, and the search goes on behind it.
                self.troubles.append((failed.element, failed.reason))
                elements = elements[elements.index(failed.element) + 1 :]

    def _of_element(self, element: Element) -> Variant:
        variant = self._known.get(element.id)
        if variant is None:
            variant = self._known[element.id] = self._made(element.settings, element.id)
        return variant

    def _layered(self, element: Element | None, text: str | None, maxscore: str | None, softscore: str | None) -> Variant:
        settings = Settings.of_limits(maxscore, softscore)
        if element is not None:
            settings = element.settings.over(settings)
        if text is not None:
            settings = Settings.of_text(text).over(settings)
        return self._made(settings, None if element is None else element.id)

    def _made(self, settings: Settings, id: str | None) -> Variant:
        choice = choose(self._rules, self._groups, settings, id)
        scoring = settings.of_scoring(self._scoring)
        if choice.denied:
            scoring = replace(scoring, denied=choice.denied)
        return Variant(Plans(choice.rules, self._parents), scoring, settings, id)


def _instead(element: Element | None) -> str:
    return "all rules run" if element is None else f"{element.id} counts alone"
