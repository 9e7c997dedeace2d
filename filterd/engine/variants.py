"""The ways in which one set of rules can run: as usual, and under each of the settings that messages ask for or match.

Promises: what settings change (which rules, in which order, with what scores) is worked out once for each of them, not for each
message; a message without settings pays for a look at two headers.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from logging import getLogger

from filterd.engine.matching import Element, first_match
from filterd.engine.plan import Plans
from filterd.engine.registry import Rule
from filterd.engine.settings import USUAL, Settings, SettingsError
from filterd.mail.request import ScanRequest
from filterd.mail.results import Scoring

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
    """Gives the variant for a request. `elements` are the configured settings."""

    def __init__(
        self,
        rules: Collection[Rule],
        scoring: Scoring,
        parents: Mapping[str, str],
        elements: Iterable[Element] = (),
    ) -> None:
        """Raises OrderError where the rules cannot be ordered."""
        self._rules = rules
        self._parents = parents
        self._groups = {rule.name: scoring.symbols[rule.name].groups for rule in rules if rule.name in scoring.symbols}
        self._scoring = scoring
        self.usual = Variant(Plans(rules, parents), scoring)
        self._elements: Sequence[Element] = sorted(elements, key=lambda one: -one.priority)
        self._named = {one.id: self._made(one.settings, one.id) for one in self._elements}
        self._sent: dict[str, Variant] = {}

    def of(self, request: ScanRequest) -> Variant:
        """`Settings` of the request first, then the element that `Settings-ID` names, then the first that matches."""
        envelope = request.envelope
        if envelope.settings is not None:
            return self._of_text(envelope.settings)
        if envelope.settings_id is not None:
            named = self._named.get(envelope.settings_id)
            if named is not None:
                return named
            log.warning("there are no settings called %r", envelope.settings_id)
        if self._elements:
            found = first_match(self._elements, request)
            if found is not None:
                return self._named[found.id]
        return self.usual

    def _of_text(self, text: str) -> Variant:
        variant = self._sent.get(text)
        if variant is None:
            try:
                settings = Settings.of_text(text)
            except SettingsError as error:
                log.warning("the request's Settings cannot be used, all rules run: %s", error)
                return self.usual
            variant = self._sent[text] = self._made(settings, None)
            if len(self._sent) > KEPT:
                self._sent.pop(next(iter(self._sent)))
        return variant

    def _made(self, settings: Settings, id: str | None) -> Variant:
        rules = settings.of_rules(self._rules, parents=self._parents, groups=self._groups)
        return Variant(Plans(rules, self._parents), settings.of_scoring(self._scoring), settings, id)
