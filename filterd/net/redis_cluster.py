"""A Redis Cluster: every command goes to the node that has its key.

Promises:

* What is sent together but belongs to several nodes is sent to all of them at once, and the replies are in the order of the
  commands. A transaction stays in one piece, and what has no key goes along with its neighbour.
* Where a node says that a slot has moved (MOVED) or is moving (ASK, TRYAGAIN), it did nothing: the command follows, at most
  `MAX_ROUNDS` times.
* The table of slots is asked for again when it proved wrong, when a node failed, and once a minute.

Redis Cluster Specification; reads go to masters, as nothing here may read what is out of date.
"""

import re
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from filterd.net.event import Event
from filterd.net.redis_commands import Command, Place, place_of
from filterd.net.redis_picture import Picture
from filterd.net.redis_server import Private, Server
from filterd.net.redis_settings import Key, RedisSettings, ServerOf
from filterd.net.stream import Address, failed, peer_name
from filterd.outcome import Failure, RequestFailed

__all__ = ["Cluster", "slot_of"]

SLOTS = 16384
MAX_ROUNDS = 5
MAX_KNOWN = 1000
"""Nodes that are remembered to ask; no cluster has more."""
PAUSE = 0.05
"""Seconds before a command is repeated whose keys are on the move (TRYAGAIN)."""

_REDIRECTED = re.compile(r"(MOVED|ASK) ([0-9]{1,5}) (.*):([0-9]{1,5})", re.ASCII)
_ASKING = Command(["ASKING"])
_WHERE = Command(["CLUSTER", "SLOTS"])


@dataclass(frozen=True, slots=True)
class _Slots:
    """Which node has which slot (None: nobody), and all who have one."""

    nodes: list[Address | None]
    masters: list[Address]


def slot_of(key: bytes) -> int:
    """The slot of a key: the CRC-16 of it, or of what stands in its first braces."""
    opened = key.find(b"{")
    closed = key.find(b"}", opened + 1) if opened >= 0 else -1
    return crc_hqx(key[opened + 1 : closed] if closed > opened + 1 else key, 0) % SLOTS


@dataclass(slots=True)
class _Unit:
    """Commands that cannot be parted: the place of the first in the whole, and where they go next."""

    start: int
    commands: list[Command]
    address: Address
    asking: bool = False

    @property
    def sent(self) -> list[Command]:
        """What goes on the wire. ASKING is good for one command, and for a whole transaction."""
        if not self.asking:
            return self.commands
        if self.commands[0].name == "MULTI":
            return [_ASKING, *self.commands]
        return [one for command in self.commands for one in (_ASKING, command)]

    def answers(self, replies: list[Any]) -> list[Any]:
        """Of the replies to what was sent, those to the commands."""
        if not self.asking:
            return replies
        return replies[1:] if self.commands[0].name == "MULTI" else replies[1::2]


class Cluster:
    """A target whose servers are the nodes of a cluster; the servers in its settings are asked for them."""

    def __init__(self, settings: RedisSettings, server: ServerOf) -> None:
        self.settings = settings
        self._server = server
        if settings.db:
            raise ValueError("a Redis Cluster has no database but 0")
        self._known = list(dict.fromkeys((*settings.servers, *settings.write_servers, *settings.read_servers)))
        if not self._known:
            raise ValueError("a Redis Cluster needs servers, to ask for its nodes")
        self._picture = Picture(self._draw, peer=peer_name(self._known[0]))
        self._turn = 0

    def execute(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> list[Any]:
        slots = self._picture.get(until)
        units = self._units(commands, key, slots)
        replies: list[Any] = [None] * len(commands)
        for _ in range(MAX_ROUNDS):
            self._send(units, replies, until)
            units = [
                unit for unit in units if self._goes_on(unit, replies[unit.start : unit.start + len(unit.commands)], slots)
            ]
            if not units:
                break
        return replies

    def private(self, commands: Sequence[Command], *, key: Key, is_write: bool, until: float | None) -> Private:
        unit = self._units(commands, key, self._picture.get(until))[0]
        try:
            return self._at(unit.address).private(until=until)
        except RequestFailed:
            self._picture.doubt()
            raise

    def _at(self, address: Address) -> Server:
        return self._server(address, self.settings.login)

    def _units(self, commands: Sequence[Command], key: Key, slots: _Slots) -> list[_Unit]:
        groups = _unparted(commands)
        first = next((command.key for command in commands if command.key is not None), None)
        last = first or (key.encode() if isinstance(key, str) else key)
        if last is None:
            # Nothing says where to go: to each node in turn.
            self._turn += 1
            address = slots.masters[self._turn % len(slots.masters)]
            return [_Unit(start, group, address) for start, group in groups]
        units = []
        for start, group in groups:
            last = next((command.key for command in group if command.key is not None), last)
            node = slots.nodes[slot_of(last)]
            if node is None:
                self._picture.doubt()
                text = f"no node of the cluster has the slot of {last!r}"
                raise failed(text, "server", peer=self._picture.peer, phase="connect", since=monotonic())
            units.append(_Unit(start, group, node))
        return units

    def _send(self, units: list[_Unit], replies: list[Any], until: float | None) -> None:
        by_node: dict[Address, list[_Unit]] = {}
        for unit in units:
            by_node.setdefault(unit.address, []).append(unit)
        works = [self._begin(address, group, until) for address, group in by_node.items()]
        failures = []
        for group, work in zip(by_node.values(), works, strict=True):
            try:
                found = work()
            except RequestFailed as error:
                self._picture.doubt()
                failures.append(error)
                for unit in group:
                    replies[unit.start : unit.start + len(unit.commands)] = [error.failure] * len(unit.commands)
                continue
            for unit in group:
                count = len(unit.sent)
                replies[unit.start : unit.start + len(unit.commands)] = unit.answers(found[:count])
                del found[:count]
        if len(failures) == len(works):
            raise failures[0]

    def _begin(self, address: Address, group: list[_Unit], until: float | None) -> Callable[[], list[Any]]:
        # On the shared line everything is under way before anything is waited for.
        server = self._at(address)
        commands = [command for unit in group for command in unit.sent]
        place = max(place_of(unit.commands) for unit in group)
        if place is Place.SHARED:
            return partial(server.finish, server.begin(commands), until)
        return partial(server.execute, commands, until=until, place=place)

    def _goes_on(self, unit: _Unit, replies: list[Any], slots: _Slots) -> bool:
        for reply in replies:
            if not isinstance(reply, Failure):
                continue
            if reply.startswith("TRYAGAIN"):
                Event().wait(until=monotonic() + PAUSE, phase="read", peer=peer_name(unit.address))
                return True
            redirected = _REDIRECTED.fullmatch(reply)
            if redirected:
                kind, slot, host, port = redirected.groups()
                # An empty host is the one that was asked.
                unit.address = (host or unit.address[0], int(port))
                unit.asking = kind == "ASK"
                if kind == "MOVED" and int(slot) < SLOTS:
                    slots.nodes[int(slot)] = unit.address
                    self._picture.doubt()
                return True
        return False

    def _draw(self) -> _Slots:
        first: RequestFailed | None = None
        for address in tuple(self._known):
            try:
                slots = self._ask(address)
            except RequestFailed as error:
                first = first or error
                # The next drawing begins with one that answers.
                self._known.append(self._known.pop(0))
            else:
                self._known = list(dict.fromkeys((*self._known, *slots.masters)))[:MAX_KNOWN]
                return slots
        assert first is not None
        raise first

    def _ask(self, address: Address) -> _Slots:
        server = self._at(address)
        reply = server.execute([_WHERE], until=monotonic() + self.settings.timeout)[0]
        nodes: list[Address | None] = [None] * SLOTS
        try:
            for start, end, (host, port, *_), *_ in reply:
                node = (host or address[0], port)
                nodes[start : end + 1] = [node] * (end + 1 - start)
        except (TypeError, ValueError):
            nodes = []
        masters = list(dict.fromkeys(node for node in nodes if node is not None))
        if len(nodes) != SLOTS or not masters:
            text = f"{server.peer} told no nodes of a cluster" + (f": {reply}" if isinstance(reply, str) else "")
            raise failed(text, "server", peer=server.peer, phase="connect", since=monotonic())
        return _Slots(nodes, masters)


def _unparted(commands: Sequence[Command]) -> list[tuple[int, list[Command]]]:
    # A transaction, and a script with the call it is loaded for: each must meet one node, and follow it in one piece.
    groups: list[tuple[int, list[Command]]] = []
    stays = False
    for place, command in enumerate(commands):
        if stays:
            group = groups[-1][1]
            group.append(command)
            stays = group[0].name == "MULTI" and command.name not in ("EXEC", "DISCARD")
        else:
            groups.append((place, [command]))
            stays = command.name in ("MULTI", "SCRIPT")
    return groups
