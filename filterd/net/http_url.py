"""An http or https address taken apart (RFC 3986, RFC 9110 4.2), and what kind of host it leads to.

Promises:

* What comes out is safe to be sent: `target` and `authority` are printable ASCII, non-ASCII hosts are in IDNA form, other
  non-ASCII characters and blanks are percent-encoded as UTF-8.
* Forms that two programs would read differently (a backslash in the authority, control characters) are refused.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, unquote, urljoin

__all__ = ["MAX_URL", "BadUrl", "Url", "is_local", "literal_address", "parse_url", "shown_url"]

_URL = re.compile(
    r"(https?)://(?:([^/?#]*)@)?(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@]+)(?::([0-9]{0,5}))?([/?][^#]*)?(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[a-z0-9._-]{1,255}")
_PRINTABLE = re.compile(r"[!-~]+")
# All that may stand in a target as it is; a percent sign is taken as an escape already made.
_KEEP = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~"
_DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL = 16 * 1024
"""Characters of an address: what servers accept is less, and addresses from mail may be anything."""

_NAT64 = IPv6Network("64:ff9b::/96")


class BadUrl(ValueError):
    """No http or https address; the text says why."""


@dataclass(frozen=True, slots=True)
class Url:
    """`host` is in lower case, IDNA and without brackets; `target` is path and query as sent; `authority` is for Host."""

    text: str
    scheme: str
    host: str
    port: int
    authority: str
    target: str
    user: str | None = None
    password: str | None = None

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: whom credentials are for (RFC 6454 4)."""
        return self.scheme, self.host, self.port

    def joined(self, location: str) -> "Url":
        """What a Location header in an answer from here leads to; raises BadUrl."""
        try:
            return parse_url(urljoin(self.text, location))
        except ValueError as error:
            raise BadUrl(str(error)) from None


@lru_cache(maxsize=1024)
def parse_url(text: str) -> Url:
    """The parts of an absolute http or https address. Raises BadUrl."""
    if len(text) > MAX_URL:
        raise BadUrl(f"an address of {len(text)} characters is too long")
    found = _URL.fullmatch(text)
    if found is None or _CONTROL.search(text):
        raise BadUrl(f"{text[:200]!r} is no http or https address")
    scheme, login, host, port, target = found.groups()
    scheme = scheme.lower()
    host = _ip6(host) if host[0] == "[" else _name(host)
    number = int(port) if port else _DEFAULT_PORTS[scheme]
    if not 0 < number < 65536:
        raise BadUrl(f"{text[:200]!r} has no usable port")
    target = target or "/"
    if target[0] == "?":
        target = f"/{target}"
    if not _PRINTABLE.fullmatch(target):
        target = quote(target, safe=_KEEP, errors="replace")
    authority = f"[{host}]" if ":" in host else host
    if number != _DEFAULT_PORTS[scheme]:
        authority = f"{authority}:{number}"
    user = password = None
    if login is not None:
        if "\\" in login:
            raise BadUrl(f"{text[:200]!r} has a backslash before its host")
        user, _, secret = login.partition(":")
        user, password = unquote(user), unquote(secret)
    return Url(text, scheme, host, number, authority, target, user, password)


def _ip6(host: str) -> str:
    try:
        return str(IPv6Address(host[1:-1]))
    except ValueError:
        raise BadUrl(f"{host[:200]!r} is no IPv6 address") from None


def _name(host: str) -> str:
    if not host.isascii():
        import idna  # 10 ms of tables that a daemon which never needs them should not load

        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise BadUrl(f"{host[:200]!r} is no host name: {error}") from None
    host = host.lower()
    if not _HOST.fullmatch(host):
        raise BadUrl(f"{host[:200]!r} is no host name")
    return host


def shown_url(url: str) -> str:
    """The address as logs may have it: without a user, a password or the query, where keys of services are."""
    match = _URL.fullmatch(url)
    if match is None:
        return url
    user = f"{url[: match.start(2)]}(hidden)@{url[match.end(2) + 1 :]}" if match[2] is not None else url
    address, question, _ = user.partition("?")
    return f"{address}?(hidden)" if question else address


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address a numeric host is, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_local(address: str) -> bool:
    """The address leads to this machine or a network that is not the public one: loopback, private, link-local, …

    IPv6 forms that carry an IPv4 address (mapped, 6to4, NAT64) are judged by it. Raises ValueError for a name.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is not None:
            ip = inner
    return not ip.is_global or ip.is_multicast
