"""Load that comes when it is due, however slow the answers are: a latency counts from the moment at which a message was due."""

import random
import select
import time
from collections import Counter
from collections.abc import Callable, Sequence

from bench.dialogues import over_http
from bench.load import PATIENCE, Client, Wrong

__all__ = ["MOST_AT_ONCE", "OpenLoop"]

MOST_AT_ONCE = 512
"""Connections; a message that is due beyond them waits, and its latency grows."""

SEED = 1
LOOKING = 1.0
"""Seconds between two looks for messages that nobody answers."""

SAMPLES = 5
"""Of what went wrong, so many are told in full."""


class OpenLoop:
    """Messages at a rate, on a connection each, the gaps between them exponential: the same ones at every run."""

    def __init__(self, port: int, mails: Sequence[bytes], rate: float, check: Callable[[bytes], None]) -> None:
        self.sent = self.answered = 0
        self.held = 0
        """How many messages had to wait for one of MOST_AT_ONCE."""
        self.problems: Counter[str] = Counter()
        self.samples: list[str] = []
        self._latencies: list[float] = []
        self._lateness: list[float] = []
        self._port = port
        self._dialogues = [over_http(mail) for mail in mails]
        self._rate = rate
        self._check = check
        self._dice = random.Random(SEED)
        self._clients: dict[int, Client] = {}
        self._ends: dict[int, float] = {}
        """When each connection's patience ends. It begins when a message is sent: one that had to wait gets as much."""
        self._poll = select.epoll()
        self._due = time.perf_counter()
        self._is_held = False
        self._looked = self._due

    def restart(self, now: float) -> None:
        """The first message is due now."""
        self._due = self._looked = now

    def taken(self) -> tuple[list[float], list[float]]:
        """Since it was last asked: seconds from due to answered of each message, and from due to sent."""
        taken = self._latencies, self._lateness
        self._latencies, self._lateness = [], []
        return taken

    def run(self, end: float) -> None:
        """Until then, by time.perf_counter; what is unanswered then is still on its way."""
        while (now := time.perf_counter()) < end:
            while self._due <= now and len(self._clients) < MOST_AT_ONCE:
                self._send(now)
            if self._due <= now and not self._is_held:
                self._is_held = True
                self.held += 1
            self._wait((end if self._is_held else min(self._due, end)) - now)

    def drain(self) -> None:
        """Nothing more is sent; waits for the answers."""
        end = time.perf_counter() + PATIENCE
        while self._clients and (now := time.perf_counter()) < end:
            self._wait(end - now)
        for descriptor in list(self._clients):
            self._fail(descriptor, "unanswered", f"no answer in {PATIENCE:g} s")
        self._poll.close()

    def _send(self, now: float) -> None:
        due, dialogue = self._due, self._dice.choice(self._dialogues)
        self._due += self._dice.expovariate(self._rate)
        self._is_held = False
        self.sent += 1
        self._lateness.append(now - due)
        try:
            client = Client(self._port, dialogue)
        except OSError as error:
            self._count("refused", repr(error))
            return
        client.began = due
        descriptor = client.sock.fileno()
        self._clients[descriptor] = client
        self._ends[descriptor] = time.perf_counter() + PATIENCE
        self._poll.register(descriptor, select.EPOLLIN)
        try:
            if not client.send():
                self._poll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self._fail(descriptor, "refused", repr(error))

    def _wait(self, seconds: float) -> None:
        # epoll counts milliseconds, by which messages would be late; select counts microseconds.
        select.select([self._poll], [], [], min(max(seconds, 0.0), LOOKING))
        for descriptor, event in self._poll.poll(0):
            try:
                self._advance(descriptor, event)
            except (Wrong, OSError) as error:
                self._fail(descriptor, "wrong", str(error))
        now = time.perf_counter()
        if now > self._looked + LOOKING:
            self._looked = now
            for descriptor in [one for one in self._clients if now > self._ends[one]]:
                self._fail(descriptor, "unanswered", f"no answer in {PATIENCE:g} s")

    def _advance(self, descriptor: int, event: int) -> None:
        client = self._clients[descriptor]
        if event & select.EPOLLOUT and client.send():
            self._poll.modify(descriptor, select.EPOLLIN)
        if event & ~select.EPOLLOUT and client.receive():
            self._latencies.append(time.perf_counter() - client.began)
            self._check(client.replies)
            self.answered += 1
            client.sock.close()
            del self._clients[descriptor]

    def _fail(self, descriptor: int, kind: str, text: str) -> None:
        self._clients.pop(descriptor).sock.close()
        self._count(kind, text)

    def _count(self, kind: str, text: str) -> None:
        self.problems[kind] += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(f"{kind}: {text}")
