"""Host names and addresses as links spell them, brought into one spelling, and the domain that somebody registered.

Promises:

* Nothing raises. A host is read as browsers read it (WHATWG URL 3.5): percent escapes, other widths and forms of letters and
  dots, IPv4 addresses in decimal, octal or hexadecimal all lead to the name or address that would be connected to.
* What was not plain is flagged.
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from publicsuffixlist import PublicSuffixList

from filterd.mail.ip import normalise_ip

__all__ = ["Host", "has_known_suffix", "load_suffixes", "read_host", "registrable"]

_LENGTH: Final = 253  # RFC 1035 2.3.4
_ESCAPED_LENGTH: Final = 3 * _LENGTH
_ENCODED_LABEL: Final = 40  # characters: Python's punycode is quadratic in them, and no name that is in use comes near
_CACHED: Final = 4096  # hosts and suffixes: most mail links to the same few

_NAME = re.compile(r"(?>(?:[a-z0-9_-]{1,63}\.)*)[a-z0-9_-]{1,63}")
_WIDE_NAME = re.compile(r"(?>(?:[\w-]{1,63}\.)*)[\w-]{1,63}")
_NUMBER = re.compile(r"0x[0-9a-f]*+|\d++", re.ASCII)
_OCTETS = re.compile(r"(?:(?:0|[1-9]\d{0,2})(?:\.(?!\Z)|\Z)){4}", re.ASCII)
# Shown as nothing, and ignored in names: soft hyphen, joiners, blanks without width, selectors of variants.
_INVISIBLE: Final = dict.fromkeys(
    [
        0xAD,
        0x34F,
        0x61C,
        0x180E,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
        0xFEFF,
    ]
)
_IDEOGRAPHIC_STOP: Final = "\u3002"


class Host(NamedTuple):
    """A name in lower case and the form DNS asks for (`xn--…`), or an address in its usual spelling, and its `domain`.

    `flags` are those of `idn` (not only ASCII), `numeric` (an IP address), `host_encoded` (percent escapes), `obscured` (an
    unusual spelling that leads to the same place) and `no_tld` (under no known top-level domain) that apply.
    """

    name: str
    flags: frozenset[str]
    domain: str


@cache
def load_suffixes() -> PublicSuffixList:
    """The public suffix list that came with its package: 50 ms and 4 MB when it is first asked for, then kept.

    A daemon calls it at its start, or the first message with a link would wait for it.
    """
    return PublicSuffixList()


@lru_cache(maxsize=_CACHED)
def registrable(host: str) -> str:
    """The registrable domain of `host`, one label more than its public suffix; of an address or a suffix it is the host."""
    if host.startswith("[") or _OCTETS.fullmatch(host):
        return host
    return load_suffixes().privatesuffix(host) or host


@lru_cache(maxsize=_CACHED)
def has_known_suffix(label: str) -> bool:
    """Is `label`, the last one of a name, a top-level domain of the public suffix list?"""
    return load_suffixes().publicsuffix(label, accept_unknown=False) is not None


def read_host(text: str, *, may_encode: bool = True) -> Host | None:
    """The host that `text` stands for, or None when no browser would take it for one.

    Without `may_encode` a name that is not ASCII stays as it is and not in the form for DNS, which takes up to 0.2 ms.
    """
    # What nearly all are; with the cache this is all there is to do.
    return _read_cached(text, may_encode) if len(text) <= _ESCAPED_LENGTH else None


@lru_cache(maxsize=_CACHED)
def _read_cached(text: str, may_encode: bool) -> Host | None:  # noqa: FBT001 - lru_cache is faster without names
    flags: set[str] = set()
    if "%" in text:
        text = unquote(text)
        flags.add("host_encoded")
    if text.startswith("["):
        address = normalise_ip(text) if text.endswith("]") else None
        if address is None:
            return None
        address = f"[{address}]" if ":" in address else address
        return Host(address, frozenset(flags | {"numeric"}), address)
    name = text.lower().removesuffix(".")
    if not name.isascii():
        name = _folded(name, flags).removesuffix(".")
    if not (_NAME if name.isascii() else _WIDE_NAME).fullmatch(name):
        return None
    if not name.isascii():
        flags.add("idn")
        if may_encode:
            name = ".".join(map(_encoded, name.split(".")))
    if len(name) > _LENGTH:
        return None
    last = name.rpartition(".")[2]
    if _NUMBER.fullmatch(last):
        address = _ipv4(name)
        if address is None:
            return None
        if address != name:
            flags.add("obscured")
        return Host(address, frozenset(flags | {"numeric"}), address)
    if "xn--" in name:
        flags.add("idn")
    if not has_known_suffix(last):
        flags.add("no_tld")
    return Host(name, frozenset(flags), registrable(name))


def _folded(name: str, flags: set[str]) -> str:
    """`name` with other forms of one letter made the same (UTS 46, by the tables that Python has)."""
    folded = unicodedata.normalize("NFKC", name.translate(_INVISIBLE)).lower().replace(_IDEOGRAPHIC_STOP, ".")
    # Composing the parts of a letter is nothing to remark on.
    if folded != unicodedata.normalize("NFC", name):
        flags.add("obscured")
    return folded


def _encoded(label: str) -> str:
    if label.isascii() or len(label) > _ENCODED_LABEL:
        return label
    return "xn--" + label.encode("punycode").decode("ascii")


def _ipv4(name: str) -> str | None:
    """`name`, whose last label is a number, as an IPv4 address (WHATWG URL 3.5, "ends in a number" and "IPv4 parser")."""
    labels = name.split(".")
    if len(labels) > 4 or not all(map(_NUMBER.fullmatch, labels)):
        return None
    *leading, last = map(_number, labels)
    if last < 0 or last >= 256 ** (4 - len(leading)) or not all(0 <= number < 256 for number in leading):
        return None
    for position, number in enumerate(leading):
        last += number << 8 * (3 - position)
    return ".".join(str(last >> shift & 255) for shift in (24, 16, 8, 0))


def _number(label: str) -> int:
    """The value of a hexadecimal, octal or decimal number; -1 for 08, which is none of them."""
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    if label.startswith("0"):
        return -1 if "8" in label or "9" in label else int(label, 8)
    return int(label)
