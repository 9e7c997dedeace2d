"""The kinds of value that a key can have, each a type with its reader: durations, sizes, paths, addresses, thresholds.

Promises: what a reader refuses, it refuses with the rest of the sentence that begins with what was written.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from filterd.daemon import units
from filterd.daemon.units import Address, Written
from filterd.mail.maps import BadKey, IpMap
from filterd.net.http_url import BadUrl, parse_url

__all__ = [
    "Bind",
    "Count",
    "Duration",
    "ExistingPath",
    "FilePath",
    "Free",
    "Listed",
    "MapSource",
    "NameServer",
    "Named",
    "Natural",
    "Network",
    "Protocol",
    "Proxy",
    "RecordType",
    "RedisServer",
    "Scored",
    "Sentinel",
    "Servers",
    "Size",
    "SocketPath",
    "Threshold",
    "Timeout",
    "TrustedProxy",
    "WorkerCount",
    "nothing",
]

V = TypeVar("V")

MOST_WORKERS = 1024
"""Processes: more than any machine has CPUs for, and a typing error in the number stays harmless."""


def _listed(value: object) -> object:
    """One value where a list is possible is a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _socket_path(value: object) -> str:
    return units.address(f"unix:{value}" if not isinstance(value, Written) else Written(f"unix:{value}", value.folder)).path


def _words(value: object) -> object:
    """A list may also be one string, with spaces or commas between."""
    if not isinstance(value, str):
        return _listed(value)
    return tuple(Written(word, units.folder_of(value)) for word in value.replace(",", " ").split())


def _existing(path: Path) -> Path:
    try:
        exists = path.exists()
    except PermissionError:
        exists = True  # what root has seen to, a worker may not be able to see; who reads it will tell
    if not exists:
        raise ValueError(f"does not exist (looked for {path})")
    return path


def _nameserver(value: object) -> Address:
    try:
        server = units.address(value, default_port=53)
    except ValueError:
        server = Address()
    if not units.is_ip(server.host):
        raise ValueError('is not the IP address of a name server ("127.0.0.53", "192.0.2.1:5353", "[::1]:53")')
    return server


def _threshold(value: object) -> object:
    # TOML has no null: `false` disables, and so does the bare word of `--set actions.reject=null`.
    if value is True or (isinstance(value, str) and value != "null"):
        raise ValueError("is not a threshold (a number, or false to disable the action)")
    return None if value is False or value == "null" else value


def _protocol(value: object) -> object:
    if value == "smtp":
        raise ValueError('is not supported by this version of filterd ("http", "spamc", "milter", "tcp" and "control" are)')
    return value


def _network(value: object) -> object:
    try:
        IpMap().add(value if isinstance(value, str) else "", True)
    except BadKey:
        raise ValueError('is not an IP address or a network ("192.0.2.1", "10.0.0.0/8", "2001:db8::/32")') from None
    return value


def _trusted_proxy(value: object) -> object:
    if value == "unix:":
        return value
    try:
        IpMap().add(value if isinstance(value, str) else "", True)
    except BadKey:
        raise ValueError('is not the address of a proxy ("192.0.2.1", "10.0.0.0/8", "2001:db8::/32", or "unix:")') from None
    return value


def _worker_count(value: object) -> object:
    if value == "auto":
        return "auto"
    if type(value) is not int or not 1 <= value <= MOST_WORKERS:
        raise ValueError(f'is not a number of processes from 1 to {MOST_WORKERS}, or "auto"')
    return value


def _proxy(value: object) -> object:
    if not isinstance(value, str) or not value.startswith("http://"):
        raise ValueError('is not the address of a proxy ("http://HOST:PORT")')
    units.address(value.removeprefix("http://").removesuffix("/").rpartition("@")[2])
    return value


def _symbol(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"score": value}
    if isinstance(value, bool | str | list):
        raise ValueError("is not a score (a number) or a table with one")
    return value


def _map_source(value: object) -> str:
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        try:
            parse_url(str(value))
        except BadUrl as error:
            raise ValueError(f"is no web address: {error}") from None
        return str(value)
    if not isinstance(value, str) or not value.startswith("file:"):
        raise ValueError('is not the source of a map ("file:PATH", "http://HOST/PATH", "https://HOST/PATH")')
    path = value.removeprefix("file:")
    return (
        f"file:{units.absolute(Written(path.removeprefix('//') if path.startswith('///') else path, units.folder_of(value)))}"
    )


def _read_only(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({key: _read_only(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(_read_only, value))
    return str(value) if isinstance(value, str) else value


def nothing() -> Mapping[str, Any]:
    """The table without an entry, read-only: what a section of named tables is by default."""
    return MappingProxyType({})


Duration: TypeAlias = Annotated[float, BeforeValidator(units.duration)]
Timeout: TypeAlias = Annotated[float, Field(gt=0), BeforeValidator(units.duration)]
Size: TypeAlias = Annotated[int, Field(ge=1), BeforeValidator(units.size)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Natural: TypeAlias = Annotated[int, Field(ge=0)]
Threshold: TypeAlias = Annotated[float | None, BeforeValidator(_threshold)]
FilePath: TypeAlias = Annotated[Path, BeforeValidator(units.absolute)]
ExistingPath: TypeAlias = Annotated[Path, AfterValidator(_existing), BeforeValidator(units.absolute)]
Bind: TypeAlias = Annotated[Address, BeforeValidator(units.bind)]
NameServer: TypeAlias = Annotated[Address, BeforeValidator(_nameserver)]
RedisServer: TypeAlias = Annotated[Address, BeforeValidator(partial(units.address, default_port=6379))]
Sentinel: TypeAlias = Annotated[Address, BeforeValidator(partial(units.address, default_port=26379))]
Listed: TypeAlias = Annotated[tuple[V, ...], BeforeValidator(_listed)]
Servers: TypeAlias = Annotated[tuple[V, ...], BeforeValidator(_words)]
Named: TypeAlias = Annotated[Mapping[str, V], AfterValidator(MappingProxyType)]
Free: TypeAlias = Annotated[Mapping[str, Mapping[str, V]], AfterValidator(_read_only)]
Scored: TypeAlias = Annotated[V, BeforeValidator(_symbol)]
Protocol: TypeAlias = Annotated[Literal["http", "spamc", "milter", "tcp", "control"], BeforeValidator(_protocol)]
Network: TypeAlias = Annotated[str, BeforeValidator(_network)]
MapSource: TypeAlias = Annotated[str, BeforeValidator(_map_source)]
TrustedProxy: TypeAlias = Annotated[str, BeforeValidator(_trusted_proxy)]
Proxy: TypeAlias = Annotated[str, BeforeValidator(_proxy)]
SocketPath: TypeAlias = Annotated[str, BeforeValidator(_socket_path)]
WorkerCount: TypeAlias = Annotated[int | Literal["auto"], BeforeValidator(_worker_count)]
RecordType: TypeAlias = Annotated[
    Literal["a", "aaaa", "ptr", "txt", "spf", "mx", "ns", "soa", "cname", "srv", "tlsa", "caa", "any"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
