"""Which messages settings are for: the conditions of `[settings.ID]`.

Promises:

* All conditions of an element must hold; of the values of one condition any. `inverse` turns the whole around.
* Elements are tried by falling priority, among equals in the order of the configuration; the first that matches applies.
* A condition that cannot be right is a SettingsError when the configuration is read, naming the key.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from filterd.engine.settings import Settings, SettingsError
from filterd.mail.address import Address
from filterd.mail.request import ScanRequest

__all__ = ["CONDITIONS", "Element", "element", "first_match"]

Test = Callable[[ScanRequest], bool]
LOCAL = tuple(
    map(
        ip_network,
        "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fe80::/10 fc00::/7".split(),
    )
)
"""Loopback, link-local, and the networks of RFC 1918 and RFC 4193."""

PRIORITIES = {"low": 1, "medium": 2, "high": 3}


@dataclass(frozen=True, slots=True)
class Element:
    """Settings with their name and the messages they are for."""

    id: str
    settings: Settings
    tests: tuple[Test, ...] = ()
    priority: int = 2
    inverse: bool = False

    def matches(self, request: ScanRequest) -> bool:
        """Whether they are for this message; an element without conditions is for nobody but who asks by name."""
        if not self.tests:
            return False
        return all(test(request) for test in self.tests) is not self.inverse


def first_match(elements: Iterable[Element], request: ScanRequest) -> Element | None:
    """The element for a message, of a sequence in the order of priority."""
    for one in elements:
        if one.matches(request):
            return one
    return None


def element(id: str, table: Mapping[str, Any]) -> Element:
    """An element from its table. Raises SettingsError naming the key."""
    tests = []
    for key, value in table.items():
        if key in ("apply", "priority", "inverse") or value is None:
            continue
        condition = CONDITIONS.get(key)
        if condition is None:
            raise SettingsError(f"{key}: there is no such condition; there are {', '.join(CONDITIONS)}")
        try:
            tests.append(condition(value))
        except (ValueError, re.error) as error:
            raise SettingsError(f"{key}: {error}") from None
    priority = table.get("priority", "medium")
    if priority not in PRIORITIES and not isinstance(priority, int):
        raise SettingsError('priority: it is "low", "medium", "high" or a whole number')
    return Element(
        id,
        Settings.of(table.get("apply", {})),
        tuple(tests),
        PRIORITIES[priority] if isinstance(priority, str) else priority,
        bool(table.get("inverse", False)),
    )


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text_test(value: Any) -> Callable[[str], bool]:
    """`/regexp/`, a pattern with * or ?, or the text itself, in any case."""
    tests = [_one_text_test(one) for one in _listed(value)]
    return lambda text: any(test(text) for test in tests)


def _one_text_test(wanted: Any) -> Callable[[str], object]:
    if not isinstance(wanted, str):
        raise ValueError(f"{wanted!r} is not a text")
    expression = wanted.removesuffix("i")
    if len(expression) > 1 and expression.startswith("/") and expression.endswith("/"):
        return re.compile(expression[1:-1], re.IGNORECASE if wanted.endswith("/i") else 0).search
    if "*" in wanted or "?" in wanted:
        return re.compile(translate(wanted), re.IGNORECASE).match
    return lambda text: text.lower() == wanted.lower()


def _address_test(value: Any) -> Callable[[Address], bool]:
    """`user@domain`, `@domain` or `domain`, `user@`, `/regexp/` over the whole, or a pattern."""
    tests = [_one_address_test(one) for one in _listed(value)]
    return lambda address: any(test(address) for test in tests)


def _one_address_test(wanted: Any) -> Callable[[Address], object]:
    whole = _one_text_test(wanted)
    if wanted.startswith("/") or "*" in wanted or "?" in wanted or "@" in wanted.strip("@"):
        return whole
    if wanted.endswith("@"):
        return lambda address: address.user.lower() == wanted[:-1].lower()
    return lambda address: address.domain == wanted.removeprefix("@").lower()


def _ip(value: Any) -> Test:
    networks: list[IPv4Network | IPv6Network] = [ip_network(str(one), strict=False) for one in _listed(value)]

    def test(request: ScanRequest) -> bool:
        ip = request.envelope.ip
        return ip is not None and any(ip_address(ip) in network for network in networks)

    return test


def _of_addresses(read: Callable[[ScanRequest], Iterable[Address]]) -> Callable[[Any], Test]:
    def condition(value: Any) -> Test:
        test = _address_test(value)
        return lambda request: any(test(address) for address in read(request))

    return condition


def _of_text(read: Callable[[ScanRequest], str | None]) -> Callable[[Any], Test]:
    def condition(value: Any) -> Test:
        test = _text_test(value)
        return lambda request: (text := read(request)) is not None and test(text)

    return condition


def _of_table(read: Callable[[ScanRequest, str], str | None]) -> Callable[[Any], Test]:
    def condition(value: Any) -> Test:
        if not isinstance(value, Mapping):
            raise ValueError("it is a table of names and values")
        tests = [(name, None if wanted is True else _text_test(wanted)) for name, wanted in value.items()]

        def test(request: ScanRequest) -> bool:
            found = [(read(request, name), wanted) for name, wanted in tests]
            return all(text is not None and (wanted is None or wanted(text)) for text, wanted in found)

        return test

    return condition


def _of_truth(read: Callable[[ScanRequest], bool]) -> Callable[[Any], Test]:
    def condition(value: Any) -> Test:
        if not isinstance(value, bool):
            raise ValueError("it is true or false")
        return lambda request: read(request) is value

    return condition


def _is_local(request: ScanRequest) -> bool:
    ip = request.envelope.ip
    return ip is not None and any(ip_address(ip) in network for network in LOCAL)


def _senders(request: ScanRequest) -> list[Address]:
    sender = request.envelope.mail_from
    return [] if sender is None else [sender]


CONDITIONS: Mapping[str, Callable[[Any], Test]] = {
    "ip": _ip,
    "client_ip": _ip,
    "from": _of_addresses(_senders),
    "rcpt": _of_addresses(lambda request: request.envelope.rcpts),
    "from_mime": _of_addresses(lambda request: request.message.from_),
    "rcpt_mime": _of_addresses(lambda request: [*request.message.to, *request.message.cc]),
    "user": _of_text(lambda request: request.envelope.user),
    "hostname": _of_text(lambda request: request.envelope.hostname),
    "helo": _of_text(lambda request: request.envelope.helo),
    "authenticated": _of_truth(lambda request: bool(request.envelope.user)),
    "local": _of_truth(_is_local),
    "header": _of_table(lambda request, name: request.message.header(name)),
    "request_header": _of_table(lambda request, name: request.envelope.get(name)),
}
"""The conditions by their key."""
