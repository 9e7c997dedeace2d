"""What expressions make of values: Rspamd's transforms and a few of our own.

Promises: none waits, none raises; what cannot be made is None. Patterns are RE2's, so none takes long.
"""

from base64 import b64encode
from ipaddress import ip_address, ip_network
from math import isfinite
from typing import Any, Final

from filterd.engine.expressions.extractors import HASHES, Encoding, HashName, encoded
from filterd.engine.expressions.kinds import TEXT, Kind
from filterd.engine.expressions.patterns import Pattern
from filterd.engine.expressions.vocabulary import Transform
from filterd.mail.hosts import registrable

__all__ = ["TRANSFORMS"]

_TEXT_LENGTH: Final = 64 * 1024
"""Characters that a list is joined to: the key of a map, a header and a log line are all shorter."""


def _nth(values: list[Any], n: int) -> Any:
    """The first is 1, the last -1."""
    place = n - 1 if n > 0 else n
    return values[place] if n and -len(values) <= place < len(values) else None


def _join(values: list[Any], separator: str = "") -> str:
    return separator.join(str(value) for value in values if value is not None)[:_TEXT_LENGTH]


def _digest(value: str, encoding: Encoding = "hex", hash: HashName = "blake2") -> str:
    return encoded(HASHES[hash](value.encode("utf-8", "surrogatepass")), encoding)


def _substring(value: str, first: int = 1, last: int = -1) -> str:
    """As in Lua: counted from 1, both ends included, negative ones from the end."""
    start = max(first - 1 if first > 0 else len(value) + first if first < 0 else 0, 0)
    end = last if last >= 0 else len(value) + last + 1
    return value[start : max(end, 0)]


def _separator(separator: str) -> tuple[str]:
    return (separator or " ",)


def _pattern(pattern: object) -> tuple[Pattern]:
    if not isinstance(pattern, str | Pattern):
        raise ValueError(f"{pattern!r} is no pattern")
    return (pattern if isinstance(pattern, Pattern) else Pattern(pattern),)


def _pattern_and_text(pattern: object, replacement: str) -> tuple[Pattern, str]:
    return (*_pattern(pattern), str(replacement))


def _mask(value: str, bits: int, bits6: int = -1) -> str | None:
    """The first address of the network."""
    try:
        address = ip_address(value)
        width = bits if address.version == 4 or bits6 < 0 else bits6
        return str(ip_network((value, max(0, min(width, address.max_prefixlen))), strict=False).network_address)
    except ValueError:
        return None


def _reversed_ip(value: str) -> str | None:
    try:
        # Without what `ip6.arpa` and `in-addr.arpa` are: a blocklist's zone is appended.
        return ip_address(value).reverse_pointer.rpartition(".")[0].rpartition(".")[0]
    except ValueError:
        return None


def _domain(value: str) -> str | None:
    return value.rpartition("@")[2].lower() if "@" in value else None


def _user(value: str) -> str | None:
    return value.rpartition("@")[0] or None


def _int(value: Any) -> int | None:
    try:
        return int(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _bar(value: Any, positive: str = "+", negative: str = "-", zero: str = "", limit: int = 50) -> str | None:
    """A mark for each whole point, of the sign; `zero` for less than one."""
    number = _float(value)
    if number is None:
        return None
    marks = min(int(abs(number)), max(limit, 0)) if isfinite(number) else max(limit, 0)
    return ((positive if number > 0 else negative) * marks if marks else zero)[:_TEXT_LENGTH]


def _rounded(value: Any, digits: int = 0) -> float | None:
    number = _float(value)
    return None if number is None else round(number, max(min(digits, 15), 0)) if isfinite(number) else number


def _chosen(value: Any, yes: str, no: str = "") -> str:
    return yes if value else no


def _without_tag(value: str) -> str:
    user, at, domain = value.rpartition("@")
    return f"{user.partition('+')[0]}@{domain}" if at else value.partition("+")[0]


def _unique(values: list[Any]) -> list[Any]:
    try:
        return list(dict.fromkeys(values))
    except TypeError:  # hits, of which there are few, have no hash
        return [one for number, one in enumerate(values) if one not in values[:number]]


def _take(values: list[Any], n: int) -> list[Any] | None:
    return values[: max(n, 0)] or None


def _drop(values: list[Any], n: int) -> list[Any] | None:
    return values[max(n, 0) :] or None


def _replaced(_value: Any, *values: str) -> Any:
    return list(values) if len(values) > 1 else values[0] if values else ""


def _ascii(value: str, replacement: str = "?") -> str:
    return "".join(character if character.isascii() else replacement for character in value)


def _default(value: Any, text: str = "") -> Any:
    return text if value is None else value


def _only(is_so: bool, value: Any) -> Any:  # noqa: FBT001 - a condition and what passes it
    return value if is_so else None


def _item(kind: Kind) -> Kind:
    return Kind(kind.item)


def _many(kind: Kind) -> Kind:
    return Kind(kind.item, is_list=True)


def _same(kind: Kind) -> Kind:
    return kind


def _pieces(_kind: Kind) -> Kind:
    return Kind(str, is_list=True)


def _unknown_unless_text(kind: Kind) -> Kind:
    # A default is text; what it stands in for may be something else.
    return kind if kind.is_list or issubclass(kind.item, str) else Kind()


TRANSFORMS: Final = (
    # Text.
    Transform("lower", str.lower, str, str),
    Transform("lower_utf8", str.lower, str, str),
    Transform("upper", str.upper, str, str),
    Transform("strip", str.strip, str, str),
    Transform("prepend", lambda value, *texts: "".join(map(str, texts)) + value, str, str),
    Transform("prefix", lambda value, *texts: "".join(map(str, texts)) + value, str, str),
    Transform("append", lambda value, *texts: value + "".join(map(str, texts)), str, str),
    Transform("suffix", lambda value, *texts: value + "".join(map(str, texts)), str, str),
    Transform("substring", _substring, str, str),
    Transform("to_ascii", _ascii, str, str),
    Transform("digest", _digest, str, str),
    Transform("length", len, str, int),
    Transform("len", len, str, int),
    Transform("hex", lambda value: value.encode("utf-8", "surrogatepass").hex(), str, str),
    Transform("base64", lambda value: b64encode(value.encode("utf-8", "surrogatepass")).decode(), str, str),
    Transform("split", lambda value, separator: [one for one in value.split(separator) if one] or None, str, returns_of=_pieces,
              prepare=_separator),
    Transform("regexp", lambda value, pattern: pattern.pieces_of(value), str, returns_of=_pieces, prepare=_pattern),
    Transform("match", lambda value, pattern: pattern.pieces_of(value), str, returns_of=_pieces, prepare=_pattern),
    Transform("re", lambda value, pattern: pattern.pieces_of(value), str, returns_of=_pieces, prepare=_pattern),
    Transform("sub", lambda value, pattern, text: pattern.replaced_in(value, text), str, str, prepare=_pattern_and_text),
    # Addresses and names.
    Transform("ipmask", _mask, str, str),
    Transform("reverse_ip", _reversed_ip, str, str),
    Transform("get_domain", _domain, str, str),
    Transform("get_user", _user, str, str),
    Transform("domain", _domain, str, str),
    Transform("local", _user, str, str),
    Transform("strip_plus", _without_tag, str, str),
    Transform("get_tld", lambda value: registrable(value.lower().rpartition("@")[2]), str, str),
    # Lists.
    Transform("first", lambda values: values[0], list, returns_of=_item),
    Transform("last", lambda values: values[-1], list, returns_of=_item),
    Transform("nth", _nth, list, returns_of=_item),
    Transform("take_n", _take, list, returns_of=_many),
    Transform("drop_n", _drop, list, returns_of=_many),
    Transform("join", _join, list, returns_of=lambda _: TEXT),
    Transform("sort", lambda values: sorted(values, key=str), list, returns_of=_many),
    Transform("uniq", _unique, list, returns_of=_many),
    Transform("count", len, list, int),
    Transform("filter_string_nils", lambda values: [one for one in values if one not in (None, "nil")] or None, list[str],
              returns_of=_many),
    # What passes, and what stands in for what is not there.
    Transform("default", _default, returns_of=_unknown_unless_text, on_none=True),
    Transform("equal", lambda value, text: _only(value == text, value), str, returns_of=_same),
    Transform("in", lambda value, *texts: _only(value in texts, value), str, returns_of=_same),
    Transform("not_in", lambda value, *texts: _only(value not in texts, value), str, returns_of=_same),
    Transform("inverse", lambda value, text="true": None if value else text, returns=str, on_none=True),
    Transform("id", _replaced, returns_of=lambda _: Kind(str)),
    Transform("iif", _chosen, returns=str, on_none=True),
    Transform("int", _int, returns=int),
    Transform("float", _float, returns=float),
    Transform("round", _rounded, float, float),
    Transform("bar", _bar, float, str),
    # Maps.
    Transform("filter_map", lambda value, table: _only(value in table, value), str, returns_of=_same, wants_map=True),
    Transform("in_map", lambda value, table: _only(value in table, value), str, returns_of=_same, wants_map=True),
    Transform("except_map", lambda value, table: _only(value not in table, value), str, returns_of=_same, wants_map=True),
    Transform("apply_map", lambda value, table: table.get(value), str, returns=object, wants_map=True),
    Transform("map", lambda value, table, default=None: table.get(value, default), str, returns=object, wants_map=True),
)  # fmt: skip
"""All of them."""
