"""Who may do what on a control listener: trusted addresses, two passwords, and an end to guessing.

Promises:

* Without a password set, and from no trusted address, nobody gets in.
* A header never widens trust: a request that names further addresses is trusted only if all of them are.
* A password is compared in a thread, a few at a time: guessing neither holds the loop nor fills its threads. What was right is
  known for a while without hashing, by a keyed digest; an address that has guessed too often is not heard, right or wrong.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from logging import getLogger
from math import ceil
from time import monotonic
from typing import Literal

from filterd.mail.maps import IpMap
from filterd.net.event import Event
from filterd.net.listen import Connection
from filterd.net.threads import in_thread
from filterd.proto import control
from filterd.proto.control import Level, Reply
from filterd.proto.http1 import Request
from filterd.proto.passwords import PasswordHash
from filterd.servers.control.attempts import Attempts

__all__ = ["Access", "Passwords", "Rights"]

log = getLogger("filterd.control")

Rights = Literal["none", "read", "write"]

KNOWN = 64
"""Passwords that were right, kept as digests."""
KNOWN_FOR = 60.0
AT_ONCE = 2
"""Comparisons at a time; each takes some 50 ms of a core and 16 MiB."""
WAITING = 16
"""More than so many at once are told to come back."""

TOO_MANY = "Too many authentication failures"
UNAUTHORIZED = "Unauthorized"


@dataclass(frozen=True, slots=True)
class Passwords:
    """The hashes that are configured. Without `write`, `read` opens everything, as in Rspamd."""

    read: PasswordHash | None = None
    write: PasswordHash | None = None

    def rights(self, password: bytes) -> Rights:
        """What this password opens. Slow on purpose; as slow for a wrong one as for a right one."""
        # Both are always compared: how long it takes tells nothing.
        may_read = self.read is not None and self.read.fits(password)
        may_write = self.write is not None and self.write.fits(password)
        if may_write or (may_read and self.write is None):
            return "write"
        return "read" if may_read else "none"

    def __bool__(self) -> bool:
        return self.read is not None or self.write is not None


class Access:
    """The gate of one control listener. `compare` is how a password is compared, by default in a thread."""

    def __init__(
        self,
        passwords: Passwords,
        trusted: IpMap,
        *,
        attempts: Attempts | None = None,
        compare: Callable[[Passwords, bytes], Rights] = lambda passwords, password: in_thread(passwords.rights, password),
    ) -> None:
        self.passwords = passwords
        self.trusted = trusted
        self.attempts = Attempts() if attempts is None else attempts
        self._compare = compare
        self._key = os.urandom(32)
        self._known: dict[bytes, tuple[float, Rights]] = {}
        self._comparing = 0
        self._gate: list[Event] = []

    def judge(self, request: Request, connection: Connection, level: Level) -> Rights | Reply:
        """What the request may do, where that is enough for `level` ("read" or "write"); else the reply that refuses it."""
        host = _host(connection)
        named = control.forwarded(request)
        if self._is_trusted(host, is_local=connection.is_local) and not control.is_foreign_page(request):
            if all(self._is_trusted(one) for one in named):
                return "write"
            # Behind a proxy that is trusted: whoever is nearest to it is who tries.
            host = next((one for one in reversed(named) if one is not None), host)
        rights = self._by_password(control.password(request), host or connection.peer)
        if isinstance(rights, Reply):
            return rights
        if rights == "none" or (level == "write" and rights != "write"):
            return control.error(401, UNAUTHORIZED)
        return rights

    def is_heard(self, connection: Connection) -> bool:
        """Whether anybody at the other end could be let in: where no password is set, only who is trusted."""
        return bool(self.passwords) or self._is_trusted(_host(connection), is_local=connection.is_local)

    def _is_trusted(self, host: str | None, *, is_local: bool = False) -> bool:
        return is_local or host in self.trusted

    def _by_password(self, password: bytes | None, who: str) -> Rights | Reply:
        if password is None or not self.passwords:
            return "none"
        if wait := self.attempts.wait(who, monotonic()):
            return self._later(wait)
        digest = blake2b(password, key=self._key).digest()
        until, rights = self._known.get(digest, (0.0, "none"))
        if until < monotonic():
            compared = self._compared(password)
            if isinstance(compared, Reply):
                return compared
            rights = compared
            # Others from there may have failed meanwhile, any number at once: what they may learn ends at the same number.
            if wait := self.attempts.wait(who, monotonic()):
                return self._later(wait)
        if rights == "none":
            count = self.attempts.failed(who, monotonic())
            more = ", further ones are not looked at for a while" if count >= self.attempts.allowed else ""
            log.warning("%s: wrong password, number %d%s", who, count, more)
            return "none"
        self.attempts.succeeded(who)
        self._remember(digest, rights)
        return rights

    def _compared(self, password: bytes) -> Rights | Reply:
        if self._comparing + len(self._gate) >= AT_ONCE + WAITING:
            return self._later(1.0)
        if self._comparing >= AT_ONCE:
            turn = Event()
            self._gate.append(turn)
            try:
                turn.wait(phase="password")
            except BaseException:
                # Whoever gave us the turn has counted us.
                if turn in self._gate:
                    self._gate.remove(turn)
                else:
                    self._next()
                raise
        else:
            self._comparing += 1
        try:
            return self._compare(self.passwords, password)
        finally:
            self._next()

    def _next(self) -> None:
        if self._gate:
            self._gate.pop(0).set()
        else:
            self._comparing -= 1

    def _remember(self, digest: bytes, rights: Rights) -> None:
        now = monotonic()
        if self._known.get(digest, (0.0, rights))[0] >= now:
            return
        self._known = {key: value for key, value in self._known.items() if value[0] >= now}
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[digest] = now + KNOWN_FOR, rights

    @staticmethod
    def _later(seconds: float) -> Reply:
        return control.error(429, TOO_MANY, headers=[("Retry-After", str(max(ceil(seconds), 1)))])


def _host(connection: Connection) -> str | None:
    """The address at the other end, the one a proxy has told if it is ours; None where nobody knows, and on unix sockets."""
    return control.host_of(connection.peer) if isinstance(connection.client, tuple) else None
