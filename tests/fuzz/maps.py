"""Targets: maps, of every kind."""

from functools import partial
from typing import Any

from filterd.mail.map_lines import MapBroken, MapReader
from filterd.mail.maps import MapType
from tests.fuzz.target import Target, pieces

__all__ = ["TARGETS"]


def _map(data: bytes, kind: MapType) -> object:
    outcomes: list[Any] = []
    for parts in ([data], list(pieces(data))):
        reader = MapReader(kind)
        for part in parts:
            reader.feed(part)
        try:
            made = reader.close()
        except MapBroken as error:
            assert error.problems
            outcomes.append(str(error))
            continue
        keys = [line.split()[0] for line in data.decode().split("\n")[:20] if line.strip()]
        outcomes.append((len(made), [made.get(key) for key in (*keys, "", "a.example", "192.0.2.1", b"\xff", None)]))
    assert outcomes[0] == outcomes[1]
    return outcomes[0] if isinstance(outcomes[0], str) else min(outcomes[0][0], 5)


_MAPS: dict[MapType, tuple[bytes, ...]] = {
    "set": (b'a\nb # x\n# c\n"d e"\n',),
    "map": (b'a 1\nb two # x\n"d e" f\n',),
    "glob": (b"*.example 1\na?c\n[a-z]* x\n",),
    "regexp": (b"/a.*b/i 1\n/^\\d{3}$/ x\n/[[:alpha:]]+/\n",),
    "ip": (b"10.0.0.0/8 a\n::1\n2001:db8::/32 b\n192.0.2.1\n",),
    "domain": (b"example.org 1\n.example.net\nb\xc3\xbccher.example\n",),
}
_MAP_WORDS = (
    b"\n",
    b"\r\n",
    b"#",
    b'"',
    b"/",
    b"*",
    b"?",
    b"[",
    b"]",
    b"(",
    b")",
    b"{9}",
    b"\\",
    b"|",
    b"/33",
    b"::",
    b"xn--",
    b"\xef\xbb\xbf",
)

# A pattern and a key made for each other take RE2 the product of both: 0.15 s for 4 KB of each, and there are several keys.
_CPU: dict[MapType, float] = {"regexp": 2.0, "glob": 2.0}

TARGETS = tuple(
    Target(f"map-{kind}", partial(_map, kind=kind), seeds, _MAP_WORDS, largest=16 * 1024, cpu=_CPU.get(kind, 0.25))
    for kind, seeds in _MAPS.items()
)
