"""Maps: tables of keys that the world outside maintains, each kind with its own way of being looked up.

Promises:

* A lookup costs no more than a few dictionary look-ups; with globs and regular expressions it is linear in the key, which
  is cut at `MAX_KEY` characters: no line of a map and no mail can hold the loop.
* Letter case never matters, but in a regular expression without `i`.
* Where several lines fit, the first of the file counts; the longest network in an ip map and the longest name in a domain map.
* A new version of a table is a new `Map`, which its `LiveMap` then has, at once. Single lines of it are changed by that alone.
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Any, ClassVar, Literal, TypeAlias

from filterd.mail.ip import normalise_ip

__all__ = ["MAX_KEY", "BadKey", "DomainMap", "IpMap", "Key", "Map", "MapType", "SetMap", "TextMap", "Value", "text_of"]

MapType = Literal["set", "map", "glob", "regexp", "ip", "domain"]
Value: TypeAlias = str | Literal[True]
"""What a key leads to: the rest of its line, True where that is empty."""
Key: TypeAlias = str | bytes | IPv4Address | IPv6Address | None

MAX_KEY = 8192
"""Characters of a key that are looked at: what is longer is no address, name or subject, and time is linear in it."""


class BadKey(ValueError):
    """What stands where a key should; the text says what is wrong with it."""


class Map:
    """Keys and their values. `find` and `add` are what the kinds differ in."""

    __slots__ = ("size",)

    type: ClassVar[MapType]
    takes_blanks: ClassVar[bool] = False
    """A key may hold blanks without being quoted: `split` knows where it ends."""
    is_editable: ClassVar[bool] = False
    """`line`, `put` and `remove` exist: a key can be changed without reading the whole again."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, key: str, value: Value) -> None:
        """While it is being made. Raises BadKey."""
        raise NotImplementedError  # pragma: no cover - a subclass has it

    def finish(self) -> None:
        """The last key was added."""

    def find(self, key: str) -> Value | None:
        """The value of the line that fits."""
        raise NotImplementedError  # pragma: no cover - a subclass has it

    def canonical(self, key: str) -> str:
        """The one spelling of the key of a line. Raises BadKey."""
        raise BadKey(f"keys of a {self.type} map cannot be changed one by one: they are compiled together")

    def line(self, key: str) -> Value | None:
        """The value of the line that has just this key, in its one spelling; what else fits the key does not count."""
        raise NotImplementedError  # pragma: no cover - one that is editable has it

    def put(self, key: str, value: Value) -> None:
        """From now on the line with this key, in its one spelling, has this value. Raises BadKey."""
        raise NotImplementedError  # pragma: no cover - one that is editable has it

    def remove(self, key: str) -> None:
        """The line with this key, in its one spelling, is gone, if there was one."""
        raise NotImplementedError  # pragma: no cover - one that is editable has it

    def get(self, key: Key, default: Any = None) -> Any:
        """The value of a key: text, or True for a line with a key alone; `default` where there is none, as for the key None."""
        if key is None:
            return default
        found = self.find(text_of(key))
        return default if found is None else found

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: Key) -> Value:
        found: Value | None = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"<{self.type} map of {self.size} keys>"


def text_of(key: str | bytes | IPv4Address | IPv6Address) -> str:
    """A key as it is looked up."""
    return key[:MAX_KEY].decode("utf-8", "replace") if isinstance(key, bytes) else str(key)[:MAX_KEY]


class TextMap(Map):
    """Whole keys."""

    __slots__ = ("_values",)
    type: ClassVar[MapType] = "map"
    is_editable = True

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, Value] = {}

    def add(self, key: str, value: Value) -> None:
        self._values.setdefault(key.lower(), value)
        self.size = len(self._values)

    def find(self, key: str) -> Value | None:
        return self._values.get(key.lower())

    def canonical(self, key: str) -> str:
        return key.lower()

    def line(self, key: str) -> Value | None:
        return self._values.get(key)

    def put(self, key: str, value: Value) -> None:
        self._values[key] = value
        self.size = len(self._values)

    def remove(self, key: str) -> None:
        self._values.pop(key, None)
        self.size = len(self._values)


class SetMap(TextMap):
    """Whole keys without values."""

    __slots__ = ()
    type: ClassVar[MapType] = "set"

    def add(self, key: str, value: Value) -> None:
        if value is not True:
            raise BadKey(f'a set has one key a line; quote a key with blanks, or say type = "map" for values ({value!r})')
        super().add(key, value)

    def put(self, key: str, value: Value) -> None:
        if value is not True:
            raise BadKey(f'a set has no values; say type = "map" for them ({value!r})')
        super().put(key, value)


class DomainMap(TextMap):
    """Names of hosts: `example.org` fits itself and all below it, `.example.org` (or `*.example.org`) all below it only."""

    __slots__ = ()
    type: ClassVar[MapType] = "domain"

    def add(self, key: str, value: Value) -> None:
        super().add(self.canonical(key), value)

    def canonical(self, key: str) -> str:
        name = key.removeprefix("*") if key.startswith("*.") else key
        if not name.strip(".") or ".." in name or any(c in name for c in "@/*?"):
            raise BadKey(f"{key!r} is no domain name")
        # Lists and mails have either form of an international name.
        return _unicode(name.removesuffix(".").lower())

    def find(self, key: str) -> Value | None:
        values = self._values
        name = _unicode(key.removesuffix(".").lower())
        found = values.get(name)
        while found is None:
            _, dot, name = name.partition(".")
            if not dot:
                return None
            found = values.get(name) or values.get(f".{name}")
        return found


def _unicode(name: str) -> str:
    """The name with each `xn--` label as what it stands for (RFC 3492); one that stands for nothing is left as it is."""
    if "xn--" not in name.lower():
        return name
    return ".".join(map(_label, name.split(".")))


def _label(label: str) -> str:
    if not label.lower().startswith("xn--") or len(label) > 63:
        return label
    try:
        return label[4:].encode("ascii").decode("punycode").lower()
    except (UnicodeError, ValueError):
        return label


class IpMap(Map):
    """Addresses and networks (`192.0.2.0/24`, `2001:db8::/32`), both families; an IPv4 address in IPv6 is an IPv4 address."""

    __slots__ = ("_four", "_six")
    type: ClassVar[MapType] = "ip"
    is_editable = True

    def __init__(self) -> None:
        super().__init__()
        # One dictionary for each length of a prefix: a lookup is as many questions as there are lengths.
        self._four: dict[int, dict[int, Value]] = {}
        self._six: dict[int, dict[int, Value]] = {}

    def add(self, key: str, value: Value) -> None:
        table, shift, number = self._place(key)
        numbers = table.setdefault(shift, {})
        if number not in numbers:
            numbers[number] = value
            self.size += 1

    def _place(self, key: str) -> tuple[dict[int, dict[int, Value]], int, int]:
        """The table of a network, its bits that do not count, and the number of those that do. Raises BadKey."""
        text, slash, length = key.partition("/")
        address = normalise_ip(text)
        if address is None or (slash and not (length.isdecimal() and length.isascii() and len(length) <= 3)):
            raise BadKey(f"{key!r} is neither an IP address nor a network like 192.0.2.0/24")
        is_six = ":" in address
        bits = 128 if is_six else 32
        prefix = int(length) if slash else bits
        if slash and not is_six and ":" in text:
            prefix -= 96
        if not 0 <= prefix <= bits:
            raise BadKey(f"{key!r}: a prefix has 0 to {bits} bits")
        shift = bits - prefix
        return self._six if is_six else self._four, shift, _number(address) >> shift

    def canonical(self, key: str) -> str:
        table, shift, number = self._place(key)
        address, bits = (IPv6Address, 128) if table is self._six else (IPv4Address, 32)
        return f"{address(number << shift)}/{bits - shift}" if shift else str(address(number))

    def line(self, key: str) -> Value | None:
        table, shift, number = self._place(key)
        return table.get(shift, {}).get(number)

    def put(self, key: str, value: Value) -> None:
        table, shift, number = self._place(key)
        if shift not in table:
            table[shift] = {}
            self.finish()
            table = self._place(key)[0]
        numbers = table[shift]
        self.size += number not in numbers
        numbers[number] = value

    def remove(self, key: str) -> None:
        table, shift, number = self._place(key)
        numbers = table.get(shift, {})
        self.size -= number in numbers
        numbers.pop(number, None)
        if shift in table and not numbers:
            del table[shift]

    def finish(self) -> None:
        self._four = dict(sorted(self._four.items()))
        self._six = dict(sorted(self._six.items()))

    def find(self, key: str) -> Value | None:
        address = normalise_ip(key)
        if address is None:
            return None
        number = _number(address)
        for shift, numbers in (self._six if ":" in address else self._four).items():
            found = numbers.get(number >> shift)
            if found is not None:
                return found
        return None


def _number(address: str) -> int:
    if ":" in address:
        return int(IPv6Address(address))
    a, b, c, d = address.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)
