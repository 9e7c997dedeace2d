"""Maps for rules: `maps["NAME"]` is the table `[maps.NAME]`, whatever version of it is there when it is asked.

`key in maps["NAME"]`, `maps["NAME"].get(key)` and `maps["NAME"][key]` never wait; see `mail.live_map.LiveMap`.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from filterd.mail.live_map import LiveMap
from filterd.task import current, loading_maps

__all__ = ["Maps", "maps"]


class Maps(Mapping[str, LiveMap]):
    """The maps of the configuration by name, at the top level of a rule file and in rules and hooks."""

    def __getitem__(self, name: str) -> LiveMap:
        """Raises LookupError for a map that is not in the configuration."""
        known = _known(f"maps[{name!r}]")
        found = known.get(name)
        if found is None:
            near = get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
            raise UnknownMap(f"there is no [maps.{name}] in the configuration; {advice}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_known("maps"))

    def __len__(self) -> int:
        return len(_known("maps"))


class UnknownMap(KeyError):
    """A KeyError, so that `maps.get("NAME")` is None; it prints as the sentence it is."""

    def __str__(self) -> str:
        return str(self.args[0])


def _known(call: str) -> Mapping[str, LiveMap]:
    scope = current()
    known = loading_maps.get() if scope is None else scope.environment.maps
    if known is None:
        raise RuntimeError(f"{call} was called outside of filterd: neither is a rule file being loaded nor does a rule run")
    return known


maps = Maps()
