"""What is measured: which rules, how many of each kind, under which load.

The rules are files in `speed_rules/`: `web.py` is one kind of rule in filterd's straight style, `web_callbacks.py` the same
with callbacks, `web.lua` the same for Rspamd. A scenario says how many rules of which kind there are.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bench.backends import Backends

__all__ = ["SCENARIOS", "Load", "Scenario"]

RULES = Path(__file__).with_name("speed_rules")
LOOKUPS = 5
HEADERS = "FROM TO SUBJECT DATE MESSAGE_ID RECEIVED MIME_VERSION CONTENT_TYPE X_BULK LIST_ID".split()


@dataclass(frozen=True, slots=True)
class Load:
    """Messages of about `size` bytes, so many at a time; `keepalive` sends them on kept connections."""

    connections: int = 64
    keepalive: bool = False
    size: int = 2_000

    def told(self, base: "Load") -> str:
        """In what it differs."""
        words = [f"{self.connections} at once"] * (self.connections != base.connections)
        words += [f"{self.size / 1000:g} KB"] * (self.size != base.size)
        words += ["kept connections"] * self.keepalive
        return ", ".join(words)

    def closing(self) -> "Load":
        """What it is with a server that keeps no connection."""
        return Load(self.connections, False, self.size)


@dataclass(frozen=True, slots=True)
class Scenario:
    """`counts` are rules by kind. The first style gets every load, the others the first one."""

    name: str
    what: str
    target: float | None
    counts: dict[str, int] = field(default_factory=dict)
    styles: tuple[str, ...] = ("",)
    """`callbacks`, `many`, or nothing: the straight one. With ` outside` the resolver is asked at an address that is not
    loopback's, hence by UDP.
    """
    loads: tuple[Load, ...] = (Load(),)
    keepalive: bool = False
    """Does http.request keep its connections?"""
    slow: bool = False
    """Is the web server the one that takes 20 ms?"""
    empty: bool = False
    """Has Rspamd no rule?"""
    workers: int = 1

    def sources(self, style: str) -> list[str]:
        """The rule files for filterd."""
        word = style.removesuffix("outside").strip()
        files = [(RULES / f"{kind}_{word}.py", RULES / f"{kind}.py") for kind in self.counts]
        return [(own if own.exists() else usual).read_text() for own, usual in files]

    def toml(self, style: str, backends: Backends | None) -> str:
        """The configuration of filterd."""
        table = "".join(f"{key} = {_literal(value)}\n" for key, value in self._settings(backends).items())
        if backends is None:
            return f"[modules.bench]\n{table}"
        resolver = backends.outside if "outside" in style else "127.0.0.1"
        names = f'nameservers = "{resolver}:{backends.names}"\nmax_requests = 1000\n'
        return f'[dns]\n{names}[redis]\nservers = "127.0.0.1:{backends.redis}"\n[modules.bench]\n{table}'

    def lua(self, backends: Backends | None) -> str:
        """The rules for Rspamd."""
        if self.empty:
            return ""
        table = ", ".join(f"{key} = {_literal(value)}" for key, value in self._settings(backends).items())
        # A file is a function of its own: there may be two hundred local names in one.
        return "".join([f"bench = {{{table}}}\n", *(f"do\n{(RULES / f'{kind}.lua').read_text()}end\n" for kind in self.counts)])

    def symbols(self, *, rspamd: bool = False) -> set[str]:
        """What every reply must have, and nothing else."""
        if rspamd and self.empty:
            return set()
        single = {"read_all": "READ_ALL", "lookups": "LOOKUPS", "many": "MANY_0"}
        found = {symbol for kind, symbol in single.items() if kind in self.counts}
        found.update(f"HEADER_{name}" for name in HEADERS if "headers" in self.counts)
        for kind in ("web", "names", "store", "talk"):
            found.update(f"{kind.upper()}_{number}" for number in range(self.counts.get(kind, 0)))
        return found

    def asked(self) -> dict[str, int]:
        """How often each message asks each backend."""
        counts = self.counts.get
        return {
            "web": 0 if self.slow else counts("web", 0),
            "slow": counts("web", 0) if self.slow else 0,
            "names": counts("names", 0) * LOOKUPS + counts("lookups", 0),
            "redis": counts("store", 0),
            "tcp": counts("talk", 0),
        }

    def _settings(self, backends: Backends | None) -> dict[str, object]:
        settings: dict[str, object] = {**self.counts, "keepalive": self.keepalive}
        web = 9 if backends is None else backends.slow if self.slow else backends.web
        return settings | {"url": f"http://127.0.0.1:{web}/", "tcp": 9 if backends is None else backends.tcp}


def _literal(value: object) -> str:
    """As TOML and Lua write it alike."""
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


BOTH = ("", "callbacks")
NAMES = ("", "many", "callbacks", "outside", "many outside", "callbacks outside")
SIZES = (Load(), Load(size=12_000), Load(size=200_000))
SCENARIOS = (
    Scenario("S0", "no rules", 5, loads=(Load(), Load(keepalive=True))),
    Scenario("S1", "ten header rules", 5, {"headers": 1}, loads=SIZES),
    Scenario("S2", "one http.request, a new connection", 3, {"web": 1}),
    Scenario(
        "S2K",
        "one http.request, a kept connection",
        3,
        {"web": 1},
        BOTH,
        (Load(), Load(keepalive=True), Load(1), Load(16), Load(256)),
        keepalive=True,
    ),
    Scenario("S3K", "as S2K, the answer takes 20 ms", 3, {"web": 1}, BOTH, (Load(256),), keepalive=True, slow=True),
    # Few at a time: fifty datagrams each are as many as a resolver's socket holds.
    Scenario("S4", "ten rules of five lookups", 2, {"names": 10}, NAMES, (Load(16),)),
    Scenario("S5", "one Redis EVAL", 5, {"store": 1}, BOTH),
    Scenario("S6", "one TCP conversation", 3, {"talk": 1}, BOTH),
    Scenario(
        "S7",
        "ten header rules, 2 http, 10 dns, Redis, TCP",
        2,
        {"headers": 1, "web": 2, "names": 2, "store": 1, "talk": 1},
        BOTH,
        keepalive=True,
    ),
    Scenario("S9", "all of a message read, Rspamd without rules", 3, {"read_all": 1}, loads=SIZES, empty=True),
    Scenario("S0W2", "no rules, 2 workers on all cores", None, workers=2),
    Scenario("S0W4", "no rules, 4 workers on all cores", None, workers=4),
)
