"""What an administrator writes for a time, a size or an address, read into numbers and plain values.

Promises: each reader takes whatever stood in the file and gives the typed value, or raises `ValueError` with the rest of the
sentence that begins with what was written: `is not a duration (seconds, or "500ms", "8s", "1h")`.
"""

import math
import os
import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

__all__ = ["Address", "Written", "absolute", "address", "bind", "duration", "folder_of", "is_ip", "size"]

_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) *(ms|s|min|h|d)?")
_SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) *(?:([kmg])(?:i?b)?|b)?", re.IGNORECASE)
_BYTES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_HOST_PORT = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_IN_OCTAL = re.compile(r"0?[0-7]{3}")

UNIX_PATH_BYTES = 107  # sun_path holds 108 with its final NUL, unix(7)


class Written(str):
    """A string and the folder that a relative path in it counts from: that of the file it stands in."""

    __slots__ = ("folder",)

    folder: Path

    def __new__(cls, text: str, folder: Path) -> "Written":
        written = super().__new__(cls, text)
        written.folder = folder
        return written


def duration(value: object) -> float:
    """Seconds. A number is seconds; a string has one of the units ms, s, min, h, d, or none for seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        seconds = float(match[1]) * _SECONDS[match[2]] if match else math.nan
    else:
        seconds = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError('is not a duration (seconds, or "500ms", "8s", "1h")')
    return seconds


def size(value: object) -> int:
    """Bytes. A whole number is bytes; in a string k, M and G (also KiB, MB, …) are powers of 1024."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('is not a size (bytes, or "10k", "50MiB", "1G")')
    number, unit = match[1], (match[2] or "").lower()
    return int(number) * _BYTES[unit] if number.isdecimal() else int(float(number) * _BYTES[unit])


def absolute(value: object) -> Path:
    """A path; a relative one counts from the folder where it was written, else from the working directory."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("is not a path")
    return Path(os.path.normpath(folder_of(value) / value))


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect: `host` and `port`, or `path` of a unix socket (then host is "" and port 0).

    `mode` (permission bits), `owner` and `group` (names) are for unix sockets that filterd makes.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    mode: int | None = None
    owner: str | None = None
    group: str | None = None

    def __str__(self) -> str:
        if self.path:
            mode = None if self.mode is None else f"{self.mode:04o}"
            told = {"mode": mode, "owner": self.owner, "group": self.group}
            return " ".join([f"unix:{self.path}", *(f"{name}={value}" for name, value in told.items() if value)])
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(value: object, *, default_port: int | None = None) -> Address:
    """A peer: "host:port", "[::1]:port" or "unix:/path"; the port may be left out where there is a default."""
    text = value if isinstance(value, str) else ""
    if text.startswith("unix:"):
        return Address(path=_socket_path(Written(text.removeprefix("unix:"), folder_of(value))))
    if default_port is not None and is_ip(text):
        return Address(host=text, port=default_port)
    match = _HOST_PORT.fullmatch(text)
    if match is not None:
        host = match["six"] or match["host"]
        port = default_port if match["port"] is None else int(match["port"])
        # What consists of digits and dots only was meant as an address: 127.0.0.300 is no name to ask the DNS for.
        is_numeric = match["six"] is not None or not host.strip("0123456789.")
        if port is not None and port < 65536 and (not is_numeric or is_ip(host)):
            return Address(host=host, port=port)
    shape = '"host:port"' if default_port is None else f'"host" or "host:port", port {default_port} by default'
    raise ValueError(f'is not an address ({shape}, "[::1]:port", or "unix:/path")')


def bind(value: object) -> Address:
    """An address to listen on; a unix path may be followed by mode=0660, owner=USER and group=GROUP."""
    text, *options = (isinstance(value, str) and value.split()) or [""]
    if text.startswith("*:"):
        raise ValueError(f'does not say which family: write "0.0.0.0{text[1:]}", "[::]{text[1:]}" or both')
    where = address(Written(text, folder_of(value)))
    for option in options:
        name, _, setting = option.partition("=")
        if not where.path or not setting or name not in ("mode", "owner", "group"):
            raise ValueError(
                f'has an option filterd does not know, "{option}" (a unix path takes mode=0660 owner=USER group=GROUP)'
            )
        if name == "mode":
            if not _IN_OCTAL.fullmatch(setting):
                raise ValueError(f'has the mode "{setting}", which is not octal permissions like 0660')
            where = replace(where, mode=int(setting, 8))
        else:
            where = replace(where, owner=setting) if name == "owner" else replace(where, group=setting)
    return where


def is_ip(text: str) -> bool:
    """Whether the text is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def folder_of(value: object) -> Path:
    """What a relative path counts from: the folder where it was written, else the working directory."""
    return value.folder if isinstance(value, Written) else Path.cwd()


def _socket_path(value: Written) -> str:
    path = str(absolute(value))
    if len(os.fsencode(path)) > UNIX_PATH_BYTES:
        raise ValueError(f"is too long for a unix socket: {len(os.fsencode(path))} bytes, {UNIX_PATH_BYTES} are possible")
    return path
