"""What kinds of value there are in expressions, and which fits where: checked when the configuration loads."""

from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from filterd.mail.address import Address
from filterd.mail.mime import Part
from filterd.mail.received import Received
from filterd.mail.urls import Url
from filterd.mail.verdict import Hit

__all__ = ["ATTRIBUTES", "TEXT", "UNKNOWN", "YES_NO", "Kind", "kind_of"]

_WORDS: dict[type, tuple[str, str]] = {
    str: ("text", "texts"),
    bytes: ("bytes", "bytes"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("yes or no", "yes or no"),
    Address: ("an address", "addresses"),
    Url: ("a URL", "URLs"),
    Received: ("a Received field", "Received fields"),
    Part: ("a part", "parts"),
    Hit: ("a hit", "hits"),
    object: ("anything", "anything"),
}

ATTRIBUTES: dict[type, dict[str, tuple[str, Any]]] = {
    Address: {name: (name, str) for name in ("addr", "user", "domain", "name", "raw")},
    Url: {
        **{name: (name, str) for name in ("raw", "scheme", "host", "domain", "user", "path", "query", "fragment")},
        "port": ("port", int),
        # Rspamd's methods of a URL.
        **{f"get_{name}": (name, str) for name in ("host", "user", "path", "query", "fragment")},
        "get_tld": ("domain", str),
        "get_text": ("raw", str),
        "get_protocol": ("scheme", str),
        "get_port": ("port", int),
    },
    Received: {
        **{name: (name, str) for name in ("from_hostname", "from_ip", "real_hostname", "real_ip", "by_hostname", "proto")},
        "for": ("for_", str),
        "timestamp": ("timestamp", float),
    },
    Part: {
        "type": ("type", str),
        "detected_type": ("detected_type", str),
        "filename": ("filename", str),
        "size": ("raw_size", int),
    },
    Hit: {
        "name": ("name", str),
        "score": ("score", float),
        "weight": ("weight", float),
        "options": ("options", list[str]),
        "groups": ("groups", list[str]),
    },
}
"""By type: the name in an expression, the name of the attribute, its type."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One `item`, or a list of them. An item of `object` is not known before a message comes, nor is whether it is a list."""

    item: type = object
    is_list: bool = False

    def __str__(self) -> str:
        one, many = _WORDS.get(self.item, (f"a {self.item.__name__}", f"{self.item.__name__}s"))
        return f"a list of {many}" if self.is_list else one

    @property
    def is_number(self) -> bool:
        return not self.is_list and self.item is not bool and issubclass(self.item, int | float)

    def holds(self, other: "Kind") -> bool:
        """Where this is wanted, will `other` do? Lists and single values are not told apart."""
        if self.item is object or other.item is object:
            return True
        if self.item is float:
            return issubclass(other.item, int | float)
        return issubclass(other.item, self.item)


UNKNOWN = Kind()
TEXT = Kind(str)
YES_NO = Kind(bool)


def kind_of(annotation: Any) -> Kind:
    """`str`, `list[int]`, `list`, `str | None`; None and Any are not known."""
    if get_origin(annotation) in (Union, UnionType):
        told = [one for one in get_args(annotation) if one is not type(None)]
        return kind_of(told[0]) if len(told) == 1 else UNKNOWN
    origin = get_origin(annotation) or annotation
    if origin in (list, tuple):
        items = get_args(annotation)
        return Kind(kind_of(items[0]).item if items else object, is_list=True)
    return Kind(origin) if isinstance(origin, type) and origin not in (Any, type(None)) else UNKNOWN
