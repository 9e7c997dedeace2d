"""The worker's side of the line to the supervisor.

Promises:

* Each second there is a sign of life; it is missing when something holds the loop, and that is what it is for.
* What several greenlets say at once arrives in whole lines, and nobody waits for a supervisor that does not listen.
* When the line is closed the worker is told: without its supervisor it ends in good order.

From the supervisor: `serve` (or `scout`) once, `accept`, `elect`, `reopen`, `where`, `snapshot`, `collected`, `reset`,
`map edit`, `drain`. To it: `loaded`, `serving`, `failed`, `plan`, `heartbeat`, `snapshot`, `collect`, `reset`, `map edit`,
`resigned`, `leaving`.
"""

from collections.abc import Callable, Mapping
from itertools import count
from logging import getLogger
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult

from filterd.net.plain import adopt
from filterd.net.stream import Stream
from filterd.outcome import RequestFailed
from filterd.proto.json_lines import JsonLines, ProtocolError, render

__all__ = ["Link"]

log = getLogger("filterd.worker")

BEAT = 1.0
"""Seconds between two signs of life."""

REPORT = 10
"""With each so manieth of them goes a snapshot of the statistics: what a crash can lose at most."""

PATIENCE = 5.0
"""Seconds for a line to be taken, and for the answer to `collect`."""

Order = Callable[[Mapping[str, Any]], object]


class Link:
    """`begin` is the first message; then `start` serves orders beside everything else.

    `snapshot` gives the statistics of this worker, any JSON object; without it there are none.
    """

    def __init__(self, descriptor: int, *, snapshot: Callable[[], dict[str, Any]] | None = None) -> None:
        self.snapshot = snapshot
        self.orders: dict[str, Order] = {}
        """What to do for which word; an order runs in a greenlet of its own."""
        self.ended: Callable[[], object] = lambda: None
        """Called when the supervisor is gone."""
        self.count: Callable[[], tuple[int, int]] = lambda: (0, 0)
        """Messages under way and judged."""
        self._stream = Stream(adopt(descriptor), "the supervisor")
        self._channel = JsonLines()
        self._waiting: list[dict[str, Any]] = []
        self._unsent: list[bytes] = []
        self._is_sending = False
        self._numbers = count(1)
        self._collections: dict[int, Any] = {}
        self._living: list[Any] = []

    def begin(self, seconds: float) -> dict[str, Any]:
        """The first message. Raises RequestFailed or ProtocolError where none comes in so many seconds."""
        until = monotonic() + seconds
        while not self._waiting:
            self._waiting += self._channel.feed(self._stream.read(until=until))
            if self._channel.closed:
                raise ProtocolError("the supervisor has hung up without a word")
        return self._waiting.pop(0)

    def start(self) -> None:
        """Listen, and give signs of life."""
        self._living = [gevent.spawn(self._listen), gevent.spawn(self._beat)]

    def tell(self, what: str, **words: Any) -> None:
        """Say something. It is sent at once, or as soon as the line takes it."""
        self._unsent.append(render({"what": what, **words}))
        if self._is_sending:
            return
        self._is_sending = True
        try:
            while self._unsent:
                line = b"".join(self._unsent)
                self._unsent.clear()
                self._stream.write(line, until=monotonic() + PATIENCE)
        except RequestFailed:
            # Half a line may be out: nothing that followed would be understood. The listener finds the end too.
            self._stream.close()
        finally:
            self._is_sending = False

    def collect(self) -> list[dict[str, Any]]:
        """The snapshots of all workers, and the sum of those that have ended; of this worker alone if nobody answers."""
        number = next(self._numbers)
        answer = self._collections[number] = AsyncResult()
        try:
            self.tell("collect", id=number)
            found: Any = answer.get(timeout=PATIENCE)
            return list(found)
        except gevent.Timeout:
            log.warning("the supervisor does not tell what the other workers have counted")
            return [] if self.snapshot is None else [self.snapshot()]
        finally:
            del self._collections[number]

    def reset(self) -> None:
        """Let all workers, this one too, count from now on: each gets the order `reset`."""
        self.tell("reset")

    def report(self, number: int | None = None) -> None:
        """Send a snapshot."""
        if self.snapshot is not None:
            self.tell("snapshot", id=number, statistics=self.snapshot())
        elif number is not None:
            self.tell("snapshot", id=number, statistics=None)

    def close(self) -> None:
        """Hang up, when all that was said is sent."""
        until = monotonic() + PATIENCE
        while self._is_sending and monotonic() < until:
            gevent.sleep(0.01)
        gevent.killall(self._living, block=False)
        self._stream.close()

    def _beat(self) -> None:
        for number in count(1):
            under_way, messages = self.count()
            self.tell("heartbeat", under_way=under_way, messages=messages)
            if number % REPORT == 0:
                self.report()
            gevent.sleep(BEAT)

    def _listen(self) -> None:
        messages, self._waiting = self._waiting, []
        try:
            while not self._channel.closed:
                for message in messages:
                    self._obey(message)
                messages = self._channel.feed(self._stream.read())
        except (RequestFailed, ProtocolError) as error:
            log.error("the line to the supervisor is broken: %s", error)
        self.ended()

    def _obey(self, message: Mapping[str, Any]) -> None:
        word = message.get("do")
        if word == "snapshot":
            self.report(message["id"])
        elif word == "collected":
            answer = self._collections.get(message["id"])
            if answer is not None:
                answer.set(message["found"])
        elif word in self.orders:
            gevent.spawn(self.orders[word], message)
        else:
            log.error("the supervisor wants something nobody understands: %.200r", message)
