"""A map under its name: the version its source has now, and over it what was changed while filterd runs.

Promises:

* A change is there for the next look-up, and several made in one `edit` are there all at once or not at all.
* Changes outlive versions: they lie over each new one until they are undone or changed again. A key that was removed and that
  the source did not have is forgotten, so what comes and goes leaves nothing behind.
* A change that was made elsewhere is taken by `apply`, and the same changes in the same order make the same map.
* Nothing here waits: changes are possible wherever code of a rule runs, once rule files are loaded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Literal, TypeAlias

from filterd.mail.maps import MAX_KEY, BadKey, Key, Map, Value, text_of

__all__ = ["MAX_EDITS", "MAX_TEXT", "Change", "Edit", "LiveMap"]

MAX_EDITS = 100_000
"""Keys of one map that may differ from its source: laying them over a new version holds the loop for some 0.1 s."""
MAX_TEXT = 2 * 2**20
"""Characters of all keys and values of one edit, which goes to other processes in one piece."""

Over: TypeAlias = Value | Literal[False]
"""What lies over a key: a value, or False for one that the source has and that is removed."""
Change: TypeAlias = "tuple[str, Over | None]"
"""A key in its one spelling, and what lies over it from now on; None is nothing, so that the source counts again."""


class LiveMap:
    """A map under its name, whatever version of it is there now: what rules hold.

    Rules may keep it for as long as they like, and it may be asked at any time. `version` counts the versions there were; a map
    that was never loaded has version 0 and no key. One that `has_source` False has only the keys it is given.

    `tell` is called with the changes that are made here, and is None while there can be none; `check` says what is wrong with a
    value.
    """

    __slots__ = ("_below", "_over", "check", "has_source", "name", "tell", "value", "version")

    def __init__(self, name: str, value: Map, *, has_source: bool = True) -> None:
        self.name = name
        self.value = value
        self.version = 0
        self.has_source = has_source
        self.check: Callable[[str], str | None] | None = None
        self.tell: Callable[[list[Change]], object] | None = None
        self._over: dict[str, Over] = {}
        # What the source has for each of these keys.
        self._below: dict[str, Value | None] = {}

    def replace(self, value: Map) -> None:
        """From now on this is the map, with the changes over it."""
        self._below = {key: value.line(key) for key in self._over}
        for key, over in self._over.items():
            _lay(value, key, over)
        self.value = value
        self.version += 1

    # ---------------------------------------------------------------------------------------------------------------- asking

    def get(self, key: Key, default: Any = None) -> Any:
        """The value of a key: the rest of its line, True where there is none; `default` where no line fits, and for None."""
        return self.value.get(key, default)

    def __contains__(self, key: Key) -> bool:
        return key in self.value

    def __getitem__(self, key: Key) -> Value:
        """The value of a key; raises KeyError."""
        return self.value[key]

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[str]:
        raise TypeError(f"map {self.name!r} cannot be listed: ask it for a key")

    def __repr__(self) -> str:
        return f"<LiveMap {self.name!r}, {self.value.type}, {len(self)} keys, version {self.version}>"

    @property
    def edits(self) -> Mapping[str, Over]:
        """What differs from the source: values by key, False for keys that are removed."""
        return MappingProxyType(self._over)

    # -------------------------------------------------------------------------------------------------------------- changing

    def add(self, key: Key, value: str | Literal[True] | None = None) -> None:
        """Put a line with this key, in the place of one that has it. Raises BadKey (a ValueError)."""
        with self.edit() as edit:
            edit.add(key, value)

    def __setitem__(self, key: Key, value: str | Literal[True]) -> None:
        """The same."""
        self.add(key, value)

    def discard(self, key: Key) -> bool:
        """Remove the line with just this key; False where there is none. What else fits the key stays."""
        there = self.has_line(key)
        if there:
            with self.edit() as edit:
                edit.discard(key)
        return there

    def __delitem__(self, key: Key) -> None:
        """The same; raises KeyError where there is none."""
        if not self.discard(key):
            raise KeyError(key)

    def edit(self) -> "Edit":
        """Several changes at once: `with maps["NAME"].edit() as edit:`. The end of the block makes them, unless it raises."""
        if self.tell is None:
            raise RuntimeError(
                f"map {self.name!r} is changed by rules and hooks, not while rule files are loaded: do it in @on_load"
            )
        return Edit(self)

    def has_line(self, key: Key) -> bool:
        """There is a line with just this key. Raises BadKey."""
        return self.value.line(self.canonical(key)) is not None

    def undo(self, key: Key) -> bool:
        """The source counts again for this key; False if it did anyway. Raises BadKey."""
        spelt = self.canonical(key)
        if spelt not in self._over:
            return False
        self.change({spelt: None})
        return True

    def canonical(self, key: Key) -> str:
        """The one spelling of a key. Raises BadKey."""
        if key is None:
            raise BadKey(f"map {self.name!r}: None is no key")
        if isinstance(key, str | bytes) and len(key) > MAX_KEY:
            raise BadKey(f"map {self.name!r}: a key has at most {MAX_KEY} characters")
        text = text_of(key)
        try:
            text.encode()
            return self.value.canonical(text)
        except UnicodeEncodeError:
            raise BadKey(f"map {self.name!r}: {text!r} is not text that UTF-8 can hold") from None
        except BadKey as error:
            raise BadKey(f"map {self.name!r}: {error}") from None

    def checked(self, value: object) -> Value:
        """The value, if it may stand in a line of this map. Raises BadKey, and TypeError for what is no text."""
        if value is None or value is True:
            return True
        if not isinstance(value, str):
            raise TypeError(f"map {self.name!r}: a value is text, and {value!r} is not; write str(…)")
        fault = None
        if len(value) > MAX_KEY or not value.isprintable():
            fault = f"a value is one line of at most {MAX_KEY} printable characters"
        elif self.value.type == "set":
            fault = f'a set has no values; say type = "map" for them ({value!r})'
        elif value and self.check is not None:
            fault = self.check(value)
        if fault is not None:
            raise BadKey(f"map {self.name!r}: {fault}")
        return value or True

    def change(self, wanted: Mapping[str, Over | None]) -> None:
        """Make these changes, whose keys are in their one spelling, and tell of them. Raises BadKey if they are too many."""
        if self.tell is None:
            raise RuntimeError(f"map {self.name!r} cannot be changed now")
        changes: list[Change] = []
        more = 0
        for key, over in wanted.items():
            have = self._over.get(key)
            below = self.value.line(key) if have is None else self._below[key]
            # What the source does not have need not be hidden.
            over = None if over is False and below is None else over
            if over != have:
                changes.append((key, over))
                more += (over is not None) - (have is not None)
        if more > 0 and len(self._over) + more > MAX_EDITS:
            raise BadKey(f"map {self.name!r}: more than {MAX_EDITS} keys would differ from its source")
        if sum(len(key) + len(over if isinstance(over, str) else "") for key, over in changes) > MAX_TEXT:
            raise BadKey(f"map {self.name!r}: one edit has at most {MAX_TEXT} characters; make several")
        if changes:
            self._lay(changes)
            self.tell(changes)

    def apply(self, changes: Iterable[tuple[str, object]]) -> None:
        """Take changes that were made elsewhere. Raises BadKey and TypeError for what cannot be here, and changes nothing."""
        checked: list[Change] = []
        for key, over in changes:
            checked.append((self.canonical(key), over if over is None or over is False else self.checked(over)))
        self._lay(checked)

    def _lay(self, changes: Iterable[Change]) -> None:
        for key, over in changes:
            if key not in self._over:
                self._below[key] = self.value.line(key)
            if over is None:
                below = self._below.pop(key)
                self._over.pop(key, None)
                _lay(self.value, key, False if below is None else below)
            else:
                self._over[key] = over
                _lay(self.value, key, over)


def _lay(value: Map, key: str, over: Over) -> None:
    if over is False:
        value.remove(key)
    else:
        value.put(key, over)


class Edit:
    """Changes of one map that are made together, when the `with` block ends well."""

    __slots__ = ("_is_over", "_live", "_wanted")

    def __init__(self, live: LiveMap) -> None:
        self._live = live
        self._wanted: dict[str, Over | None] = {}
        self._is_over = False

    def __enter__(self) -> "Edit":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._is_over = True
        if kind is None:
            self._live.change(self._wanted)

    def add(self, key: Key, value: str | Literal[True] | None = None) -> None:
        """Put a line. Raises BadKey, here and not at the end of the block."""
        self._want(key, self._live.checked(value))

    def __setitem__(self, key: Key, value: str | Literal[True]) -> None:
        self.add(key, value)

    def discard(self, key: Key) -> None:
        """Remove the line with just this key, if there is one."""
        self._want(key, False)

    def clear(self) -> None:
        """Remove all keys, but for those that the block puts after this. Only of a map without a source."""
        if self._live.has_source:
            raise TypeError(f"map {self._live.name!r} has a source, which says what is in it: only single keys can be removed")
        self._wanted = dict.fromkeys(self._live.edits, False)

    def _want(self, key: Key, over: Over) -> None:
        if self._is_over:
            raise RuntimeError(f"this edit of map {self._live.name!r} has ended: begin another")
        self._wanted[self._live.canonical(key)] = over
