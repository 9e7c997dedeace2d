"""Constant load on front doors: clients that send one mail after the other and count what becomes of each.

A door is a class with `scan(mail) -> Outcome` and `close()`; DOORS has one for each way to ask, made with an address. The mails
say who they are in `X-Id`, and the rule file RULE tells it back, so that a verdict can be told from another message's.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import gevent

from tests.support.client import Client

__all__ = ["DOORS", "RULE", "Door", "HttpDoor", "KeptHttpDoor", "Outcome", "Tally", "loaded", "mail_of"]

Address = tuple[str, int] | str

RULE = """
from filterd import rule, sleep

VERSION = "@VERSION@"

@rule("WHOSE", score=1.0)
def whose(task):
    sleep(0.01)
    return True, task.message.header("X-Id"), VERSION
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mail: `answered` (then `whose` is the id the rule told, None if no rule ran, and `version` that of
    the rules), `tempfail` (refused for now, in the protocol's words), `lost` (the connection broke) or `refused` (nobody
    listens). `twice` tells that there was a second answer.
    """

    kind: str
    whose: str | None = None
    version: str = ""
    twice: bool = False


class Door(Protocol):
    """A client of one front door."""

    def scan(self, mail: bytes) -> Outcome: ...

    def close(self) -> None: ...


def mail_of(name: str) -> bytes:
    return f"X-Id: {name}\r\nFrom: a@example.org\r\nSubject: load\r\n\r\nHello.\r\n".encode()


class HttpDoor:
    """A connection for each mail, closed by the server."""

    connection = "close"

    def __init__(self, address: Address) -> None:
        self.address = address

    def scan(self, mail: bytes) -> Outcome:
        try:
            client = Client(self.address)
        except ConnectionRefusedError:
            return Outcome("refused")
        except OSError:
            return Outcome("lost")
        with client:
            client.sock.settimeout(60)
            try:
                client.send(self._request(mail))
                status, _, body = client.read_reply()
                return self._read(status, body, twice=client.read_all() != b"")
            except (OSError, AssertionError):
                return Outcome("lost")

    def close(self) -> None:
        """Nothing is kept open."""

    def _request(self, mail: bytes) -> bytes:
        head = f"POST /checkv2 HTTP/1.1\r\nConnection: {self.connection}\r\nContent-Length: {len(mail)}\r\n\r\n"
        return head.encode() + mail

    @staticmethod
    def _read(status: int, body: bytes, *, twice: bool) -> Outcome:
        if status != 200:
            return Outcome("tempfail", twice=twice)
        symbols = json.loads(body)["symbols"]
        if "WHOSE" not in symbols:
            return Outcome("answered", twice=twice)
        whose, version = symbols["WHOSE"]["options"]
        return Outcome("answered", whose, version, twice)


class KeptHttpDoor(HttpDoor):
    """One connection for many mails. If it is closed before a byte of the answer has come, the mail is sent once more on a new
    one, as every HTTP client does (RFC 9112 9.3.1): the server may have closed it while the request was on its way.
    """

    connection = "keep-alive"

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._client: Client | None = None

    def scan(self, mail: bytes) -> Outcome:
        for client in (self._client, None):
            if client is None:
                try:
                    client = Client(self.address)
                except ConnectionRefusedError:
                    return Outcome("refused")
                except OSError:
                    return Outcome("lost")
                is_new = True
            else:
                is_new = False
            self._client = client
            client.sock.settimeout(60)
            try:
                client.send(self._request(mail))
                status, headers, body = client.read_reply()
            except (OSError, AssertionError):
                client.sock.close()
                self._client = None
                if is_new:
                    return Outcome("lost")
                continue
            if headers.get("connection") == "close":
                client.sock.close()
                self._client = None
            # A second answer would be read as that of the next mail, and be another's.
            return self._read(status, body, twice=False)
        return Outcome("lost")

    def close(self) -> None:
        if self._client is not None:
            self._client.sock.close()


DOORS: dict[str, tuple[str, Callable[[Address], Door]]] = {"http": ("http", HttpDoor), "http, kept": ("http", KeptHttpDoor)}
"""By a name for the tally: the `protocol` of the listener, and the client."""


@dataclass(slots=True)
class Tally:
    """What was counted, and the sentences about what must not be."""

    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By door and kind."""
    versions: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def count(self, kind: str) -> int:
        return sum(number for (_, one), number in self.kinds.items() if one == kind)

    def add(self, door: str, name: str, outcome: Outcome) -> None:
        self.kinds[door, outcome.kind] += 1
        self.versions[outcome.version] += 1
        if outcome.kind == "refused":
            self.problems.append(f"{door}: the connection for {name} was refused")
        if outcome.twice:
            self.problems.append(f"{door}: {name} was answered twice")
        if outcome.kind == "answered" and outcome.whose is None:
            self.problems.append(f"{door}: {name} was answered without having been scanned")
        elif outcome.kind == "answered" and outcome.whose != name:
            self.problems.append(f"{door}: {name} got the verdict of {outcome.whose}")


@contextmanager
def loaded(doors: Mapping[str, Callable[[], Door]], *, clients: int = 4, pause: float = 0.005) -> Iterator[Tally]:
    """So many clients at each door, until the block ends; then the last answers are waited for."""
    tally = Tally()
    numbers = count()
    is_over = False

    def work(name: str, make: Callable[[], Door]) -> None:
        with closing(make()) as door:
            while not is_over:
                mine = f"mail{next(numbers)}"
                tally.add(name, mine, door.scan(mail_of(mine)))
                gevent.sleep(pause)

    working = [gevent.spawn(work, name, make) for name, make in doors.items() for _ in range(clients)]
    try:
        yield tally
    finally:
        is_over = True
        gevent.joinall(working, timeout=60, raise_error=True)
        assert all(one.dead for one in working), "a client still waits for its answer"
