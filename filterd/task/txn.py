"""A stream on its way through the actions, as an action sees it: who it is, what was sent, and what is to become of it.

Promises:

* One Txn is one run of one stage's actions: what they open is closed when it ends, and what they start has ended by then.
* `vars`, `priv` and `id` belong to the connection's transaction and are the same in each of its stages; the next connection
  begins with none.
* What ends an action (`reject`, `drop`, `accept`, `stop`, `done`) ends it at once, from any depth, and no `except Exception`
  of the rule file swallows it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from logging import getLogger
from math import inf
from os import urandom
from time import monotonic
from typing import Any, Final, Literal, NoReturn, TypeVar

from filterd.net.exchange import Exchange
from filterd.net.greenlets import Stop, running
from filterd.net.listen import Connection
from filterd.net.stream import Address
from filterd.task.channel import Channel
from filterd.task.rule_log import RuleLog
from filterd.task.scope import Child, Environment, Scope, sleep
from filterd.task.variables import Variables

__all__ = ["STAGES", "Ended", "Session", "Stage", "Txn", "Word"]

T = TypeVar("T")

Stage = Literal["tcp.accept", "tcp.request", "tcp.response", "tcp.close", "tcp.service"]
Word = Literal["stop", "accept", "reject", "drop", "done"]

STAGES: Final[tuple[Stage, ...]] = ("tcp.accept", "tcp.request", "tcp.response", "tcp.close")
"""Those of actions; a service has one of its own."""

_serial = count()
_prefix = urandom(4).hex()


class Ended(BaseException):
    """What an action has decided: `word`, and the text for the client."""

    def __init__(self, word: Word, text: bytes = b"") -> None:
        super().__init__(word)
        self.word = word
        self.text = text


@dataclass(slots=True, eq=False)
class Session:
    """One connection and what is known of it. `ended` is the verdict that ends it, `running` the stages at work."""

    connection: Connection
    exchange: Exchange
    listener: str
    id: str = field(default_factory=lambda: f"{_prefix}{next(_serial) & 0xFFFFFF:06x}")
    priv: Any = None
    session_vars: dict[str, Any] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)
    accepted: bool = False
    ended: Ended | None = None
    running: list["Txn"] = field(default_factory=list)
    ends: tuple[Address, Address] | None = None
    """The address that was connected to and the client's: kept, because a closed socket does not know them all."""

    def __post_init__(self) -> None:
        self.ends = self.connection.ends()

    def finish(self, verdict: Ended | None = None) -> None:
        """No more bytes, and no more actions: what runs is stopped, what waits is woken. The first verdict counts."""
        if self.ended is None and verdict is not None:
            # Without the frames it came through, which hold all of this.
            self.ended = verdict.with_traceback(None)
        self.exchange.end()
        for txn in self.running:
            txn.environment.crew.hub.loop.run_callback(txn.jobs.stop, Stop("the stream has ended", "cancelled"))


class Txn(Scope):
    """One stage of one stream."""

    job_word = "action "
    queue_id = None

    def __init__(self, environment: Environment, session: Session, stage: Stage, budget: float) -> None:
        super().__init__(environment, session.id, budget)
        self.session = session
        self.stage: Stage = stage
        exchange = session.exchange
        deadline = self.deadline
        is_request = stage in ("tcp.request", "tcp.service")
        self.req = Channel(stage, deadline, exchange.request, is_response=False, readable=is_request)
        """From the client to the server."""
        self.res = Channel(stage, deadline, exchange.response, is_response=True, readable=stage == "tcp.response")
        """From the server to the client."""

    def req_channel(self) -> Channel:
        """`req`, as HAProxy's examples have it."""
        return self.req

    def res_channel(self) -> Channel:
        """`res`, as HAProxy's examples have it."""
        return self.res

    # -- who it is

    @property
    def id(self) -> str:
        return self.session.id

    @property
    def listener(self) -> str:
        """The NAME of `[listen.NAME]`."""
        return self.session.listener

    @property
    def ip(self) -> str | None:
        """The client's address; None for one that came by a unix socket, or whom a proxy does not name."""
        client = self.session.connection.client
        return client[0] if isinstance(client, tuple) else None

    @property
    def port(self) -> int | None:
        """The client's port."""
        client = self.session.connection.client
        return client[1] if isinstance(client, tuple) else None

    @property
    def destination(self) -> Address | None:
        """The address that the client has connected to, a proxy's where there is one."""
        ends = self.session.ends
        return None if ends is None or not ends[0] else ends[0]

    # -- what actions keep

    @property
    def priv(self) -> Any:
        """Anything, for the actions of this transaction; None at first."""
        return self.session.priv

    @priv.setter
    def priv(self, value: Any) -> None:
        self.session.priv = value

    @property
    def vars(self) -> Variables:
        """`vars["x"]` or `vars["txn.x"]`, `vars["sess.x"]`, `vars["proc.x"]`."""
        return Variables(self.session.session_vars, self.session.vars)

    def get(self, expression: str, default: Any = None) -> Any:
        """The value of an expression, as `ip.ipmask(24)`; `default` where it has none.

        It is compiled once: write it out, and do not put it together. Raises ExpressionError for one that cannot be right.
        """
        raise NotImplementedError  # pragma: no cover - the engine's has it

    # -- what becomes of it

    def connect(self) -> None:
        """Open the connection to the server now, for one that speaks first; else the first byte for it does."""
        self.session.exchange.reach_server(self.deadline.end)

    def stop(self) -> NoReturn:
        """Ask no further action of this stage; the stream goes on."""
        raise Ended("stop")

    def accept(self) -> NoReturn:
        """Ask no further action of any stage but tcp.close; the stream goes on."""
        raise Ended("accept")

    def reject(self, text: str | bytes = b"") -> NoReturn:
        """Say this to the client, with a line end if it has none, and end the connection."""
        line = text.encode() if isinstance(text, str) else bytes(text)
        raise Ended("reject", line if not line or line.endswith(b"\n") else line + b"\r\n")

    def drop(self) -> NoReturn:
        """End the connection without a word."""
        raise Ended("drop")

    def done(self) -> NoReturn:
        """End the connection in good order, what was sent before arriving first."""
        raise Ended("done")

    # -- concurrency, log

    def spawn(self, function: Callable[..., T], *args: Any) -> Child[T]:
        """Run a function beside this action; the stage waits for it."""
        return self.start(function, *args)

    def sleep(self, seconds: float) -> None:
        """Let others run for so many seconds; 0 is one turn of the loop."""
        sleep(seconds)

    @property
    def log(self) -> RuleLog:
        """A logger whose lines carry the stream's id and the action's name."""
        runner = running()
        job = None if runner is None else runner.job
        return RuleLog(
            getLogger("filterd.rule"),
            {"task_id": self.id, "queue_id": None, "rule": getattr(job, "name", None)},
        )

    def allow(self, seconds: float) -> None:
        """From now on so many seconds at most, and never more than the connection has left, which `tcp.close` comes after."""
        left = inf if self.stage == "tcp.close" else self.session.exchange.deadline - monotonic()
        self.deadline.renew(max(min(seconds, left), 0.0))
