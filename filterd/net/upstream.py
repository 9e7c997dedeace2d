"""Several servers that do the same: which one is asked next, and which is left alone for a while because it keeps failing.

Promises:

* Rotations: `round-robin` (by weight), `master-slave` (the heaviest that is alive; of equals the first), and `hash`, which is
  round-robin for calls without a key. In every rotation a key decides where one is given: it goes to the same server as long as
  that is alive, and a server that leaves moves only its own keys.
* A server leaves when it has been failing for `error_time` seconds without one success, more often than `max_errors` times in
  such a span; never when it is the only one. After `revive_time` seconds it is on probation: one more failure, and it leaves
  for twice as long.
* There is always a server to ask: where none is alive, the one that is due to come back first.

Nothing here opens a connection or waits: who uses a server reports `ok` or `fail`.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log
from random import uniform
from time import monotonic
from typing import Literal, get_args

from filterd.net.stream import Address, peer_name

__all__ = ["Limits", "Rotation", "Upstreams"]

Rotation = Literal["round-robin", "hash", "master-slave"]

_SERVER = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]/]+))(?::(?P<port>\d+)(?::(?P<weight>\d+))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a server leaves, and for how long: times in seconds, `jitter` as a share of `revive_time`."""

    max_errors: int = 4
    error_time: float = 10.0
    revive_time: float = 60.0
    max_revive_time: float = 600.0
    jitter: float = 0.4


class _Member:
    __slots__ = ("absence", "address", "back", "errors", "failing_since", "name", "turn", "weight")

    def __init__(self, address: Address, weight: int) -> None:
        self.address = address
        self.weight = weight
        self.name = peer_name(address).encode()
        self.errors = 0
        self.failing_since = 0.0
        self.back = 0.0
        """The moment its absence ends."""
        self.absence = 0.0
        """How long it was sent away last time; 0 once it has answered: until then it is on probation."""
        self.turn = 0
        """What it has earned by letting others go first (smooth weighted round-robin)."""

    def attraction(self, key: bytes) -> float:
        # Weighted rendezvous hashing: the best of independent draws, so a lost member moves nobody else's keys.
        drawn = int.from_bytes(blake2b(key, digest_size=8, key=self.name[:64]).digest())
        return self.weight / -log((drawn + 1) / (2**64 + 1))


class Upstreams:
    """A list of servers: `(host, port)` or the path of a unix socket; `weights` beside them, 1 where it is shorter."""

    def __init__(
        self,
        servers: Iterable[Address],
        *,
        weights: Sequence[int] = (),
        rotation: Rotation = "round-robin",
        limits: Limits | None = None,
    ) -> None:
        self.rotation = rotation
        self.limits = limits or Limits()
        addresses = list(dict.fromkeys(servers))
        if not addresses:
            raise ValueError("a list of upstreams needs a server")
        if min(weights, default=1) < 1:
            raise ValueError("the weight of an upstream is a whole number from 1 on")
        self._members = [_Member(one, weights[i] if i < len(weights) else 1) for i, one in enumerate(addresses)]
        self._by_address = {member.address: member for member in self._members}
        self._somebody_left = False

    @classmethod
    def parse(cls, text: str, *, default_port: int | None = None, limits: Limits | None = None) -> "Upstreams":
        """From one line: servers separated by commas or spaces, each `host[:port[:weight]]`, `[v6]:port` or a unix path
        (also `unix:/path`); before them a rotation if wanted, as in `master-slave:10.0.0.1:6379:10, 10.0.0.2:6379`.

        Raises ValueError naming what it cannot read.
        """  # fmt: skip
        rotation: Rotation = "round-robin"
        for one in get_args(Rotation):
            if text.lstrip().startswith(f"{one}:"):
                rotation, text = one, text.lstrip().removeprefix(f"{one}:")
        found = [_server(word, default_port) for word in text.replace(",", " ").split()]
        return cls([one for one, _ in found], weights=[weight for _, weight in found], rotation=rotation, limits=limits)

    @property
    def servers(self) -> tuple[Address, ...]:
        """All of them, as given."""
        return tuple(self._by_address)

    @property
    def alive(self) -> tuple[Address, ...]:
        """Those that have not been sent away."""
        now = monotonic()
        return tuple(member.address for member in self._members if member.back <= now)

    def pick(self, key: str | bytes | None = None, *, avoid: Collection[Address] = ()) -> Address:
        """The server for the next call. `avoid` are those it has tried already; it is not obeyed where none is left."""
        members = self._members
        if len(members) == 1:
            return members[0].address
        if self._somebody_left or avoid:
            members = self._candidates(avoid)
        if len(members) == 1:
            return members[0].address
        if key is not None:
            digest = blake2b(key.encode() if isinstance(key, str) else key, digest_size=32).digest()
            return max(members, key=lambda member: member.attraction(digest)).address
        if self.rotation == "master-slave":
            return max(members, key=lambda member: member.weight).address
        for member in members:
            member.turn += member.weight
        chosen = max(members, key=lambda member: member.turn)
        chosen.turn -= sum(member.weight for member in members)
        return chosen.address

    def ok(self, server: Address) -> None:
        """This server (as `pick` gave it) has answered."""
        member = self._by_address.get(server)
        if member is not None and member.errors | (member.absence > 0.0):
            member.errors = 0
            member.absence = member.back = 0.0

    def fail(self, server: Address) -> None:
        """This server (as `pick` gave it) did not answer, or not as it should."""
        member = self._by_address.get(server)
        if member is None or len(self._members) == 1:
            return
        now = monotonic()
        if member.back > now:
            return
        if member.absence:
            self._send_away(member, now)
            return
        member.errors += 1
        if member.errors == 1:
            member.failing_since = now
            return
        elapsed = now - member.failing_since
        if elapsed >= self.limits.error_time:
            if member.errors * self.limits.error_time > self.limits.max_errors * elapsed:
                self._send_away(member, now)
            else:
                member.errors, member.failing_since = 1, now

    def _send_away(self, member: _Member, now: float) -> None:
        limits = self.limits
        member.errors = 0
        member.absence = min(member.absence * 2 or limits.revive_time, limits.max_revive_time)
        # Not all workers at once: whoever came back would be met by the whole load.
        member.back = now + member.absence * uniform(1.0, 1.0 + limits.jitter)  # noqa: S311 - no secret
        member.turn = 0
        self._somebody_left = True

    def _candidates(self, avoid: Collection[Address]) -> list[_Member]:
        now = monotonic()
        alive = [member for member in self._members if member.back <= now]
        self._somebody_left = len(alive) < len(self._members)
        untried = [member for member in alive if member.address not in avoid]
        return untried or alive or [min(self._members, key=lambda member: member.back)]


def _server(word: str, default_port: int | None) -> tuple[Address, int]:
    path = word.removeprefix("unix:")
    if path.startswith("/"):
        return path, 1
    match = _SERVER.fullmatch(word)
    port = default_port if match is None or match["port"] is None else int(match["port"])
    if match is None or port is None or not 0 < port < 65536:
        raise ValueError(f"{word!r} is not an upstream server (host:port, host:port:weight, [address]:port or /path)")
    return (match["six"] or match["host"], port), int(match["weight"] or 1)
