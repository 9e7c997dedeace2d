"""The conditions that settings have, each by its key: a value of the configuration made into tests of a message.

Promises: a test reads what the client sent and the message only, never waits, and takes no longer for one value than for
another: patterns are RE2's. A value that cannot be right is a ValueError that says why.
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from filterd.engine.candidate import Candidate, Probe
from filterd.engine.expressions import Compiler, Expression
from filterd.engine.expressions.patterns import Pattern
from filterd.mail.address import Address, parse_path

__all__ = ["CONDITIONS", "Asked", "Test"]

Asked = Candidate | Probe
Test = Callable[[Asked], bool]
LOCAL = tuple(
    map(
        ip_network,
        "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fe80::/10 fc00::/7".split(),
    )
)
"""Loopback, link-local, and the networks of RFC 1918 and RFC 4193."""


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _table(wanted: str, compiler: Compiler) -> Container[Any]:
    name = wanted.removeprefix("map:")
    found = compiler.maps.get(name)
    if found is None:
        raise ValueError(f"there is no map {name!r}; there are {', '.join(compiler.maps) or 'none'}")
    return found


def _text_test(value: Any, compiler: Compiler) -> Callable[[str], bool]:
    """`/regexp/`, a pattern with * or ?, `map:NAME`, or the text itself, in any case."""
    tests = [_one_text_test(one, compiler) for one in _listed(value)]
    return lambda text: any(test(text) for test in tests)


def _one_text_test(wanted: Any, compiler: Compiler) -> Callable[[str], object]:
    if not isinstance(wanted, str):
        raise ValueError(f"{wanted!r} is not a text")
    if wanted.startswith("map:"):
        return _table(wanted, compiler).__contains__
    body, slash, flags = wanted.rpartition("/")
    if slash and len(body) > 1 and body.startswith("/"):
        return Pattern(body[1:], flags).found_in
    if "*" in wanted or "?" in wanted:
        pieces = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in wanted)
        return Pattern(rf"\A{''.join(pieces)}\z", "is").found_in
    lowered = wanted.lower()
    return lambda text: text.lower() == lowered


def _address_test(value: Any, compiler: Compiler) -> Callable[[Address], bool]:
    """`user@domain`, `@domain`, `user@`, `/regexp/` over the whole, a pattern, or a bare word: a user, with a dot a domain."""
    tests = [_one_address_test(one, compiler) for one in _listed(value)]
    return lambda address: any(test(address) for test in tests)


def _one_address_test(wanted: Any, compiler: Compiler) -> Callable[[Address], object]:
    whole = _one_text_test(wanted, compiler)
    if wanted.startswith("map:"):
        table = _table(wanted, compiler)
        return lambda address: address in table or (address.domain != "" and address.domain in table)
    if wanted.startswith("/") or "*" in wanted or "?" in wanted or "@" in wanted.strip("@"):
        return whole
    lowered = wanted.strip("@").lower()
    if wanted.endswith("@"):
        return lambda address: address.user.lower() == lowered
    if wanted.startswith("@"):
        return lambda address: address.domain == lowered
    if "." in wanted:
        return lambda address: lowered in (address.domain, address.user.lower())
    return lambda address: address.user.lower() == lowered


Condition = Callable[[str, Any, Compiler], dict[str, Test]]


def _ip(key: str, value: Any, compiler: Compiler) -> dict[str, Test]:
    networks: list[IPv4Network | IPv6Network] = []
    tables: list[Container[Any]] = []
    for one in _listed(value):
        if isinstance(one, str) and one.startswith("map:"):
            tables.append(_table(one, compiler))
        else:
            networks.append(ip_network(str(one), strict=False))

    def test(candidate: Asked) -> bool:
        ip = candidate.envelope.ip
        if ip is None:
            return False
        return any(ip_address(ip) in network for network in networks) or any(ip in table for table in tables)

    return {key: test}


def _of_addresses(read: Callable[[Asked], Iterable[Address]]) -> Condition:
    def condition(key: str, value: Any, compiler: Compiler) -> dict[str, Test]:
        test = _address_test(value, compiler)
        return {key: lambda candidate: any(test(address) for address in read(candidate))}

    return condition


def _of_text(read: Callable[[Asked], str | None]) -> Condition:
    def condition(key: str, value: Any, compiler: Compiler) -> dict[str, Test]:
        test = _text_test(value, compiler)
        return {key: lambda candidate: (text := read(candidate)) is not None and test(text)}

    return condition


def _of_table(read: Callable[[Asked, str], list[str]]) -> Condition:
    """A name and what its value is: a text as everywhere, true for "it is there", false for "it is not"."""

    def one(name: str, wanted: Any, compiler: Compiler) -> Test:
        if isinstance(wanted, bool):
            return lambda candidate: bool(read(candidate, name)) is wanted
        test = _text_test(wanted, compiler)
        return lambda candidate: any(map(test, read(candidate, name)))

    def condition(key: str, value: Any, compiler: Compiler) -> dict[str, Test]:
        if not isinstance(value, Mapping):
            raise ValueError("it is a table of names and values")
        return {f"{key}:{name}": one(name, wanted, compiler) for name, wanted in value.items()}

    return condition


def _of_truth(read: Callable[[Asked], bool]) -> Condition:
    def condition(key: str, value: Any, compiler: Compiler) -> dict[str, Test]:
        if not isinstance(value, bool):
            raise ValueError("it is true or false")
        return {key: lambda candidate: read(candidate) is value}

    return condition


def _selector(key: str, value: Any, compiler: Compiler) -> dict[str, Test]:
    """It holds where the selector has a value, of several any."""

    def test_of(selector: Expression) -> Test:
        return lambda candidate: selector(candidate.task) not in (None, False, "")

    found = {}
    for number, text in enumerate(_listed(value), 1):
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is not a text")
        found[f"{key}:{number}"] = test_of(compiler.compile(text, stage="message"))
    if len(found) > 1:
        tests = tuple(found.values())
        return {key: lambda candidate: any(test(candidate) for test in tests)}
    return found


def _is_local(candidate: Asked) -> bool:
    ip = candidate.envelope.ip
    return ip is not None and any(ip_address(ip) in network for network in LOCAL)


def _senders(candidate: Asked) -> list[Address]:
    sender = candidate.envelope.mail_from
    return [] if sender is None else [sender]


def _users(candidate: Asked) -> list[Address]:
    user = candidate.envelope.user
    if not user:
        return []
    return [parse_path(user) if "@" in user else Address(user, user=user)]


def _request_header(candidate: Asked, name: str) -> list[str]:
    return candidate.envelope.get_all(name)


CONDITIONS: Mapping[str, Condition] = {
    "ip": _ip,
    "client_ip": _ip,
    "from": _of_addresses(_senders),
    "rcpt": _of_addresses(lambda candidate: candidate.envelope.rcpts),
    "from_mime": _of_addresses(lambda candidate: candidate.message.from_),
    "rcpt_mime": _of_addresses(lambda candidate: [*candidate.message.to, *candidate.message.cc]),
    "user": _of_addresses(_users),
    "hostname": _of_text(lambda candidate: candidate.envelope.hostname),
    "helo": _of_text(lambda candidate: candidate.envelope.helo),
    "authenticated": _of_truth(lambda candidate: bool(candidate.envelope.user)),
    "local": _of_truth(_is_local),
    "header": _of_table(lambda candidate, name: [one.decoded for one in candidate.message.headers(name)]),
    "request_header": _of_table(_request_header),
    "selector": _selector,
}
"""The conditions by their key; each gives its tests by name."""
